#!/usr/bin/env bash
# Truth whose annotation ids count from 0, as many converters write them, in three COCO evaluators.
#
# Guess before running: ids are names; perfect results have AP 1 whatever the numbers, and all evaluators agree.
# Seen: pycocotools and faster-coco-eval use the id itself as the mark of a match, where 0 means "no match": the first
# cell counts as missed and its prediction as false, AP 0.442 for three cells that are all found. hotcoco says 1 and warns.
set -euo pipefail
command -v uv >/dev/null || pip install -q uv
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cat >"$work/probe.py" <<'PY'
import contextlib
import io
import json
import tempfile
from importlib import import_module
from importlib.metadata import version

import numpy as np
from pycocotools import mask

EVALUATORS = {
    "pycocotools": ("pycocotools.coco", "pycocotools.cocoeval", "COCOeval"),
    "faster-coco-eval": ("faster_coco_eval", "faster_coco_eval", "COCOeval_faster"),
    "hotcoco": ("hotcoco", "hotcoco", "COCOeval"),
}


def mask_ap(name: str, first_id: int) -> float:
    annotations, results = [], []
    for cell in range(3):
        pixels = np.zeros((40, 40), np.uint8, order="F")
        pixels[10 * cell : 10 * cell + 8, 5:15] = 1
        rle = mask.encode(pixels)
        rle["counts"] = rle["counts"].decode()
        of = {"image_id": 1, "category_id": 1, "segmentation": rle}
        annotations.append({**of, "id": first_id + cell, "bbox": [5, 10 * cell, 10, 8], "area": 80, "iscrowd": 0})
        results.append({**of, "score": 0.9 - 0.1 * cell})
    truth = {
        "images": [{"id": 1, "width": 40, "height": 40, "file_name": "a.png"}],
        "annotations": annotations,
        "categories": [{"id": 1, "name": "cell"}],
    }
    coco, evaluation, cls = EVALUATORS[name]
    with tempfile.NamedTemporaryFile("w", suffix=".json") as file, contextlib.redirect_stdout(io.StringIO()):
        json.dump(truth, file)
        file.flush()
        listed = import_module(coco).COCO(file.name)
        run = getattr(import_module(evaluation), cls)(listed, listed.loadRes(results), "segm")
        run.evaluate()
        run.accumulate()
        run.summarize()
        return round(float(run.stats[0]), 3)


found = {name: (mask_ap(name, 1), mask_ap(name, 0)) for name in EVALUATORS}
for name, (from_1, from_0) in found.items():
    print(f"{name} {version(name)}: mask AP {from_1} with ids from 1, {from_0} with ids from 0")
assert all(from_1 == 1.0 for from_1, _ in found.values())
assert [from_0 for _, from_0 in found.values()] == [0.442, 0.442, 1.0], "the finding is out of date"
PY
uv run --quiet --isolated --no-project --python 3.11 --with pycocotools==2.0.11 --with faster-coco-eval==1.8.0 \
    --with hotcoco==1.3.0 --with numpy==2.4.6 python "$work/probe.py"
