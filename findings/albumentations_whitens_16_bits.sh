#!/usr/bin/env bash
# An image of 16 bits through albumentations, beside the same in 8 bits (each pixel times 257), as one augments it.
#
# Guess before running: the same picture to a grey level, or an error where 16 bits aren't known.
# Seen (albumentations 2.0.8): so it is for brightness and Gaussian blur, and CLAHE and noise raise. MedianBlur, Downscale and
# AutoContrast take the numbers for parts of 1 and cut them off there: every pixel is 255, as float32, whatever was in the
# image. RandomGamma makes float64 up to 13 million, and Solarize turns all pixels round, not the bright ones alone. No
# warning.
set -euo pipefail
command -v uv >/dev/null || pip install -q uv
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cat >"$work/probe.py" <<'PY'
import os

os.environ["NO_ALBUMENTATIONS_UPDATE"] = "1"
import albumentations as A
import cv2
import numpy as np

print("albumentations", A.__version__)
noise = cv2.GaussianBlur(np.random.default_rng(0).normal(size=(64, 64)), (0, 0), 2)
eight = cv2.normalize(noise, None, 20, 220, cv2.NORM_MINMAX).astype(np.uint8)
sixteen = eight.astype(np.uint16) * 257


def applied(transform: A.BasicTransform, image: np.ndarray) -> np.ndarray | None:
    """What the transform makes of the image, None if it raises."""
    try:
        return A.Compose([transform], seed=1)(image=image.copy())["image"]
    except (cv2.error, ValueError):
        return None


seen = {}
for transform in (
    A.RandomBrightnessContrast((0.2, 0.2), (0.2, 0.2), p=1),
    A.GaussianBlur(sigma_limit=(2, 2), p=1),
    A.CLAHE(p=1),
    A.GaussNoise(p=1),
    A.MedianBlur(p=1),
    A.Downscale(p=1),
    A.AutoContrast(p=1),
    A.RandomGamma((150, 150), p=1),
    A.Solarize((0.7, 0.7), p=1),
):
    name, low, high = type(transform).__name__, applied(transform, eight), applied(transform, sixteen)
    if high is None:
        seen[name] = "raises"
    elif high.dtype == np.uint16 and np.abs(high / 257 - low).max() < 1.5:
        seen[name] = "right"
    else:
        seen[name] = "white" if np.ptp(high) == 0 else "wrong"
    result = "" if high is None else f", {high.dtype} from {high.min():.4g} to {high.max():.4g}"
    print(f"{name}: {seen[name]} in 16 bits{result}; 8 bits from {low.min()} to {low.max()}")
assert all(seen[name] == "right" for name in ("RandomBrightnessContrast", "GaussianBlur"))
assert all(seen[name] == "raises" for name in ("CLAHE", "GaussNoise"))
assert all(seen[name] == "white" for name in ("MedianBlur", "Downscale", "AutoContrast")), "the finding is out of date"
assert seen["RandomGamma"] == seen["Solarize"] == "wrong", "the finding is out of date"
PY
uv run --quiet --isolated --no-project --python 3.11 --with albumentations==2.0.8 \
    --with opencv-python-headless==5.0.0.93 --with numpy==2.4.6 python "$work/probe.py"
