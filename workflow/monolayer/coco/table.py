"""Cells of many images as columns, read and checked: what evaluation and measurement compute on.

Truth and results come from this pipeline or from any other tool: COCO JSON, or a folder of label images.
"""

from __future__ import annotations

import logging
import math
from array import array
from collections import Counter
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from monolayer.coco.findings import Findings, log_findings
from monolayer.coco.io import stream
from monolayer.coco.joined import Joined
from monolayer.coco.label_folder import label_records
from monolayer.coco.masks import boxes_fit, true_masks
from monolayer.coco.reader import Records, read
from monolayer.coco.records import Rle
from monolayer.coco.rle_kernels import BAD_TEXT, NEGATIVE_RUN, WRONG_SUM, RunLengths, decode_runs, measure_runs
from monolayer.coco.segmentation import counts_of, ready
from monolayer.compiled import Flags, Floats, Ints
from monolayer.files import InputError

log = logging.getLogger(__name__)
FAULTS = {
    BAD_TEXT: "its RLE counts are cut off or hold characters that RLE does not use",
    NEGATIVE_RUN: "its RLE has a negative run",
    WRONG_SUM: "its RLE runs do not add up to the image's pixels",
}
ASKED_FOR = ("image_id", "category_id", "segmentation", "size", "counts", "score")


@dataclass(frozen=True)
class Images:
    """The images of a truth file, by rising id; lines and wells are empty texts where the file has none."""

    ids: list[int]
    names: list[str]
    lines: list[str]
    wells: list[str]
    sizes: list[list[int]]  # height, width
    categories: list[int]

    def __len__(self) -> int:
        return len(self.ids)


@dataclass(frozen=True)
class CellTable:
    """Cells by image, then category, then place in their file; columns of equal length N.

    image is an index into Images, place one into the file. area (px²) of a true cell is what its file says where that
    can be true, pixels what its mask has.
    """

    image: Ints
    place: Ints
    category: Ints
    crowd: Flags
    score: Floats
    mask_score: Floats
    boxes_xywh: Floats
    area: Floats
    pixels: Ints
    masks: RunLengths
    counts: bytes  # compressed, of all masks in the order of the file
    last: Ints  # where those of each place end

    def __len__(self) -> int:
        return len(self.image)

    def rle(self, row: int, size: list[int]) -> Rle:
        """The mask of a row, in an image of that size (height, width)."""
        place = self.place[row]
        counts = self.counts[self.last[place - 1] if place else 0 : self.last[place]]
        return Rle(size=size, counts=counts.decode("ascii"))


# ---- truth ---------------------------------------------------------------------------------------


def read_truth(path: Path) -> tuple[Images, CellTable]:
    """Read COCO truth of any tool: polygons or RLE; area, bbox and iscrowd where given."""
    records = read(path, keep=True, folder=False)
    images = images_of(records)
    return images, true_cells(records, images)


def images_of(records: Records) -> Images:
    frames = sorted(records.frames.values(), key=lambda frame: frame.id)
    return Images(
        ids=[frame.id for frame in frames],
        names=[frame.file_name for frame in frames],
        lines=[frame.text("cell_line") for frame in frames],
        wells=[frame.text("well") for frame in frames],
        sizes=[[frame.height, frame.width] for frame in frames],
        categories=list(records.categories),
    )


def true_cells(records: Records, images: Images) -> CellTable:
    """The cells of checked truth; what was left out or repaired is logged."""
    columns, index, findings = Columns(Path(records.name)), {image: i for i, image in enumerate(images.ids)}, Findings()
    for name, count in Counter(images.names).items():
        if count > 1:
            findings.add("same_file", name)
    for masks in true_masks(records, findings):
        columns.area.frombytes(masks.areas.tobytes())
        columns.box.frombytes(masks.boxes.tobytes())
        for record, frame, counts in masks.listed:
            columns.image.append(index[frame.id])
            columns.category.append(records.category(record))
            columns.crowd.append(record["iscrowd"])
            columns.add_counts(counts)
    log_findings(findings.records())
    return columns.cells(images)


