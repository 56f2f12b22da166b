"""CenterMask: images zoomed, the best locations decoded to boxes, masks of their regions pasted at native size.

The network is two graphs; what lies between them, sorting and suppression, stands here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image as PillowImage

from monolayer.backends import Backend
from monolayer.backends.manifest import Range
from monolayer.coco.instances import Instances
from monolayer.coco.rle import Mask
from monolayer.models.nms import suppress
from monolayer.params.families import CenterMaskPredict, DetectionLimits

Float = NDArray[np.float32]

STRIDES = (8, 16, 32, 64, 128)  # of the pyramid's levels P3 to P7
DIVISOR = 32  # images are padded to a multiple of it, the stride of the backbone's last stage
MASK = 28  # bins across a region's mask
CHUNK = 64  # regions at a time: what the heads hold of thousands would fill the memory


class PaddedImage(NamedTuple):
    """A zoomed image, normalised and padded at right and foot (3, h, w), and its (height, width) without padding."""

    image: Float
    size: tuple[int, int]


class Locations(NamedTuple):
    """The detector's outputs at all L locations, level after level: two probabilities (L,), and ltrb (L, 4).

    ltrb are the distances from a location to its box's left, top, right and bottom edge, in strides of its level.
    """

    class_prob: Float
    centreness: Float
    ltrb: Float


class DetectedMasks(NamedTuple):
    """Detections of one image, best first, in px of the zoomed image, with the probabilities of their masks."""

    boxes: Float  # (N, 4) xyxy
    scores: Float  # (N,)
    masks: Float  # (N, 28, 28) over their boxes
    ious: Float  # (N,) what the network takes the masks' IoU to be
    size: tuple[int, int]  # of the zoomed image


@dataclass(frozen=True)
class Pipeline:
    """Graph `dense`: (B, 3, h, w), sides multiples of 32, to P3, P4, P5 and the fields of Locations.

    Graph `masks`: P3, P4, P5 of one image, boxes (R, 4) and its size (2,) to masks (R, 28, 28) and ious (R,).
    """

    settings: CenterMaskPredict
    mean: Float  # (3, 1, 1) grey levels
    std: Float
    stride: int = DIVISOR

    @classmethod
    def of(cls, settings: CenterMaskPredict, constants: Mapping[str, Any]) -> Pipeline:
        mean, std = (np.asarray(constants[name], np.float32).reshape(3, 1, 1) for name in ("mean", "std"))
        return cls(settings, mean, std)

    @property
    def axes(self) -> dict[str, Range]:
        most = -(-self.settings.max_side // DIVISOR)
        steps = (1, -(-most // 2), most)
        axes: dict[str, Range] = {"batch": (1, 1, 1), "regions": (1, CHUNK, CHUNK)}
        for name, step in (("", DIVISOR), ("3", 4), ("4", 2), ("5", 1)):  # of the input, and of P3, P4, P5
            least, usual, largest = (count * step for count in steps)
            axes |= {f"height{name}": (least, usual, largest), f"width{name}": (least, usual, largest)}
        return axes

    def scale(self, side: int) -> float:
        return min(self.settings.zoom, self.settings.max_side / side)

    def preprocess(self, image: NDArray[np.uint8]) -> PaddedImage:
        zoomed = zoom(image, self.scale(max(image.shape)))
        height, width = (-(-side // DIVISOR) * DIVISOR for side in zoomed.shape)
        padded = np.zeros((3, height, width), np.float32)
        padded[:, : zoomed.shape[0], : zoomed.shape[1]] = (zoomed - self.mean) / self.std
        return PaddedImage(padded, (zoomed.shape[0], zoomed.shape[1]))

    def forward(self, backend: Backend, inputs: Sequence[PaddedImage]) -> list[DetectedMasks]:
        """One at a time, so that no image's cells depend on the others'."""
        return [self._forward(backend, *padded) for padded in inputs]

    def _forward(self, backend: Backend, image: Float, size: tuple[int, int]) -> DetectedMasks:
        outputs = backend.run("dense", image[None])
        levels, locations = outputs[:3], Locations(*(backend.host(value)[0] for value in outputs[3:]))
        boxes, scores = decode(locations, shapes(*image.shape[1:]), size, self.settings)
        masks, ious = [np.zeros((0, MASK, MASK), np.float32)], [np.zeros(0, np.float32)]
        for start in range(0, len(boxes), CHUNK):
            given = (*levels, boxes[start : start + CHUNK], np.asarray(size, np.float32))
            mask, iou = (backend.host(value) for value in backend.run("masks", *given))
            masks.append(mask)
            ious.append(iou)
        return DetectedMasks(boxes, scores, np.concatenate(masks), np.concatenate(ious), size)

    def postprocess(self, outputs: DetectedMasks, height: int, width: int) -> Instances:
        zoom_yx = np.float32(outputs.size[0] / height), np.float32(outputs.size[1] / width)
        boxes = outputs.boxes / np.array([*zoom_yx[::-1], *zoom_yx[::-1]])
        pasted = [paste(mask, box, height, width) for mask, box in zip(outputs.masks, boxes, strict=True)]
        return Instances(
            height=height,
            width=width,
            masks=[mask for mask, _, _ in pasted],
            offsets_xy=np.asarray([(x, y) for _, x, y in pasted], np.int32).reshape(-1, 2),
            boxes_xyxy=boxes,
            scores=outputs.scores,
            mask_scores=outputs.scores * outputs.ious.clip(0, 1),
        )


def zoom(image: NDArray[np.uint8], factor: float) -> Float:
    """Grey values (h, w), 0 to 255, bilinear; shrinking takes means over what falls together.

    Pillow's filter is the one that torch's antialiased interpolation follows, with which the networks are trained.
    """
    height, width = (max(1, round(side * factor)) for side in image.shape)
    if (height, width) == image.shape:
        return image.astype(np.float32)
    grey = PillowImage.fromarray(image.astype(np.float32))
    return np.asarray(grey.resize((width, height), PillowImage.Resampling.BILINEAR))


def shapes(height: int, width: int) -> list[tuple[int, int]]:
    """(height, width) of P3 to P7 of an input whose sides are multiples of 32."""
    sides = [(height // stride, width // stride) for stride in STRIDES[:3]]
    for _ in STRIDES[3:]:
        sides.append((-(-sides[-1][0] // 2), -(-sides[-1][1] // 2)))
    return sides


def decode(
    locations: Locations, of_levels: Sequence[tuple[int, int]], size: tuple[int, int], limits: DetectionLimits
) -> tuple[Float, Float]:
    """Boxes (N, 4), clipped to the image's size, and scores sqrt(class x centreness) (N,), best first."""
    class_prob, centreness, ltrb = locations
    product = np.where(class_prob > limits.score_min, class_prob * centreness, np.float32(0))
    boxes, scores, start = [], [], 0
    for stride, (height, width) in zip(STRIDES, of_levels, strict=True):
        places = best(product[start : start + height * width], limits.per_level)
        y, x = np.divmod(places, width)
        centre = (np.stack([x, y], 1) * stride + stride // 2).astype(np.float32)
        reach = ltrb[start + places] * np.float32(stride)
        boxes.append(np.concatenate([centre - reach[:, :2], centre + reach[:, 2:]], 1))
        scores.append(np.sqrt(product[start + places]))
        start += height * width
    every, ranked = np.concatenate(boxes), np.concatenate(scores)
    every = every.clip(0, np.array([size[1], size[0]] * 2, np.float32))
    full = (every[:, 2:] > every[:, :2]).all(1)
    every, ranked = every[full], ranked[full]
    chosen = suppress(every, ranked, limits.nms_iou)[: limits.max_det]
    return every[chosen], ranked[chosen]


def best(values: Float, count: int) -> NDArray[np.int64]:
    """The places (K,) of the `count` highest values above 0, highest first."""
    places = np.flatnonzero(values > 0)
    return places[np.argsort(-values[places], kind="stable")[:count]]


def paste(probability: Float, box_xyxy: Float, height: int, width: int) -> tuple[Mask, int, int]:
    """Where a mask (28, 28) over a box is probable: bool (h, w) within the image and its corner (x, y).

    Between the centres of its bins a mask is linear, and falls to 0 outside of them, as in Mask R-CNN.
    """
    x0, y0, x1, y1 = (float(edge) for edge in box_xyxy)
    left, right = max(0, int(np.floor(x0))), min(width, int(np.ceil(x1)))
    upper, lower = max(0, int(np.floor(y0))), min(height, int(np.ceil(y1)))
    rows, columns = _hats(y0, y1, upper, lower), _hats(x0, x1, left, right)
    return rows @ probability @ columns.T >= 0.5, left, upper


_BINS = np.arange(MASK, dtype=np.float32)


def _hats(low: float, high: float, start: int, stop: int) -> Float:
    """The weight (pixels, 28) that each bin between `low` and `high` has at each pixel from `start` to `stop`."""
    pixels = np.arange(start, stop, dtype=np.float32) + np.float32(0.5)
    at = (pixels - np.float32(low)) * np.float32(MASK / (high - low)) - np.float32(0.5)
    hats: Float = np.maximum(0, 1 - np.abs(at[:, None] - _BINS))
    return hats
