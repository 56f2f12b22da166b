"""Sections on runs and what each verb after the data is given."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, NonNegativeInt, PositiveFloat, PositiveInt, model_validator

from monolayer.params.data import Percentiles
from monolayer.params.families import PredictSettings, TrainSettings
from monolayer.params.section import Fraction, Name, Scale, Section


class Run(Section):
    """A row of the results table: a model and what it trains on."""

    model: str
    lines: Literal["all", "each"] | list[str]
    extension: str | None


class TrainParams(Section):
    """What `monolayer train` is given: one run, resolved to one scale."""

    family: str
    settings: TrainSettings
    lines: Literal["all", "each"] | list[str]
    seed: NonNegativeInt
    cpu_threads: PositiveInt


class PredictParams(Section):
    """What `monolayer predict` is given besides the weights: one run's settings at one scale."""

    settings: PredictSettings
    cpu_threads: PositiveInt


Dtype = Literal["fp32", "fp16", "int8"]


class ParityLimits(Section):
    """How far an export may be from torch."""

    mask_iou: Fraction
    lost: Fraction
    ap: Fraction


class NeighbourParams(Section):
    """px: of background between cells that touch, and around a cell where its local density is counted."""

    gap: NonNegativeInt
    radius: PositiveFloat


class ExportSettings(Section):
    runs: Literal["all"] | list[Name]
    dtypes: Annotated[list[Dtype], Field(min_length=1)]
    percentiles: Percentiles
    calibration: PositiveInt
    engines: list[Dtype]
    targets: Annotated[list[Literal["SM75", "SM80", "SM86", "SM89", "SM120", "SM121"]], Field(min_length=1)]
    parity: dict[Dtype, ParityLimits]
    exclude: dict[Name, list[Dtype]]
    notes: dict[str, str]

    @model_validator(mode="after")
    def _has_what_it_needs(self) -> ExportSettings:
        for dtype in self.dtypes:
            if dtype not in self.parity:
                raise ValueError(f"parity has no limits for {dtype}, which dtypes lists")
        for dtype in self.engines:
            if dtype not in self.dtypes:
                raise ValueError(f"engines lists {dtype}, which dtypes does not")
        return self


class ExportParams(Section):
    """What `monolayer export` is given besides the weights: the run's name, its settings to find cells, and how.

    `neighbours` goes with the model: who measures with it elsewhere has no params.yaml.
    """

    run: Name
    predict: PredictSettings
    neighbours: NeighbourParams
    settings: ExportSettings
    cpu_threads: PositiveInt


class CardParams(Section):
    """What `monolayer card` is given besides the run's files: the name of its data set."""

    dataset: Name


class BenchmarkSettings(Section):
    images: PositiveInt
    batches: Annotated[list[PositiveInt], Field(min_length=1)]
    seconds: PositiveFloat
    repeats: Annotated[int, Field(ge=6)]  # fewer have no 95 % interval of their median


class BenchmarkParams(Section):
    """What `monolayer benchmark` is given: how one run finds cells, and how long it is timed."""

    predict: PredictSettings
    settings: BenchmarkSettings
    cpu_threads: PositiveInt


class EvaluateParams(Section):
    protocol: Literal["livecell", "coco"]
    n_resamples: PositiveInt
    seed: NonNegativeInt
    resample: Literal["image", "well"]


class MeasureParams(Section):
    """Pixel sizes and frame intervals are by cell line, or of `all`; a line without stays in px and frames."""

    pixel_size_um: dict[str, PositiveFloat]
    frame_hours: dict[str, PositiveFloat]
    neighbours: NeighbourParams
    files: list[Literal["labels", "rois", "coco"]]

    def scales(self, cell_line: str) -> tuple[float | None, float | None]:
        """Pixel size (µm) and hours from frame to frame of a cell line."""
        return tuple(of.get(cell_line, of.get("all")) for of in (self.pixel_size_um, self.frame_hours))  # type: ignore[return-value]


class ReportSettings(Section):
    title: str
    micrographs: bool
    samples_per_line: PositiveInt
    overlays_per_line: PositiveInt


class ReportParams(Section):
    """What `monolayer report` is given: its settings, and what all was made with, as a part of params.yaml."""

    settings: ReportSettings
    dataset: Name
    scale: Scale
    used: dict[str, Any]
