"""Sections on plates: what a microscope wrote, and how its cells are found, measured and judged."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, NonNegativeFloat, NonNegativeInt, PositiveFloat, PositiveInt

from monolayer.params.pixel_size import pixel_size
from monolayer.params.section import Fraction, LocalPath, Section

GROUPS = ("well", "field", "time", "line", "channel")  # of a name pattern


def _names_wells(rule: str) -> str:
    """A check of `regex:<pattern>` over the paths of a plate's files."""
    try:
        groups = re.compile(rule.removeprefix("regex:")).groupindex
    except re.error as error:
        raise ValueError(f"is no regular expression ({error})") from None
    if not rule.startswith("regex:") or "well" not in groups or not set(groups) <= set(GROUPS):
        raise ValueError(
            f"must be regex:<pattern over file names with a group well, and maybe {', '.join(GROUPS[1:])}>"
        )
    return rule


def _number(value: object) -> object:
    """Snakemake's --config gives the numbers within a mapping as text; 01 is a name."""
    return int(value) if isinstance(value, str) and value.isdecimal() and str(int(value)) == value else value


class QualityLimits(Section):
    """Where an image is flagged; flagged images stay in every number."""

    focus: NonNegativeFloat
    """Sharpness below this times the median of the plate's images: out of focus."""
    light: NonNegativeFloat
    """Brightness of the ground that varies by more than this times its median: uneven light."""
    saturated: Fraction
    """Share of pixels that have the image's largest value above this: saturated."""
    confluence: Fraction
    """Above this cells may be too dense to be told apart."""
    distance: NonNegativeFloat
    """In standard deviations of the images that expected F1 was fitted on: farther off, an image is unlike them."""
    expected_f1: Fraction
    """Images and wells whose expected F1 is below this are flagged."""


class PlateReading(Section):
    """What `monolayer plan-plate` is given: what is known of the images."""

    pattern: Annotated[str, AfterValidator(_names_wells)] | None
    """regex:<pattern with a group well, maybe field, time, line, channel>; null: Incucyte's and LIVECell's names."""
    channel: Annotated[NonNegativeInt | str | None, BeforeValidator(_number)]
    """The one that shows the cells, by name or number (from 1; in names of files, theirs); null: there is one."""
    z: PositiveInt | Literal["max", "focus"] | None
    """Plane along z from 1; max: the brightest of each pixel; focus: the one with most detail; null: there is one."""
    pixel_size_um: Annotated[PositiveFloat, AfterValidator(pixel_size)] | None
    """µm along a pixel's side; null: what the files say."""
    frame_hours: PositiveFloat | None
    """Hours from frame to frame; null: what names and files say."""
    tile: PositiveInt
    """px, longest side of an image that is taken at once; larger ones are cut into fields 1.1, 1.2, ... of one size."""


class PlateFinding(Section):
    """What `monolayer segment-plate` is given: how cells are found."""

    model: LocalPath
    """pretrained, or the folder of an exported run."""
    diameter: PositiveFloat | None
    """px, usual diameter of the cells, which brings images to the model's scale; null: as they are."""
    tta: Annotated[Literal[1, 2, 4, 8] | None, BeforeValidator(_number)]
    """Turned views of a U-Net; null: the model's own."""
    score_min: Fraction | None
    """Cells from this score up; null: the model's threshold."""
    mirror: bool
    """Find the cells of mirror images too, in twice the time, to see how much they differ; a U-Net with tta from 2 on
    has such views anyway."""


class PlateSettings(PlateReading, PlateFinding):
    conditions: LocalPath | None
    """Plate map, a CSV with a column well and others (dose, drug, line); null: none."""
    quality: QualityLimits
    """Where an image is flagged."""


class Plate(PlateSettings):
    """A plate and how it is read: `path`, and what differs from plate_settings."""

    path: LocalPath
    """A folder of images, a TIFF, an OME-Zarr image or plate."""

    def given(self, section: type[Section]) -> str:
        """What a verb is given of it."""
        return self.model_dump_json(include=set(section.model_fields))


def with_plates(given: dict[str, Any]) -> dict[str, Any]:
    """The configuration whose rows of `plates` are whole: `plate` is one, and each has plate_settings for the rest."""
    rows, settings = given.get("plates") or {}, given.get("plate_settings")
    if isinstance(given.get("plate"), str | int):
        path = str(given["plate"])
        rows = {plate_name(path): {"path": path}}
    if not isinstance(rows, dict) or not isinstance(settings, dict):
        return given
    return given | {"plates": {name: settings | row if isinstance(row, dict) else row for name, row in rows.items()}}


def plate_name(path: str) -> str:
    """What the results of a plate are called: its last part, without suffix.

    >>> [plate_name(path) for path in ("scans/plate 7/", "x.ome.zarr", "b.companion.ome", "..")]
    ['plate-7', 'x', 'b', 'plate']
    """
    stem = re.sub(r"(\.companion)?(\.ome)?(\.(zarr|tiff?|png|ome))?$", "", Path(path).name, flags=re.IGNORECASE)
    return re.sub(r"[^A-Za-z0-9_.-]+", "-", stem).lstrip("_.-") or "plate"


def shards(images: int, size: int) -> list[str]:
    """The shards of so many images, `size` each, by the numbers of their first and last image.

    >>> shards(5, 2)
    ['1-2', '3-4', '5-5']
    """
    return [f"{first}-{min(first + size - 1, images)}" for first in range(1, images + 1, size)]
