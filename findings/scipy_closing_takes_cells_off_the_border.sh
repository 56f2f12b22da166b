#!/usr/bin/env bash
# A mask closed with scipy.ndimage.binary_closing, where a cell touches the border of the image and one doesn't.
#
# Guess before running: a closing only adds pixels, whatever the mask (it is extensive), as it does in OpenCV and
# scikit-image.
# Seen: beyond the border all is background to the erosion that follows the dilation, so that as many rows and columns are
# lost there as there are iterations: of a cell of 6 x 6 px in the corner 16 are left after two. One within stays.
set -euo pipefail
command -v uv >/dev/null || pip install -q uv
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cat >"$work/probe.py" <<'PY'
import cv2
import numpy as np
import scipy
import skimage
from scipy import ndimage

square = np.ones((3, 3), bool)


def areas(closed: np.ndarray) -> tuple[int, int]:
    return int(closed[:8, :8].sum()), int(closed[8:, 8:].sum())


mask = np.zeros((30, 30), bool)
mask[:6, :6] = mask[15:21, 15:21] = True
two = cv2.morphologyEx(mask.astype(np.uint8), cv2.MORPH_CLOSE, square.astype(np.uint8), iterations=2)
seen = {
    f"scipy {scipy.__version__}": areas(ndimage.binary_closing(mask, square, iterations=2)),
    f"OpenCV {cv2.__version__}": areas(two),
    f"scikit-image {skimage.__version__}": areas(skimage.morphology.closing(mask, np.ones((5, 5)))),
}
print("cells of 36 px, in the corner and within:", seen)
first, *others = seen.values()
assert first == (16, 36) and others == [(36, 36)] * 2, "the finding is out of date"
PY
uv run --quiet --isolated --no-project --python 3.11 --with scipy==1.17.1 --with opencv-python-headless==5.0.0.93 \
    --with scikit-image==0.26.0 --with numpy==2.4.6 python "$work/probe.py"
