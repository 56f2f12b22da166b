#!/usr/bin/env bash
# Big-endian TIFFs of int16, int32 and float32 pixels (distances, labels, probabilities), once plain and once with LZW.
#
# Guess before running: byte order and compression are the file's own business; the numbers are the same.
# Seen (Pillow 13.0.0): plain ones are right; compressed ones come with the bytes of each number in the wrong order, and
# nothing is said: label 700 is -1,140,719,616. uint16 and little-endian files are right. tifffile, OpenCV and SimpleITK
# read all of them.
set -euo pipefail
command -v uv >/dev/null || pip install -q uv
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cat >"$work/probe.py" <<'PY'
import cv2
import numpy as np
import PIL
import SimpleITK
import tifffile
from PIL import Image

READERS = {
    "Pillow": lambda path: np.asarray(Image.open(path)),
    "tifffile": tifffile.imread,
    "OpenCV": lambda path: cv2.imread(path, cv2.IMREAD_UNCHANGED),
    "SimpleITK": lambda path: SimpleITK.GetArrayFromImage(SimpleITK.ReadImage(path)),
}
print(f"Pillow {PIL.__version__}, tifffile {tifffile.__version__}, OpenCV {cv2.__version__}")
for dtype in ("uint16", "int16", "int32", "float32"):
    image = (np.arange(64 * 64) % 701).reshape(64, 64).astype(dtype)
    for compression in (None, "lzw"):
        tifffile.imwrite("a.tif", image, byteorder=">", compression=compression)
        read = {name: reader("a.tif") for name, reader in READERS.items()}
        right = {name: np.array_equal(of_one, image) for name, of_one in read.items()}
        print(f"{dtype}, {compression or 'plain'}: right {right}; {image[10, 60]} is {read['Pillow'][10, 60]} in Pillow")
        expected = compression is None or dtype == "uint16"
        assert right.pop("Pillow") == expected, "the finding is out of date"
        assert all(right.values())
PY
cd "$work"
uv run --quiet --isolated --no-project --python 3.11 --with pillow==13.0.0 --with tifffile==2026.3.3 --with imagecodecs==2026.3.6 \
    --with opencv-python-headless==5.0.0.93 --with simpleitk==2.5.7 --with numpy==2.4.6 python probe.py
