"""CenterMask, the whole net: VoVNetV2, a pyramid, FCOS, SAG-Mask with mask IoU; Lee & Park, arXiv 1911.06667."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import torch
from torch import Tensor, nn
from torchvision.ops import FeaturePyramidNetwork
from torchvision.ops.feature_pyramid_network import LastLevelP6P7

from monolayer.models.centermask import fcos, mask_heads
from monolayer.models.centermask.crops import TargetCells, covered, part_inside
from monolayer.models.centermask.pipeline import DIVISOR, MASK
from monolayer.models.centermask.vovnet import VoVNet
from monolayer.params.families import CenterMaskNetwork, DetectionLimits

Levels = tuple[list[Tensor], list[str]]  # and their names


class CoarseLevels(LastLevelP6P7):  # type: ignore[misc]
    """P6 and P7, in float32 where the rest is in half precision.

    From a map of one pixel, torch 2.15 on a CPU makes a gradient of unset memory in bfloat16.
    """

    def forward(self, p: list[Tensor], c: list[Tensor], names: list[str]) -> Levels:
        device = p[-1].device.type
        if not torch.is_autocast_enabled(device):  # a context would be a node of an exported graph
            return cast(Levels, super().forward(p, c, names))
        with torch.autocast(device, enabled=False):
            return cast(Levels, super().forward([*p[:-1], p[-1].float()], c, names))


class CenterMask(nn.Module):
    """The whole net; grey images (H, W) from 0 to 255, of any sizes, go in as a list."""

    pixel_mean: Tensor  # (3, 1, 1)
    pixel_std: Tensor

    def __init__(self, settings: CenterMaskNetwork) -> None:
        super().__init__()
        channels, convs = settings.channels, settings.convs
        self.backbone = VoVNet(settings.backbone, settings.norm)
        self.pyramid = FeaturePyramidNetwork(
            list(self.backbone.channels), channels, extra_blocks=CoarseLevels(channels, channels)
        )
        self.detector = fcos.Head(channels, convs)
        self.mask_head = mask_heads.MaskHead(channels, convs)
        self.iou_head = mask_heads.IouHead(channels, convs)
        self.register_buffer("pixel_mean", torch.full((3, 1, 1), settings.pixel_mean))
        self.register_buffer("pixel_std", torch.full((3, 1, 1), settings.pixel_std))

    def levels(self, images: Sequence[Tensor]) -> list[Tensor]:
        """P3 to P7 of a batch, padded at right and bottom with what normalisation makes 0."""
        height, width = (max(image.shape[side] for image in images) for side in (0, 1))
        height, width = (-(-side // DIVISOR) * DIVISOR for side in (height, width))
        padded = self.pixel_mean.new_zeros(len(images), 3, height, width)
        for row, image in zip(padded, images, strict=True):
            row[:, : image.shape[0], : image.shape[1]] = (image - self.pixel_mean) / self.pixel_std
        return self.pyramid_of(padded)

    def pyramid_of(self, images: Tensor) -> list[Tensor]:
        """P3 to P7 of normalised images (B, 3, H, W), sides multiples of 32."""
        features = dict(zip(("p3", "p4", "p5"), self.backbone(images), strict=True))
        return list(self.pyramid(features).values())

    def losses(
        self, images: Sequence[Tensor], cells: Sequence[TargetCells], limits: DetectionLimits, regions: int
    ) -> dict[str, Tensor]:
        """The five losses of a batch; masks learn from at most `regions` detections and true boxes of each image."""
        levels = self.levels(images)
        maps = self.detector(levels)
        sizes = [(image.shape[0], image.shape[1]) for image in images]
        proposals = fcos.decode(maps, sizes, limits)
        chosen = [
            mask_heads.choose_regions(detections.boxes, of.boxes, regions)
            for detections, of in zip(proposals, cells, strict=True)
        ]
        features = mask_heads.pool_regions(levels, [boxes for boxes, _ in chosen], [of.image_area for of in cells])
        pairs = [(of, owner, boxes) for of, (boxes, owner) in zip(cells, chosen, strict=True)]
        true = torch.cat([covered(*pair, MASK) >= 0.5 for pair in pairs])
        inside = torch.cat([part_inside(*pair) for pair in pairs])
        logits = self.mask_head(features)
        ious = self.iou_head(features, logits.sigmoid())
        return fcos.losses(maps, [of.boxes for of in cells]) | {
            "mask_loss": mask_heads.mask_loss(logits, true),
            "iou_loss": mask_heads.iou_loss(ious, mask_heads.true_iou(logits.detach(), true, inside)),
        }


class Dense(nn.Module):
    """Normalised images (B, 3, H, W) to P3, P4, P5, class and centreness (B, L) in [0, 1], ltrb (B, L, 4)."""

    def __init__(self, network: CenterMask) -> None:
        super().__init__()
        self.network = network

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        levels = self.network.pyramid_of(images)
        maps = self.network.detector(levels)
        return (*levels[: mask_heads.LEVELS], maps.logits.sigmoid(), maps.centreness.sigmoid(), maps.ltrb)


class MaskGraph(nn.Module):
    """P3, P4, P5 of one image, boxes (R, 4) and its size (2,) to mask probabilities (R, 28, 28) and their IoU (R,)."""

    def __init__(self, network: CenterMask) -> None:
        super().__init__()
        self.mask_head, self.iou_head = network.mask_head, network.iou_head

    def forward(self, p3: Tensor, p4: Tensor, p5: Tensor, boxes: Tensor, size: Tensor) -> tuple[Tensor, Tensor]:
        features = mask_heads.pool_each([p3, p4, p5], boxes, size.prod())
        masks = self.mask_head(features).sigmoid()
        return masks, self.iou_head(features, masks)
