"""What counts in an image of which nobody annotated a part: what is found in such regions counts neither way."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import Any, NamedTuple, cast

import numpy as np
from numpy.typing import NDArray
from pycocotools import mask as rle_codec

from monolayer.coco.findings import Findings
from monolayer.coco.labels import label_image
from monolayer.coco.masks import true_masks
from monolayer.coco.overlap import lying_in
from monolayer.coco.reader import Records
from monolayer.coco.records import Rle
from monolayer.compiled import Flags

SAME = 0.5  # IoU from which on a found cell is a true one, wherever it lies


class TrueImage(NamedTuple):
    """What truth says of an image: the masks of its cells, and the regions that nobody annotated."""

    cells: list[Rle]
    regions: list[Rle]

    def ignored(self, found: Sequence[Rle]) -> Flags:
        """Which found cells (N,) count neither way: they lie in the regions and are no true cell."""
        lying = lying_in(found, self.regions)
        if lying.any() and self.cells:
            iou = rle_codec.iou(cast(Any, list(found)), cast(Any, self.cells), [0] * len(self.cells))
            lying &= np.asarray(iou).max(axis=1) < SAME
        return lying

    def annotated(self, height: int, width: int) -> NDArray[np.bool_]:
        """Which pixels (H, W) count: those of true cells, and those outside the regions."""
        cells, regions = (label_image(rles, height, width) > 0 for rles in self)
        return np.asarray(cells | ~regions)


def with_regions(records: Records) -> dict[int, TrueImage]:
    """The images that have regions, by id; what is wrong with their truth is told by who reads it as such."""
    if not any(record["iscrowd"] or records.named(record) in records.regions for record in records.annotations()):
        return {}
    found: dict[int, TrueImage] = defaultdict(lambda: TrueImage([], []))
    for record, frame, counts in (listed for masks in true_masks(records, Findings()) for listed in masks.listed):
        one = found[frame.id]
        (one.regions if record["iscrowd"] else one.cells).append(Rle(size=[frame.height, frame.width], counts=counts))
    return {image: one for image, one in found.items() if one.regions}
