"""YOLO-seg: images scaled to the network's input, overlapping boxes suppressed, masks cut inside their boxes.

Suppression has no time limit (the library drops images whose takes too long), and masks are made at native size only
within their boxes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from monolayer.backends import Backend
from monolayer.backends.manifest import Range
from monolayer.coco.instances import Instances
from monolayer.models.nms import suppress
from monolayer.models.rescaled import image_at
from monolayer.models.yolo.mask_kernels import fill
from monolayer.params.families import YoloPredict

Float = NDArray[np.float32]
Pixels = NDArray[np.uint8]

STRIDE = 32  # of the coarsest level: sides of the network's input are multiples of it
PROTO_STRIDE = 4  # input px of one prototype px


class Outputs(NamedTuple):
    """The network's outputs for one image: A boxes in input px, and the prototypes of all masks."""

    boxes: Float  # (A, 4) xyxy
    scores: Float  # (A,)
    coefficients: Float  # (A, C)
    protos: Float  # (C, h, w)


@dataclass(frozen=True)
class Pipeline:
    """Graph `cells`: uint8 (B, h, w), sides multiples of 32, to the fields of Outputs with B before each."""

    settings: YoloPredict
    stride: int = STRIDE

    @classmethod
    def of(cls, settings: YoloPredict, constants: Mapping[str, Any]) -> Pipeline:
        return cls(settings)

    @property
    def axes(self) -> dict[str, Range]:
        side = (STRIDE, self.settings.imgsz, self.settings.imgsz)
        return {"batch": (1, self.settings.batch, self.settings.batch), "height": side, "width": side}

    def scale(self, side: int) -> float:
        return self.settings.imgsz / side

    def preprocess(self, image: Pixels) -> Pixels:
        return resized(image, self.settings.imgsz)

    def forward(self, backend: Backend, inputs: Sequence[Pixels]) -> list[Outputs]:
        """Images of one input shape go through the network together."""
        outputs: dict[int, Outputs] = {}
        for shape in dict.fromkeys(image.shape for image in inputs):
            members = [index for index, image in enumerate(inputs) if image.shape == shape]
            batch = backend.run("cells", np.stack([inputs[index] for index in members]))
            parts = zip(*(backend.host(value) for value in batch), strict=True)
            outputs |= {index: Outputs(*part) for index, part in zip(members, parts, strict=True)}
        return [outputs[index] for index in range(len(inputs))]

    def postprocess(self, outputs: Outputs, height: int, width: int) -> Instances:
        candidates = np.flatnonzero(outputs.scores >= self.settings.score_min)
        kept = suppress(outputs.boxes[candidates], outputs.scores[candidates], self.settings.nms_iou)
        keep = candidates[kept[: self.settings.max_det]]
        seen = scaled(height, width, self.settings.imgsz)
        gain = seen[0] / height, seen[1] / width  # along each axis: both sides are whole px
        masks = PrototypeMasks(outputs.coefficients[keep], outputs.protos, gain)
        scale: Float = np.array([gain[1], gain[0], gain[1], gain[0]], np.float32)
        return instances((height, width), np.divide(outputs.boxes[keep], scale), outputs.scores[keep], masks)


def scaled(height: int, width: int, imgsz: int) -> tuple[int, int]:
    """Height and width of an image that is scaled so that its longer side is imgsz px."""
    longer = max(height, width)
    return round(height * imgsz / longer), round(width * imgsz / longer)


def resized(image: Pixels, imgsz: int) -> Pixels:
    """The scaled image, filled up at its right and foot to the stride with its own median grey."""
    height, width = scaled(image.shape[0], image.shape[1], imgsz)
    filled = np.full([-(-side // STRIDE) * STRIDE for side in (height, width)], int(np.median(image)), np.uint8)
    filled[:height, :width] = image_at(image, height, width)
    return filled


class PrototypeMasks(NamedTuple):
    """Masks as coefficients (N, C) of prototypes (C, h, w)."""

    coefficients: Float
    protos: Float
    gain: tuple[float, float]  # input px of one native px, down and across


def instances(shape: tuple[int, int], boxes: Float, scores: Float, masks: PrototypeMasks) -> Instances:
    """The cells of one image (H, W) from boxes xyxy (N, 4) in native px; a box without a pixel is dropped."""
    height, width = shape
    boxes = np.clip(boxes, 0, [width, height, width, height]).astype(np.float32)
    # a px belongs to a box if its centre does; by corners, as in the library, small errors cut a side off
    pixels = np.ceil(boxes - np.float32(0.5)).astype(np.int32)
    keep = np.flatnonzero((pixels[:, 2] > pixels[:, 0]) & (pixels[:, 3] > pixels[:, 1]))
    corners = pixels[keep]
    areas = (corners[:, 2] - corners[:, 0]).astype(np.int64) * (corners[:, 3] - corners[:, 1])
    ends = np.cumsum(areas)
    protos = np.ascontiguousarray(masks.protos.transpose(1, 2, 0))  # (h, w, C): a place's numbers side by side
    zoom = masks.gain[0] / PROTO_STRIDE, masks.gain[1] / PROTO_STRIDE
    filled = fill(masks.coefficients[keep], protos, corners, ends - areas, zoom)
    return Instances(
        height=height,
        width=width,
        masks=[
            filled[end - area : end].reshape(y1 - y0, x1 - x0)
            for (x0, y0, x1, y1), area, end in zip(corners.tolist(), areas.tolist(), ends.tolist(), strict=True)
        ],
        offsets_xy=corners[:, :2],
        boxes_xyxy=boxes[keep],
        scores=scores[keep],
    )
