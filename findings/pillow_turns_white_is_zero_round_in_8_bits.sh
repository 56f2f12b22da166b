#!/usr/bin/env bash
# One mask as TIFFs of which white is 0 (PhotometricInterpretation WhiteIsZero), of 8 and of 16 bits: its cell has the
# greatest number, its background 0.
#
# Guess before running: a reader either gives the file's numbers or turns them round, so that 0 is black; it does the same
# for 8 and for 16 bits.
# Seen: Pillow and OpenCV turn 8 bits round and leave 16 as they are, so that of the same two files the background is the
# cell in one. tifffile, scikit-image, imageio and SimpleITK leave both.
set -euo pipefail
command -v uv >/dev/null || pip install -q uv
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cat >"$work/probe.py" <<'PY'
from importlib.metadata import version

import cv2
import imageio.v3
import numpy as np
import SimpleITK
import skimage.io
import tifffile
from PIL import Image

READERS = {
    "pillow": lambda path: np.asarray(Image.open(path)),
    "opencv-python-headless": lambda path: cv2.imread(path, cv2.IMREAD_UNCHANGED),
    "tifffile": tifffile.imread,
    "scikit-image": skimage.io.imread,
    "imageio": imageio.v3.imread,
    "simpleitk": lambda path: SimpleITK.GetArrayFromImage(SimpleITK.ReadImage(path)),
}
for dtype in (np.uint8, np.uint16):
    mask = np.zeros((16, 24), dtype)
    mask[2:6, 2:6] = np.iinfo(dtype).max
    tifffile.imwrite(f"{mask.dtype}.tif", mask, photometric="miniswhite")
for name, read in READERS.items():
    seen = {dtype: (int(read(f"{dtype}.tif")[3, 3]), int(read(f"{dtype}.tif")[10, 10])) for dtype in ("uint8", "uint16")}
    print(f"{name} {version(name)}; cell, background: {seen}")
    turned = name in ("pillow", "opencv-python-headless")
    assert seen["uint8"] == ((0, 255) if turned else (255, 0)), "the finding is out of date"
    assert seen["uint16"] == (65535, 0), "the finding is out of date"
PY
cd "$work"
uv run --quiet --isolated --no-project --python 3.11 --with tifffile==2026.3.3 --with pillow==13.0.0 --with numpy==2.4.6 \
    --with opencv-python-headless==5.0.0.93 --with scikit-image==0.26.0 --with imageio==2.37.3 --with simpleitk==2.5.7 \
    python probe.py
