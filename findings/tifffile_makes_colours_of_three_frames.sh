#!/usr/bin/env bash
# A series of label images written with tifffile.imwrite(..., metadata={"axes": "TYX"}), by the number of frames.
#
# Guess before running: an array of axes TYX becomes a page a frame, whatever the number of frames.
# Seen: with 2, 5 or more frames it does; with 3 or 4 the file has one page whose samples are red, green, blue (and
# alpha): viewers show a colour picture, readers by page find one frame. The axes do not prevent it; photometric
# "minisblack", imagej=True or ome=True do. A warning says that this will change.
set -euo pipefail
command -v uv >/dev/null || pip install -q uv
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cat >"$work/probe.py" <<'PY'
import io
import warnings

import numpy as np
import tifffile

warnings.simplefilter("ignore")
print("tifffile", tifffile.__version__)


def pages(frames: int, **options: object) -> tuple[int, str]:
    file = io.BytesIO()
    tifffile.imwrite(file, np.zeros((frames, 64, 80), np.uint16), metadata={"axes": "TYX"}, **options)
    file.seek(0)
    with tifffile.TiffFile(file) as tiff:
        return len(tiff.pages), tiff.pages[0].photometric.name


for frames in (2, 3, 4, 5):
    print(frames, "frames:", {"plain": pages(frames), "minisblack": pages(frames, photometric="minisblack")})
assert pages(2) == (2, "MINISBLACK") and pages(5) == (5, "MINISBLACK")
assert pages(3) == pages(4) == (1, "RGB"), "frames are pages now: the finding is out of date"
assert pages(3, photometric="minisblack") == pages(3, ome=True) == (3, "MINISBLACK")
PY
uv run --quiet --isolated --no-project --python 3.11 --with tifffile==2026.3.3 --with numpy==2.4.6 python "$work/probe.py"
