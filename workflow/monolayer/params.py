"""The typed sections of params.yaml: what may stand there, and clear errors for what may not.

No default values live here: every number that can change a result is written in params.yaml.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Mapping
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    NonNegativeFloat,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
    ValidationError,
    model_validator,
)
from pydantic_core import PydanticCustomError

Fraction = Annotated[float, Field(ge=0, le=1)]
Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$")]  # becomes part of a path
Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
Url = Annotated[str, Field(pattern=r"^https?://[^?#]+$")]
Scale = Literal["quick", "full"]


class ParamsError(ValueError):
    """params.yaml, or what --configfile and --config made of it, can't be used."""


class Section(BaseModel):
    """A frozen part of params.yaml; a key that it does not know is an error that lists those it knows."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    @model_validator(mode="before")
    @classmethod
    def _refuse_unknown_keys(cls, data: Any) -> Any:
        if isinstance(data, Mapping):
            for key in data:
                if key not in cls.model_fields:
                    near = difflib.get_close_matches(str(key), cls.model_fields, n=1)
                    raise PydanticCustomError(
                        "unknown_key",
                        "{hint}allowed here: {allowed}",
                        {
                            "key": str(key),
                            "hint": f"unknown key, did you mean '{near[0]}'? " if near else "unknown key, ",
                            "allowed": ", ".join(cls.model_fields),
                        },
                    )
        return data


# ---- datasets: where images and truth come from -------------------------------------------------


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


# ---- extensions ----------------------------------------------------------------------------------


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


class MatchedLaw(Section):
    law: Literal["matched"]
    factor: PositiveInt
    jitter: NonNegativeFloat


class PosterLaw(Section):
    law: Literal["poster"]
    factor: PositiveInt
    density: Interval


class GrowthLaw(Section):
    law: Literal["growth"]
    factor: PositiveInt
    confluence: Interval
    spread: PositiveFloat


Extension = Annotated[MatchedLaw | PosterLaw | GrowthLaw, Field(discriminator="law")]


class ExtendParams(Section):
    """What `monolayer extend` is given: one extension, its name, what all have in common and the seed."""

    name: Name
    extension: Extension
    synthesis: SynthesisParams
    seed: NonNegativeInt


class ShiftParams(Section):
    seed: NonNegativeInt
    variance: Annotated[float, Field(gt=0, le=1)]
    permutations: PositiveInt
    max_images: Annotated[int, Field(ge=2)]
    samples: PositiveInt


# ---- models --------------------------------------------------------------------------------------


class FitParams(Section):
    """How any network of ours is trained (models/fit.py)."""

    epochs: PositiveInt
    batch: PositiveInt
    accumulate: PositiveInt
    optimizer: Literal["SGD", "AdamW"]
    learning_rate: PositiveFloat
    momentum: Annotated[float, Field(ge=0, lt=1)]
    weight_decay: NonNegativeFloat
    warmup_steps: NonNegativeInt
    schedule: Literal["flat", "linear", "cosine", "steps"]
    final_rate: Fraction
    milestones: list[Fraction]
    clip: NonNegativeFloat
    average: Annotated[float, Field(ge=0, lt=1)]
    patience: PositiveInt
    amp: Literal["none", "float16", "bfloat16"]


class YoloPredict(Section):
    imgsz: Annotated[int, Field(ge=32, multiple_of=32)]
    batch: PositiveInt
    score_min: Fraction
    nms_iou: Fraction
    max_det: PositiveInt


class YoloTrain(Section):
    architecture: Name
    weights: str
    imgsz: Annotated[int, Field(ge=32, multiple_of=32)]
    scale_jitter: Annotated[float, Field(ge=0, lt=1)]
    mask_ratio: Literal[1, 2, 4]
    best_by: Literal["precision", "ap"]
    recall_floor: Fraction
    fit: FitParams
    val_predict: YoloPredict


class YoloScale(Section):
    train: YoloTrain
    predict: YoloPredict


class YoloModel(Section):
    family: Literal["yolo"]
    quick: YoloScale
    full: YoloScale


class AugmentParams(Section):
    """How far a training patch may differ from its image; 0 switches one off."""

    gamma: NonNegativeFloat
    contrast: NonNegativeFloat
    brightness: NonNegativeFloat
    blur: NonNegativeFloat
    noise: NonNegativeFloat


class UnetPredict(Section):
    batch: PositiveInt
    tile: Annotated[int, Field(ge=64, multiple_of=64)]
    overlap: NonNegativeInt
    views: Literal[1, 2, 4, 8]

    @model_validator(mode="after")
    def _advances(self) -> UnetPredict:
        if 2 * self.overlap > self.tile:
            raise ValueError(f"overlap ({self.overlap}) must be at most half of tile ({self.tile})")
        return self


class SearchParams(Section):
    """Thresholds among which val chooses."""

    foreground: Annotated[list[Fraction], Field(min_length=1)]
    core: Annotated[list[Fraction], Field(min_length=1)]


class UnetTrain(Section):
    width: PositiveInt
    levels: Annotated[int, Field(ge=2, le=7)]
    target: Literal["foreground", "foreground+distance"]
    patch: Annotated[int, Field(ge=16)]
    patches: PositiveInt
    on_cells: Fraction
    balance: Fraction
    augment: AugmentParams
    val_images: PositiveInt
    val_predict: UnetPredict
    search: SearchParams
    fit: FitParams

    @model_validator(mode="after")
    def _halves(self) -> UnetTrain:
        if self.patch % 2 ** (self.levels - 1):
            raise ValueError(
                f"patch ({self.patch}) must be a multiple of {2 ** (self.levels - 1)} for {self.levels} levels"
            )
        return self


class UnetScale(Section):
    train: UnetTrain
    predict: UnetPredict


class UnetModel(Section):
    family: Literal["unet"]
    quick: UnetScale
    full: UnetScale


class CenterMaskNetwork(Section):
    """What decides the shapes of the weights, and how grey values enter."""

    backbone: Literal["V-19-slim-dw", "V-19-slim", "V-19-dw", "V-19", "V-39", "V-57", "V-99"]
    norm: Literal["frozen", "batch", "group"]
    channels: Annotated[int, Field(ge=64, multiple_of=32)]  # 32 groups of 1 can't be normalised on a 1x1 map
    convs: PositiveInt
    pixel_mean: NonNegativeFloat
    pixel_std: PositiveFloat


class DetectionLimits(Section):
    """What becomes of a detector's candidates: a class score, a number per level, overlap, a number per image."""

    score_min: Fraction
    per_level: PositiveInt
    nms_iou: Fraction
    max_det: PositiveInt


