#!/usr/bin/env bash
# A time-lapse of label images in an ImageJ hyperstack, read with skimage.io.imread, by the number of frames.
#
# Guess before running: the array is (frames, height, width), as tifffile, which does the reading, gives it.
# Seen: with 2 or 5 frames it is; with 3 or 4 the frames come last, (height, width, frames), as if they were colours,
# though the file names its axes and says that it is grey.
set -euo pipefail
command -v uv >/dev/null || pip install -q uv
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cat >"$work/probe.py" <<'PY'
import warnings

import numpy as np
import skimage
import tifffile
from skimage import io

warnings.simplefilter("ignore")
print("scikit-image", skimage.__version__, "tifffile", tifffile.__version__)
for frames in (2, 3, 4, 5):
    stack = np.zeros((frames, 20, 30), np.uint16)
    tifffile.imwrite("stack.tif", stack, imagej=True, metadata={"axes": "TYX"})
    shapes = tifffile.imread("stack.tif").shape, io.imread("stack.tif").shape
    print(frames, "frames: tifffile", shapes[0], "skimage.io", shapes[1])
    assert shapes[0] == (frames, 20, 30)
    assert shapes[1] == ((20, 30, frames) if frames in (3, 4) else (frames, 20, 30)), "the finding is out of date"
PY
cd "$work"
uv run --quiet --isolated --no-project --python 3.11 --with scikit-image==0.26.0 --with tifffile==2026.3.3 \
    --with numpy==2.4.6 python probe.py
