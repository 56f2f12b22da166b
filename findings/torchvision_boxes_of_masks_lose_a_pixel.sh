#!/usr/bin/env bash
# torchvision.ops.masks_to_boxes on cells of a few pixels, and what box_area and COCO say of the same masks.
#
# Guess before running: the xyxy box of a mask of 4 x 5 px has the area 20, as torchvision's own box_area computes it and
# as COCO's toBbox has it; the box of one pixel has the area 1.
# Seen: the corners are the first and the last pixel, so that width and height are one too small: area 12, and 0 for a
# single pixel; an empty mask gives [0, 0, 0, 0], the box of a cell in the corner. IoU of boxes with those of a COCO file
# is 0.6 for the same cell.
set -euo pipefail
command -v uv >/dev/null || pip install -q uv
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cat >"$work/probe.py" <<'PY'
from importlib.metadata import version

import numpy as np
import torch
from pycocotools import mask as coco
from torchvision.ops import box_area, box_convert, box_iou, masks_to_boxes

print({name: version(name) for name in ("torchvision", "pycocotools")})
masks = torch.zeros(3, 10, 10, dtype=torch.bool)
masks[0, 2:6, 3:8] = True  # 4 x 5 px
masks[1, 4, 4] = True  # one pixel
boxes = masks_to_boxes(masks)
official = coco.toBbox([coco.encode(np.asfortranarray(mask.numpy().astype(np.uint8))) for mask in masks])
official = box_convert(torch.from_numpy(official).float(), "xywh", "xyxy")
print("masks_to_boxes", boxes.tolist(), "areas", box_area(boxes).tolist(), "of", masks.sum((1, 2)).tolist(), "px")
print("COCO          ", official.tolist(), "areas", box_area(official).tolist())
iou = float(box_iou(boxes[:1], official[:1]))
print(f"IoU of both boxes of the first cell: {iou:.2f}")
assert box_area(boxes).tolist() == [12.0, 0.0, 0.0], "boxes hold their last pixel now: the finding is out of date"
assert box_area(official).tolist() == [20.0, 1.0, 0.0]
assert abs(iou - 0.6) < 1e-6
PY
uv run --quiet --isolated --no-project --python 3.11 --with pycocotools==2.0.11 --with torch==2.15.0 \
    --with torchvision==0.29.2 python "$work/probe.py"
