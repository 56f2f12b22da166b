"""Images brought to the scale that a network learned at, and its cells back to the image's own."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import ceil
from typing import Any, TypeVar

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image as PillowImage

from monolayer.backends import Backend
from monolayer.backends.manifest import Range
from monolayer.coco.instances import Instances
from monolayer.data.dataset import Sample, TrueCells
from monolayer.files import InputError
from monolayer.models.pipeline import Pipeline

Grey = TypeVar("Grey", np.uint8, np.float32)


@dataclass(frozen=True)
class RescaledPipeline:
    """A pipeline whose network sees images enlarged by `factor`."""

    inner: Pipeline
    factor: float

    @property
    def stride(self) -> int:
        return ceil(self.inner.stride / self.factor)

    @property
    def axes(self) -> dict[str, Range]:
        return self.inner.axes

    def scale(self, side: int) -> float:
        return self.factor * self.inner.scale(round(self.factor * side))

    def preprocess(self, image: NDArray[np.uint8]) -> Any:
        return self.inner.preprocess(resized(image, *self._seen(*image.shape)))

    def forward(self, backend: Backend, inputs: Sequence[Any]) -> list[Any]:
        return self.inner.forward(backend, inputs)

    def postprocess(self, outputs: Any, height: int, width: int) -> Instances:
        return at_size(self.inner.postprocess(outputs, *self._seen(height, width)), height, width)

    def _seen(self, height: int, width: int) -> tuple[int, int]:
        """Height and width that the network sees; at least its stride where the image has as much as it needs."""
        seen = (max(self.inner.stride, round(side * self.factor)) for side in (height, width))
        return next(seen), next(seen)


def at_size(found: Instances, height: int, width: int) -> Instances:
    """The same cells in an image of another size: a pixel belongs to what its centre lies in."""
    rows, columns = _centres(height, found.height), _centres(width, found.width)
    masks, offsets = [], []
    for mask, x, y in found.crops:
        top, bottom = np.searchsorted(rows, (y, y + mask.shape[0]))
        left, right = np.searchsorted(columns, (x, x + mask.shape[1]))
        masks.append(mask[np.ix_(rows[top:bottom] - y, columns[left:right] - x)])
        offsets.append((left, top))
    ratio = np.array([width / found.width, height / found.height] * 2, np.float32)
    cells = replace(
        found,
        height=height,
        width=width,
        masks=masks,
        offsets_xy=np.array(offsets, np.int32).reshape(-1, 2),
        boxes_xyxy=found.boxes_xyxy * ratio,
    )
    return cells.take(np.array([n for n, mask in enumerate(masks) if mask.any()], np.int64))


def resized(image: NDArray[np.uint8], height: int, width: int) -> NDArray[np.uint8]:
    return np.asarray(PillowImage.fromarray(image).resize((width, height), PillowImage.Resampling.BICUBIC))


def image_at(image: NDArray[Grey], height: int, width: int) -> NDArray[Grey]:
    """Grey values (h, w) as (height, width): linear between pixels' centres, or means of the areas that become one."""
    smooth = cv2.INTER_AREA if max(height, width) < max(image.shape) else cv2.INTER_LINEAR
    return cv2.resize(image, (width, height), interpolation=smooth).astype(image.dtype, copy=False)


def labels_at(labels: NDArray[np.int32], height: int, width: int) -> NDArray[np.int32]:
    """Labels (h, w) as (height, width): a pixel belongs to what its centre lies in.

    So outlines stay on those of the image, whether `image_at` or `resized` scales it. OpenCV's INTER_NEAREST goes by a
    pixel's corner, which is off by half a pixel.
    """
    return labels[np.ix_(_centres(height, labels.shape[0]), _centres(width, labels.shape[1]))]


def _centres(length: int, of: int) -> NDArray[np.int64]:
    """Along an axis of `of` px: the pixel in which the centre of each of `length` pixels lies."""
    return ((np.arange(length) + 0.5) * of / length).astype(np.int64)


def usual_diameter(samples: Sequence[Sample]) -> float:
    """px: of the circle that has the area of their median cell."""
    areas = [cell["area"] for sample in samples for cell in sample.annotations]
    if not areas:
        raise InputError("no image to train on has a cell, so nobody knows their diameter; set `diameter` to null")
    return 2 * float(np.sqrt(np.median(areas) / np.pi))


class ScaledCells(TrueCells):
    """True cells whose images are enlarged by `zoom`; so are the sizes and boxes of its samples."""

    def __init__(self, samples: Sequence[Sample], zoom: float, room: int = 1_000_000_000) -> None:
        super().__init__(samples, room)
        self._native = TrueCells(samples, room=0)
        self.zoom = zoom
        if zoom != 1:
            self.samples = [_enlarged(sample, zoom) for sample in samples]

    def image(self, index: int) -> NDArray[np.uint8]:
        size = self._size(index)
        return self._keep("image", index, lambda: _at(self._native.image(index), size))

    def labels(self, index: int) -> NDArray[np.int32]:
        height, width = self._size(index)

        return self._keep("labels", index, lambda: labels_at(self._native.labels(index), height, width))

    def _size(self, index: int) -> tuple[int, int]:
        image = self.samples[index].image
        return image["height"], image["width"]


def _at(image: NDArray[np.uint8], size: tuple[int, int]) -> NDArray[np.uint8]:
    return image if image.shape == size else resized(image, *size)


def _enlarged(sample: Sample, zoom: float) -> Sample:
    """A sample whose sizes and boxes are those in the network; its masks are not."""
    image, cells = sample.image.copy(), [cell.copy() for cell in sample.annotations]
    image["height"], image["width"] = (max(1, round(zoom * side)) for side in (image["height"], image["width"]))
    for cell in cells:
        cell["bbox"] = [zoom * value for value in cell["bbox"]]
    return replace(sample, image=image, annotations=cells)
