"""Training crops of a YOLO: images with their labels scaled and placed on squares, and what is learned of them."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from monolayer.models.rescaled import image_at, labels_at
from monolayer.params.families import YoloTrain


def placed(image: Any, labels: Any, gain: float, size: int, rng: np.random.Generator) -> tuple[Any, Any]:
    """Image and labels scaled by `gain`, at a random place on a (size, size) square; what leaves it is cut off."""
    height, width = (max(1, round(side * gain)) for side in image.shape)
    grey = int(np.median(image))
    image, labels = image_at(image, height, width), labels_at(labels, height, width)
    square, plane = np.full((size, size), grey, np.uint8), np.zeros((size, size), np.int32)
    source, target = zip(*(_overlap(length, size, rng) for length in image.shape), strict=True)
    square[target], plane[target] = image[source], labels[source]
    return square, plane


def _overlap(length: int, size: int, rng: np.random.Generator) -> tuple[slice, slice]:
    """Along one axis: which part of `length` px lands on which part of `size` px."""
    shift = int(rng.integers(abs(size - length) + 1))
    if length > size:
        return slice(shift, shift + size), slice(0, size)
    return slice(0, length), slice(shift, shift + length)


def relit(image: NDArray[np.uint8], settings: YoloTrain, rng: np.random.Generator) -> NDArray[np.uint8]:
    """Another gamma and contrast, as other lamps and cameras would give."""
    table = (np.arange(256) / 255) ** float(rng.uniform(*settings.gamma)) * 255
    table *= float(rng.uniform(*settings.contrast))
    return cv2.LUT(image, table.clip(0, 255).astype(np.uint8)).astype(np.uint8, copy=False)


def reduced(plane: NDArray[np.int32], step: int) -> NDArray[np.int32]:
    """Labels 1 to N of squares of step × step px: the middle one of each square's, sorted.

    Of two in the middle it is the lower and the upper one in turn, so that outlines stay where they are: a pixel of
    each square, or one rule for squares that are half cell, half ground, would move them or let cells grow or shrink.
    A cell that is nowhere the middle one keeps the square of its first pixel.
    """
    if step == 1:
        return plane
    height, width = (side // step for side in plane.shape)
    squares = plane.reshape(height, step, width, step).swapaxes(1, 2).reshape(height, width, step * step)
    middle = step * step // 2 - np.indices((height, width)).sum(0) % 2
    small = np.take_along_axis(np.sort(squares, axis=2), middle[..., None], axis=2)[..., 0]
    missing = np.flatnonzero(np.bincount(small.ravel(), minlength=int(plane.max()) + 1) == 0)
    missing = missing[missing > 0]
    if len(missing):
        values, first = np.unique(plane, return_index=True)
        y, x = np.divmod(first[np.searchsorted(values, missing)], plane.shape[1])
        small[y // step, x // step] = missing
    return small


def renumbered(labels: NDArray[np.int32]) -> NDArray[np.int32]:
    """Labels without gaps, 1 to N."""
    values, dense = np.unique(labels, return_inverse=True)
    return np.asarray(dense.reshape(labels.shape) + (values[0] > 0), np.int32)


def boxes_xywh(labels: NDArray[np.int32]) -> NDArray[np.float32]:
    """Centre, width and height (N, 4) in px of labels 1 to N."""
    spans = [(box[1].start, box[0].start, box[1].stop, box[0].stop) for box in ndimage.find_objects(labels)]
    x0, y0, x1, y1 = np.array(spans, np.float32).reshape(-1, 4).T
    return np.stack([(x0 + x1) / 2, (y0 + y1) / 2, x1 - x0, y1 - y0], axis=1)
