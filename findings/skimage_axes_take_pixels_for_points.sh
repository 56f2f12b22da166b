#!/usr/bin/env bash
# Small cells measured with scikit-image's regionprops: rods 1, 2 and 3 px wide, a single pixel, a square of 3 x 3 px.
#
# Guess before running: a pixel has a size: a rod of 1 x 10 px has a minor axis of about 1 px, one pixel a diameter of 1 to
# 1.4 px, and the greatest Feret diameter of a square of 3 x 3 px is its diagonal, 4.2 px.
# Seen (0.26.0): the axes are those of the pixels' centres, as points: the minor axis of a rod 1 px wide is 0, its
# eccentricity 1, and both axes of one pixel are 0; a ratio of axes is infinite. 2 px wide it's 2.0 in place of 2.3: with a
# pixel's own 1/12 in the moments the axes of all are right. The Feret diameter goes by the middles of the pixels' sides: 3.6.
set -euo pipefail
command -v uv >/dev/null || pip install -q uv
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cat >"$work/probe.py" <<'PY'
import numpy as np
import skimage
from skimage.measure import regionprops

print("scikit-image", skimage.__version__)
seen = {}
for size in ((1, 1), (1, 10), (2, 10), (3, 10), (3, 3)):
    mask = np.zeros((20, 20), np.uint8)
    mask[5 : 5 + size[0], 5 : 5 + size[1]] = 1
    cell = regionprops(mask)[0]
    own = 4 * np.sqrt(np.linalg.eigvalsh(np.cov(np.argwhere(mask).T, bias=True).reshape(2, 2) + np.eye(2) / 12))
    seen[size] = [float(cell.axis_minor_length), float(cell.axis_major_length), float(cell.feret_diameter_max)]
    print(f"{size[0]} x {size[1]} px: minor {seen[size][0]:.2f}, major {seen[size][1]:.2f}, eccentricity {cell.eccentricity:.2f}")
    print(f"    of pixels with a size: minor {own[0]:.2f}, major {own[1]:.2f}")
    print(f"    greatest Feret diameter {seen[size][2]:.2f}, between corners {np.hypot(*size):.2f}")
    assert own[0] > seen[size][0] and own[1] > seen[size][1], "pixels have a size: the finding is out of date"
assert seen[1, 1][:2] == [0, 0] and seen[1, 10][0] == 0, "pixels have a size: the finding is out of date"
assert abs(seen[2, 10][0] - 2) < 0.01 and abs(seen[3, 3][2] - np.sqrt(13)) < 0.01, "the finding is out of date"
PY
uv run --quiet --isolated --no-project --python 3.11 --with scikit-image==0.26.0 --with scipy==1.17.1 --with numpy==2.4.6 \
    python "$work/probe.py"
