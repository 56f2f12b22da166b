"""The masks of a COCO file of truth, for all who read one: what is no cell is noted, what spoils numbers refused."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Any, NamedTuple

import numpy as np

from monolayer.coco.findings import Findings
from monolayer.coco.reader import ListedImage, Records
from monolayer.coco.segmentation import counts_of, fault_of
from monolayer.compiled import Flags, Floats
from monolayer.files import InputError

BATCH = 4096  # masks that are decoded at a time
OUTSIDE = 0.1  # share of a file's annotations without a pixel in their image, beyond which its unit or size is another
GRACE = np.array((-0.5, -0.5, 1, 1))  # px, of boxes that are compared
ENOUGH = 20  # cells, of which it is no chance that all lie in one quarter of their images


class TrueMask(NamedTuple):
    """A mask of at least one pixel; box (x y w h) and area are the file's where they fit it, else its own."""

    record: dict[str, Any]
    frame: ListedImage
    counts: str
    pixels: int
    box: list[float]
    area: float


@dataclass
class Census:
    """Annotations of a file: all, masks, crowds, those without a pixel; how far right or down masks reach (0-1)."""

    seen: int = 0
    kept: int = 0
    crowds: int = 0
    outside: int = 0
    reach: float = 0.0


def shown(record: dict[str, Any], frame: ListedImage, name: str) -> str:
    """How findings and errors call an annotation."""
    return f"{name}: annotation {record['id']} of {frame.file_name}"


def true_masks(
    records: Records, findings: Findings, wanted: set[int] | None = None, *, keep_area: bool = True
) -> Iterator[TrueMask]:
    """The masks of the wanted images, or of all, in the order of the file; at its end the file as a whole is judged."""
    if not records.lines:
        raise InputError(f"{records.name} lists no annotations; there is nothing to learn from or to compare with")
    census = Census()
    listed = _listed(records, findings, wanted, census)
    while batch := list(islice(listed, BATCH)):
        yield from _decoded(batch, records.name, findings, census, keep_area)
    judge(records.name, census, findings)


Listed = tuple[dict[str, Any], ListedImage, str]  # annotation, image, compressed counts


def _listed(records: Records, findings: Findings, wanted: set[int] | None, census: Census) -> Iterator[Listed]:
    for record in records.annotations():
        frame = records.frames[record["image_id"]]
        if wanted is not None and frame.id not in wanted:
            continue
        census.seen += 1
        where = shown(record, frame, records.name)
        before = findings.count("outside_image")
        try:
            counts = counts_of(record.get("segmentation"), (frame.height, frame.width), where, findings)
        except InputError as error:
            raise InputError(f"{where}: {error}") from None
        census.outside += findings.count("outside_image") - before
        if counts is not None:
            yield record, frame, counts


def _decoded(batch: list[Listed], name: str, findings: Findings, census: Census, keep_area: bool) -> Iterator[TrueMask]:
    from monolayer.coco.rle_kernels import decode_runs, measure_runs

    encoded = [counts.encode("utf-8", "replace") for _, _, counts in batch]
    sizes = np.array([(frame.height, frame.width) for _, frame, _ in batch])
    last = np.cumsum([len(counts) for counts in encoded])
    first, runs, fault = decode_runs(np.frombuffer(b"".join(encoded), np.uint8), last, sizes)
    if fault.any():
        record, frame, counts = batch[int(np.flatnonzero(fault)[0])]
        raise InputError(f"{shown(record, frame, name)}: {fault_of(counts, (frame.height, frame.width))}")
    pixels, extents = measure_runs(runs, first, sizes[:, 0].copy())
    census.reach = max(census.reach, float((extents[:, 2:] / sizes[:, ::-1]).max()))
    boxes = np.c_[extents[:, :2], extents[:, 2:] - extents[:, :2]].astype(np.float64)
    fits = boxes_fit([record.get("bbox") for record, _, _ in batch], boxes).tolist()
    for (record, frame, counts), count, box, fit in zip(batch, pixels.tolist(), boxes.tolist(), fits, strict=True):
        if not count:
            census.outside += 1
            findings.add("outside_image", shown(record, frame, name))
            continue
        census.kept += 1
        census.crowds += record["iscrowd"]
        given, area = record.get("bbox"), record.get("area")
        if given is not None and not fit:
            findings.add("box_replaced", f"{shown(record, frame, name)}: {str(given)[:80]} for a mask at {box}")
        if not keep_area or not (is_number(area) and count / 2 <= area <= 2 * count):
            if keep_area and area is not None:
                of = shown(record, frame, name)
                findings.add("area_replaced", f"{of}: {str(area)[:40]} for a mask of {count} px²")
            area = count
        own = list(map(float, given)) if given is not None and fit else box
        yield TrueMask(record, frame, counts, count, own, float(area or count))


def is_number(value: Any) -> bool:
    return type(value) in (int, float) and -1e12 < value < 1e12  # neither NaN nor beyond floats


def boxes_fit(given: list[Any], boxes: Floats) -> Flags:
    """Whether each is xywh numbers that overlap its mask's box by half, measured as IoU with 1 px of grace."""
    valid = [isinstance(box, list) and len(box) == 4 and all(map(is_number, box)) for box in given]
    theirs = np.array([box if good else (0, 0, 0, 0) for box, good in zip(given, valid, strict=True)], np.float64)
    (x, y, w, h), (u, v, p, q) = ((b + GRACE).T for b in (theirs, boxes))
    both = np.maximum(0, np.minimum(x + w, u + p) - np.maximum(x, u))
    both *= np.maximum(0, np.minimum(y + h, v + q) - np.maximum(y, v))
    fit = np.array(valid) & (theirs[:, 2] > 0) & (theirs[:, 3] > 0) & (both >= 0.5 * (w * h + p * q - both))
    return np.asarray(fit, np.bool_)


def judge(name: str, census: Census, findings: Findings) -> None:
    """Refuse a file of which nothing is left, or numbers would be wrong."""
    if census.seen and not census.kept:
        raise InputError(
            f"no annotation of {name} has a mask with a pixel inside its image; "
            "coordinates must be in px of the image, and boxes alone are no masks"
        )
    if census.outside > max(1, OUTSIDE * census.seen):
        raise InputError(
            f"{census.outside} of {census.seen} annotations of {name} have no pixel inside their image; "
            "their coordinates are those of another size or unit, and must be in px of the image"
        )
    if census.seen and census.crowds == census.kept:
        raise InputError(
            f"all {census.kept} masks of {name} are crowds (iscrowd 1), which never count as cells; "
            "where each is one cell, as CVAT exports them, set iscrowd to 0"
        )
    if census.crowds:
        findings.add("crowds", f"{name}: {census.crowds} of {census.kept}", census.crowds)
    if census.reach <= 0.5 and census.kept >= ENOUGH:
        findings.add("one_corner", f"{name}: {census.kept} masks, up to {census.reach:.0%} of width or height")
