"""Sections on images and truth: datasets, audit, split."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, NonNegativeInt, PositiveInt, model_validator

from monolayer.params.section import Fraction, Name, Section, Sha256, Url


class Percentiles(Section):
    """Intensities at these percentiles become 0 and 255 when an image has more than 8 bits."""

    low: Annotated[float, Field(ge=0, lt=100)]
    high: Annotated[float, Field(gt=0, le=100)]

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
    cell_line: Name
    images: str
    labels: str
    percentiles: Percentiles
    follow: bool
    border: NonNegativeInt
    window: tuple[PositiveInt, PositiveInt] | None
    grid: tuple[PositiveInt, PositiveInt]
    gap: NonNegativeInt
    min_area: NonNegativeInt
    min_cells: NonNegativeInt


class DemoSource(Section):
    source: Literal["demo"]
    requirement: Annotated[str, Field(pattern=r"^[A-Za-z0-9._-]+==[A-Za-z0-9.+!]+$")]
    sha256: Sha256
    series: Annotated[list[DemoSeries], Field(min_length=1)]


class Pin(Section):
    """Size in bytes and checksum of a remote file; null where not known yet."""

    size: PositiveInt | None
    sha256: Sha256 | None


class LivecellSource(Section):
    source: Literal["livecell"]
    url: Url
    mirror: str | None
    dedup: Literal["keep", "drop", "merge"]
    max_images: PositiveInt | None
    pins: Annotated[dict[LivecellFile, Pin], Field(min_length=4)]


class RoboflowSource(Section):
    source: Literal["roboflow"]
    zip: str | None
    url: Url
    workspace: Name
    project: Name
    version: PositiveInt
    cell_line: LineRule
    sha256: Sha256 | None


class CocoSource(Section):
    """A folder of the user's. cell_line: `category`, `regex:<pattern with group line>`, or one name for all."""

    source: Literal["coco"]
    images: str
    annotations: str
    cell_line: LineRule
    well: WellRule | None
    time: TimeRule | None
    percentiles: Percentiles
    max_images: PositiveInt | None


Part = Annotated[DemoSource | LivecellSource | RoboflowSource | CocoSource, Field(discriminator="source")]


class UnionSource(Section):
    """Several sources as one dataset; the cell lines of train_only are in neither val nor test."""

    source: Literal["union"]
    parts: Annotated[dict[Name, Part], Field(min_length=1)]
    train_only: list[str]


Dataset = Annotated[
    DemoSource | LivecellSource | RoboflowSource | CocoSource | UnionSource, Field(discriminator="source")
]


# ---- audit and split -----------------------------------------------------------------------------


class AuditParams(Section):
    min_annotations: NonNegativeInt
    duplicate_iou: Fraction


class SplitParams(Section):
    seed: NonNegativeInt
    val: Annotated[float, Field(gt=0, lt=1)]
    test: Annotated[float, Field(gt=0, lt=1)]

    @model_validator(mode="after")
    def _leaves_train(self) -> SplitParams:
        if self.val + self.test >= 1:
            raise ValueError(f"val + test is {self.val + self.test:g}: nothing is left for train")
        return self
