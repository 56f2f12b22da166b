#!/usr/bin/env bash
# Two rod-shaped cells side by side, at 45 degrees and 3 px apart, as predictions with masks that SAHI puts together after
# it has predicted tile by tile.
#
# Guess before running: predictions that carry masks are compared by them; these share no pixel, so both stay.
# Seen: only their boxes are compared, which overlap by most of their area: merging gives one cell with the pixels of both,
# suppression drops one, for IoU and for IoS. Upright, the same two cells stay two.
set -euo pipefail
command -v uv >/dev/null || pip install -q uv
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cat >"$work/probe.py" <<'PY'
import itertools
from importlib.metadata import version

import numpy as np
from sahi.postprocess.combine import GreedyNMMPostprocess, NMMPostprocess, NMSPostprocess
from sahi.prediction import ObjectPrediction
from sahi.utils.cv import get_coco_segmentation_from_bool_mask

SIDE = 70


def rods(slope: int) -> list[np.ndarray]:
    masks = np.zeros((2, SIDE, SIDE), bool)
    for mask, left in zip(masks, (5, 12), strict=True):
        for step in range(40):
            mask[5 + step : 9 + step, left + slope * step : left + slope * step + 4] = True
    return list(masks)


def areas(masks: list[np.ndarray], kind: type, metric: str) -> list[int]:
    cells = [
        ObjectPrediction(
            segmentation=get_coco_segmentation_from_bool_mask(mask),
            category_id=0,
            category_name="cell",
            score=score,
            shift_amount=[0, 0],
            full_shape=[SIDE, SIDE],
        )
        for mask, score in zip(masks, (0.9, 0.8), strict=True)
    ]
    kept = kind(match_threshold=0.5, match_metric=metric)(cells)
    return [int(cell.mask.bool_mask.sum()) for cell in kept]


print("sahi", version("sahi"))
slanted, upright = rods(1), rods(0)
assert not (slanted[0] & slanted[1]).any()
for kind, metric in itertools.product((GreedyNMMPostprocess, NMMPostprocess, NMSPostprocess), ("IOS", "IOU")):
    at_45, at_0 = areas(slanted, kind, metric), areas(upright, kind, metric)
    print(f"{kind.__name__}, {metric}: {len(at_45)} cell of {at_45} px at 45 degrees, {len(at_0)} of {at_0} px upright")
    assert len(at_0) == 2 and len(at_45) == 1, "the finding is out of date"
PY
uv run --quiet --isolated --no-project --python 3.11 --with sahi==0.12.8 --with opencv-python-headless==5.0.0.93 \
    --with numpy==2.4.6 python "$work/probe.py"
