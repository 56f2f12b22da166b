#!/usr/bin/env bash
# YOLO.val of a segmentation model on small round cells, with and without save_txt=True. In place of what a network says of
# this image there are the true cells themselves, at the quarter size that its masks have.
#
# Guess before running: save_txt writes files besides and changes no score; masks are scored on the image's own pixels.
# Seen: without it both masks are scored at a quarter of the size, the true ones after they were drawn with their border
# pixels and shrunk; with it predictions are enlarged first. Cells of 12 px have mask mAP50 0.50 without and 0.86 with it;
# the masks that `predict` gives of the same have 1.00 in pycocotools.
set -euo pipefail
command -v uv >/dev/null || pip install -q uv
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cat >"$work/probe.py" <<'PY'
import contextlib
import io
import os
import sys
from importlib.metadata import version
from pathlib import Path

root = Path(sys.argv[1])
os.environ |= {"YOLO_CONFIG_DIR": str(root), "YOLO_OFFLINE": "True", "YOLO_AUTOINSTALL": "False", "YOLO_VERBOSE": "False"}
import numpy as np
import torch
from PIL import Image
from pycocotools import mask as codec
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval
from ultralytics import YOLO
from ultralytics.models.yolo.segment import SegmentationValidator
from ultralytics.utils import ops

SIDE, DIAMETER = 640, 12
rng, turn = np.random.default_rng(0), np.linspace(0, 2 * np.pi, 24, endpoint=False)
corners = np.stack(np.meshgrid(np.arange(8, 600, 40), np.arange(8, 600, 40)), -1).reshape(-1, 1, 2)
circle = DIAMETER / 2 * np.column_stack([np.cos(turn), np.sin(turn)])
polygons = corners + rng.uniform(8, 20, corners.shape) + circle  # (cells, 24, xy)
count = len(polygons)
for folder in ("images", "labels"):
    (root / folder).mkdir()
Image.new("RGB", (SIDE, SIDE)).save(root / "images/a.png")
lines = [" ".join(["0", *(f"{value:.6f}" for value in (polygon / SIDE).ravel())]) for polygon in polygons]
(root / "labels/a.txt").write_text("\n".join(lines))
(root / "data.yaml").write_text(f"path: {root}\ntrain: images\nval: images\nnames: {{0: cell}}\n")

rles = [codec.merge(codec.frPyObjects([polygon.ravel().tolist()], SIDE, SIDE)) for polygon in polygons]
true = torch.tensor(np.stack([codec.decode(rle) for rle in rles])).float()
logits = 20 * (torch.nn.functional.avg_pool2d(true, 4) - 0.5)  # of a mask for each cell, (cells, 160, 160)
boxes = torch.tensor(np.hstack([polygons.min(1), polygons.max(1)])).float()
scores = torch.linspace(0.9, 0.5, count)


class Given(SegmentationValidator):
    def postprocess(self, preds):
        masks = self.process(logits, torch.eye(count), boxes, (SIDE, SIDE))
        return [{"bboxes": boxes.clone(), "conf": scores, "cls": torch.zeros(count), "masks": masks}]


def val(**options: bool) -> float:
    with contextlib.redirect_stdout(io.StringIO()):
        found = YOLO("yolo11n-seg.yaml").val(
            validator=Given, data=str(root / "data.yaml"), imgsz=SIDE, rect=False, batch=1, workers=0, device="cpu",
            plots=False, project=str(root / "runs"), max_det=count, **options,
        )  # fmt: skip
    assert found.box.map50 > 0.99
    return float(found.seg.map50)


def by_pixels() -> float:
    masks = ops.process_mask_native(logits, torch.eye(count), boxes, (SIDE, SIDE)).numpy().astype(np.uint8)
    one = {"image_id": 1, "category_id": 1}
    with contextlib.redirect_stdout(io.StringIO()):
        coco = COCO()
        coco.dataset = {
            "images": [{"id": 1, "width": SIDE, "height": SIDE}],
            "annotations": [
                one | {"id": n, "segmentation": rle, "area": int(codec.area(rle)), "bbox": [0, 0, 1, 1], "iscrowd": 0}
                for n, rle in enumerate(rles, 1)
            ],
            "categories": [{"id": 1, "name": "cell"}],
        }
        coco.createIndex()
        given = zip(masks, scores.tolist(), strict=True)
        results = [one | {"segmentation": codec.encode(np.asfortranarray(m)), "score": score} for m, score in given]
        judged = COCOeval(coco, coco.loadRes(results), "segm")
        judged.params.maxDets = [1, 10, count]
        judged.evaluate()
        judged.accumulate()
    return float(judged.eval["precision"][0, :, 0, 0, -1].mean())


seen = {"val": val(), "val(save_txt=True)": val(save_txt=True), "pycocotools": by_pixels()}
print(f"ultralytics {version('ultralytics')}, {count} cells of {DIAMETER} px, all found; mask mAP50:", seen)
assert 0.4 < seen["val"] < 0.6 and 0.8 < seen["val(save_txt=True)"] < 0.9, "the finding is out of date"
assert seen["pycocotools"] > 0.99
PY
cd "$work"
uv run --quiet --isolated --no-project --python 3.11 --with ultralytics==8.4.190 --with torch==2.15.0 --with torchvision==0.29.2 \
    --with pycocotools==2.0.11 --with opencv-python-headless==5.0.0.93 --with numpy==2.4.6 python probe.py "$work" 2>log ||
    { cat log; exit 1; }
