#!/usr/bin/env bash
# The same masks scored twice by three evaluators (iouType segm), once with a `bbox` key in the results, once without.
#
# Guess before running: mask AP by size asks for the masks' areas, so the key changes nothing.
# Seen: with it, a detection that matches nothing counts as small, medium or large by the area of its box. An L-shaped
# one of 116 px2 in a box of 900 px2 is no small one then: AP small is 1.0 with the key and 0.5 without, in all three.
set -euo pipefail
command -v uv >/dev/null || pip install -q uv
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cat >"$work/probe.py" <<'PY'
import contextlib
import io
import json
from importlib.metadata import version

import faster_coco_eval
import hotcoco
import numpy as np
import pycocotools.coco
import pycocotools.cocoeval
from pycocotools import mask as codec

TOOLS = {
    "pycocotools": (pycocotools.coco.COCO, pycocotools.cocoeval.COCOeval),
    "faster-coco-eval": (faster_coco_eval.COCO, faster_coco_eval.COCOeval_faster),
    "hotcoco": (hotcoco.COCO, hotcoco.COCOeval),
}


def corner(x, arm):
    """An L of two arms 2 px wide."""
    mask = np.zeros((60, 80), np.uint8, order="F")
    mask[5 : 5 + arm, x : x + 2] = mask[5:7, x : x + arm] = 1
    rle = codec.encode(mask)
    return {"size": rle["size"], "counts": rle["counts"].decode()}, [x, 5, arm, arm], int(mask.sum())


cells = [(*corner(5, 15), 0.9), (*corner(35, 30), 0.95)]  # the second one matches nothing
one = {"image_id": 1, "category_id": 1}
rle, box, area, _ = cells[0]
truth = {
    "images": [{"id": 1, "file_name": "a.png", "height": 60, "width": 80}],
    "annotations": [one | {"id": 1, "segmentation": rle, "bbox": box, "area": area, "iscrowd": 0}],
    "categories": [{"id": 1, "name": "cell"}],
}
json.dump(truth, open("truth.json", "w"))
for tool, (coco, judge) in TOOLS.items():
    small = []
    for with_box in (True, False):
        found = [one | {"segmentation": m, "score": s} | ({"bbox": b} if with_box else {}) for m, b, _, s in cells]
        json.dump(found, open("results.json", "w"))
        with contextlib.redirect_stdout(io.StringIO()):
            true = coco("truth.json")
            judged = judge(true, true.loadRes("results.json"), "segm")
            judged.params.areaRng = [[0, 1e10], [0, 324], [324, 961], [961, 1e10]]
            judged.evaluate()
            judged.accumulate()
        small.append(float(np.asarray(judged.eval["precision"])[:, :, 0, 1, -1].mean()))
    print(tool, version(tool), f"AP small: {small[0]:.3f} with boxes, {small[1]:.3f} without")
    assert np.allclose(small, [1.0, 0.5], atol=1e-9), "the finding is out of date"
PY
cd "$work"
uv run --quiet --isolated --no-project --python 3.11 --with pycocotools==2.0.11 --with faster-coco-eval==1.8.0 \
    --with hotcoco==1.3.0 --with numpy==2.4.6 python probe.py
