#!/usr/bin/env bash
# torchmetrics' MeanAveragePrecision with max_detection_thresholds for dense images (LIVECell's 100/500/2000).
#
# Guess before running: `map` and `map_50` of one result are computed with the same cap, the largest that was given,
# and perfect predictions of 400 cells have map 1 with any cap of 400 or more.
# Seen: `map` alone stays at 100 detections an image, whatever is given: 0.257 beside map_50 = map_75 = 1. Where 100 is
# not among the thresholds it is -1. So a table of `map` from torchmetrics understates every image of over 100 cells.
set -euo pipefail
command -v uv >/dev/null || pip install -q uv
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cat >"$work/probe.py" <<'PY'
import warnings
from importlib.metadata import version

import torch
from torchmetrics.detection import MeanAveragePrecision

warnings.simplefilter("ignore")
print({name: version(name) for name in ("torchmetrics", "pycocotools", "torch")})
CELLS = 400
masks = torch.zeros(CELLS, 60, 60, dtype=torch.bool)
for cell in range(CELLS):
    y, x = 3 * (cell // 20), 3 * (cell % 20)
    masks[cell, y : y + 2, x : x + 2] = True
labels, scores = torch.zeros(CELLS, dtype=torch.long), torch.linspace(1, 0.5, CELLS)


def scored(thresholds: list[int]) -> dict[str, float]:
    metric = MeanAveragePrecision(iou_type="segm", max_detection_thresholds=thresholds)
    metric.update([{"masks": masks, "scores": scores, "labels": labels}], [{"masks": masks, "labels": labels}])
    return {name: round(float(value), 3) for name, value in metric.compute().items() if value.numel() == 1}


livecell, without_100 = scored([100, 500, 2000]), scored([1, 10, 500])
for name, found in (("100/500/2000", livecell), ("1/10/500", without_100)):
    print(name, {key: found[key] for key in ("map", "map_50", "map_75")})
assert livecell["map_50"] == livecell["map_75"] == 1.0, "all cells are found"
assert 0.2 < livecell["map"] < 0.3, "map no longer stays at 100 detections: the finding is out of date"
assert without_100["map"] == -1.0, "map without a threshold of 100 is no longer -1: the finding is out of date"
PY
uv run --quiet --isolated --no-project --python 3.11 --with torchmetrics==1.9.0 --with pycocotools==2.0.11 \
    --with torch==2.15.0 --with torchvision==0.29.2 python "$work/probe.py"
