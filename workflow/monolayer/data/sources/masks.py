"""The masks of checked COCO records as RLE, whatever form they have: polygons, compressed or plain run lengths.

A mask that can't be read is an InputError; one that can be repaired or left out is noted as a finding.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, cast

import numpy as np
from pycocotools import mask as rle_codec

from monolayer.coco.records import Annotation, Rle
from monolayer.coco.rle import box_xywh, rle_area, rle_from_polygons, run_edges
from monolayer.data.findings import Findings
from monolayer.data.sources.records import ListedImage, Records, kind_of
from monolayer.files import InputError

# Numbers of COCO's compressed counts: 5 bits a character, which is of P-o if more follow and of 0-O if none do.
# 7 characters hold any run of an image. (pycocotools decodes damaged counts beyond the end of its memory.)
COMPRESSED = re.compile("(?:[P-o]{0,6}[0-O])+")


def cells(records: Records, wanted: set[int], findings: Findings, keep_area: bool) -> Iterator[Annotation]:
    """The annotations of the wanted images with RLE masks; their category_id is still the file's.

    Box and area are the file's where they fit the mask (area only if `keep_area`), else the mask's.
    """
    for record in records.annotations():
        frame = records.frames[record["image_id"]]
        if frame.id in wanted:
            where = f"{records.name}: annotation {record['id']} of {frame.file_name}"
            rle = _rle(record.get("segmentation"), frame, where, findings)
            if rle is not None:
                yield _annotation(record, rle, keep_area, where, findings)


def _rle(segmentation: Any, frame: ListedImage, where: str, findings: Findings) -> Rle | None:
    """The mask, or None (and a finding) where there is none to have."""
    if segmentation is None or segmentation == []:
        findings.add("no_mask", f"{where}: no segmentation")
        return None
    if isinstance(segmentation, dict):
        rle = _rle_from_runs(segmentation, frame, where)
    elif isinstance(segmentation, list):
        polygons = [part for part in (_polygon(part, where) for part in segmentation) if len(part) >= 6]
        if not polygons:
            findings.add("no_mask", f"{where}: no polygon of three points or more")
            return None
        _check_extent(polygons, frame, where, findings)
        rle = rle_from_polygons(polygons, frame.height, frame.width)
    else:
        raise InputError(f"{where}: segmentation is {kind_of(segmentation)}, not polygons or RLE")
    if rle_area(rle) == 0:
        findings.add("outside_image", where)
        return None
    return rle


def _polygon(part: Any, where: str) -> list[float]:
    if isinstance(part, int | float) and not isinstance(part, bool):
        raise InputError(
            f"{where}: segmentation is a flat list; it must be a list of polygons, [[x0, y0, x1, y1, ...]]"
        )
    if not isinstance(part, list) or not set(map(type, part)) <= {int, float}:
        raise InputError(
            f"{where}: a polygon is {str(part)[:60]!r}; it must be a list of numbers, [x0, y0, x1, y1, ...]"
        )
    if len(part) % 2:
        raise InputError(f"{where}: a polygon has {len(part)} numbers; an x or a y is missing")
    if not all(-1e9 < value < 1e9 for value in part):
        raise InputError(f"{where}: a polygon has coordinates that are NaN or infinite; export it again")
    return part


def _check_extent(polygons: list[list[float]], frame: ListedImage, where: str, findings: Findings) -> None:
    """Note polygons that leave the image; refuse what is so far out that it must be another unit or image."""
    out = 0.0
    for polygon in polygons:
        out = max(out, -min(polygon), max(polygon[::2]) - frame.width, max(polygon[1::2]) - frame.height)
    if out > 2 * max(frame.width, frame.height):  # rasterising takes memory by length
        raise InputError(
            f"{where}: a polygon reaches {out:g} px out of its image of {frame.width}x{frame.height} px; "
            "are its coordinates those of another image or size?"
        )
    if out > 1:
        findings.add("clipped", f"{where}: by {out:.1f} px")


def _rle_from_runs(segmentation: dict[str, Any], frame: ListedImage, where: str) -> Rle:
    size, counts = segmentation.get("size"), segmentation.get("counts")
    if size != [frame.height, frame.width]:
        raise InputError(
            f"{where}: its RLE is of size {size}, the image is [{frame.height}, {frame.width}] (height, width); "
            "encode the mask at the image's size"
        )
    if isinstance(counts, str):
        if not COMPRESSED.fullmatch(counts):
            raise InputError(f"{where}: the counts of its RLE are no compressed run lengths; encode the mask again")
        runs = np.diff(run_edges(counts), prepend=0)
    elif isinstance(counts, list) and set(map(type, counts)) <= {int}:
        runs = np.array([max(-1, min(run, frame.height * frame.width + 1)) for run in counts], np.int64)
    else:
        raise InputError(f"{where}: the counts of its RLE are {kind_of(counts)}, not a text or a list of whole numbers")
    if (runs < 0).any() or runs.sum() != frame.height * frame.width:
        raise InputError(
            f"{where}: the runs of its RLE add up to {runs.sum()} px, the image has {frame.height * frame.width}; "
            "the counts are damaged, encode the mask again"
        )
    if isinstance(counts, list):
        counts = rle_codec.frPyObjects(cast(Any, segmentation), frame.height, frame.width)["counts"].decode()
    return Rle(size=[frame.height, frame.width], counts=counts)


def _annotation(record: dict[str, Any], rle: Rle, keep_area: bool, where: str, findings: Findings) -> Annotation:
    mask_box, mask_area = box_xywh(rle), float(rle_area(rle))
    box, area = record.get("bbox"), record.get("area")
    if box is not None and not _fits(box, mask_box):
        findings.add("box_replaced", f"{where}: {str(box)[:80]} for a mask at {mask_box}")
        box = None
    if area is not None and keep_area and not (_is_number(area) and mask_area / 2 <= area <= 2 * mask_area):
        findings.add("area_replaced", f"{where}: {str(area)[:40]} for a mask of {mask_area:g} px²")
        area = None
    return Annotation(
        id=record["id"],
        image_id=record["image_id"],
        category_id=record["category_id"],
        segmentation=rle,
        bbox=[float(value) for value in box or mask_box],
        area=float(area) if area is not None and keep_area else mask_area,
        iscrowd=int(record.get("iscrowd", 0)),
    )


def _is_number(value: Any) -> bool:
    return type(value) in (int, float) and -1e12 < value < 1e12  # neither NaN nor beyond floats


def _fits(box: Any, mask_box: list[float]) -> bool:
    """Whether a box is xywh numbers that overlap the mask's box by half, measured as IoU with 1 px of grace."""
    if not (isinstance(box, list) and len(box) == 4 and all(map(_is_number, box)) and box[2] > 0 and box[3] > 0):
        return False
    (x, y, w, h), (u, v, p, q) = ((b[0] - 0.5, b[1] - 0.5, b[2] + 1, b[3] + 1) for b in (box, mask_box))
    both = max(0.0, min(x + w, u + p) - max(x, u)) * max(0.0, min(y + h, v + q) - max(y, v))
    return bool(both >= 0.5 * (w * h + p * q - both))
