"""CenterMask, the whole net: VoVNetV2, a pyramid, FCOS, SAG-Mask with mask IoU; Lee & Park, arXiv 1911.06667."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torchvision.ops import FeaturePyramidNetwork
from torchvision.ops.feature_pyramid_network import LastLevelP6P7

from monolayer.models import Instances, fcos, mask_heads
from monolayer.models.fcos import Detections
from monolayer.models.views import Cells, covered, part_inside
from monolayer.models.vovnet import VoVNet
from monolayer.params import CenterMaskNetwork, DetectionLimits

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

    pixel_mean: Tensor  # (3, 1, 1)
    pixel_std: Tensor

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
        height, width = (-(-side // DIVISOR) * DIVISOR for side in (height, width))
        padded = self.pixel_mean.new_zeros(len(images), 3, height, width)
        for row, image in zip(padded, images, strict=True):
            row[:, : image.shape[0], : image.shape[1]] = (image - self.pixel_mean) / self.pixel_std
        features = dict(zip(("p3", "p4", "p5"), self.backbone(padded), strict=True))
        return list(self.pyramid(features).values())

    def losses(
        self, images: Sequence[Tensor], cells: Sequence[Cells], limits: DetectionLimits, regions: int
    ) -> dict[str, Tensor]:
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
    def find(self, images: Sequence[Tensor], limits: DetectionLimits) -> list[Found]:
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
        for boxes in torch.split(found.boxes, CHUNK):
            features = mask_heads.pool_regions(levels, [boxes], [size])
            masks.append(self.mask_head(features).sigmoid())
            ious.append(self.iou_head(features, masks[-1]))
        return Found(*found, torch.cat(masks), torch.cat(ious))


# ---- masks at native size ------------------------------------------------------------------------


def instances(found: Found, zoom_xy: tuple[float, float], height: int, width: int) -> Instances:
    """What was found in the zoomed image as instances at native size."""
    boxes: NDArray[np.float32] = (found.boxes / found.boxes.new_tensor([*zoom_xy, *zoom_xy])).cpu().numpy()
    masks: NDArray[np.float32] = found.masks.cpu().numpy()
    pasted = [mask_heads.paste(mask, box, height, width) for mask, box in zip(masks, boxes, strict=True)]
    scores = found.scores.cpu().numpy()
    return Instances(
        height=height,
        width=width,
        masks=[mask for mask, _, _ in pasted],
        offsets_xy=np.asarray([(x, y) for _, x, y in pasted], np.int32).reshape(-1, 2),
        boxes_xyxy=boxes,
        scores=scores,
        mask_scores=scores * found.ious.clamp(0, 1).cpu().numpy(),
    )
