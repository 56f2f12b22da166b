#!/usr/bin/env bash
# A label image in one chunk, and the same in chunks of 16 px, made into polygons by spatialdata.to_polygons: their areas
# beside the numbers of pixels, their centres beside spatialdata.get_centroids of the same labels.
#
# Guess before running: about the pixels' areas, whatever the chunks, for chunks are how a file is kept; a hole is a hole.
# Seen (spatialdata 0.7.0): in one chunk a hole is a part of the cell more and its area is added: 375 px are 424. Over
# several chunks it is a hole: 373. Corners are cut in each chunk anew, so that a cell of 9 px is 8.5, or 7.0 where chunks
# meet in it, and one of 1 px is 0.5. All polygons lie 0.5 px further left and up than get_centroids has the cells.
set -euo pipefail
command -v uv >/dev/null || pip install -q uv
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cat >"$work/probe.py" <<'PY'
import warnings
from importlib.metadata import version

warnings.simplefilter("ignore")
import dask.array as da
import numpy as np
import spatialdata
from spatialdata.models import Labels2DModel

labels = np.zeros((64, 64), np.int32)
labels[3, 3] = 1
labels[30:33, 30:33] = 2
labels[40:60, 5:25] = 3
labels[45:50, 10:15] = 0  # a hole in the third
pixels = np.bincount(labels.ravel())[1:].tolist()
print(f"spatialdata {version('spatialdata')}; pixels of the cells: {pixels}")


def polygons(chunk: int) -> tuple[list[float], list[float]]:
    """Areas of the cells in px², and how far the first one's centre lies from the label's (x, y)."""
    element = Labels2DModel.parse(da.from_array(labels, chunks=chunk), dims=("y", "x"))
    found = spatialdata.to_polygons(element).sort_index()
    centres = np.column_stack([found.centroid.x, found.centroid.y])
    off = centres - spatialdata.get_centroids(element).compute().loc[[1, 2, 3], ["x", "y"]].to_numpy()
    return found.area.round(2).tolist(), off[0].round(2).tolist()


seen = {chunk: polygons(chunk) for chunk in (64, 16)}
for chunk, (areas, off) in seen.items():
    print(f"chunks of {chunk} px: areas {areas}, the first centre off by {off} px")
assert seen[64] == ([0.5, 8.5, 424.0], [-0.5, -0.5]), "the finding is out of date"
assert seen[16] == ([0.5, 7.0, 373.0], [-0.5, -0.5]), "the finding is out of date"
PY
uv run --quiet --isolated --no-project --python 3.11 --with spatialdata==0.7.0 --with setuptools==79.0.1 --with numpy==2.4.6 \
    python "$work/probe.py" 2>&1 | grep -v -i warn
