#!/usr/bin/env bash
# The threshold between cells (600) and ground (200) in an image with one hot pixel, by scikit-image's methods: as the
# camera's uint16 and the same numbers as float32.
#
# Guess before running: a threshold is a place among the pixels' values; the same numbers have the same, to a grey level.
# Seen (0.26.0): without the hot pixel so it is, to 2 levels. With it, floats are counted in 256 bins from the darkest to the
# hot pixel, 255 levels each, and whole numbers one by one: triangle says 254 in uint16 and 779 in float32, above which no
# pixel of a cell lies; yen 236 and 523, isodata 409 and 268. Li's makes no histogram and has 341 in both. Otsu's finds
# the hot pixel alone in both.
set -euo pipefail
command -v uv >/dev/null || pip install -q uv
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cat >"$work/probe.py" <<'PY'
import numpy as np
import skimage
from skimage import filters

print("scikit-image", skimage.__version__)
rng = np.random.default_rng(0)
image = rng.poisson(200, (256, 256)).astype(np.uint16)
cells = np.zeros(image.shape, bool)
cells[60:120, 60:120] = True
image[cells] = rng.poisson(600, cells.sum())
seen = {}
for hot in (0, 65_535):
    image[200, 200] = hot or 200
    for name in ("triangle", "yen", "isodata", "li", "otsu"):
        threshold = getattr(filters, f"threshold_{name}")
        whole, floating = float(threshold(image)), float(threshold(image.astype(np.float32)))
        found = [float((image[cells] > value).mean()) for value in (whole, floating)]
        seen[name, hot] = found
        print(
            f"{name}, {'a' if hot else 'no'} hot pixel: {whole:.0f} in uint16, {floating:.0f} in float32; "
            f"{found[0]:.0%} and {found[1]:.0%} of the cells' pixels above, "
            f"{(image[~cells] > whole).mean():.1%} and {(image[~cells] > floating).mean():.1%} of the ground's"
        )
assert all(found == [1, 1] for (_, hot), found in seen.items() if not hot) and seen["li", 65_535] == [1, 1]
assert seen["triangle", 65_535] == [1, 0], "the dtype changes nothing: the finding is out of date"
PY
uv run --quiet --isolated --no-project --python 3.11 --with scikit-image==0.26.0 --with scipy==1.17.1 --with numpy==2.4.6 \
    python "$work/probe.py"
