#!/usr/bin/env bash
# A label image in which a round cell lies on a flat one (or is enclosed by it), given to what Cellpose and StarDist have
# for filling the holes of cells. No pixel of either cell is missing.
#
# Guess before running: a hole is background that a cell encloses; another cell is none, and both stay as they are.
# Seen: whatever isn't the cell counts as its hole. Cellpose's function gives the inner cell to the outer one: one cell of
# two, whatever their numbers. StarDist's does so where the outer one has the higher number, and else keeps both, so that
# the same cells under other numbers are other cells.
set -euo pipefail
command -v uv >/dev/null || pip install -q uv
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cat >"$work/probe.py" <<'PY'
import contextlib
import io
import os
from importlib.metadata import version

import numpy as np
from stardist.utils import fill_label_holes

os.environ["CELLPOSE_LOCAL_MODELS_PATH"] = os.path.dirname(__file__)
with contextlib.redirect_stdout(io.StringIO()):
    from cellpose.utils import fill_holes_and_remove_small_masks


def areas(fill, inner: int, outer: int) -> list[int]:
    labels = np.zeros((60, 60), np.uint16)
    labels[10:50, 10:50] = outer
    labels[20:32, 20:32] = inner
    return sorted(np.unique(fill(labels), return_counts=True)[1][1:].tolist())


seen = {}
for name, fill in (("cellpose", fill_holes_and_remove_small_masks), ("stardist", fill_label_holes)):
    seen[name] = areas(fill, 1, 2), areas(fill, 2, 1)
    print(name, version(name), "areas of cells of 144 and 1456 px: inner one 1,", seen[name][0], "inner one 2,", seen[name][1])
assert seen["cellpose"] == ([1600], [1600]), "the finding is out of date"
assert seen["stardist"] == ([1600], [144, 1456]), "the finding is out of date"
PY
uv run --quiet --isolated --no-project --python 3.11 --with cellpose==4.2.1.1 --with stardist==0.9.2 --with torch==2.15.0 \
    --with torchvision==0.29.2 --with opencv-python-headless==5.0.0.93 --with numpy==2.4.6 python "$work/probe.py"
