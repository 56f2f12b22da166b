"""The annotations of checked COCO records as this pipeline hands them on."""

from __future__ import annotations

from collections.abc import Iterator

from monolayer.coco.findings import Findings
from monolayer.coco.masks import true_masks
from monolayer.coco.reader import Records
from monolayer.coco.records import Annotation, Rle
from monolayer.data.sources.tracks import tracked


def cells(records: Records, wanted: set[int], findings: Findings, keep_area: bool) -> Iterator[Annotation]:
    """The annotations of the wanted images with RLE masks; their category_id is still the file's.

    Box and area are the file's where they fit the mask (area only if `keep_area`), else the mask's.
    """
    for masks in true_masks(records, findings, wanted, keep_area=keep_area):
        rows = zip(masks.listed, masks.boxes.tolist(), masks.areas.tolist(), strict=True)
        for (record, frame, counts), box, area in rows:
            cell = Annotation(
                id=record["id"],
                image_id=frame.id,
                category_id=records.category(record),
                segmentation=Rle(size=[frame.height, frame.width], counts=counts),
                bbox=box,
                area=area,
                iscrowd=int(record["iscrowd"]),
            )
            yield tracked(record, cell, records.name)