# ---- results -------------------------------------------------------------------------------------


def read_results(path: Path, images: Images) -> CellTable:
    """Read COCO results (.json, .json.gz), or a folder with a label image for every image, whose cells score 1."""
    columns, joined, rated = Columns(path), Joined(images.ids, images.names), 0
    every = label_records(path, images.ids, images.names, images.sizes) if path.is_dir() else stream(path)
    for number, record in enumerate(every, start=1):
        try:
            image, score, mask_score = joined.index(record), record["score"], record.get("mask_score")
            rated += mask_score is not None
            mask_score = score if mask_score is None else mask_score
            if not (0 <= score <= 1 and 0 <= mask_score <= 1):
                raise ValueError(f"score {score if not 0 <= score <= 1 else mask_score} is outside [0, 1]; rescale it")
            if rated not in (0, number):
                raise ValueError("some records have a mask_score and some have none; give it to all or to none")
            columns.image.append(image)
            columns.category.append(whole(record["category_id"]))
            columns.score.append(score)
            columns.mask_score.append(mask_score)
            columns.add_mask(record["segmentation"], record.get("bbox"), images.sizes[image])
        except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
            raise InputError(f"{path}, record {number}: {_fault(error, record)}") from error
    joined.warn()
    cells = columns.cells(images)
    _warn_of_masks(path, cells, len(images))
    if without := len(images) - len(np.unique(cells.image)):
        log.info("%d of %d images have no prediction", without, len(images))
    return cells


def _warn_of_masks(path: Path, cells: CellTable, images: int) -> None:
    """Say what spoils numbers, but may be so."""
    if empty := int((cells.pixels == 0).sum()):
        log.warning("%d of %d predictions of %s have no pixel in their image", empty, len(cells), path)
    if copies := _copies(cells, images):
        log.warning("%d of %d predictions of %s are copies of others of their image", copies, len(cells), path)
    own = cells.masks.extents.astype(np.float64)
    own[:, 2:] -= own[:, :2]
    if (other := int((~boxes_fit(cells.boxes_xywh, own) & (cells.pixels > 0)).sum())) > len(cells) / 2:
        log.warning("%d of %d boxes of %s don't fit their masks: are they x0 y0 x1 y1?", other, len(cells), path)


def _copies(cells: CellTable, images: int) -> int:
    """How many masks are another's of their image."""
    first, rows, copies = np.r_[0, cells.last], np.searchsorted(cells.image, np.arange(images + 1)), 0
    for start, end in pairwise(rows.tolist()):
        place = cells.place[start:end]
        spans = zip(first[place].tolist(), cells.last[place].tolist(), strict=True)
        copies += end - start - len({cells.counts[a:b] for a, b in spans})
    return copies


def whole(value: Any) -> Any:
    """A whole number that is written with a point as one without."""
    return int(value) if type(value) is float and value.is_integer() else value


def _fault(error: Exception, record: Any) -> str:
    """What is wrong with a record, and the cure."""
    if not isinstance(record, dict):
        return "it is no JSON object; give a list of COCO records"
    if isinstance(error, KeyError) and error.args[0] in ASKED_FOR:
        return f"it has no {error.args[0]}; COCO's format asks for it"
    if not isinstance(error, TypeError | OverflowError):
        return str(error)
    for key in ("score", "mask_score"):
        if key in record and not isinstance(record[key], int | float):
            return f"{key} is {record[key]!r}; it must be a number in [0, 1]"
    if not isinstance(whole(record.get("category_id")), int) or isinstance(error, OverflowError):
        return f"category_id is {str(record.get('category_id'))[:40]!r}; it must be a whole number below 2⁶³"
    return f"{error}; write it as COCO's format does"


# ---- columns -------------------------------------------------------------------------------------


