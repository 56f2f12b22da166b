"""FCOS, the detector of CenterMask: head, assignment of truth, losses, decoding.

Tian et al., arXiv 1904.01355 and 2006.09214. What differs from torchvision's FCOS: locations lie half a stride inside,
levels have a learnt scale, GIoU is weighted by centreness, and the score threshold meets the class score alone.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits
from torchvision.ops import nms, sigmoid_focal_loss

from monolayer.models.centermask.pipeline import STRIDES
from monolayer.params.families import DetectionLimits

SIZES = ((-1.0, 64.0), (64.0, 128.0), (128.0, 256.0), (256.0, 512.0), (512.0, float("inf")))  # px a level answers for
RADIUS = 1.5  # of the centre region, in strides
PRIOR = 0.01  # of a location being a cell, before training

Shapes = Sequence[tuple[int, int]]  # (height, width) of each level


@dataclass(frozen=True)
class Maps:
    """The head's outputs at all L locations, level after level: logits and centreness (B, L), ltrb (B, L, 4).

    ltrb are the distances from a location to its box's left, top, right and bottom edge, in strides of its level.
    """

    logits: Tensor
    ltrb: Tensor
    centreness: Tensor
    shapes: Shapes


class Detections(NamedTuple):
    """Boxes (N, 4) xyxy in px of the network's input and scores (N,), best first."""

    boxes: Tensor
    scores: Tensor


def _tower(channels: int, convs: int) -> nn.Sequential:
    layers: list[nn.Module] = []
    for _ in range(convs):
        layers += [nn.Conv2d(channels, channels, 3, padding=1), nn.GroupNorm(32, channels), nn.ReLU(inplace=True)]
    return nn.Sequential(*layers)


class Head(nn.Module):
    """One head for all levels: class tower, box tower; centreness reads the box tower."""

    def __init__(self, channels: int, convs: int) -> None:
        super().__init__()
        self.class_tower = _tower(channels, convs)
        self.box_tower = _tower(channels, convs)
        self.logits = nn.Conv2d(channels, 1, 3, padding=1)
        self.ltrb = nn.Conv2d(channels, 4, 3, padding=1)
        self.centreness = nn.Conv2d(channels, 1, 3, padding=1)
        self.scales = nn.ParameterList(torch.ones(1) for _ in STRIDES)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.normal_(module.weight, std=0.01)
                nn.init.zeros_(module.bias)  # type: ignore[arg-type]
        nn.init.constant_(self.logits.bias, math.log(PRIOR / (1 - PRIOR)))  # type: ignore[arg-type]

    def forward(self, levels: Sequence[Tensor]) -> Maps:
        logits, ltrb, centreness = [], [], []
        for level, scale in zip(levels, self.scales, strict=True):
            class_features, box_features = self.class_tower(level), self.box_tower(level)
            logits.append(self.logits(class_features).flatten(1))
            ltrb.append(torch.relu(self.ltrb(box_features) * scale).flatten(2).mT)
            centreness.append(self.centreness(box_features).flatten(1))
        shapes = [(level.shape[-2], level.shape[-1]) for level in levels]
        # sums over thousands of locations leave the range of half precision
        return Maps(torch.cat(logits, 1).float(), torch.cat(ltrb, 1).float(), torch.cat(centreness, 1).float(), shapes)


