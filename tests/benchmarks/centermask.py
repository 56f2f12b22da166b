"""CenterMask beside torchvision's Mask R-CNN on the same image: training step, inference, masks to RLE, memory.

python tests/benchmarks/centermask.py [threads]

Both have first weights and as many masks to make (300 an image), so that time goes with the networks and not with what
they have learnt; each time is the best of several, taken in turns.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from monolayer.coco.rle import crop_from_rle
from monolayer.models.centermask.family import predict
from monolayer.models.centermask.network import CenterMask
from monolayer.models.centermask.pipeline import DetectedMasks, Pipeline
from torch import Tensor, nn
from torchvision.models.detection import maskrcnn_resnet50_fpn

sys.path.insert(0, str(Path(__file__).parents[1]))
from centermask_samples import random_annotations, random_cells, settings

HEIGHT, WIDTH = 520, 704
MASKS, TRUTHS, REGIONS = 300, 100, 128  # found in an image; true cells of one; regions that masks learn from in a step


def best_in_turns(works: dict[str, Callable[[], Any]], rounds: int) -> dict[str, float]:
    """The shortest time in s of each, after one round to warm up; in turns, so that other load meets all alike."""
    found = dict.fromkeys(works, float("inf"))
    for turn in range(rounds + 1):
        for name, work in works.items():
            started = time.perf_counter()
            work()
            if turn:
                found[name] = min(found[name], time.perf_counter() - started)
    return found


def table(title: str, seconds: dict[str, float]) -> None:
    slowest = seconds["Mask R-CNN R-50"]
    print(title)
    for name, value in seconds.items():
        print(f"  {name:28s} {value:7.3f} s   {slowest / value:5.2f} times as fast as Mask R-CNN")


def mask_rcnn() -> nn.Module:
    """Mask R-CNN ResNet-50 FPN at the image's own size, with masks for its best boxes whatever their score."""
    network: nn.Module = maskrcnn_resnet50_fpn(
        weights=None,
        weights_backbone=None,
        num_classes=2,
        min_size=HEIGHT,
        max_size=WIDTH,
        box_score_thresh=0.0,
        box_nms_thresh=1.0,
        box_detections_per_img=MASKS,
        box_batch_size_per_image=4 * REGIONS,  # a quarter of them positive: as many masks as ours
    )
    return network


def centermasks() -> dict[str, CenterMask]:
    names = {"CenterMask-Lite V-19-slim-dw": "centermask_v19_slimdw", "CenterMask V-99": "centermask_v99"}
    return {name: CenterMask(settings("full", model).network) for name, model in names.items()}


def training() -> None:
    image, cells, masks = torch.rand(HEIGHT, WIDTH), random_cells(TRUTHS, HEIGHT, WIDTH), whole_masks(TRUTHS)
    chosen = settings("full")
    target = {"boxes": cells.boxes, "labels": torch.ones(TRUTHS, dtype=torch.long), "masks": masks}

    def ours(network: CenterMask) -> dict[str, Tensor]:
        return network.losses([image * 255], [cells], chosen.proposals, REGIONS)

    rival = mask_rcnn().train()
    steps: dict[str, Callable[[], Any]] = {
        "Mask R-CNN R-50": partial(step, rival, lambda: rival([image.expand(3, -1, -1)], [target]))
    }
    for name, network in centermasks().items():
        steps[name] = partial(step, network.train(), partial(ours, network))
    table(f"training step, 1 image of {WIDTH}x{HEIGHT} px, {TRUTHS} cells", best_in_turns(steps, 3))


def step(network: nn.Module, losses: Callable[[], dict[str, Tensor]]) -> None:
    network.zero_grad()
    torch.stack(list(losses().values())).sum().backward()  # type: ignore[no-untyped-call]


def whole_masks(count: int) -> Tensor:
    """The same cells as random_cells, as whole planes (N, H, W)."""
    planes = torch.zeros(count, HEIGHT, WIDTH, dtype=torch.uint8)
    for plane, annotation in zip(planes, random_annotations(count, HEIGHT, WIDTH), strict=True):
        mask, x, y = crop_from_rle(annotation["segmentation"])
        plane[y : y + mask.shape[0], x : x + mask.shape[1]] = torch.from_numpy(mask)
    return planes


def inference() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (HEIGHT, WIDTH)).astype(np.uint8)
    image = torch.from_numpy(pixels).expand(3, -1, -1) / 255
    limits = settings("full").val_predict.model_copy(
        update={"zoom": 1.0, "score_min": 0.0, "nms_iou": 1.0, "max_det": MASKS}
    )
    rival = mask_rcnn().eval()
    works: dict[str, Callable[[], Any]] = {"Mask R-CNN R-50": torch.inference_mode()(lambda: rival([image]))}
    for name, network in centermasks().items():
        works[name] = partial(predict, network.eval(), [pixels], limits)
    counts = [len(works["Mask R-CNN R-50"]()[0]["masks"]), *(len(w()[0].masks) for w in list(works.values())[1:])]
    table(f"inference, 1 image of {WIDTH}x{HEIGHT} px to masks ({counts} of them)", best_in_turns(works, 3))


def masks_to_rle() -> None:
    """1,000 cells of 20 to 60 px from mask probabilities to RLE at native size."""
    rng = np.random.default_rng(0)
    corner, side = rng.uniform(0, [WIDTH - 60, HEIGHT - 60], (1000, 2)), rng.uniform(20, 60, (1000, 2))
    y, x = np.mgrid[:28, :28] - 13.5
    disk = (1 / (1 + np.exp(np.hypot(x, y) - 13.0))).astype(np.float32)
    boxes, scores = np.hstack([corner, corner + side]).astype(np.float32), rng.random(1000).astype(np.float32)
    found = DetectedMasks(boxes, scores, np.repeat(disk[None], 1000, 0), scores, (HEIGHT, WIDTH))
    pipeline = Pipeline.of(settings("full").val_predict, {"mean": [0.0] * 3, "std": [1.0] * 3})
    works = {"paste": lambda: pipeline.postprocess(found, HEIGHT, WIDTH)}
    cells = works["paste"]()
    both = {**works, "encode": lambda: list(cells.results(1))}
    parts = best_in_turns(both, 5)
    pixels = sum(int(mask.sum()) for mask in cells.masks)
    print(f"1,000 masks ({pixels} px) to RLE on one core: {sum(parts.values()):.3f} s", parts)


def main() -> None:
    torch.manual_seed(0)
    torch.set_num_threads(1)
    masks_to_rle()
    torch.set_num_threads(int(sys.argv[1]) if len(sys.argv) > 1 else 2)
    for name, network in centermasks().items():
        count = sum(p.numel() for p in network.parameters())
        trunk = sum(p.numel() for p in network.backbone.parameters())
        print(f"{name}: {count / 1e6:.2f} million parameters, {trunk / 1e6:.2f} of them in the backbone")
    print(f"Mask R-CNN R-50: {sum(p.numel() for p in mask_rcnn().parameters()) / 1e6:.2f} million parameters")
    inference()
    training()


if __name__ == "__main__":
    main()
