"""Settings, networks and random cells that tests and benchmarks of CenterMask share."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
import yaml
from monolayer.coco.records import Annotation, Rle
from monolayer.coco.rle import box_xywh, rle_area, rles_from_crops
from monolayer.models.centermask.crops import TargetCells, cells_in, whole
from monolayer.models.centermask.network import CenterMask
from monolayer.params.families import CenterMaskTrain
from paths import ROOT


def settings(scale: str = "quick", model: str = "centermask_v19_slimdw", **changes: Any) -> CenterMaskTrain:
    """params.yaml's training settings with changes; `network`, `fit` and `val_predict` may be changed in part."""
    row = yaml.safe_load((ROOT / "params.yaml").read_text())["models"][model][scale]["train"]
    for key, value in changes.items():
        row[key] = row[key] | value if isinstance(value, dict) else value
    return CenterMaskTrain.model_validate(row)


TINY = settings(network={"channels": 64, "convs": 1}, fit={"epochs": 1, "batch": 2, "ema_decay": 0.0})


def network_of(chosen: CenterMaskTrain = TINY) -> CenterMask:
    torch.manual_seed(0)
    return CenterMask(chosen.network)


def annotation(rle: Rle) -> Annotation:
    box, pixels = box_xywh(rle), float(rle_area(rle))
    return Annotation(id=1, image_id=1, category_id=1, segmentation=rle, bbox=box, area=pixels, iscrowd=0)


def random_annotations(count: int, height: int, width: int) -> list[Annotation]:
    """Ellipses of 8 to 30 px at random places."""
    rng = np.random.default_rng(0)
    found = []
    for _ in range(count):
        w, h = (int(v) for v in rng.integers(8, 30, 2))
        x, y = int(rng.integers(width - w)), int(rng.integers(height - h))
        v, u = np.mgrid[:h, :w]
        mask = ((u + 0.5) / w * 2 - 1) ** 2 + ((v + 0.5) / h * 2 - 1) ** 2 <= 1
        found.append(annotation(rles_from_crops([(mask, x, y)], height, width)[0]))
    return found


def random_cells(count: int, height: int, width: int) -> TargetCells:
    return cells_in(random_annotations(count, height, width), whole(height, width, 1.0))
