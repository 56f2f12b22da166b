"""CenterMask's second half: the regions of detections, SAG-Mask on them, and mask IoU.

Lee & Park, arXiv 1911.06667, sections 3.2 and 3.3; mask IoU after Huang et al., arXiv 1903.00241.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits, max_pool2d, relu
from torchvision.ops import box_iou, roi_align

from monolayer.models.centermask.pipeline import STRIDES

REGION = 14  # samples across a region; its mask has twice as many
LEVELS = 3  # regions are cut from P3, P4 and P5
POSITIVE_IOU = 0.5
CHUNK = 1000  # boxes at a time against all others


@torch.no_grad()
def choose_regions(proposals: Tensor, truth: Tensor, limit: int) -> tuple[Tensor, Tensor]:
    """At most `limit` boxes (R, 4) that overlap a true one by 0.5 IoU or more, by lot, and that one's index (R,).

    The true boxes are among those chosen from, so that the masks learn before the boxes do.
    """
    boxes = torch.cat([proposals, truth])
    if not len(truth):
        return boxes[:0], torch.zeros(0, dtype=torch.long, device=boxes.device)
    best = [box_iou(part, truth).max(1) for part in torch.split(boxes, CHUNK)]
    overlap, owner = torch.cat([part.values for part in best]), torch.cat([part.indices for part in best])
    good = torch.nonzero(overlap >= POSITIVE_IOU)[:, 0]
    lot = good[torch.randperm(len(good), device=boxes.device)[:limit]]
    return boxes[lot], owner[lot]


def region_level(boxes: Tensor, image_area: float | Tensor) -> Tensor:
    """The level (R,) that each box is cut from, 0 for P3: ceil(5 - log2(image / box)), within P3 to P5.

    Below a quarter of the image it is P3: single cells always are.
    """
    area = ((boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])).clamp(min=1e-6)
    return (torch.ceil(5 - torch.log2(image_area / area)).clamp(3, 5) - 3).long()


def pool_regions(levels: Sequence[Tensor], boxes: Sequence[Tensor], image_areas: Sequence[float | Tensor]) -> Tensor:
    """Features (R, C, 14, 14) of the boxes of each image.

    Its area is that of the whole image also where only a window of it is seen: masks are to be learned from the levels
    that they will be cut from.
    """
    image = torch.cat([torch.full((len(part),), float(i), device=part.device) for i, part in enumerate(boxes)])
    of = torch.cat([region_level(part, area) for part, area in zip(boxes, image_areas, strict=True)])
    rows = torch.cat([image[:, None], torch.cat(list(boxes))], 1)
    places = [torch.nonzero(of == index)[:, 0] for index in range(LEVELS)]
    parts = [
        roi_align(level.float(), rows[mine], REGION, 1 / stride, sampling_ratio=0, aligned=True)
        for mine, level, stride in zip(places, levels[:LEVELS], STRIDES[:LEVELS], strict=True)
    ]
    return torch.cat(parts)[torch.cat(places).argsort()]


def pool_each(levels: Sequence[Tensor], boxes: Tensor, image_area: Tensor) -> Tensor:
    """As pool_regions for one image, without sorting: cut from all three levels, of which each box keeps its own.

    Cutting is little beside what the heads do, and an exported graph has no shapes that hang on the values.
    """
    level = region_level(boxes, image_area)[:, None, None, None]
    # TensorRT's RoIAlign is a plug-in, which asks for a GPU already when an engine is built
    cut = cut_by_products if torch.compiler.is_exporting() else _cut
    parts = [cut(features.float(), boxes, stride) for features, stride in zip(levels, STRIDES[:LEVELS], strict=True)]
    return torch.where(level == 0, parts[0], torch.where(level == 1, parts[1], parts[2]))


def _cut(features: Tensor, boxes: Tensor, stride: int) -> Tensor:
    cut: Tensor = roi_align(features, [boxes], REGION, 1 / stride, sampling_ratio=0, aligned=True)
    return cut


def cut_by_products(features: Tensor, boxes: Tensor, stride: int) -> Tensor:
    """RoIAlign (R, C, 14, 14) as two products: a mean over samples on a grid is one along rows, then along columns."""
    rows = _shares(boxes[:, 1] / stride, boxes[:, 3] / stride, features.shape[2])
    columns = _shares(boxes[:, 0] / stride, boxes[:, 2] / stride, features.shape[3])
    return rows[:, None] @ features @ columns[:, None].mT


def _shares(low: Tensor, high: Tensor, length: int) -> Tensor:
    """The share (R, 14, length) that each px of a feature map's axis has in each bin from `low` to `high` (R,)."""
    width = (high - low)[:, None, None] / REGION  # (R, 1, 1) px, of a bin
    count = width.ceil().clamp(min=1)  # samples in a bin
    sample = torch.arange((length + REGION - 1) // REGION, device=low.device)
    bins = torch.arange(REGION, device=low.device)[:, None]
    at = low[:, None, None] - 0.5 + width * (bins + (sample + 0.5) / count)  # (R, 14, samples)
    counted = (sample < count) & (at >= -1) & (at <= length)
    pixels = torch.arange(length, device=low.device)
    near = (1 - (at.clamp(0, length - 1)[..., None] - pixels).abs()).clamp(min=0)  # (R, 14, samples, length)
    return (near * counted[..., None]).sum(2) / count


def _init(module: nn.Module) -> None:
    """He et al.'s normal distribution by a kernel's outputs (MSRA); biases 0."""
    for layer in module.modules():
        if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d):
            nn.init.kaiming_normal_(layer.weight, mode="fan_out", nonlinearity="relu")
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)


