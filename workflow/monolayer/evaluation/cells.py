"""Cells of many images as columns, read and checked: what evaluation computes on.

Truth and results come from this pipeline or from any other tool: COCO JSON, or a folder of label images.
"""

from __future__ import annotations

import itertools
import math
from array import array
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from pycocotools import mask as rle_codec

from monolayer.coco import io
from monolayer.coco.io import stream
from monolayer.coco.labels import read_labels, rles_from_labels
from monolayer.coco.rle import rle_from_polygons
from monolayer.coco.rle_kernels import BAD_TEXT, NEGATIVE_RUN, WRONG_SUM, RunLengths, decode_runs, measure_runs
from monolayer.compiled import Flags, Floats, Ints
from monolayer.files import InputError

FAULTS = {
    BAD_TEXT: "its RLE counts are cut off or hold characters that RLE does not use",
    NEGATIVE_RUN: "its RLE has a negative run",
    WRONG_SUM: "its RLE runs do not add up to the image's pixels",
}
ASKED_FOR = ("image_id", "category_id", "segmentation", "size", "counts", "score")
LABEL_SUFFIXES = (".tif", ".tiff", ".png")


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

    image is an index into Images. area (px²) of a true cell is what its file says, pixels what its mask has.
    """

    image: Ints
    category: Ints
    crowd: Flags
    score: Floats
    mask_score: Floats
    boxes_xywh: Floats
    area: Floats
    pixels: Ints
    masks: RunLengths

    def __len__(self) -> int:
        return len(self.image)


# ---- truth ---------------------------------------------------------------------------------------


def read_truth(path: Path) -> tuple[Images, CellTable]:
    """Read COCO truth of any tool: polygons or RLE; area, bbox and iscrowd where given."""
    truth = io.read_coco(path)
    if not isinstance(truth, dict) or not isinstance(truth.get("images"), list):
        raise InputError(f"{path} holds no list of images; give COCO truth with images, annotations and categories")
    if not truth.get("annotations"):
        raise InputError(f"{path} has no annotations: there is nothing to compare with; give the split's COCO truth")
    images = _images(path, truth["images"], truth.get("categories") or [])
    columns, index = _Columns(path), {image: i for i, image in enumerate(images.ids)}
    for number, annotation in enumerate(truth["annotations"], start=1):
        try:
            image, area = index[annotation["image_id"]], annotation.get("area")
            columns.image.append(image)
            columns.category.append(annotation["category_id"])
            columns.crowd.append(bool(annotation.get("iscrowd", 0)))
            columns.area.append(math.nan if area is None else area)
            columns.add_mask(annotation["segmentation"], annotation.get("bbox"), images.sizes[image])
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise InputError(f"{path}, annotation {number}: {_fault(error, annotation, index)}") from error
    return images, columns.cells(images)


def _images(path: Path, records: list[Any], categories: list[Any]) -> Images:
    try:
        records = sorted(records, key=lambda image: int(image["id"]))
        images = Images(
            ids=[int(image["id"]) for image in records],
            names=[str(image["file_name"]) for image in records],
            lines=[str(image.get("cell_line") or "") for image in records],
            wells=[str(image.get("well") or "") for image in records],
            sizes=[[int(image["height"]), int(image["width"])] for image in records],
            categories=[int(category["id"]) for category in categories],
        )
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise InputError(
            f"{path}: an image lacks id, file_name, width or height, or a category its id ({error!r}); give COCO truth"
        ) from error
    for one, other in itertools.pairwise(images.ids):
        if one == other:
            raise InputError(f"{path}: two images have the id {one}; give each its own")
    if max((height * width for height, width in images.sizes), default=0) >= 2**31:
        raise InputError(f"{path}: an image has 2³¹ pixels or more; cut it into tiles")
    return images


# ---- results -------------------------------------------------------------------------------------


def read_results(path: Path, images: Images) -> CellTable:
    """Read COCO results (.json, .json.gz), or a folder with a label image for every image, whose cells score 1."""
    columns, index = _Columns(path), {image: i for i, image in enumerate(images.ids)}
    rated = 0
    for number, record in enumerate(_label_records(path, images) if path.is_dir() else stream(path), start=1):
        try:
            image, score, mask_score = index[record["image_id"]], record["score"], record.get("mask_score")
            rated += mask_score is not None
            mask_score = score if mask_score is None else mask_score
            if not (0 <= score <= 1 and 0 <= mask_score <= 1):
                raise ValueError(f"score {score if not 0 <= score <= 1 else mask_score} is outside [0, 1]; rescale it")
            if rated not in (0, number):
                raise ValueError("some records have a mask_score and some have none; give it to all or to none")
            columns.image.append(image)
            columns.category.append(record["category_id"])
            columns.score.append(score)
            columns.mask_score.append(mask_score)
            columns.add_mask(record["segmentation"], record.get("bbox"), images.sizes[image])
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise InputError(f"{path}, record {number}: {_fault(error, record, index)}") from error
    return columns.cells(images)


def _label_records(folder: Path, images: Images) -> Iterator[dict[str, Any]]:
    """One record for each cell of the label images; Cellpose's suffix _cp_masks may follow the image's name."""
    files = {path.stem: path for path in sorted(folder.iterdir()) if path.suffix.lower() in LABEL_SUFFIXES}
    marked = {stem.removesuffix("_cp_masks"): path for stem, path in files.items() if stem.endswith("_cp_masks")}
    files = marked or files
    stems = [Path(name).stem for name in images.names]
    for stem in files.keys() - set(stems):
        raise InputError(f"{files[stem]} belongs to no image of the truth; remove it or give the truth that lists it")
    for image, stem, size in zip(images.ids, stems, images.sizes, strict=True):
        if stem not in files:
            raise InputError(
                f"{folder} has no label image {stem}.tif or .png; save one of zeros where no cell was found"
            )
        labels = read_labels(files[stem])
        if list(labels.shape) != size:
            raise InputError(
                f"{files[stem]} is {labels.shape[1]}x{labels.shape[0]} px, its image {size[1]}x{size[0]} px"
            )
        for rle in rles_from_labels(labels):
            yield {"image_id": image, "category_id": 1, "segmentation": rle, "score": 1.0}


# ---- columns -------------------------------------------------------------------------------------


def _fault(error: Exception, record: Any, index: dict[int, int]) -> str:
    """What is wrong with a record, and the cure."""
    if not isinstance(record, dict):
        return "it is no JSON object; give a list of COCO records"
    if isinstance(error, KeyError) and error.args[0] in ASKED_FOR:
        return f"it has no {error.args[0]}; COCO's format asks for it"
    image = record.get("image_id")
    if not isinstance(image, int) or image not in index:
        return f"image_id {image!r} is not in the truth; compare with the truth that it was predicted for"
    for key in ("score", "mask_score"):
        if key in record and not isinstance(record[key], int | float):
            return f"{key} is {record[key]!r}; it must be a number in [0, 1]"
    if not isinstance(record.get("category_id"), int):
        return f"category_id is {record.get('category_id')!r}; it must be a whole number"
    return f"{error}; write it as COCO's format does" if isinstance(error, TypeError) else str(error)


@dataclass
class _Columns:
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
        if isinstance(segmentation, dict) and segmentation["size"] != size:
            raise ValueError(
                f"its mask has the size {segmentation['size']} (height, width), its image {size}; "
                "predict at native image size"
            )
        if isinstance(segmentation, dict) and isinstance(segmentation["counts"], str):
            self.text += segmentation["counts"].encode("ascii")
        else:
            self.text += _compressed(segmentation, size)
        self.last.append(len(self.text))
        x, y, w, h = (math.nan,) * 4 if box_xywh is None else box_xywh
        if box_xywh and not (math.isfinite(x) and math.isfinite(y) and 0 <= w < math.inf and 0 <= h < math.inf):
            raise ValueError(f"bbox {box_xywh} is no box [x, y, width, height]; leave it out to use the mask's")
        self.box.extend((x, y, w, h))

    def cells(self, images: Images) -> CellTable:
        """Decode all masks, and order the cells."""
        count = len(self.last)
        image, last = np.asarray(self.image, np.int64), np.asarray(self.last, np.int64)
        text, sizes = np.frombuffer(bytes(self.text), np.uint8), np.asarray(images.sizes, np.int64)[image]
        first, runs, fault = decode_runs(text, last, sizes)
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
            category=category[order],
            crowd=np.frombuffer(bytes(self.crowd) or bytes(count), np.bool_)[order],
            score=(np.array(self.score) if self.score else empty)[order],
            mask_score=(np.array(self.mask_score) if self.mask_score else empty)[order],
            boxes_xywh=boxes[order],
            area=area[order],
            pixels=pixels[order],
            masks=RunLengths(runs, first[:-1][order], first[1:][order], extents[order]),
        )


def _compressed(segmentation: Any, size: list[int]) -> bytes:
    """Compressed counts of polygons, or of an RLE with plain counts."""
    height, width = size
    if isinstance(segmentation, dict):
        return bytes(rle_codec.frPyObjects(segmentation, height, width)["counts"])
    polygons = [list(map(float, polygon)) for polygon in segmentation]
    if not polygons or any(len(polygon) < 6 or len(polygon) % 2 for polygon in polygons):
        raise ValueError("its polygon has fewer than 3 points or half a point; drop it or draw it again")
    return rle_from_polygons(polygons, height, width)["counts"].encode()
