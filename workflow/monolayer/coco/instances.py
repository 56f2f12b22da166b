"""The neutral form of what any model finds in one image."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from monolayer.coco.labels import paint
from monolayer.coco.records import Result, Rle
from monolayer.coco.rle import Mask
from monolayer.files import InputError


@dataclass(frozen=True)
class Instances:
    """The cells found in one image, best first.

    masks[i] is bool (h, w), its upper left pixel at offsets_xy[i] of the image: memory goes with the cells' area,
    never with cells x image. boxes_xyxy is the detector's box, float32 (N, 4) in px. scores is float32 (N,) in [0, 1];
    mask_scores, where a family rates its masks, is what mask AP ranks by.
    """

    height: int
    width: int
    masks: list[Mask]
    offsets_xy: NDArray[np.int32]
    boxes_xyxy: NDArray[np.float32]
    scores: NDArray[np.float32]
    mask_scores: NDArray[np.float32] | None = None

    def at_least(self, score: float) -> Instances:
        """Those that score so much or more, by their masks' scores where they have any."""
        scores = self.scores if self.mask_scores is None else self.mask_scores
        kept = np.flatnonzero(scores >= score)
        return replace(
            self,
            masks=[self.masks[index] for index in kept],
            offsets_xy=self.offsets_xy[kept],
            boxes_xyxy=self.boxes_xyxy[kept],
            scores=self.scores[kept],
            mask_scores=None if self.mask_scores is None else self.mask_scores[kept],
        )

    def label_image(self) -> NDArray[np.int32]:
        """int32 (H, W), 0 is background, the n-th cell is n; where masks overlap the smaller one is seen."""
        crops = [(mask, int(x), int(y)) for mask, (x, y) in zip(self.masks, self.offsets_xy, strict=True)]
        return paint(crops, self.height, self.width)

    def results(self, image_id: int) -> Iterator[Result]:
        """COCO results at native image size; a cell without a pixel is not a cell."""
        for index, counts in enumerate(self._counts()):
            if counts is None:
                continue
            x0, y0, x1, y1 = (round(float(v), 2) for v in self.boxes_xyxy[index])
            result = Result(
                image_id=image_id,
                category_id=1,
                segmentation=Rle(size=[self.height, self.width], counts=counts),
                bbox=[x0, y0, round(x1 - x0, 2), round(y1 - y0, 2)],
                score=round(float(self.scores[index]), 5),
            )
            if self.mask_scores is not None:
                result["mask_score"] = round(float(self.mask_scores[index]), 5)
            yield result

    def _counts(self) -> list[str | None]:
        """COCO's compressed counts of each mask, all in one go; None for one without a pixel."""
        from monolayer.coco.rle_kernels import encode_crops

        if not self.masks:
            return []
        sizes = np.array([mask.shape[::-1] for mask in self.masks], np.int32)
        boxes = np.concatenate([self.offsets_xy, sizes], axis=1)
        if (boxes[:, :2] < 0).any() or (boxes[:, :2] + sizes > [self.width, self.height]).any():
            raise InputError(f"a mask leaves its image of {self.width}x{self.height} px")
        pixels = np.concatenate([mask.ravel() for mask in self.masks])
        text, ends, empty = encode_crops(pixels, boxes, self.height, self.width)
        every, bounds = text.tobytes().decode(), [0, *ends.tolist()]
        pairs = zip(bounds, bounds[1:], empty.tolist(), strict=False)
        return [None if nothing else every[start:end] for start, end, nothing in pairs]
