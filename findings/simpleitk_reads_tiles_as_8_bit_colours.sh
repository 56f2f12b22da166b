#!/usr/bin/env bash
# A grey TIFF of 16 bits that is kept in tiles, as slides, mosaics and pyramids are, read with SimpleITK; the same in strips.
#
# Guess before running: tiles are how a file is kept; the array has the image's 16 bits and two dimensions, or it's refused.
# Seen (SimpleITK 2.5.7): a tiled one comes as (height, width, 4) of uint8: 300 is 1, the upper byte, three times, and
# 255 as opacity; of a camera's 12 bits 16 levels are left. Tiles of float are refused. A line on stderr speaks of loss of
# data; nothing is raised. The same image in strips, and tiles in tifffile, OpenCV and Pillow, are right.
set -euo pipefail
command -v uv >/dev/null || pip install -q uv
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cat >"$work/probe.py" <<'PY'
import cv2
import numpy as np
import SimpleITK
import tifffile
from PIL import Image

image = (np.arange(64 * 64) % 4096).reshape(64, 64).astype(np.uint16)  # a camera's 12 bits
print("SimpleITK", SimpleITK.Version.VersionString())
seen = {}
for kept, options in (("strips", {}), ("tiles", {"tile": (32, 32)})):
    tifffile.imwrite("a.tif", image, **options)
    seen[kept] = SimpleITK.GetArrayFromImage(SimpleITK.ReadImage("a.tif"))
    others = tifffile.imread("a.tif"), cv2.imread("a.tif", cv2.IMREAD_UNCHANGED), np.asarray(Image.open("a.tif"))
    assert all(np.array_equal(other, image) for other in others)
    levels = len(np.unique(seen[kept].reshape(64, 64, -1)[:, :, 0]))
    print(f"in {kept}: {seen[kept].dtype} {seen[kept].shape}, {levels} levels of 4096; 300 is {seen[kept][4, 44].tolist()}")
assert np.array_equal(seen["strips"], image)
assert np.array_equal(seen["tiles"][:, :, 0], image >> 8) and seen["tiles"].dtype == np.uint8, "the finding is out of date"
assert seen["tiles"].shape == (64, 64, 4), "the finding is out of date"
PY
cd "$work"
uv run --quiet --isolated --no-project --python 3.11 --with simpleitk==2.5.7 --with tifffile==2026.3.3 --with pillow==13.0.0 \
    --with opencv-python-headless==5.0.0.93 --with numpy==2.4.6 python probe.py 2>log || { cat log; exit 1; }
