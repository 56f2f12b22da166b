#!/usr/bin/env bash
# An 8-bit image that a data set keeps in memory, augmented by albumentations in 20 epochs, AutoContrast with p 0.5.
#
# Guess before running: a transform returns a new picture; what the data set keeps stays as it was read.
# Seen (albumentations 2.0.8): AutoContrast writes into the array that it is given. From the first epoch that draws it on,
# the picture is stretched in every epoch, those in which the transform is not drawn too, and so is what validation or a
# mean of grey values takes from the same array. 15 others (equalise, CLAHE, gamma, noise, dropout, ...) leave the
# array alone, and so does AutoContrast where the image is float32 or was turned before it.
set -euo pipefail
command -v uv >/dev/null || pip install -q uv
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cat >"$work/probe.py" <<'PY'
import os

os.environ["NO_ALBUMENTATIONS_UPDATE"] = "1"
import albumentations as A
import numpy as np

print("albumentations", A.__version__)
read = np.random.default_rng(0).integers(50, 150, (64, 64)).astype(np.uint8)  # the grey levels of a faint image

kept, compose, first = read.copy(), A.Compose([A.AutoContrast(p=0.5)], seed=1), None
for epoch in range(20):
    given = kept.copy()
    shown = compose(image=kept)["image"]
    if first is None and (kept != given).any():
        first = epoch
    elif first is not None:
        assert np.ptp(shown) == 255, "the finding is out of date"
print(f"kept in memory: {read.min()} to {read.max()} as read, {kept.min()} to {kept.max()} after epoch {first} of 20")
assert first is not None and np.ptp(kept) == 255, "the finding is out of date"


def writes(transform: A.BasicTransform, image: np.ndarray, before: list[A.BasicTransform]) -> bool:
    given = image.copy()
    A.Compose([*before, transform], seed=1)(image=given)
    return bool((given != image).any())


names = ("AutoContrast", "Equalize", "CLAHE", "RandomGamma", "RandomBrightnessContrast", "InvertImg", "Posterize")
names += ("Solarize", "GaussNoise", "Sharpen", "Blur", "UnsharpMask", "Emboss", "CoarseDropout", "PixelDropout", "Erasing")
found = [name for name in names if writes(getattr(A, name)(p=1), read, [])]
print(f"of {len(names)} transforms write into an 8-bit image: {', '.join(found)}")
assert found == ["AutoContrast"], "the finding is out of date"
faint = (read / 255).astype(np.float32)
cases = {"float32": (faint, []), "8 bits after a flip": (read, [A.HorizontalFlip(p=1)])}
for name, (image, before) in cases.items():
    print(f"AutoContrast, {name}: {'writes' if writes(A.AutoContrast(p=1), image, before) else 'leaves the array alone'}")
    assert not writes(A.AutoContrast(p=1), image, before), "the finding is out of date"
PY
uv run --quiet --isolated --no-project --python 3.11 --with albumentations==2.0.8 \
    --with opencv-python-headless==5.0.0.93 --with numpy==2.4.6 python "$work/probe.py"
