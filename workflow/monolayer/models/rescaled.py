"""Images brought to the scale that a network learned at, and its cells back to the image's own."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import ceil
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image as PillowImage

from monolayer.backends import Backend
from monolayer.backends.manifest import Range
from monolayer.coco.instances import Instances
from monolayer.models.pipeline import Pipeline


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

    def preprocess(self, image: NDArray[np.uint8]) -> Any:
        height, width = self._seen(*image.shape)
        resized = PillowImage.fromarray(image).resize((width, height), PillowImage.Resampling.BICUBIC)
        return self.inner.preprocess(np.asarray(resized))

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
    rows = ((np.arange(height) + 0.5) * found.height / height).astype(int)
    columns = ((np.arange(width) + 0.5) * found.width / width).astype(int)
    masks, offsets = [], []
    for mask, x, y in found.crops:
        top, bottom = np.searchsorted(rows, (y, y + mask.shape[0]))
        left, right = np.searchsorted(columns, (x, x + mask.shape[1]))
        masks.append(mask[np.ix_(rows[top:bottom] - y, columns[left:right] - x)])
        offsets.append((left, top))
    ratio = np.array([width / found.width, height / found.height] * 2, np.float32)
    resized = replace(
        found,
        height=height,
        width=width,
        masks=masks,
        offsets_xy=np.array(offsets, np.int32).reshape(-1, 2),
        boxes_xyxy=found.boxes_xyxy * ratio,
    )
    return resized.take(np.array([n for n, mask in enumerate(masks) if mask.any()], np.int64))