class CenterMaskPredict(DetectionLimits):
    zoom: PositiveFloat
    max_side: PositiveInt
    batch: PositiveInt
    amp: bool


class CenterMaskTrain(Section):
    network: CenterMaskNetwork
    weights: str
    balance: bool
    window: PositiveInt | None
    symmetry: Literal["mirror", "all"]
    zoom: Annotated[list[PositiveFloat], Field(min_length=1)]
    max_side: PositiveInt
    proposals: DetectionLimits
    regions: PositiveInt
    nominal_batch: PositiveInt
    fit: FitParams
    val_images: PositiveInt
    val_predict: CenterMaskPredict

    @model_validator(mode="after")
    def _frozen_norms_are_imported(self) -> CenterMaskTrain:
        if self.network.norm == "frozen" and self.weights == "none":
            raise ValueError("network.norm is frozen, which needs imported weights; use batch or group")
        return self


class CenterMaskScale(Section):
    train: CenterMaskTrain
    predict: CenterMaskPredict


class CenterMaskModel(Section):
    family: Literal["centermask"]
    quick: CenterMaskScale
    full: CenterMaskScale


Model = Annotated[YoloModel | UnetModel | CenterMaskModel, Field(discriminator="family")]
TrainSettings = YoloTrain | UnetTrain | CenterMaskTrain
PredictSettings = YoloPredict | UnetPredict | CenterMaskPredict


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


class ExportSettings(Section):
    runs: Literal["all"] | list[Name]
    dtypes: Annotated[list[Dtype], Field(min_length=1)]
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
    """What `monolayer export` is given besides the weights: the run's name, its settings to find cells, and how."""

    run: Name
    predict: PredictSettings
    settings: ExportSettings
    cpu_threads: PositiveInt


class CardParams(Section):
    """What `monolayer card` is given besides the run's files: its data set, and what else the card says."""

    dataset: Name
    notes: dict[str, str]


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
    draws: PositiveInt
    seed: NonNegativeInt
    resample: Literal["image", "well"]


class NeighbourParams(Section):
    """px: of background between cells that touch, and around a cell where its local density is counted."""

    gap: NonNegativeInt
    radius: PositiveFloat


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


