"""Sections on synthetic images and how far they lie from real ones."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, NonNegativeFloat, NonNegativeInt, PositiveFloat, PositiveInt, model_validator

from monolayer.params.section import Fraction, Name, Section


class Interval(Section):
    low: PositiveFloat
    high: PositiveFloat

    @model_validator(mode="after")
    def _ordered(self) -> Interval:
        if self.low >= self.high:
            raise ValueError(f"low ({self.low:g}) must be below high ({self.high:g})")
        return self


class SynthesisParams(Section):
    """How the images of any extension are put together; lengths are in diameters of the cell line's median cell."""

    block: PositiveInt
    min_cells: PositiveInt
    mix: Fraction
    margin: Interval
    illumination: PositiveFloat
    overlap: Annotated[float, Field(ge=0, lt=1)]
    scale: Annotated[float, Field(ge=0, lt=1)]
    gain: Annotated[float, Field(ge=0, lt=1)]
    tries: Annotated[int, Field(ge=8, multiple_of=8)]


class MatchedLayout(Section):
    layout: Literal["matched"]
    factor: PositiveInt
    jitter: NonNegativeFloat


class PosterLayout(Section):
    layout: Literal["poster"]
    factor: PositiveInt
    density: Interval


class GrowthLayout(Section):
    layout: Literal["growth"]
    factor: PositiveInt
    confluence: Interval
    spread: PositiveFloat


Extension = Annotated[MatchedLayout | PosterLayout | GrowthLayout, Field(discriminator="layout")]


class ExtendParams(Section):
    """What `monolayer extend` is given: one extension, its name, what all have in common and the seed."""

    name: Name
    extension: Extension
    synthesis: SynthesisParams
    seed: NonNegativeInt


class DomainShiftParams(Section):
    seed: NonNegativeInt
    variance: Annotated[float, Field(gt=0, le=1)]
    permutations: PositiveInt
    max_images: Annotated[int, Field(ge=2)]
    samples: PositiveInt
