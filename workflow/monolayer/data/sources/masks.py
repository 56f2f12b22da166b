"""The annotations of checked COCO records as this pipeline hands them on."""

from __future__ import annotations

from collections.abc import Iterator

from monolayer.coco.findings import Findings
from monolayer.coco.masks import true_masks
from monolayer.coco.reader import Records
from monolayer.coco.records import Annotation, Rle


def cells(records: Records, wanted: set[int], findings: Findings, keep_area: bool) -> Iterator[Annotation]:
    """The annotations of the wanted images with RLE masks; their category_id is still the file's.

    Box and area are the file's where they fit the mask (area only if `keep_area`), else the mask's.
    """
    for mask in true_masks(records, findings, wanted, keep_area=keep_area):
        yield Annotation(
            id=mask.record["id"],
            image_id=mask.frame.id,
            category_id=records.category(mask.record),
            segmentation=Rle(size=[mask.frame.height, mask.frame.width], counts=mask.counts),
            bbox=mask.box,
            area=mask.area,
            iscrowd=int(mask.record["iscrowd"]),
        )
