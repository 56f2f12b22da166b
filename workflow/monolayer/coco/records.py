"""The records of COCO truth and results: https://cocodataset.org/#format-data and #format-results."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from typing import Literal, NotRequired, TypedDict


class Rle(TypedDict):
    """A mask as COCO's compressed run lengths: size is [height, width], runs go down the columns."""

    size: list[int]
    counts: str


class Image(TypedDict):
    """One frame. `well` (well, field or region) is never split; `split` is null unless the source fixes it.

    content is a hash of the pixels: two images with the same are one picture. values is the file beside file_name that
    holds the grey values of an image of more than 8 bits. train_only: it is in train and may not be dealt to a split.
    """

    id: int
    file_name: str
    width: int
    height: int
    cell_line: str
    well: str
    timestamp: str | None
    split: str | None
    content: NotRequired[str]
    values: NotRequired[str]
    train_only: NotRequired[bool]


class Annotation(TypedDict):
    """One true cell, or a region that nobody annotated (`iscrowd`); bbox is xywh in px, area in px².

    `ignore` is 1 in such a region, as in pycocotools, so that who reads it again asks nobody whether it is a cell.
    Where truth has tracks: `track_id` is the cell's over all frames of its well, `parent_id` its mother's, 0 for none.
    """

    id: int
    image_id: int
    category_id: int
    segmentation: Rle
    bbox: list[float]
    area: float
    iscrowd: int
    ignore: NotRequired[int]
    track_id: NotRequired[int]
    parent_id: NotRequired[int]


class Category(TypedDict):
    id: int
    name: str


class Finding(TypedDict):
    """Something wrong with a dataset: what it means (and what was done), how often, up to 20 examples."""

    kind: str
    severity: Literal["stop", "warn"]
    meaning: str
    count: int
    examples: list[str]


class Truth(TypedDict):
    """findings is what `download` saw and `audit` hands on."""

    images: list[Image]
    annotations: list[Annotation]
    categories: list[Category]
    findings: NotRequired[list[Finding]]


class Result(TypedDict):
    """One predicted cell. `bbox` (xywh) is the detector's box, which may differ from the mask's extent."""

    image_id: int
    category_id: int
    segmentation: Rle
    bbox: list[float]
    score: float
    mask_score: NotRequired[float]
    file_name: NotRequired[str]


def by_image(annotations: Iterable[Annotation]) -> dict[int, list[Annotation]]:
    """The annotations of each image that has some; others get an empty list when they are asked for."""
    found: dict[int, list[Annotation]] = defaultdict(list)
    for annotation in annotations:
        found[annotation["image_id"]].append(annotation)
    return found


def cells_in(annotations: Iterable[Annotation]) -> list[Annotation]:
    """Those that are cells: a crowd, or any other region that nobody annotated, is none, whoever counts."""
    return [annotation for annotation in annotations if not annotation.get("iscrowd")]


CELL = Category(id=1, name="cell")
