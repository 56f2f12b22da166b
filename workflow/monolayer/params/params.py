"""params.yaml as a whole: its sections and what binds them, what each rule is given of it, and clear errors."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, cast

import yaml
from pydantic import Field, NonNegativeInt, PositiveInt, ValidationError, model_validator
from pydantic_core import PydanticCustomError

from monolayer.params.data import AuditParams, Dataset, SplitParams, check_depth
from monolayer.params.extensions import DomainShiftParams, ExtendParams, Extension, SynthesisParams, TimelapseLayout
from monolayer.params.families import Model
from monolayer.params.measured import MeasureSettings
from monolayer.params.plates import Plate, PlateSettings, with_plates
from monolayer.params.section import LocalPath, Name, ParamsError, Scale, Section, faults
from monolayer.params.steps import (
    BenchmarkParams,
    BenchmarkSettings,
    CardParams,
    EvaluateParams,
    ExportParams,
    ExportSettings,
    GainParams,
    PredictParams,
    ReportParams,
    ReportSettings,
    Run,
    TrackScoresParams,
    TrainParams,
)
from monolayer.params.tools import OtherTool, ResultsTool, Tool
from monolayer.params.tracking import MendParams, TrackedRow, TrackSettings


class Params(Section):
    shared: dict[Name, dict[str, Any]] = Field(default_factory=dict, exclude=True)
    """Settings that models merge (`<<: *name`); nothing else reads them."""
    dataset: str
    """A row of `datasets`."""
    selected: Literal["all"] | list[str]
    """Rows of `runs`, or all."""
    scale: Scale
    """quick: 2 CPU cores, minutes; full: the documents' sizes, for a GPU."""
    seed: NonNegativeInt
    """Of training and extensions."""
    cpu_threads: PositiveInt
    """Of a network on the CPU; another number gives other last digits."""
    datasets: dict[Name, Dataset]
    """Where images and truth come from, by name."""
    audit: AuditParams
    """What is looked for in the truth."""
    split: SplitParams
    """Of images whose source fixes no split; whole wells, cell line by cell line."""
    synthesis: SynthesisParams
    """Of every extension's images."""
    extensions: dict[Name, Extension]
    """Synthetic images, made of train's cells, for runs to train on besides, by name."""
    domain_shift: DomainShiftParams
    """How far an extension lies from the images that it was made from."""
    models: dict[Name, Model]
    """Networks at both scales, and other tools, by name."""
    runs: dict[Name, Run]
    """The rows of the results table, by name."""
    evaluate: EvaluateParams
    """How predictions are scored."""
    export: ExportSettings
    """To ONNX, and from there to TensorRT."""
    benchmark: BenchmarkSettings
    """Of every run with torch and each exported dtype that runs here."""
    measure: MeasureSettings
    """Cells of the test images, predicted and true."""
    track: TrackSettings
    """Links of those cells from frame to frame: tracks, divisions, lineages."""
    report: ReportSettings
    """The page of results."""
    plate: LocalPath | None = Field(exclude=True)
    """Of a microscope: a folder, TIFF or OME-Zarr, whose report is then made and nothing else; null: none."""
    plates: dict[Name, Plate] = Field(exclude=True)
    """Plates whose reports are made and nothing else, by name: path, and what differs from plate_settings."""
    plate_settings: PlateSettings = Field(exclude=True)
    """How a plate is read, segmented and judged."""
    images_per_shard: PositiveInt = Field(exclude=True)
    """Of a plate, that a job segments; a run-time choice that changes no byte."""

    @model_validator(mode="before")
    @classmethod
    def _whole_plates(cls, given: Any) -> Any:
        return with_plates(given) if isinstance(given, dict) else given

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
            if isinstance(self.models[run.model], Tool) and (run.lines, run.extension) != ("all", None):
                raise ValueError(f"runs.{name}: {run.model} is another tool; give lines: all, extension: null")
            if run.base is not None:
                check(f"runs.{name}.base", run.base, self.runs)
        lists = {"selected": self.selected, "export.runs": self.export.runs, "track.mend": self.track.mend}
        for path, names in lists.items():
            for name in () if names == "all" else names:
                check(path, name, self.runs)
        if both := sorted(set(self.mended_runs) & set(self.runs)):
            raise ValueError(f"track.mend: {both[0]} is the name of a run too; call that run otherwise")
        for name in self.cultures:
            check("track.extension", name, self.extensions)
            if not isinstance(self.extensions[name], TimelapseLayout):
                raise ValueError(f"track.extension: {name} is of another layout than timelapse; name one of that")
            if name in (*self.runs, *self.mended_runs, "truth"):
                raise ValueError(f"track.extension: {name} is a run's name too; call the extension otherwise")
        assert self.tracked  # or says which names clash
        if "plates" in self.datasets:
            raise ValueError("datasets.plates: the name is taken, results/plates holds plates; call it otherwise")
        if "truth" in self.runs:
            raise ValueError("runs.truth: the name is taken, cells/truth holds the measured truth; call it otherwise")
        return self

    @model_validator(mode="after")
    def _fit_together(self) -> Params:
        check_depth(self.datasets[self.dataset], self.export.percentiles)
        for name in self.tuned_runs:
            if (base := str(self.runs[name].base)) not in self.selected_runs:
                raise ValueError(f"runs.{name}.base is {base}, which `selected` lacks; add it, to be scored too")
        return self

    @property
    def selected_runs(self) -> list[str]:
        return list(self.runs) if self.selected == "all" else list(self.selected)

    @property
    def trained_runs(self) -> list[str]:
        """The selected runs of our networks."""
        return [run for run in self.selected_runs if not isinstance(self.models[self.runs[run].model], Tool)]

    @property
    def tool_runs(self) -> list[str]:
        """The selected runs of other tools."""
        return [run for run in self.selected_runs if run not in self.trained_runs]

    @property
    def exported_runs(self) -> list[str]:
        """The trained runs that are exported and timed."""
        return [run for run in self.trained_runs if self.export.runs == "all" or run in self.export.runs]

    @property
    def tuned_runs(self) -> list[str]:
        """The selected runs that have a base to beat."""
        return [run for run in self.selected_runs if run in self.runs and self.runs[run].base is not None]

    @property
    def mended_runs(self) -> dict[str, str]:
        """The rows of runs whose cells are mended by time, and the run that each is of."""
        return {f"{run}_mended": run for run in self.selected_runs if self.track.mends(run)}

    @property
    def scored_runs(self) -> list[str]:
        """The rows of the results table: the selected runs, each followed by what is mended of it."""
        return [row for run in self.selected_runs for row in [run, f"{run}_mended"][: 1 + self.track.mends(run)]]

    def first_weights(self, run: str) -> list[str]:
        """The file that a run's weights begin with, if it names one; of an exported run its model.json."""
        weights = str(getattr(self.models[self.runs[run].model], self.scale).train.weights)
        if weights in ("none", "pretrained"):
            return []
        return [weights if Path(weights).suffix else f"{weights.rstrip('/')}/model.json"]

    @property
    def selected_extensions(self) -> list[str]:
        """The extensions that a selected run trains on, each once."""
        named = [self.runs[run].extension for run in self.selected_runs]
        return list(dict.fromkeys(name for name in named if name is not None))

    @property
    def cultures(self) -> list[str]:
        """The extension whose cells are measured and tracked as if they were a run's, if any."""
        return [self.track.extension] if self.track.extension else []

    def extend_params(self, extension: str) -> ExtendParams:
        row = self.extensions[extension]
        return ExtendParams(name=extension, extension=row, synthesis=self.synthesis, seed=self.seed)

    def train_params(self, run: str) -> TrainParams:
        row = self.runs[run]
        model = self.models[row.model]
        train, threads = getattr(model, self.scale).train, self.cpu_threads
        return TrainParams(family=model.family, settings=train, lines=row.lines, seed=self.seed, cpu_threads=threads)

    def tool(self, run: str) -> OtherTool:
        return cast(OtherTool, self.models[self.runs[run].model])

    def tool_files(self, run: str, split: str) -> list[str]:
        """What the run's tool has found in a split already."""
        tool = self.tool(run)
        return [getattr(tool.results, split)] if isinstance(tool, ResultsTool) else []

    def predict_params(self, run: str) -> PredictParams:
        model = self.models[self.runs[run].model]
        return PredictParams(settings=getattr(model, self.scale).predict, cpu_threads=self.cpu_threads)

    def export_params(self, run: str) -> ExportParams:
        excluded = self.export.exclude.get(run, [])
        kept = {name: [d for d in getattr(self.export, name) if d not in excluded] for name in ("dtypes", "engines")}
        settings = self.export.model_copy(update={**kept, "runs": [run], "exclude": {}})
        predict, near, threads = self.predict_params(run).settings, self.measure.neighbours, self.cpu_threads
        return ExportParams(run=run, predict=predict, neighbours=near, settings=settings, cpu_threads=threads)

    def gain_params(self, run: str) -> GainParams:
        return GainParams(run=run, base=str(self.runs[run].base), unproven=self.runs[run].unproven)

    @property
    def card_params(self) -> CardParams:
        return CardParams(dataset=self.dataset)

    def benchmark_params(self, run: str) -> BenchmarkParams:
        predict = self.predict_params(run).settings
        return BenchmarkParams(predict=predict, settings=self.benchmark)

    @property
    def tracked(self) -> dict[str, TrackedRow]:
        return self.track.rows(["truth", *self.scored_runs, *self.cultures])

    @property
    def mend_params(self) -> MendParams:
        return MendParams(track=self.track.of().model_copy(update={"files": []}), evaluate=self.evaluate)

    @property
    def track_scores_params(self) -> TrackScoresParams:
        return TrackScoresParams(n_resamples=self.evaluate.n_resamples, seed=self.evaluate.seed)

    @property
    def report_params(self) -> ReportParams:
        """`used` is what the selected runs depend on at this scale; given as --configfile, it makes them again."""
        used = self.model_dump(mode="json")
        models = {self.runs[name].model for name in self.selected_runs}
        [unused] = {"quick", "full"} - {self.scale}
        for model in used["models"].values():
            model.pop(unused, None)
        used["selected"] = self.selected_runs
        used["datasets"] = {self.dataset: used["datasets"][self.dataset]}
        used["runs"] = {name: used["runs"][name] for name in self.selected_runs}
        made = dict.fromkeys([*self.selected_extensions, *self.cultures])
        used["extensions"] = {name: used["extensions"][name] for name in made}
        used["models"] = {name: model for name, model in used["models"].items() if name in models}
        return ReportParams(settings=self.report, dataset=self.dataset, scale=self.scale, used=used)


