#!/usr/bin/env bash
# An image of an even slope moved by parts of a pixel, as drift between frames is corrected, with OpenCV's warpAffine and
# remap: linear, and Lanczos over 8 pixels, its finest interpolation.
#
# Guess before running: the finer the interpolation, the nearer the shift to what was asked; Lanczos at 0.01 px moves the
# image by 0.01 px.
# Seen (OpenCV 5.0.0): linear moves it by what was asked. Lanczos moves it by whole 32nds of a pixel, in both functions:
# 0.01 px leave every pixel as it was, 0.02 px become a 32nd. Drift below a 64th from frame to frame is never corrected.
# (In OpenCV 4.14 linear and cubic do the same; 5 changed these alone.)
set -euo pipefail
command -v uv >/dev/null || pip install -q uv
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cat >"$work/probe.py" <<'PY'
import cv2
import numpy as np

SIDE = 64
slope = np.tile(np.arange(SIDE, dtype=np.float32), (SIDE, 1))  # a grey level a pixel: its change is the shift
x, y = np.meshgrid(np.arange(SIDE, dtype=np.float32), np.arange(SIDE, dtype=np.float32))


def moved(by: float, flag: int) -> list[np.ndarray]:
    matrix = np.array([[1, 0, by], [0, 1, 0]], np.float64)
    warped = cv2.warpAffine(slope, matrix, (SIDE, SIDE), flags=flag | cv2.WARP_INVERSE_MAP)
    return [warped, cv2.remap(slope, x + np.float32(by), y, flag)]


middle = (SIDE // 2, SIDE // 2)
print(f"OpenCV {cv2.__version__}; asked, then linear and Lanczos by warpAffine")
exact = True
for by in (0.01, 0.02, 0.03, 0.1, 0.4):
    linear, lanczos = (moved(by, flag)[0][middle] - slope[middle] for flag in (cv2.INTER_LINEAR, cv2.INTER_LANCZOS4))
    exact &= abs(linear - by) < 1e-4
    print(f"  {by:.2f}  {linear:.4f}  {lanczos:.4f}")
still = all(np.array_equal(image, slope) for image in moved(0.01, cv2.INTER_LANCZOS4))
same = all(map(np.array_equal, moved(0.02, cv2.INTER_LANCZOS4), moved(1 / 32, cv2.INTER_LANCZOS4)))
print(f"Lanczos: 0.01 px changes nothing in both functions: {still}; 0.02 px gives the bytes of 1/32 px: {same}")
raise SystemExit(not (exact and still and same))
PY
uv run --quiet --isolated --no-project --python 3.11 --with opencv-python-headless==5.0.0.93 --with numpy==2.4.6 \
    python "$work/probe.py" || { echo "the finding is out of date"; exit 1; }
