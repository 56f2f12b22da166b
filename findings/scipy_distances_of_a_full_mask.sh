#!/usr/bin/env bash
# scipy.ndimage's three distance transforms of a mask that is cell all over: a confluent field, or a cell's own crop that it
# fills. Seeds of a watershed are taken where the distance is greatest.
#
# Guess before running: without background there is no distance to it: infinite for all pixels; or the border counts as
# background. In any case the three agree, and left and right are alike.
# Seen (scipy 1.17.1): distance_transform_edt measures from a pixel that isn't there, right above the first one, (-1, 0): 1 in
# the upper left corner, the more the further away, and the deepest point of the mask is its lower right corner. The two
# others say -1 (distance_transform_cdt) and 1.3e154 (distance_transform_bf). No warning. A frame of background gives 3.
set -euo pipefail
command -v uv >/dev/null || pip install -q uv
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cat >"$work/probe.py" <<'PY'
import numpy as np
import scipy
from scipy import ndimage

print("scipy", scipy.__version__)
full = np.ones((5, 7), bool)
distances, nearest = ndimage.distance_transform_edt(full, return_indices=True)
inner = ndimage.distance_transform_edt(np.pad(full, 1))[1:-1, 1:-1]
print("distances of a full mask, rounded:", distances.round(1).tolist())
print("the nearest background of each pixel:", np.unique(nearest.reshape(2, -1), axis=1).T.tolist())
print("the deepest pixel:", np.argwhere(distances == distances.max()).tolist(), "of", full.shape)
print("distance_transform_cdt:", np.unique(ndimage.distance_transform_cdt(full)).tolist())
print("distance_transform_bf:", np.unique(ndimage.distance_transform_bf(full)).tolist())
print("with a frame of background, the greatest:", inner.max())
rows, columns = np.indices(full.shape)
assert np.allclose(distances, np.hypot(rows + 1, columns)), "a full mask has other distances: the finding is out of date"
assert (ndimage.distance_transform_cdt(full) == -1).all() and (ndimage.distance_transform_bf(full) > 1e100).all()
assert inner.max() == 3
PY
uv run --quiet --isolated --no-project --python 3.11 --with scipy==1.17.1 --with numpy==2.4.6 python "$work/probe.py"
