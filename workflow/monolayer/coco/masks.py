"""The masks of a COCO file of truth, for all who read one: what is no cell is noted, what spoils numbers refused."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Any, NamedTuple

import numpy as np

from monolayer.coco.findings import Findings
from monolayer.coco.names import is_background
from monolayer.coco.reader import ListedImage, Records
from monolayer.coco.segmentation import counts_of, fault_of, ready
from monolayer.compiled import Flags, Floats
from monolayer.files import InputError

BATCH = 4096  # masks that are decoded at a time
OUTSIDE = 0.1  # share of a file's annotations without a pixel in their image, beyond which its unit or size is another
GRACE = np.array((-0.5, -0.5, 1, 1))  # px, of boxes that are compared
ODD = 4 / 3  # of an area over its mask's: polygons and masks of one cell differ by a few per cent
ENOUGH = 20  # cells, of which it is no chance that all lie in one quarter of their images, or most have odd areas


Listed = tuple[dict[str, Any], ListedImage, str]  # annotation, image, compressed counts


class TrueMasks(NamedTuple):
    """Masks of at least one pixel; boxes (N, 4) and areas (N,) are the file's where they fit, else their own."""

    listed: list[Listed]
    boxes: Floats
    areas: Floats


@dataclass
class MaskCensus:
    """Annotations of a file: all, masks, crowds (and those among them that are said to be regions), those without a
    pixel, those whose area is kept and far from their mask's; how far right or down masks reach (0-1)."""

    seen: int = 0
    kept: int = 0
    crowds: int = 0
    regions: int = 0
    outside: int = 0
    odd_areas: int = 0
    reach: float = 0.0


def shown(record: dict[str, Any], frame: ListedImage, name: str) -> str:
    """How findings and errors call an annotation."""
    return f"{name}: annotation {record['id']} of {frame.file_name}"


def true_masks(
    records: Records, findings: Findings, wanted: set[int] | None = None, *, keep_area: bool = True
) -> Iterator[TrueMasks]:
    """The masks of the wanted images, or of all, in the order of the file; at its end the file as a whole is judged."""
    if not records.lines:
        raise InputError(f"{records.name} lists no annotations; there is nothing to learn from or to compare with")
    census = MaskCensus()
    listed = _listed(records, findings, wanted, census)
    while batch := list(islice(listed, BATCH)):
        yield _decoded(batch, records, findings, census, keep_area)
    judge(records.name, census, findings)


def _listed(records: Records, findings: Findings, wanted: set[int] | None, census: MaskCensus) -> Iterator[Listed]:
    backgrounds = {number for number, name in records.categories.items() if is_background(name)}
    told = bool(backgrounds or records.regions)
    for record in records.annotations():
        frame = records.frames[record["image_id"]]
        if wanted is not None and frame.id not in wanted:
            continue
        if told and (category := records.named(record)) in backgrounds:
            findings.add("no_cell", f"{shown(record, frame, records.name)} ({records.categories[category]})")
            continue
        if told and category in records.regions:
            record["iscrowd"] = 1
        census.seen += 1
        segmentation, size = record.get("segmentation"), [frame.height, frame.width]
        counts = ready(segmentation, size)
        if counts is None:
            where, before = shown(record, frame, records.name), findings.count("outside_image")
            try:
                counts = counts_of(segmentation, size, where, findings)
            except InputError as error:
                raise InputError(f"{where}: {error}") from None
            census.outside += findings.count("outside_image") - before
        if counts is not None:
            yield record, frame, counts