class SpatialAttention(nn.Module):
    """Each place times a sigmoid of a convolution of mean and maximum over the channels."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(2, 1, 3, padding=1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        pooled = torch.cat([x.mean(1, keepdim=True), x.amax(1, keepdim=True)], 1)
        weights: Tensor = self.conv(pooled).sigmoid()  # (R, 1, 14, 14)
        return x * weights


class MaskHead(nn.Module):
    """SAG-Mask: mask logits (R, 28, 28) of regions (R, C, 14, 14)."""

    def __init__(self, channels: int, convs: int) -> None:
        super().__init__()
        self.convs = nn.ModuleList(nn.Conv2d(channels, channels, 3, padding=1) for _ in range(convs))
        self.attention = SpatialAttention()
        self.enlarge = nn.ConvTranspose2d(channels, channels, 2, 2)
        self.logits = nn.Conv2d(channels, 1, 1)
        _init(self)
        nn.init.normal_(self.logits.weight, std=0.001)

    def forward(self, regions: Tensor) -> Tensor:
        x = regions
        for conv in self.convs:
            x = relu(conv(x))
        logits: Tensor = self.logits(relu(self.enlarge(self.attention(x))))
        return logits[:, 0].float()


class IouHead(nn.Module):
    """The IoU (R,) that a predicted mask has with its cell, from region and mask probability (R, 28, 28)."""

    def __init__(self, channels: int, convs: int) -> None:
        super().__init__()
        self.convs = nn.ModuleList(
            nn.Conv2d(channels + (i == 0), channels, 3, stride=1 + (i == convs - 1), padding=1) for i in range(convs)
        )
        self.layers = nn.ModuleList([nn.Linear(channels * (REGION // 2) ** 2, 1024), nn.Linear(1024, 1024)])
        self.iou = nn.Linear(1024, 1)
        _init(self)
        for layer in self.layers:
            nn.init.kaiming_uniform_(layer.weight, a=1)  # type: ignore[arg-type]
            nn.init.zeros_(layer.bias)  # type: ignore[arg-type]
        nn.init.normal_(self.iou.weight, std=0.01)
        nn.init.zeros_(self.iou.bias)

    def forward(self, regions: Tensor, masks: Tensor) -> Tensor:
        x = torch.cat([regions, max_pool2d(masks[:, None], 2).to(regions.dtype)], 1)
        for conv in self.convs:
            x = relu(conv(x))
        x = x.flatten(1)
        for layer in self.layers:
            x = relu(layer(x))
        iou: Tensor = self.iou(x)
        return iou[:, 0].float()


def mask_loss(logits: Tensor, true: Tensor) -> Tensor:
    """Mean binary cross entropy of masks (R, 28, 28); 0 without any."""
    return binary_cross_entropy_with_logits(logits, true.float(), reduction="sum") / max(true.numel(), 1)


def true_iou(logits: Tensor, true: Tensor, inside: Tensor) -> Tensor:
    """The IoU (R,) of predicted masks with whole cells, of which the part `inside` (R,) lies in the region."""
    pred = logits > 0
    shared = (pred & true).sum((1, 2))
    whole = true.sum((1, 2)) / inside.clamp(min=1e-6)
    return shared / (pred.sum((1, 2)) + whole - shared).clamp(min=1)


def iou_loss(pred: Tensor, true: Tensor) -> Tensor:
    """Half the squared error, averaged over the masks that overlap their cell at all."""
    some = true > 0
    return (0.5 * (pred - true) ** 2 * some).sum() / some.sum().clamp(min=1)