def locations(shapes: Shapes, device: torch.device | str = "cpu") -> tuple[Tensor, Tensor]:
    """The centre (L, 2) xy in px of every location, and the stride (L,) of its level."""
    points, strides = [], []
    for (height, width), stride in zip(shapes, STRIDES, strict=True):
        y, x = torch.meshgrid(torch.arange(height, device=device), torch.arange(width, device=device), indexing="ij")
        points.append(torch.stack([x, y], -1).reshape(-1, 2) * float(stride) + stride // 2)
        strides.append(torch.full((height * width,), float(stride), device=device))
    return torch.cat(points), torch.cat(strides)


def _candidates(boxes: Tensor, stride: int, size: tuple[float, float], shape: tuple[int, int]) -> tuple[Tensor, Tensor]:
    """The (location of the level, box) pairs (K,), (K,) that centre sampling and the level's sizes allow.

    A centre region is open and three strides wide: it holds at most 3 x 3 locations, so those are listed and no table
    of all locations against all boxes is made.
    """
    height, width = shape
    centre = (boxes[:, :2] + boxes[:, 2:]) / 2
    lower = torch.maximum(boxes[:, :2], centre - RADIUS * stride)  # (M, 2) xy
    upper = torch.minimum(boxes[:, 2:], centre + RADIUS * stride)
    first = torch.floor((lower - stride // 2) / stride).long() + 1
    steps = torch.arange(3, device=boxes.device)
    cells = torch.cartesian_prod(steps, steps) + first[:, None]  # (M, 9, 2) xy
    points = cells * float(stride) + stride // 2  # (M, 9, 2)
    inside = ((points > lower[:, None]) & (points < upper[:, None])).all(-1)
    inside &= ((cells >= 0) & (cells < cells.new_tensor([width, height]))).all(-1)
    reach = torch.maximum(points - boxes[:, None, :2], boxes[:, None, 2:] - points).amax(-1)  # longest of l, t, r, b
    box, nth = torch.nonzero(inside & (reach >= size[0]) & (reach <= size[1]), as_tuple=True)
    chosen = cells[box, nth]
    return chosen[:, 1] * width + chosen[:, 0], box


def assign(boxes: Tensor, shapes: Shapes) -> Tensor:
    """The index (L,) of the box (M, 4) that each location answers for, the smallest of several; -1 for none."""
    area = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
    by_area = torch.argsort(area, stable=True)
    rank = torch.empty_like(by_area)
    rank[by_area] = torch.arange(len(boxes), device=boxes.device)
    best = torch.full((sum(height * width for height, width in shapes),), len(boxes), device=boxes.device)
    start = 0
    for shape, stride, size in zip(shapes, STRIDES, SIZES, strict=True):
        location, box = _candidates(boxes, stride, size, shape)
        best.scatter_reduce_(0, location + start, rank[box], "amin")
        start += shape[0] * shape[1]
    return torch.cat([by_area, by_area.new_tensor([-1])])[best]


def centreness_of(ltrb: Tensor) -> Tensor:
    """1 in the middle of a box, 0 on its edge: from the distances (N, 4) to the edges."""
    across, down = ltrb[:, 0::2], ltrb[:, 1::2]
    return torch.sqrt(across.amin(1) / across.amax(1) * (down.amin(1) / down.amax(1)))


def giou_loss(pred: Tensor, true: Tensor) -> Tensor:
    """1 - GIoU (N,) of boxes given by their distances (N, 4) from one location; the IoU is smoothed by 1."""

    def area(ltrb: Tensor) -> Tensor:
        return (ltrb[:, 0] + ltrb[:, 2]) * (ltrb[:, 1] + ltrb[:, 3])

    shared, hull = area(torch.minimum(pred, true)), area(torch.maximum(pred, true))
    union = area(pred) + area(true) - shared
    return 1 - (shared + 1) / (union + 1) + (hull - union) / hull


def losses(maps: Maps, truths: Sequence[Tensor]) -> dict[str, Tensor]:
    """Focal, GIoU and centreness loss of a batch against the true boxes (M, 4) of each image."""
    points, strides = locations(maps.shapes, maps.logits.device)
    owners = torch.stack([assign(boxes, maps.shapes) for boxes in truths])  # (B, L)
    image, place = torch.nonzero(owners >= 0, as_tuple=True)
    boxes = torch.cat([boxes[owner[owner >= 0]] for boxes, owner in zip(truths, owners, strict=True)])
    at = points[place]
    true = torch.cat([at - boxes[:, :2], boxes[:, 2:] - at], 1) / strides[place, None]
    weight = centreness_of(true)
    count = max(len(place), 1)
    focal = sigmoid_focal_loss(maps.logits, (owners >= 0).float(), alpha=0.25, gamma=2, reduction="sum")
    box = (giou_loss(maps.ltrb[image, place], true) * weight).sum() / weight.sum().clamp(min=1e-6)
    centre = binary_cross_entropy_with_logits(maps.centreness[image, place], weight, reduction="sum")
    return {"class_loss": focal / count, "box_loss": box, "centreness_loss": centre / count}


@torch.no_grad()
def decode(maps: Maps, sizes: Sequence[tuple[int, int]], limits: DetectionLimits) -> list[Detections]:
    """The detections of each image, clipped to its (height, width); score = sqrt(class x centreness)."""
    points, strides = locations(maps.shapes, maps.logits.device)
    detections = []
    for logits, ltrb, centreness, (height, width) in zip(maps.logits, maps.ltrb, maps.centreness, sizes, strict=True):
        class_prob = logits.sigmoid()
        product = torch.where(class_prob > limits.score_min, class_prob * centreness.sigmoid(), 0)
        kept = _best_per_level(product, maps.shapes, limits.per_level)
        at, reach = points[kept], ltrb[kept] * strides[kept, None]
        boxes = torch.cat([at - reach[:, :2], at + reach[:, 2:]], 1)
        boxes = boxes.clamp(min=0).minimum(boxes.new_tensor([width, height, width, height]))
        scores = product[kept].sqrt()
        full = (boxes[:, 2:] > boxes[:, :2]).all(1)
        boxes, scores = boxes[full], scores[full]
        chosen = nms(boxes, scores, limits.nms_iou)[: limits.max_det]
        detections.append(Detections(boxes[chosen], scores[chosen]))
    return detections


def _best_per_level(product: Tensor, shapes: Shapes, count: int) -> Tensor:
    """The places (K,) of each level's `count` highest values above 0."""
    kept, start = [], 0
    for height, width in shapes:
        level = product[start : start + height * width]
        value, place = level.topk(min(count, len(level)))
        kept.append(place[value > 0] + start)
        start += height * width
    return torch.cat(kept)
