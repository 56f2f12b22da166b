#!/usr/bin/env bash
# A table of cells given to a napari labels layer as features, its column `cell` (or `label`) holding their numbers.
#
# Guess before running: a cell's row is found by its number; a table for cells 1 and 2 has two rows.
# Seen: rows are matched by position, the first one being the background, so cell 1 shows the area of cell 2, and the
# last cell none; nothing is said. A column called `index` is matched by number.
set -euo pipefail
command -v uv >/dev/null || pip install -q uv
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cat >"$work/probe.py" <<'PY'
from importlib.metadata import version

import numpy as np
import pandas as pd
from napari.layers import Labels

labels = np.zeros((20, 20), np.int32)
labels[2:5, 2:5] = 1
labels[10:16, 10:16] = 2
print("napari", version("napari"))
seen = {}
for column in ("cell", "label", "index"):
    layer = Labels(labels, features=pd.DataFrame({column: [1, 2], "area": [9, 36]}))
    shown = [layer._get_properties(at, dims_displayed=[0, 1], view_direction=None) for at in ((3, 3), (12, 12))]
    seen[column] = [[text for text in texts if str(text).startswith("area")] for texts in shown]
    print(f"column {column}: cell 1 shows {seen[column][0]}, cell 2 {seen[column][1]}")
assert seen["cell"] == seen["label"] == [["area: 36"], []], "the finding is out of date"
assert seen["index"] == [["area: 9"], ["area: 36"]], "the finding is out of date"
PY
uv run --quiet --isolated --no-project --python 3.11 --with napari==0.9.2 python "$work/probe.py" 2>&1 | grep -v -i warning
