#!/usr/bin/env bash
# Images of whole numbers, uint8 and uint16, smoothed with scipy.ndimage.gaussian_filter.
#
# Guess before running: a Gaussian leaves the mean, and the result is rounded, so its mean is the image's.
# Seen: the result is cut to whole numbers, not rounded, after each of the two axes: it is 1 grey level darker whatever
# sigma and brightness. A dim background of 3 photons becomes 2, and an image less its smoothed copy keeps a level where
# nothing is. OpenCV's Gaussian rounds, and so does ndimage.rotate.
set -euo pipefail
command -v uv >/dev/null || pip install -q uv
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cat >"$work/probe.py" <<'PY'
import cv2
import numpy as np
import scipy
from scipy import ndimage

print("scipy", scipy.__version__, "OpenCV", cv2.__version__)
rng = np.random.default_rng(0)
for dtype in (np.uint8, np.uint16):
    for mean in (3, 100):
        image = rng.poisson(mean, (400, 400)).astype(dtype)
        for sigma in (1, 2, 5):
            exact = ndimage.gaussian_filter(image.astype(float), sigma).mean()
            darker = exact - ndimage.gaussian_filter(image, sigma).mean(), exact - cv2.GaussianBlur(image, (0, 0), sigma).mean()
            print(f"{image.dtype}, mean {mean}, sigma {sigma}: darker by {darker[0]:.2f}, in OpenCV by {darker[1]:.2f}")
            assert 0.8 < darker[0] < 1.1 and abs(darker[1]) < 0.1, "the finding is out of date"
        turned = ndimage.rotate(image, 30, reshape=False, order=1, mode="mirror")
        exact = ndimage.rotate(image.astype(float), 30, reshape=False, order=1, mode="mirror")
        assert abs(turned.mean() - exact.mean()) < 0.1, "the finding is out of date"
PY
uv run --quiet --isolated --no-project --python 3.11 --with scipy==1.17.1 --with opencv-python-headless==5.0.0.93 \
    --with numpy==2.4.6 python "$work/probe.py"
