#!/usr/bin/env bash
# The outline of a cell on a scanned slide, as a ROI of whole numbers (traced, as ImageJ's particle analyser makes them).
#
# Guess before running: beyond the 16 bits of its corners the writer refuses, or writes floats.
# Seen: up to x = 60,535 it comes back right, for readers take small negative numbers for large ones; from there on it
# lies 65,536 px further left (61,000 becomes -4,536), and nothing is said. ImageJ reads the same. A composite ROI, or
# one of floats as ImagejRoi.frompoints makes for such places, is right.
set -euo pipefail
command -v uv >/dev/null || pip install -q uv
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cat >"$work/probe.py" <<'PY'
from importlib.metadata import version

import numpy as np
from roifile import ROI_TYPE, ImagejRoi

print("roifile", version("roifile"))
square = np.array([[0, 0], [9, 0], [9, 9], [0, 9]], np.int32)
for x, seen in ((32_000, 32_000), (60_535, 60_535), (60_540, -4_996), (61_000, -4_536), (70_000, 4_464)):
    roi = ImagejRoi(roitype=ROI_TYPE.TRACED, left=x, top=5, right=x + 9, bottom=14)
    roi.n_coordinates, roi.integer_coordinates = 4, square
    traced = ImagejRoi.frombytes(roi.tobytes()).coordinates()[:, 0].min()
    floats = ImagejRoi.frombytes(ImagejRoi.frompoints(square + [x, 5]).tobytes()).coordinates()[:, 0].min()
    print(f"x = {x}: traced {traced:.0f}, from points {floats:.0f}")
    assert (traced, floats) == (seen, x), "the finding is out of date"
PY
uv run --quiet --isolated --no-project --python 3.11 --with roifile==2026.2.10 --with numpy==2.4.6 python "$work/probe.py"
