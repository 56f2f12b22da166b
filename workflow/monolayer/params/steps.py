"""Sections on runs and what each verb after the data is given."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, NonNegativeFloat, NonNegativeInt, PositiveFloat, PositiveInt, model_validator

from monolayer.params.data import Percentiles
from monolayer.params.families import PredictSettings, TrainSettings
from monolayer.params.section import Fraction, Name, Scale, Section, unset


class Run(Section):
    """A row of the results table: a model and what it trains on."""

    model: str
    """A row of `models`."""
    lines: Literal["all", "each"] | list[str]
    """Cell lines that it trains on: all, a list, or each: a network for each line, one for other lines."""
    extension: str | None
    """A row of `extensions` that it trains on besides; null: none."""
    base: Name | None = unset(None)
    """The run that this one has to beat on test, mask AP, before it is exported; null: none."""
    unproven: bool = unset(False)
    """true: it is exported though it does not beat its base, and its card says so."""


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
    """Least mean IoU, in [0, 1], of an image's masks with torch's."""
    lost: Fraction
    """Largest share of torch's cells, by score, without a partner."""
    ap: Fraction
    """Largest difference of mask AP."""


class NeighbourParams(Section):
    """px: of background between cells that touch, and around a cell where its local density is counted."""

    gap: NonNegativeInt
    """px of background between cells that count as touching, at most."""
    radius: PositiveFloat
    """px around a cell's centroid in which its local density is counted."""


class ExportSettings(Section):
    runs: Literal["all"] | list[Name]
    """all, or a list; others are neither exported nor timed."""
    dtypes: Annotated[list[Dtype], Field(min_length=1)]
    """Of weights and products."""
    percentiles: Percentiles
    """Of an image of more than 8 bits: grey values that become 0 and 255 where cells are found with the export."""
    calibration: PositiveInt
    """Images of train whose values set the ranges of int8."""
    engines: list[Dtype]
    """dtypes of which TensorRT engines are built."""
    targets: Annotated[list[Literal["SM75", "SM80", "SM86", "SM89", "SM120", "SM121"]], Field(min_length=1)]
    """GPU architectures that the engines run on."""
    parity: dict[Dtype, ParityLimits]
    """By dtype: an export that is further from torch on test than this fails."""
    fp16_range: Annotated[float, Field(gt=0, le=1)]
    """Share of fp16's largest number, 65,504, that its values may reach on the images of the calibration."""
    exclude: dict[Name, list[Dtype]]
    """By run: dtypes that it is not exported to."""
    notes: dict[str, str]
    """On the model card, by heading."""

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


class GainParams(Section):
    """What `monolayer gain` is given besides the scores."""

    run: Name
    base: Name
    unproven: bool


class CardParams(Section):
    """What `monolayer card` is given besides the run's files: the name of its data set."""

    dataset: Name


class BenchmarkSettings(Section):
    threads: PositiveInt
    """Of a network on the CPU, as cpu_threads is elsewhere."""
    images: PositiveInt
    """Of test, evenly over them."""
    batches: Annotated[list[PositiveInt], Field(min_length=1)]
    """Images in the network at once."""
    seconds: PositiveFloat
    """That each number is measured for, at least."""
    repeats: Annotated[int, Field(ge=6)]  # fewer have no 95 % interval of their median
    """And so often, at least; 6 or more, for a 95 % interval."""


class BenchmarkParams(Section):
    """What `monolayer benchmark` is given: how one run finds cells, and how long it is timed."""

    predict: PredictSettings
    settings: BenchmarkSettings


class EvaluateParams(Section):
    protocol: Literal["livecell", "coco"]
    """livecell: maxDets 100/500/2000, areas 18² and 31² px², one category; coco: 1/10/100, 32² and 96², their mean."""
    n_resamples: PositiveInt
    """Of the bootstrap behind the 95 % intervals."""
    seed: NonNegativeInt
    """Of the draws."""
    resample: Literal["image", "well"]
    """What is drawn within each cell line."""


class MeasureParams(Section):
    """Pixel sizes and frame intervals are by cell line, or of `all`; a line without stays in px and frames."""

    pixel_size_um: dict[str, PositiveFloat]
    """µm along a pixel's side, by cell line or {all: 1.24}."""
    frame_hours: dict[str, PositiveFloat]
    """Hours from frame to frame, by cell line or {all: 0.5}, where time stamps are frame numbers."""
    neighbours: NeighbourParams
    """When cells touch, and where their density is counted."""
    files: list[Literal["labels", "rois", "ome-tiff", "geojson", "seg-npy", "coco"]]
    """For each image a label TIFF, an ImageJ ROI zip, labels as OME-TIFF, GeoJSON (QuPath), _seg.npy (Cellpose); one
    COCO file."""

    def scales(self, cell_line: str) -> tuple[float | None, float | None]:
        """Pixel size (µm) and hours from frame to frame of a cell line."""
        return tuple(of.get(cell_line, of.get("all")) for of in (self.pixel_size_um, self.frame_hours))  # type: ignore[return-value]


class LinkParams(Section):
    """How cells are linked; lengths are in diameters of the well's median cell, once the stage's drift is out."""

    max_move: PositiveFloat
    """From frame to frame, at most, or,"""
    sparse_move: NonNegativeFloat
    """where that is more, so many median distances to the nearest neighbour: sparse cells are not mixed up."""
    gap_frames: NonNegativeInt
    """Frames in a row in which a cell may be missing."""
    gap_move: PositiveFloat
    """Over such a gap, at most."""
    division_move: NonNegativeFloat
    """From the mother to a daughter, at most; 0: no divisions."""
    division_area: PositiveFloat
    """Of both daughters together, in areas of the mother, at most."""
    drift: NonNegativeFloat
    """Of the stage from frame to frame, at most; 0: none."""


class TrackParams(LinkParams):
    """How cells are linked, and how their tracks are scored and written."""

    division_tolerance: NonNegativeInt
    """Frames that a division may be early or late and still count as found, in the scores."""
    files: list[Literal["ctc", "napari"]]
    """For each well a folder in the layout of the Cell Tracking Challenge; a table of napari tracks."""
    extension: Name | None
    """One of the layout timelapse, whose true cells are tracked besides; null: none."""


class TrackScoresParams(Section):
    """Of the bootstrap behind the 95 % intervals of the scores of tracks, over wells."""

    n_resamples: PositiveInt
    seed: NonNegativeInt


class ReportSettings(Section):
    title: str
    """Of the page."""
    micrographs: bool
    """false: outlines on a plain ground, of images that may not be passed on."""
    samples_per_line: PositiveInt
    """Images shown of each line with their truth."""
    overlays_per_line: PositiveInt
    """Best, median and worst test image of each line and run, and those between."""


class ReportParams(Section):
    """What `monolayer report` is given: its settings, and what all was made with, as a part of params.yaml."""

    settings: ReportSettings
    dataset: Name
    scale: Scale
    used: dict[str, Any]
