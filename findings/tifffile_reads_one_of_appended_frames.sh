#!/usr/bin/env bash
# A time-lapse whose frames are written to one TIFF as they come, by tifffile.imwrite(..., append=True) or in a loop over
# TiffWriter.write, and read back with tifffile.imread.
#
# Guess before running: the file has five pages of one shape, so imread gives an array of five frames; it is the library
# that wrote them.
# Seen: one frame, the first. Each call writes a series of its own, and imread reads the first series; nothing is said.
# ome=True makes five images of it, of which one is read. contiguous=True (uncompressed alone), or metadata=None, make one
# series of five. Pillow, OpenCV and imread(..., key=slice(None)) count five pages in all of them.
set -euo pipefail
command -v uv >/dev/null || pip install -q uv
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cat >"$work/probe.py" <<'PY'
import cv2
import numpy as np
import tifffile
from PIL import Image

frames = np.arange(5 * 16 * 16, dtype=np.uint16).reshape(5, 16, 16)
print("tifffile", tifffile.__version__)


def appended(name: str, **options: object) -> None:
    for frame in frames:
        tifffile.imwrite(name, frame, append=True, **options)


def looped(name: str, ome: bool = False, **options: object) -> None:
    with tifffile.TiffWriter(name, ome=ome) as writer:
        for frame in frames:
            writer.write(frame, **options)


ways = {
    "append=True": (appended, {}, 1),
    "a loop": (looped, {}, 1),
    "a loop, zlib": (looped, {"compression": "zlib"}, 1),
    "a loop, ome=True": (looped, {"ome": True}, 1),
    "a loop, contiguous=True": (looped, {"contiguous": True}, 5),
    "append=True, metadata=None": (appended, {"metadata": None}, 5),
}
for number, (way, (write, options, expected)) in enumerate(ways.items()):
    write(f"{number}.tif", **options)
    read = tifffile.imread(f"{number}.tif")
    pages = Image.open(f"{number}.tif").n_frames, cv2.imcount(f"{number}.tif"), len(tifffile.imread(f"{number}.tif", key=slice(None)))
    print(f"{way}: imread gives {read.shape}; pages by Pillow, OpenCV, tifffile: {pages}")
    assert pages == (5, 5, 5)
    assert len(read.reshape(-1, 16, 16)) == expected, "the finding is out of date"
PY
cd "$work"
uv run --quiet --isolated --no-project --python 3.11 --with tifffile==2026.3.3 --with imagecodecs==2026.3.6 --with numpy==2.4.6 \
    --with pillow==13.0.0 --with opencv-python-headless==5.0.0.93 python probe.py
