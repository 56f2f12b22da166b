"""CenterMask: VoVNetV2, a pyramid, FCOS and SAG-Mask with mask IoU; Lee & Park, arXiv 1911.06667."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torchvision.ops import FeaturePyramidNetwork
from torchvision.ops.feature_pyramid_network import LastLevelP6P7

from monolayer.coco import InputError, Mask
from monolayer.dataset import Sample, read_image
from monolayer.models import Instances, Trained, fcos, mask_heads
from monolayer.models.cells import Cells, View, cells_seen, covered, part_inside, seen, whole
from monolayer.models.fcos import Detections, Limits
from monolayer.models.vovnet import VoVNet
from monolayer.params import CenterMaskNetwork, CenterMaskPredict, CenterMaskTrain

DIVISOR = 32  # images are padded to a multiple of it, the stride of the backbone's last stage
MASK = 28  # bins across a region's mask
CHUNK = 256  # regions at a time at inference: what the heads hold of thousands would fill the memory


class Found(NamedTuple):
    """Detections of one image with mask probabilities (N, 28, 28) over their boxes and predicted mask IoU (N,)."""

    boxes: Tensor
    scores: Tensor
    masks: Tensor
    ious: Tensor


class CenterMask(nn.Module):
    """The whole net; grey images (H, W) from 0 to 255, of any sizes, go in as a list."""

    def __init__(self, settings: CenterMaskNetwork) -> None:
        super().__init__()
        channels, convs = settings.channels, settings.convs
        self.backbone = VoVNet(settings.backbone, settings.norm)
        self.pyramid = FeaturePyramidNetwork(
            list(self.backbone.channels), channels, extra_blocks=LastLevelP6P7(channels, channels)
        )
        self.detector = fcos.Head(channels, convs)
        self.mask_head = mask_heads.MaskHead(channels, convs)
        self.iou_head = mask_heads.IouHead(channels, convs)
        self.register_buffer("pixel_mean", torch.full((3, 1, 1), settings.pixel_mean))
        self.register_buffer("pixel_std", torch.full((3, 1, 1), settings.pixel_std))

    def levels(self, images: Sequence[Tensor]) -> list[Tensor]:
        """P3 to P7 of a batch, padded at right and bottom with what normalisation makes 0."""
        height, width = (max(image.shape[side] for image in images) for side in (0, 1))
        padded = self.pixel_mean.new_zeros(len(images), 3, -(-height // DIVISOR) * DIVISOR, -(-width // DIVISOR) * DIVISOR)
        for row, image in zip(padded, images, strict=True):
            row[:, : image.shape[0], : image.shape[1]] = (image - self.pixel_mean) / self.pixel_std
        features = dict(zip(("p3", "p4", "p5"), self.backbone(padded), strict=True))
        return list(self.pyramid(features).values())

    def losses(self, images: Sequence[Tensor], cells: Sequence[Cells], limits: Limits, regions: int) -> dict[str, Tensor]:
        """The five losses of a batch; masks learn from at most `regions` detections and true boxes of each image."""
        levels = self.levels(images)
        maps = self.detector(levels)
        sizes = [(image.shape[0], image.shape[1]) for image in images]
        proposals = fcos.decode(maps, sizes, limits)
        chosen = [
            mask_heads.choose_regions(found.boxes, of.boxes, regions)
            for found, of in zip(proposals, cells, strict=True)
        ]
        features = mask_heads.pool_regions(levels, [boxes for boxes, _ in chosen], sizes)
        pairs = [(of, owner, boxes) for of, (boxes, owner) in zip(cells, chosen, strict=True)]
        true = torch.cat([covered(*pair, MASK) >= 0.5 for pair in pairs])
        inside = torch.cat([part_inside(*pair) for pair in pairs])
        logits = self.mask_head(features)
        ious = self.iou_head(features, logits.sigmoid())
        return fcos.losses(maps, [of.boxes for of in cells]) | {
            "mask_loss": mask_heads.mask_loss(logits, true),
            "iou_loss": mask_heads.iou_loss(ious, mask_heads.true_iou(logits.detach(), true, inside)),
        }

    @torch.inference_mode()
    def find(self, images: Sequence[Tensor], limits: Limits) -> list[Found]:
        """The cells of each image, in px of what went in, best first."""
        levels = self.levels(images)
        sizes = [(image.shape[0], image.shape[1]) for image in images]
        detections = fcos.decode(self.detector(levels), sizes, limits)
        return [
            self._masks([level[i : i + 1] for level in levels], found, size)
            for i, (found, size) in enumerate(zip(detections, sizes, strict=True))
        ]

    def _masks(self, levels: Sequence[Tensor], found: Detections, size: tuple[int, int]) -> Found:
        masks, ious = [], []
        for boxes in found.boxes.split(CHUNK):
            features = mask_heads.pool_regions(levels, [boxes], [size])
            masks.append(self.mask_head(features).sigmoid())
            ious.append(self.iou_head(features, masks[-1]))
        return Found(*found, torch.cat(masks), torch.cat(ious))


# ---- masks at native size ------------------------------------------------------------------------


def paste(probability: NDArray[np.float32], box_xyxy: NDArray[np.float32], height: int, width: int) -> tuple[Mask, int, int]:
    """Where a mask (28, 28) over a box is probable: bool (h, w) within the image and its corner (x, y).

    Between the centres of its bins a mask is linear, and falls to 0 outside of them, as in Mask R-CNN.
    """
    x0, y0, x1, y1 = (float(edge) for edge in box_xyxy)
    left, right = max(0, int(np.floor(x0))), min(width, int(np.ceil(x1)))
    upper, lower = max(0, int(np.floor(y0))), min(height, int(np.ceil(y1)))
    rows, columns = _hats(y0, y1, upper, lower), _hats(x0, x1, left, right)
    return rows @ probability @ columns.T >= 0.5, left, upper


_BINS = np.arange(MASK, dtype=np.float32)


def _hats(low: float, high: float, start: int, stop: int) -> NDArray[np.float32]:
    """The weight (pixels, 28) that each bin between `low` and `high` has at each pixel from `start` to `stop`."""
    at = (np.arange(start, stop, dtype=np.float32) + np.float32(0.5 - low)) * np.float32(MASK / (high - low)) - 0.5
    return np.maximum(0, 1 - np.abs(at[:, None] - _BINS))


def instances(found: Found, zoom_xy: tuple[float, float], height: int, width: int) -> Instances:
    """What was found in the zoomed image as instances at native size."""
    scale = np.asarray([*zoom_xy, *zoom_xy], np.float32)
    boxes = found.boxes.cpu().numpy() / scale
    pasted = [
        paste(mask, box, height, width) for mask, box in zip(found.masks.float().cpu().numpy(), boxes, strict=True)
    ]
    scores = found.scores.cpu().numpy()
    return Instances(
        height=height,
        width=width,
        masks=[mask for mask, _, _ in pasted],
        offsets_xy=np.asarray([(x, y) for _, x, y in pasted], np.int32).reshape(-1, 2),
        boxes_xyxy=boxes,
        scores=scores,
        mask_scores=scores * found.ious.float().cpu().numpy(),
    )
