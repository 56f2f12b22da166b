"""The neutral form of what any model finds in one image."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from monolayer.coco.labels import paint
from monolayer.coco.records import Result, Rle
from monolayer.coco.rle import Mask, Placed, rles_from_crops


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

    @property
    def ranking(self) -> NDArray[np.float32]:
        """What the cells are ordered by: their masks' scores where they have any."""
        return self.scores if self.mask_scores is None else self.mask_scores

    @property
    def crops(self) -> list[Placed]:
        return [(mask, x, y) for mask, (x, y) in zip(self.masks, self.offsets_xy.tolist(), strict=True)]

    def take(self, chosen: NDArray[np.int64]) -> Instances:
        """These cells, in this order."""
        return replace(
            self,
            masks=[self.masks[index] for index in chosen],
            offsets_xy=self.offsets_xy[chosen],
            boxes_xyxy=self.boxes_xyxy[chosen],
            scores=self.scores[chosen],
            mask_scores=None if self.mask_scores is None else self.mask_scores[chosen],
        )

    def at_least(self, score: float) -> Instances:
        """Those that score so much or more, as files and tables say their scores: with five decimals."""
        return self.take(np.flatnonzero(np.round(self.ranking.astype(np.float64), 5) >= score))

    def label_image(self) -> NDArray[np.int32]:
        """int32 (H, W), 0 is background, the n-th cell is n; where masks overlap the smaller one is seen."""
        return paint(self.crops, self.height, self.width)

    def rles(self) -> list[Rle]:
        return rles_from_crops(self.crops, self.height, self.width)

    def results(self, image_id: int) -> Iterator[Result]:
        """COCO results at native image size; a cell without a pixel is not a cell."""
        for index, rle in enumerate(self.rles()):
            if not self.masks[index].any():
                continue
            x0, y0, x1, y1 = (round(float(v), 2) for v in self.boxes_xyxy[index])
            result = Result(
                image_id=image_id,
                category_id=1,
                segmentation=rle,
                bbox=[x0, y0, round(x1 - x0, 2), round(y1 - y0, 2)],
                score=round(float(self.scores[index]), 5),
            )
            if self.mask_scores is not None:
                result["mask_score"] = round(float(self.mask_scores[index]), 5)
            yield result
