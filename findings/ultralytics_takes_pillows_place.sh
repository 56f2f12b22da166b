#!/usr/bin/env bash
# PIL.Image.open in a program that imports ultralytics for its networks alone.
#
# Guess before running: an import changes nothing in another library; a file that is no image raises Pillow's
# UnidentifiedImageError, as the program's own reader expects.
# Seen (ultralytics 8.4.190): PIL.Image.open is a function of ultralytics from the import on, for the whole process. A text
# file then raises ModuleNotFoundError, since a reader of HEIC is not installed (and, unless forbidden, is installed first).
set -euo pipefail
command -v uv >/dev/null || pip install -q uv
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cat >"$work/probe.py" <<'PY'
import os
import sys
from pathlib import Path

import PIL
from PIL import Image

folder = Path(sys.argv[1])
os.environ |= {"YOLO_AUTOINSTALL": "False", "YOLO_OFFLINE": "True", "YOLO_CONFIG_DIR": str(folder)}
(folder / "notes.txt").write_text("no image\n")


def error() -> str:
    try:
        Image.open(folder / "notes.txt")
    except Exception as raised:
        return type(raised).__name__
    return "none"


pillows, before = Image.open, error()
import ultralytics  # noqa: E402
from ultralytics.nn.tasks import SegmentationModel  # noqa: E402, F401

after = error()
print(f"Pillow {PIL.__version__}, ultralytics {ultralytics.__version__}")
print(f"Image.open is Pillow's own after the import: {Image.open is pillows}; it is of {Image.open.__module__}")
print(f"a text file raises {before} before, {after} after")
assert (Image.open is pillows, before, after) == (False, "UnidentifiedImageError", "ModuleNotFoundError"), "out of date"
PY
uv run --quiet --isolated --no-project --python 3.11 --with ultralytics==8.4.190 --with torch==2.15.0 \
    --with torchvision==0.29.2 --with pillow==13.0.0 --with opencv-python-headless==5.0.0.93 python "$work/probe.py" "$work"
