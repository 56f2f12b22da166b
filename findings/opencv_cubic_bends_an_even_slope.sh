#!/usr/bin/env bash
# An image of an even slope, as uneven light makes one, moved by a part of a pixel and enlarged with cubic interpolation:
# OpenCV beside scipy (splines of order 3) and Pillow (bicubic).
#
# Guess before running: cubic interpolation is exact for straight lines, as linear is, so that the slope stays straight.
# Seen (OpenCV 5.0.0, scipy 1.17.1, Pillow 13.0.0): OpenCV's kernel has its coefficient at -0.75, which keeps level
# images level and no slope straight: 0.25 px move it by 0.297 px, 0.05 px by 0.071. Enlarged four times, it gets waves of
# 0.041 of the step from pixel to pixel. scipy and Pillow (coefficient -0.5) keep the line to rounding.
set -euo pipefail
command -v uv >/dev/null || pip install -q uv
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cat >"$work/probe.py" <<'PY'
import cv2
import numpy as np
import PIL
import scipy
from PIL import Image
from scipy import ndimage

SIDE = 64
slope = np.tile(np.arange(SIDE, dtype=np.float32), (SIDE, 1))
middle = (SIDE // 2, SIDE // 2)
print(f"OpenCV {cv2.__version__}, scipy {scipy.__version__}, Pillow {PIL.__version__}")


def by_opencv(by: float) -> float:
    matrix = np.array([[1, 0, by], [0, 1, 0]], np.float64)
    moved = cv2.warpAffine(slope, matrix, (SIDE, SIDE), flags=cv2.INTER_CUBIC | cv2.WARP_INVERSE_MAP)
    return float(moved[middle] - slope[middle])


def by_scipy(by: float) -> float:
    return float(ndimage.shift(slope.astype(np.float64), (0, -by), order=3, mode="nearest")[middle] - slope[middle])


off = []
for by in (0.05, 0.25):
    off.append((by_opencv(by) - by, by_scipy(by) - by))
    print(f"  moved by {by} px: OpenCV {by_opencv(by):.4f}, scipy {by_scipy(by):.4f}")
inside = slice(4 * 16, 4 * 48)  # away from the border
true = (np.arange(4 * SIDE) + 0.5) / 4 - 0.5
large = {
    "OpenCV": cv2.resize(slope, None, fx=4, fy=1, interpolation=cv2.INTER_CUBIC)[0],
    "Pillow": np.asarray(Image.fromarray(slope).resize((4 * SIDE, SIDE), Image.Resampling.BICUBIC))[0],
}
waves = {name: float(np.abs(row - true)[inside].max()) for name, row in large.items()}
print("  enlarged four times, farthest from the line: " + ", ".join(f"{n} {w:.4f}" for n, w in waves.items()))
bent = off[0][0] > 0.02 and off[1][0] > 0.04 and waves["OpenCV"] > 0.04
straight = max(abs(one[1]) for one in off) < 1e-3 and waves["Pillow"] < 1e-3
raise SystemExit(not (bent and straight))
PY
uv run --quiet --isolated --no-project --python 3.11 --with opencv-python-headless==5.0.0.93 --with numpy==2.4.6 \
    --with scipy==1.17.1 --with pillow==13.0.0 python "$work/probe.py" || { echo "the finding is out of date"; exit 1; }