def _decoded(
    batch: list[Listed], records: Records, findings: Findings, census: MaskCensus, keep_area: bool
) -> TrueMasks:
    from monolayer.coco.rle_kernels import decode_runs, measure_runs

    name = records.name
    encoded = [counts.encode("utf-8", "surrogatepass") for _, _, counts in batch]
    sizes = np.array([(frame.height, frame.width) for _, frame, _ in batch])
    last = np.cumsum([len(counts) for counts in encoded])
    first, runs, fault = decode_runs(np.frombuffer(b"".join(encoded), np.uint8), last, sizes)
    if fault.any():
        record, frame, counts = batch[int(np.flatnonzero(fault)[0])]
        raise InputError(f"{shown(record, frame, name)}: {fault_of(counts, (frame.height, frame.width))}")
    pixels, extents = measure_runs(runs, first, sizes[:, 0].copy())
    census.reach = max(census.reach, float((extents[:, 2:] / sizes[:, ::-1]).max()))
    own = np.c_[extents[:, :2], extents[:, 2:] - extents[:, :2]].astype(np.float64)
    given = _numbers([record.get("bbox") for record, _, _ in batch], 4)
    areas = _numbers([record.get("area") for record, _, _ in batch], 1)[:, 0]
    fits, right = boxes_fit(given, own), (pixels / 2 <= areas) & (areas <= 2 * pixels)
    census.kept += int((pixels > 0).sum())
    census.outside += int((pixels == 0).sum())
    if keep_area:
        census.odd_areas += int((right & ((areas > ODD * pixels) | (ODD * areas < pixels))).sum())
    crowds = [record for (record, _, _), count in zip(batch, pixels, strict=True) if count and record["iscrowd"]]
    census.crowds += len(crowds)
    census.regions += sum(record.get("ignore") == 1 or records.named(record) in records.regions for record in crowds)
    for index in np.flatnonzero((pixels == 0) | ~fits | ~right):
        record, frame, _ = batch[index]
        if not pixels[index]:
            findings.add("outside_image", shown(record, frame, name))
            continue
        if not fits[index] and record.get("bbox") is not None:
            said = f"{str(record['bbox'])[:80]} for a mask at {own[index].tolist()}"
            findings.add("box_replaced", f"{shown(record, frame, name)}: {said}")
        if not right[index] and keep_area and record.get("area") is not None:
            said = f"{str(record['area'])[:40]} for a mask of {pixels[index]} px²"
            findings.add("area_replaced", f"{shown(record, frame, name)}: {said}")
    kept = np.flatnonzero(pixels)
    boxes, areas = np.where(fits[:, None], given, own), np.where(right & keep_area, areas, pixels)
    return TrueMasks([batch[index] for index in kept], boxes[kept], areas[kept])


def _numbers(given: list[Any], count: int) -> Floats:
    """So many numbers (N, count) of each; NaN where it is anything else, or beyond 10¹²."""
    try:
        values = np.array(given)
    except ValueError:  # of several lengths
        values = np.array(None)
    if values.dtype.kind in "if" and values.size == count * len(given):
        values = values.astype(np.float64).reshape(-1, count)
    else:
        rows = [one if isinstance(one, list) and count > 1 else [one] for one in given]
        good = [len(row) == count and all(map(_is_number, row)) for row in rows]
        values = np.array([row if fine else [np.nan] * count for row, fine in zip(rows, good, strict=True)], np.float64)
    values[~(np.abs(values) < 1e12).all(axis=1)] = np.nan
    return values


def _is_number(value: Any) -> bool:
    return type(value) in (int, float) and -1e12 < value < 1e12  # neither NaN nor beyond floats


def boxes_fit(given: Floats, own: Floats) -> Flags:
    """Whether each (N, 4) is a box that overlaps its mask's box by half, measured as IoU with 1 px of grace."""
    (x, y, w, h), (u, v, p, q) = ((boxes + GRACE).T for boxes in (given, own))
    both = np.maximum(0, np.minimum(x + w, u + p) - np.maximum(x, u))
    both *= np.maximum(0, np.minimum(y + h, v + q) - np.maximum(y, v))
    with np.errstate(invalid="ignore"):
        return np.asarray((w > 1) & (h > 1) & (both >= 0.5 * (w * h + p * q - both)), np.bool_)


def judge(name: str, census: MaskCensus, findings: Findings) -> None:
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
            if not census.regions
            else f"none of the {census.kept} masks of {name} is a cell: categories named `ignore`, and iscrowd 1, are "
            "regions that count neither way"
        )
    if crowds := census.crowds - census.regions:
        findings.add("crowds", f"{name}: {crowds} of {census.kept}", crowds)
    if census.regions:
        findings.add("ignored_regions", f"{name}: {census.regions} of {census.kept}", census.regions)
    if census.odd_areas > census.kept / 2 and census.kept >= ENOUGH:
        findings.add("area_unit", f"{name}: {census.odd_areas} of {census.kept} areas")
    if census.reach <= 0.5 and census.kept >= ENOUGH:
        findings.add("one_corner", f"{name}: {census.kept} masks, up to {census.reach:.0%} of width or height")