@dataclass
class Columns:
    """Cells as they come; the counts of all masks stand in one text."""

    source: Path
    image: array[int] = field(default_factory=lambda: array("q"))
    category: array[int] = field(default_factory=lambda: array("q"))
    crowd: bytearray = field(default_factory=bytearray)
    score: array[float] = field(default_factory=lambda: array("d"))
    mask_score: array[float] = field(default_factory=lambda: array("d"))
    box: array[float] = field(default_factory=lambda: array("d"))
    area: array[float] = field(default_factory=lambda: array("d"))
    text: bytearray = field(default_factory=bytearray)
    last: array[int] = field(default_factory=lambda: array("q"))

    def add_mask(self, segmentation: Any, box_xywh: Any, size: list[int]) -> None:
        """Add a mask of an image of this size (height, width) in any of COCO's forms, and its box if there is one."""
        self.add_counts(ready(segmentation, size) or _counts(segmentation, size))
        x = y = w = h = math.nan
        if box_xywh is not None:
            try:
                x, y, w, h = box_xywh
                valid = abs(x) < math.inf and abs(y) < math.inf and 0 <= w < math.inf and 0 <= h < math.inf
            except (TypeError, ValueError):
                valid = False
            if not valid:
                given = str(box_xywh)[:80]
                raise ValueError(f"bbox {given} is no box [x, y, width, height]; leave it out to use the mask's")
        self.box.extend((x, y, w, h))

    def add_counts(self, counts: str) -> None:
        self.text += counts.encode("utf-8", "surrogatepass")
        self.last.append(len(self.text))

    def cells(self, images: Images) -> CellTable:
        """Decode all masks, and order the cells."""
        count = len(self.last)
        image, last = np.asarray(self.image, np.int64), np.asarray(self.last, np.int64)
        text, sizes = np.frombuffer(bytes(self.text), np.uint8), np.asarray(images.sizes, np.int64)[image]
        first, runs, fault = decode_runs(text, last, sizes.reshape(-1, 2))
        if fault.any():
            number = int(np.flatnonzero(fault)[0])
            raise InputError(
                f"{self.source}, record {number + 1}: {FAULTS[int(fault[number])]}; "
                f"encode the mask at its image's size {sizes[number, 1]}x{sizes[number, 0]}"
            )
        pixels, extents = measure_runs(runs, first, sizes[:, 0].copy())
        boxes = np.array(self.box).reshape(-1, 4)
        from_mask = np.isnan(boxes[:, 0])
        boxes[from_mask] = np.c_[extents[:, :2], extents[:, 2:] - extents[:, :2]][from_mask]
        area = np.array(self.area) if self.area else pixels.astype(np.float64)
        area = np.where(np.isnan(area), pixels, area)
        category = np.asarray(self.category, np.int64)
        order = np.lexsort((category, image))
        empty = np.zeros(count)
        return CellTable(
            image=image[order],
            place=order,
            category=category[order],
            crowd=np.frombuffer(bytes(self.crowd) or bytes(count), np.bool_)[order],
            score=(np.array(self.score) if self.score else empty)[order],
            mask_score=(np.array(self.mask_score) if self.mask_score else empty)[order],
            boxes_xywh=boxes[order],
            area=area[order],
            pixels=pixels[order],
            masks=RunLengths(runs, first[:-1][order], first[1:][order], extents[order]),
            counts=bytes(self.text),
            last=last,
        )


def _counts(segmentation: Any, size: list[int]) -> str:
    """Compressed counts of a prediction, which has a mask in any case."""
    findings = Findings()
    counts = counts_of(segmentation, size, "", findings)
    if counts is None and findings.count("outside_image"):
        raise ValueError("its polygon lies between 0 and 1; coordinates must be in px of the image")
    if counts is None:
        raise ValueError("its polygon has fewer than 3 points, or there is none; drop it or draw it again")
    return counts
