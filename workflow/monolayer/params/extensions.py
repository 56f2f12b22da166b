"""Sections on synthetic images and how far they lie from real ones."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import (
    Field,
    NonNegativeFloat,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
    ValidationInfo,
    field_validator,
    model_validator,
)

from monolayer.params.section import Fraction, Name, Section


class Interval(Section):
    low: PositiveFloat
    """Above 0."""
    high: PositiveFloat
    """Above low."""

    @model_validator(mode="after")
    def _ordered(self) -> Interval:
        if self.low >= self.high:
            raise ValueError(f"low ({self.low:g}) must be below high ({self.high:g})")
        return self


class SynthesisParams(Section):
    """How the images of any extension are put together; lengths are in diameters of the cell line's median cell."""

    block: PositiveInt
    """Images whose cells, layouts and background textures are mixed."""
    min_cells: PositiveInt
    """Whole cells that a block draws from; with fewer, further images give theirs."""
    mix: Fraction
    """Share, in [0, 1], of an image's cells that come from other images than its background."""
    margin: Interval
    """Cut out with a cell, as far as its halo reaches within these bounds, in diameters."""
    illumination: PositiveFloat
    """What varies more slowly than this many diameters is illumination and stays where it is."""
    texture: PositiveFloat
    """Side, in diameters, of the squares of background that cover a removed cell."""
    restless: Annotated[float, Field(ge=1)]
    """A background so many times as restless as its block's calmest covers no removed cell; at least 1."""
    similar: Fraction
    """Share, in [0, 1], of the cells, nearest in area on either side, that are as good as the area asked for."""
    overlap: Annotated[float, Field(ge=0, lt=1)]
    """Share of a cell, in [0, 1), hidden by those above it, at most."""
    turn: NonNegativeFloat
    """rad: a cell's turn from the direction asked for (standard deviation)."""
    scale: Annotated[float, Field(ge=0, lt=1)]
    """Cells are enlarged by 1 ± this, in [0, 1)."""
    gain: Annotated[float, Field(ge=0, lt=1)]
    """Their contrast is multiplied by 1 ± this, in [0, 1)."""
    tries_per_pose: PositiveInt
    """Places tried before another cell and turn are."""
    tries: PositiveInt
    """Places tried for a cell, a multiple of tries_per_pose; where none has room, it is left out."""
    wander: NonNegativeFloat
    """How far from its place a cell is tried at last, in diameters (standard deviation)."""

    @field_validator("tries")
    @classmethod
    def _whole_poses(cls, tries: int, others: ValidationInfo) -> int:
        if tries % (each := others.data.get("tries_per_pose", 1)):
            raise ValueError(f"must be a multiple of tries_per_pose ({each})")
        return tries


class MatchedLayout(Section):
    layout: Literal["matched"]
    """Each repeats the count, areas and places of one of the line's images."""
    factor: PositiveInt
    """Synthetic images for each real one."""
    jitter: NonNegativeFloat
    """Of the places, in diameters (standard deviation)."""
    nearest: PositiveInt
    """Images of nearest confluence among which the repeated one is drawn."""


class PosterLayout(Section):
    layout: Literal["poster"]
    """Other densities, places at random."""
    factor: PositiveInt
    """Synthetic images for each real one."""
    density: Interval
    """Times the line's mean number of cells per px²."""


class GrowthLayout(Section):
    layout: Literal["growth"]
    """A culture on each background, its images a series of rising confluence."""
    factor: PositiveInt
    """Synthetic images for each real one."""
    confluence: Interval
    """Of the first and the last image, a share of its area."""
    spread: PositiveFloat
    """A daughter's distance from her mother, times the sum of both radii."""


class TimelapseLayout(Section):
    layout: Literal["timelapse"]
    """A growing culture on a background, its images the frames of a time-lapse with true tracks."""
    factor: PositiveInt
    """Frames of each time-lapse."""
    backgrounds: PositiveInt
    """Time-lapses of each cell line: real images, drawn by the seed, on whose backgrounds they are made."""
    confluence: Interval
    """Of the first and the last frame, a share of its area; cells grow and divide to meet it."""
    spread: PositiveFloat
    """A daughter's distance from her sister, times the sum of both radii."""
    move: NonNegativeFloat
    """Of a cell from frame to frame, in diameters (standard deviation)."""
    turn: NonNegativeFloat
    """Of a cell from frame to frame, rad (standard deviation)."""


Extension = Annotated[MatchedLayout | PosterLayout | GrowthLayout | TimelapseLayout, Field(discriminator="layout")]


class ExtendParams(Section):
    """What `monolayer extend` is given: one extension, its name, what all have in common and the seed."""

    name: Name
    extension: Extension
    synthesis: SynthesisParams
    seed: NonNegativeInt


class DomainShiftParams(Section):
    seed: NonNegativeInt
    """Of the permutation test."""
    variance: Annotated[float, Field(gt=0, le=1)]
    """Share, in (0, 1], of the originals' variance that the kept principal components explain."""
    permutations: PositiveInt
    """Of the test."""
    max_images: Annotated[int, Field(ge=2)]
    """Of a line and kind in the test, drawn by the seed; at least 2."""
    bins: PositiveInt
    """Steps of each distribution."""
    samples: PositiveInt
    """Real and synthetic images shown side by side for each line."""
