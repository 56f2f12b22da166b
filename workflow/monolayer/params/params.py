"""params.yaml as a whole: its sections and what binds them, what each rule is given of it, and clear errors."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from pydantic import NonNegativeInt, PositiveInt, ValidationError, model_validator
from pydantic_core import PydanticCustomError

from monolayer.params.data import AuditParams, Dataset, SplitParams
from monolayer.params.extensions import DomainShiftParams, ExtendParams, Extension, SynthesisParams
from monolayer.params.families import Model
from monolayer.params.section import Name, ParamsError, Scale, Section
from monolayer.params.steps import (
    BenchmarkParams,
    BenchmarkSettings,
    CardParams,
    EvaluateParams,
    ExportParams,
    ExportSettings,
    MeasureParams,
    PredictParams,
    ReportParams,
    ReportSettings,
    Run,
    TrainParams,
)


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
    domain_shift: DomainShiftParams
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
        settings = self.export.model_copy(update={**kept, "runs": [run], "exclude": {}})
        return ExportParams(
            run=run,
            predict=predict.settings,
            neighbours=self.measure.neighbours,
            settings=settings,
            cpu_threads=predict.cpu_threads,
        )

    @property
    def card_params(self) -> CardParams:
        return CardParams(dataset=self.dataset)

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
