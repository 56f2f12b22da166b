"""An exported run: what its folder's model.json says, and the names of the files beside it."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from pydantic import ValidationError

from monolayer.files import InputError
from monolayer.params.families import PredictSettings
from monolayer.params.section import Section
from monolayer.params.steps import Dtype

MANIFEST = "model.json"
PRETRAINED = (
    Path(__file__).parents[3] / "results/phase_contrast/export/unet_distance"
)  # in git: the study's best small run
Range = tuple[int, int, int]  # least, usual and largest length of an axis


class Value(Section):
    """An input or output of a graph; an axis is a length, the name of one that may vary, or null: it hangs on those."""

    name: str
    dtype: str
    shape: list[int | str | None]


class ExportedGraph(Section):
    inputs: list[Value]
    outputs: list[Value]
    multiple: int  # of which height and width must be multiples


class ExportedNetwork(Section):
    """A network's graphs, and the constants that its family's pipeline needs."""

    constants: dict[str, Any]
    graphs: dict[str, ExportedGraph]


class EngineFile(Section):
    """A TensorRT engine: it runs with this version of this library, on GPUs of these targets, and nowhere else."""

    network: str
    graph: str
    dtype: Dtype
    file: str
    library: Literal["tensorrt_rtx", "tensorrt"]
    version: str
    targets: list[str]


class Manifest(Section):
    """model.json: what finds cells in a uint8 (height, width) image with these files, without the training code."""

    format: Literal[1]
    run: str
    family: str
    settings: PredictSettings
    networks: dict[str, ExportedNetwork]
    dtypes: list[Dtype]
    engines: list[EngineFile]
    versions: dict[str, str]


def pretrained() -> Path:
    """The folder of the model that comes with the repository."""
    if not (PRETRAINED / MANIFEST).exists():
        raise InputError(
            f"the ready model is not in {PRETRAINED}, where a clone of the repository has it; "
            "name another with --weights (predict) or --model (serve, watch)"
        )
    return PRETRAINED


def read_manifest(path: Path) -> tuple[Path, Manifest]:
    """The folder of an exported run and its model.json; `path` is either."""
    file = path / MANIFEST if path.is_dir() else path
    try:
        return file.parent, Manifest.model_validate_json(file.read_bytes())
    except (OSError, ValidationError) as error:
        raise InputError(f"{file} is not the {MANIFEST} of an exported run ({error}); export the run again") from error


def threshold(folder: Path, manifest: Manifest) -> float | None:
    """The score from which cells count: `evaluate` chose it, metrics/{run}.json beside the folder export tells it."""
    from monolayer.measurement.measure import score_threshold

    scores = folder.parent.parent / "metrics" / f"{manifest.run}.json"
    return score_threshold(scores) if scores.exists() else None


def onnx_name(network: str, graph: str, dtype: str) -> str:
    return f"{network}.{graph}.{dtype}.onnx"


def engine_name(network: str, graph: str, dtype: str, library: str, targets: list[str]) -> str:
    return f"{network}.{graph}.{dtype}.{library}.{'-'.join(targets)}.engine"


def identity(run: str, family: str, which: tuple[str, str, str]) -> dict[str, str]:
    """What the file of (network, graph, dtype) says of itself, so that files of several runs can't be mixed up."""
    return {"run": run, "family": family} | dict(zip(("network", "graph", "dtype"), which, strict=True))
