#!/usr/bin/env bash
# Contrast of a drawn 12-bit micrograph (512 x 512 px) equalised tile by tile with OpenCV's CLAHE, in 16 bits, and of the
# same grey levels in 8 bits, with clip limits from 1 to 40 (the default).
#
# Guess before running: a clip limit is relative to an even histogram, so that 2, 4 and 8 give more and more contrast in
# 16 bits, as they do in 8.
# Seen (OpenCV 5.0.0): in 16 bits all limits from 1 to 16 give the same bytes. The limit is counted in pixels of a bin:
# clip limit x pixels of a tile / 65,536 bins, cut to a whole number and 1 at least, so that tiles of 64 x 64 px reach 2
# at a limit of 32. In 8 bits each step adds contrast. Whoever tunes the limit on 8-bit copies, or step by step, sees
# nothing of it on the camera's own files.
set -euo pipefail
command -v uv >/dev/null || pip install -q uv
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cat >"$work/probe.py" <<'PY'
import cv2
import numpy as np

rng = np.random.default_rng(0)
y, x = np.mgrid[:512, :512]
light = np.full((512, 512), 1000.0)
for cy, cx in rng.integers(0, 512, (150, 2)):
    light += 300 * np.exp(-((y - cy) ** 2 + (x - cx) ** 2) / 128)
camera = np.clip(light + rng.normal(0, 20, light.shape), 0, 4095).astype(np.uint16)
images = {"16 bits": camera, "8 bits": (camera >> 4).astype(np.uint8)}
LIMITS = (1, 2, 4, 8, 16, 32, 40)
print(f"OpenCV {cv2.__version__}; standard deviation of the result, by clip limit {LIMITS}")
results = {}
for name, image in images.items():
    results[name] = [cv2.createCLAHE(limit, (8, 8)).apply(image) for limit in LIMITS]
    print(f"  {name}: " + ", ".join(f"{made.std():.1f}" for made in results[name]))
alike = [sum(np.array_equal(made, results[name][0]) for made in results[name][:5]) for name in images]
two = np.array_equal(results["16 bits"][5], results["16 bits"][6])
print(f"of five limits from 1 to 16 give the bytes of 1: {alike[0]} in 16 bits, {alike[1]} in 8; 32 is 40 in 16 bits: {two}")
raise SystemExit(not (alike == [5, 1] and two))
PY
uv run --quiet --isolated --no-project --python 3.11 --with opencv-python-headless==5.0.0.93 --with numpy==2.4.6 \
    python "$work/probe.py" || { echo "the finding is out of date"; exit 1; }
