"""COCO files as the world writes them: checked record by record, their masks as RLE.

What leaves no way to go on is an InputError that names file, record, value and cure; what can be repaired or left out
is noted as a finding. Format: https://cocodataset.org/#format-data
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray
from pycocotools import mask as rle_codec

from monolayer import coco
from monolayer.coco import Annotation, InputError, Rle
from monolayer.findings import Findings


@dataclass(frozen=True)
class Frame:
    """An image record as the file gives it: file_name is a path relative to the folder of images."""

    id: int
    file_name: str
    height: int
    width: int


@dataclass(frozen=True)
class Records:
    """One COCO file whose ids and references hold; polygons are float arrays [x0, y0, x1, y1, ...] where they can."""

    name: str
    frames: dict[int, Frame]
    annotations: list[dict[str, Any]]
    categories: dict[int, str]


def read(path: Path, name: str | None = None) -> Records:
    """Read and check a COCO file; errors call it `name`, or by its path."""
    name = name or str(path)
    try:
        text = path.read_bytes()
    except OSError as error:
        raise InputError(f"{name} can't be read ({error.strerror}); check the path") from None
    return parse(text, name)


def parse(text: bytes, name: str) -> Records:
    """Check the text of a COCO file."""
    try:
        data = json.loads(text, object_hook=_compact)
    except (ValueError, OverflowError, RecursionError) as error:
        raise InputError(f"{name} is not JSON ({error}); is it cut short? export it again") from None
    if not isinstance(data, dict):
        raise InputError(f"{name} holds {_kind(data)}, not an object with images, annotations and categories")
    categories = {
        _integer(record, "id", f"{name}: category {index}"): _text(record, "name", f"{name}: category {index}")
        for index, record in _list_of_objects(data, "categories", name)
    }
    frames: dict[int, Frame] = {}
    for index, record in _list_of_objects(data, "images", name):
        frame = _frame(record, f"{name}: image {index}")
        if frame.id in frames:
            raise InputError(
                f"{name}: image id {frame.id} is used twice ({frames[frame.id].file_name}, {frame.file_name}); "
                "its annotations could belong to either, so give each image an id of its own"
            )
        frames[frame.id] = frame
    if not frames:
        raise InputError(f"{name} lists no images")
    annotations = [record for _, record in _list_of_objects(data, "annotations", name)]
    if not annotations:
        raise InputError(f"{name} lists no annotations; there is nothing to learn from")
    for index, record in enumerate(annotations):
        _check_references(record, frames, categories, f"{name}: annotation {index}")
    return Records(name, frames, annotations, categories)


def cells(records: Records, wanted: set[int], findings: Findings, keep_area: bool) -> Iterator[Annotation]:
    """The annotations of the wanted images with RLE masks; their category_id is still the file's.

    Box and area are the file's where they fit the mask (area only if `keep_area`), else the mask's.
    The records' polygons are let go one by one, so this can be asked once.
    """
    for record in records.annotations:
        frame = records.frames[record["image_id"]]
        if frame.id in wanted:
            where = f"{records.name}: annotation {record['id']} of {frame.file_name}"
            rle = _rle(record.pop("segmentation", None), frame, where, findings)
            if rle is not None:
                yield _annotation(record, rle, keep_area, where, findings)


# ---- structure -----------------------------------------------------------------------------------


def _compact(record: dict[str, Any]) -> dict[str, Any]:
    """Polygons as arrays while the file is read: an eighth of the memory of lists of floats."""
    parts = record.get("segmentation")
    if isinstance(parts, list):
        record["segmentation"] = [
            np.array(part, np.float64) if isinstance(part, list) and set(map(type, part)) <= {int, float} else part
            for part in parts
        ]
    return record


def _kind(value: Any) -> str:
    """What a JSON value is, with its article."""
    names = {
        dict: "an object",
        list: "a list",
        str: "a text",
        bool: "a truth value",
        int: "a number",
        float: "a number",
    }
    return names.get(type(value), "null")


def _list_of_objects(data: dict[str, Any], key: str, name: str) -> Iterator[tuple[int, dict[str, Any]]]:
    if key not in data:
        raise InputError(f"{name} has no '{key}'; a COCO file has images, annotations and categories")
    if not isinstance(data[key], list):
        raise InputError(f"{name}: '{key}' is {_kind(data[key])}, not a list")
    for index, record in enumerate(data[key]):
        if not isinstance(record, dict):
            raise InputError(f"{name}: entry {index} of '{key}' is {_kind(record)}, not an object")
        yield index, record


def _integer(record: dict[str, Any], key: str, where: str) -> int:
    if key not in record:
        raise InputError(f"{where} has no '{key}'")
    if type(record[key]) is not int:
        raise InputError(f"{where}: {key} is {record[key]!r}, {_kind(record[key])}; it must be a whole number")
    return int(record[key])


def _text(record: dict[str, Any], key: str, where: str) -> str:
    if key not in record:
        raise InputError(f"{where} has no '{key}'")
    if not isinstance(record[key], str) or not record[key].strip():
        raise InputError(f"{where}: {key} is {record[key]!r}; it must be a text that is not empty")
    return str(record[key])


def _frame(record: dict[str, Any], where: str) -> Frame:
    name = _text(record, "file_name", where)
    path = PurePosixPath(name.replace("\\", "/"))
    if path.is_absolute() or ".." in path.parts or ":" in path.parts[0]:
        raise InputError(
            f"{where}: file_name {name!r} leads out of the folder of images; give it relative to the folder"
        )
    frame = Frame(
        _integer(record, "id", where), str(path), _integer(record, "height", where), _integer(record, "width", where)
    )
    if frame.height < 1 or frame.width < 1:
        raise InputError(f"{where} ({name}) is {frame.width}x{frame.height} px; give the image's width and height")
    return frame


def _check_references(record: dict[str, Any], frames: dict[int, Frame], known: dict[int, str], where: str) -> None:
    where = f"{where} (id {_integer(record, 'id', where)})"
    if _integer(record, "image_id", where) not in frames:
        raise InputError(
            f"{where}: image_id {record['image_id']} is no id of 'images'; add the image or drop the record"
        )
    if _integer(record, "category_id", where) not in known:
        raise InputError(
            f"{where}: category_id {record['category_id']} is no id of 'categories' ({_some(known)}); add the category"
        )
    if record.get("iscrowd", 0) not in (0, 1):
        raise InputError(f"{where}: iscrowd is {record['iscrowd']!r}; it must be 0 or 1")


def _some(known: dict[int, str]) -> str:
    return ", ".join(f"{key} {value}" for key, value in list(known.items())[:10]) or "there are none"


# ---- masks ---------------------------------------------------------------------------------------


def _rle(segmentation: Any, frame: Frame, where: str, findings: Findings) -> Rle | None:
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
        rle = coco.rle_from_polygons([polygon.tolist() for polygon in polygons], frame.height, frame.width)
    else:
        raise InputError(f"{where}: segmentation is {_kind(segmentation)}, not polygons or RLE")
    if coco.area(rle) == 0:
        findings.add("outside_image", where)
        return None
    return rle


def _polygon(part: Any, where: str) -> NDArray[np.float64]:
    if isinstance(part, int | float) and not isinstance(part, bool):
        raise InputError(
            f"{where}: segmentation is a flat list; it must be a list of polygons, [[x0, y0, x1, y1, ...]]"
        )
    if not isinstance(part, np.ndarray):
        raise InputError(
            f"{where}: a polygon is {str(part)[:60]!r}; it must be a list of numbers, [x0, y0, x1, y1, ...]"
        )
    if len(part) % 2:
        raise InputError(f"{where}: a polygon has {len(part)} numbers; an x or a y is missing")
    if not np.isfinite(part).all():
        raise InputError(f"{where}: a polygon has coordinates that are NaN or infinite; export it again")
    return part


def _check_extent(polygons: list[NDArray[np.float64]], frame: Frame, where: str, findings: Findings) -> None:
    """Note polygons that leave the image; refuse what is so far out that it must be another unit or image."""
    out = 0.0
    for polygon in polygons:
        points = polygon.reshape(-1, 2)
        out = max(out, -points.min(), points[:, 0].max() - frame.width, points[:, 1].max() - frame.height)
    if out > 2 * max(frame.width, frame.height):  # rasterising takes memory by length
        raise InputError(
            f"{where}: a polygon reaches {out:g} px out of its image of {frame.width}x{frame.height} px; "
            "are its coordinates those of another image or size?"
        )
    if out > 1:
        findings.add("clipped", f"{where}: by {out:.1f} px")


def _rle_from_runs(segmentation: dict[str, Any], frame: Frame, where: str) -> Rle:
    size, counts = segmentation.get("size"), segmentation.get("counts")
    if size != [frame.height, frame.width]:
        raise InputError(
            f"{where}: its RLE is of size {size}, the image is [{frame.height}, {frame.width}] (height, width); "
            "encode the mask at the image's size"
        )
    if isinstance(counts, str):
        runs = _runs(counts, where)
    elif isinstance(counts, list) and set(map(type, counts)) <= {int}:
        runs = np.array(counts, np.int64)
    else:
        raise InputError(f"{where}: the counts of its RLE are {_kind(counts)}, not a text or a list of whole numbers")
    if (runs < 0).any() or runs.sum() != frame.height * frame.width:
        raise InputError(
            f"{where}: the runs of its RLE add up to {runs.sum()} px, the image has {frame.height * frame.width}; "
            "the counts are damaged, encode the mask again"
        )
    if isinstance(counts, list):
        counts = rle_codec.frPyObjects(cast(Any, segmentation), frame.height, frame.width)["counts"].decode()
    return Rle(size=[frame.height, frame.width], counts=counts)


def _runs(counts: str, where: str) -> NDArray[np.int64]:
    """Run lengths of COCO's compressed counts: 5 bits a character, the 6th says that more follow; from the fourth run
    on, differences from the run before last. (pycocotools decodes damaged counts beyond the end of its memory.)"""
    codes = np.frombuffer(counts.encode("utf-32-le"), np.uint32).astype(np.int64) - 48
    ends = np.flatnonzero((codes & 32) == 0)
    if not len(codes) or codes.min() < 0 or codes.max() > 63 or ends[-1:].tolist() != [len(codes) - 1]:
        raise InputError(f"{where}: the counts of its RLE are no compressed run lengths; encode the mask again")
    starts = np.r_[0, ends[:-1] + 1]
    place = np.arange(len(codes)) - np.repeat(starts, ends - starts + 1)
    if place.max() > 6:
        raise InputError(f"{where}: a run of its RLE is longer than any image; encode the mask again")
    runs = np.add.reduceat((codes & 31) << (5 * place), starts)
    runs -= np.where(codes[ends] & 16, np.int64(1) << (5 * (ends - starts + 1)), 0)
    runs[1::2] = np.cumsum(runs[1::2])
    runs[2::2] = np.cumsum(runs[2::2])
    return cast(NDArray[np.int64], runs)


def _annotation(record: dict[str, Any], rle: Rle, keep_area: bool, where: str, findings: Findings) -> Annotation:
    mask_box, mask_area = coco.box_xywh(rle), float(coco.area(rle))
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
    return type(value) in (int, float) and math.isfinite(value)


def _fits(box: Any, mask_box: list[float]) -> bool:
    """Whether a box is xywh numbers that overlap the mask's box by half, measured as IoU with 1 px of grace."""
    if not (isinstance(box, list) and len(box) == 4 and all(map(_is_number, box)) and box[2] > 0 and box[3] > 0):
        return False
    (x, y, w, h), (u, v, p, q) = ((b[0] - 0.5, b[1] - 0.5, b[2] + 1, b[3] + 1) for b in (box, mask_box))
    both = max(0.0, min(x + w, u + p) - max(x, u)) * max(0.0, min(y + h, v + q) - max(y, v))
    return bool(both >= 0.5 * (w * h + p * q - both))