def refuse_aliases(path: Path) -> None:
    """Raise ParamsError where two keys of the file lead to one section: `dvc exp run -S` would edit both or neither."""
    seen: dict[int, str] = {}

    def walk(value: object, key: str) -> None:
        if isinstance(value, dict):
            if (first := seen.setdefault(id(value), key)) != key:
                raise ParamsError(f"{path}: {key} is {first} itself: edits are of both; merge it, {{<<: *name}}")
            for name, item in value.items():
                walk(item, f"{key}.{name}".lstrip("."))

    walk(yaml.safe_load(path.read_text()), "")


def refuse_repeated_keys(path: Path) -> None:
    """Raise ParamsError where a section of the YAML file has a key twice: its reader would take the last one."""

    def walk(node: yaml.Node | None, key: str) -> None:
        if isinstance(node, yaml.SequenceNode):
            for number, item in enumerate(node.value):
                walk(item, f"{key}.{number}")
        if not isinstance(node, yaml.MappingNode):
            return
        known: set[str] = set()
        for name, item in node.value:
            if name.value in known and name.value != "<<":
                line = name.start_mark.line + 1
                raise ParamsError(f"{path}, line {line}: {f'{key}.{name.value}'.lstrip('.')} is there twice; keep one")
            known.add(name.value)
            walk(item, f"{key}.{name.value}".lstrip("."))

    walk(yaml.compose(path.read_text(encoding="utf-8"), yaml.SafeLoader), "")


def load(config: Mapping[str, Any], more: Sequence[str | Path] = ()) -> Params:
    """Type params.yaml merged with `more` files and --config, or raise ParamsError, a line per fault."""
    try:
        return Params.model_validate(dict(config))
    except ValidationError as error:
        files = ", ".join(["params.yaml", *map(str, more)])
        raise ParamsError("\n  ".join([f"{files} can't be used:", *faults(error)])) from None
