#!/usr/bin/env bash
# The exact distance transform (DIST_L2, DIST_MASK_PRECISE) of a mask, with one thread and with two.
#
# Guess before running: the roots of whole squares, rounded to float32, the same bytes whatever the number of threads.
# Seen (OpenCV 5.0.0): most masks get another last digit somewhere (√50 is 7.0710683 in place of 7.0710678) with one
# thread than with two; within a process that other work delays it changes from call to call. What is divided and
# rounded afterwards turns round at halves. The squares, rounded, are the whole numbers that they should be in both.
set -euo pipefail
command -v uv >/dev/null || pip install -q uv
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cat >"$work/probe.py" <<'PY'
import cv2
import numpy as np


def distances(mask: np.ndarray, threads: int) -> np.ndarray:
    cv2.setNumThreads(threads)
    return cv2.distanceTransform(mask, cv2.DIST_L2, cv2.DIST_MASK_PRECISE)


differ = whole = 0
for seed in range(60):
    rng, mask = np.random.default_rng(seed), np.zeros((130, 130), np.uint8)
    for _ in range(8):
        cv2.circle(mask, tuple(rng.integers(0, 130, 2).tolist()), int(rng.integers(6, 22)), 1, -1)
    one, two = distances(mask, 1), distances(mask, 2)
    differ += not np.array_equal(one, two)
    whole += np.array_equal(np.rint(np.square(one)), np.rint(np.square(two)))
print(f"OpenCV {cv2.__version__}: {differ} of 60 masks differ between one thread and two; rounded squares are alike in {whole}")
raise SystemExit(not (differ > 0 and whole == 60))
PY
uv run --quiet --isolated --no-project --python 3.11 --with opencv-python-headless==5.0.0.93 --with numpy==2.4.6 \
    python "$work/probe.py" || { echo "the finding is out of date"; exit 1; }