class Params(Section):
    dataset: str
    selected: Literal["all"] | list[str]
    scale: Scale
    seed: NonNegativeInt
    cpu_threads: PositiveInt
    datasets: dict[Name, Dataset]
    audit: AuditParams
    split: SplitParams
    synthesis: SynthesisParams
    extensions: dict[Name, Extension]
    shift: ShiftParams
    models: dict[Name, Model]
    runs: dict[Name, Run]
    evaluate: EvaluateParams
    export: ExportSettings
    benchmark: BenchmarkSettings
    measure: MeasureParams
    report: ReportSettings

    @model_validator(mode="after")
    def _names_exist(self) -> Params:
        def check(path: str, name: str, known: Mapping[str, object]) -> None:
            if name not in known:
                raise PydanticCustomError(
                    "dangling_name",
                    "{path} is '{name}', which is not defined; allowed here: {known}",
                    {"path": path, "name": name, "known": ", ".join(known)},
                )

        check("dataset", self.dataset, self.datasets)
        for name, run in self.runs.items():
            check(f"runs.{name}.model", run.model, self.models)
            if run.extension is not None:
                check(f"runs.{name}.extension", run.extension, self.extensions)
        for name in self.selected_runs:
            check("selected", name, self.runs)
        for name in () if self.export.runs == "all" else self.export.runs:
            check("export.runs", name, self.runs)
        if "truth" in self.runs:
            raise ValueError(
                "runs.truth: the name is taken, cells/truth holds the measured truth; call the run otherwise"
            )
        return self

    @property
    def selected_runs(self) -> list[str]:
        return list(self.runs) if self.selected == "all" else list(self.selected)

    @property
    def exported_runs(self) -> list[str]:
        """The selected runs that are exported and timed."""
        return [run for run in self.selected_runs if self.export.runs == "all" or run in self.export.runs]

    @property
    def selected_extensions(self) -> list[str]:
        """The extensions that a selected run trains on, each once."""
        named = [self.runs[run].extension for run in self.selected_runs]
        return list(dict.fromkeys(name for name in named if name is not None))

    def extend_params(self, extension: str) -> ExtendParams:
        return ExtendParams(
            name=extension, extension=self.extensions[extension], synthesis=self.synthesis, seed=self.seed
        )

    def train_params(self, run: str) -> TrainParams:
        row = self.runs[run]
        model = self.models[row.model]
        return TrainParams(
            family=model.family,
            settings=getattr(model, self.scale).train,
            lines=row.lines,
            seed=self.seed,
            cpu_threads=self.cpu_threads,
        )

    def predict_params(self, run: str) -> PredictParams:
        model = self.models[self.runs[run].model]
        return PredictParams(settings=getattr(model, self.scale).predict, cpu_threads=self.cpu_threads)

    def export_params(self, run: str) -> ExportParams:
        predict = self.predict_params(run)
        excluded = self.export.exclude.get(run, [])
        kept = {name: [d for d in getattr(self.export, name) if d not in excluded] for name in ("dtypes", "engines")}
        settings = self.export.model_copy(update={**kept, "runs": [run], "exclude": {}, "notes": {}})
        return ExportParams(run=run, predict=predict.settings, settings=settings, cpu_threads=predict.cpu_threads)

    @property
    def card_params(self) -> CardParams:
        return CardParams(dataset=self.dataset, notes=self.export.notes)

    def benchmark_params(self, run: str) -> BenchmarkParams:
        predict = self.predict_params(run)
        return BenchmarkParams(predict=predict.settings, settings=self.benchmark, cpu_threads=predict.cpu_threads)

    @property
    def report_params(self) -> ReportParams:
        """`used` is what the selected runs depend on at this scale; given as --configfile, it makes them again."""
        used = self.model_dump(mode="json")
        unused = {"quick", "full"} - {self.scale}
        models = {self.runs[name].model for name in self.selected_runs}
        used["selected"] = self.selected_runs
        used["datasets"] = {self.dataset: used["datasets"][self.dataset]}
        used["runs"] = {name: used["runs"][name] for name in self.selected_runs}
        used["extensions"] = {name: used["extensions"][name] for name in self.selected_extensions}
        used["models"] = {
            name: {key: value for key, value in model.items() if key not in unused}
            for name, model in used["models"].items()
            if name in models
        }
        return ReportParams(settings=self.report, dataset=self.dataset, scale=self.scale, used=used)


def load(config: Mapping[str, Any]) -> Params:
    """Type the merged configuration (params.yaml, --configfile, --config) or raise ParamsError, a line per fault."""
    try:
        return Params.model_validate(dict(config))
    except ValidationError as error:
        lines = [_one_line(fault) for fault in error.errors()]
        raise ParamsError("params.yaml can't be used:\n" + "\n".join(f"  {line}" for line in lines)) from None


def _one_line(fault: Any) -> str:
    """`models.yolo.quick.train.epochs is -3: Input should be greater than 0`."""
    context = fault.get("ctx", {})
    if fault["type"] == "dangling_name":
        return str(fault["msg"])
    parts = [str(part) for part in fault["loc"]]
    if parts[:1] in (["datasets"], ["extensions"], ["models"]):
        del parts[2:3]  # pydantic puts source, law or family into the path: datasets.mine.coco.images
    if fault["type"] == "unknown_key":
        parts.append(str(context["key"]))
        return f"{'.'.join(parts)}: {fault['msg']}"
    where = ".".join(parts)
    if fault["type"].startswith("union_tag"):
        key = context["discriminator"].strip("'")
        allowed = f"; allowed here: {context['expected_tags']}" if "tag" in context else ""
        return f"{where}.{key} is {context.get('tag', 'missing')!r}{allowed}"
    if fault["type"] == "missing":
        return f"{where} is missing"
    value = fault["input"]
    shown = f" is {value!r}" if isinstance(value, str | int | float | bool | None) else ""
    return f"{where}{shown}: {fault['msg'].removeprefix('Value error, ')}"
