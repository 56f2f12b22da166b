#!/usr/bin/env bash
# Masks of cells traced with cv2.findContours and written as COCO polygons, as many converters do, read by pycocotools.
#
# Guess before running: the polygon of a square of 10x10 px gives back its 100 px.
# Seen: 81. The contour runs through the centres of the border pixels, numbered from 0, while COCO counts corners of
# pixels: each cell loses its right column and its lower row. Of a cell of 3x3 px 4 px are left, and its IoU with itself
# is 0.44. The corners of the same pixels give back all.
set -euo pipefail
command -v uv >/dev/null || pip install -q uv
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cat >"$work/probe.py" <<'PY'
import cv2
import numpy as np
from pycocotools import mask as codec

print("OpenCV", cv2.__version__)
for side, left in ((10, 81), (3, 4)):
    cell = np.zeros((30, 30), np.uint8)
    cell[5 : 5 + side, 5 : 5 + side] = 1
    [contour], _ = cv2.findContours(cell, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    again = codec.decode(codec.merge(codec.frPyObjects([contour.ravel().astype(float).tolist()], 30, 30)))
    end = 5 + side
    corners = [5, 5, end, 5, end, end, 5, end]
    whole = codec.decode(codec.merge(codec.frPyObjects([corners], 30, 30)))
    print(f"{side}x{side} px: {again.sum()} px by the contour, {whole.sum()} by its corners")
    assert again.sum() == left, "the finding is out of date"
    assert np.array_equal(whole, cell)
PY
uv run --quiet --isolated --no-project --python 3.11 --with opencv-python-headless==5.0.0.93 \
    --with pycocotools==2.0.11 --with numpy==2.4.6 python "$work/probe.py"
