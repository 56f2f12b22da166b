"""An exported run: what its folder's model.json says, and where the files lie that it tells of.

The folder is all that predict, serve, watch and the Python API need, and travels alone: model.json, networks/ with the
graphs, parity.json (how they were held against torch), seen.txt (what it learned from) and card.md, for people.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, PositiveFloat, PositiveInt, ValidationError

from monolayer.files import DECODER, InputError, check_format, name_of_file
from monolayer.params.data import Percentiles
from monolayer.params.families import PredictSettings
from monolayer.params.section import Fraction, Section, faults
from monolayer.params.steps import Dtype, NeighbourParams

MANIFEST, NETWORKS, PARITY, CARD = "model.json", "networks", "parity.json", "card.md"
SEEN = "seen.txt"
PRETRAINED = Path(__file__).parents[1] / "pretrained/phase_contrast"  # the study's best small run
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


class CellDiameters(Section):
    """px, of circles of the true cells' areas in training: the median of all, and how far images' medians reach in one
    of its lines or another."""

    low: PositiveFloat
    """5th percentile of the images' medians, of the line where it is lowest."""
    median: PositiveFloat
    """Of all cells."""
    high: PositiveFloat
    """95th percentile of the images' medians, of the line where it is highest."""


class ImageSides(Section):
    """px, of the longer sides of the images in training: a detector zooms an image by its size."""

    low: PositiveInt
    """Of the smallest image."""
    high: PositiveInt
    """Of the largest."""


class Manifest(Section):
    """model.json: what finds cells in a grey (height, width) image with these files, without the training code.

    score_threshold, from which up cells count, is what `evaluate` chose on val; neighbours is how cells are measured.
    """

    format: Literal[2]
    run: str
    family: Annotated[str, Field(pattern="^(centermask|unet|yolo)$")]  # becomes the name of a module
    settings: PredictSettings
    score_threshold: Fraction
    percentiles: Percentiles
    neighbours: NeighbourParams
    notes: dict[str, str]  # by heading: limits, data, licence
    card: str
    networks: dict[str, ExportedNetwork]
    dtypes: list[Dtype]
    engines: list[EngineFile]
    versions: dict[str, str]
    diameters: CellDiameters | None = None  # null: not known
    sides: ImageSides | None = None  # null: not known

    def variants(self) -> list[tuple[str, Dtype]]:
        """Backends and dtypes that it has files for."""
        built = dict.fromkeys(engine.dtype for engine in self.engines)
        return [("onnxruntime", dtype) for dtype in self.dtypes] + [("tensorrt", dtype) for dtype in built]

    def files(self) -> list[str]:
        """All that it names in its folder."""
        graphs = [
            (name, graph, dtype)
            for name in self.networks
            for graph in self.networks[name].graphs
            for dtype in self.dtypes
        ]
        return [*(onnx_name(*which) for which in graphs), *(engine.file for engine in self.engines)]


def pretrained() -> Path:
    """The folder of the model that comes with the package."""
    if not (PRETRAINED / MANIFEST).exists():
        raise InputError(
            f"the pretrained model is not in {PRETRAINED}; install the package again, or name another with --weights "
            "(predict) or --model (serve, watch)"
        )
    return PRETRAINED


def read_manifest(path: Path) -> tuple[Path, Manifest]:
    """The folder of an exported run and its model.json; `path` is either."""
    file = path / MANIFEST if path.is_dir() else path
    cure = "export the run again"
    try:
        content = DECODER.decode(file.read_text(encoding="utf-8"))
        check_format(file, content["format"], cure)
        manifest = Manifest.model_validate(content)
        for name in manifest.files():
            if os.path.isabs(name) or os.path.normpath(name).startswith(".."):
                raise InputError(f"{file} names {name}, which is outside of its folder: no file of ours; {cure}")
        return file.parent, manifest
    except InputError:
        raise
    except (OSError, ValueError, KeyError, TypeError) as error:
        said = "; ".join(faults(error)) if isinstance(error, ValidationError) else repr(error)
        raise InputError(f"{file} is not the {MANIFEST} of an exported run ({said}); {cure}") from error


def read_seen(folder: Path) -> frozenset[str]:
    """Fingerprints of the images that an exported run learned from; none where the folder does not say."""
    path = folder / SEEN
    if not path.exists():
        return frozenset()
    lines = path.read_text(encoding="utf-8", errors="replace").split("\n")
    if wrong := [line for line in lines if not re.fullmatch("[0-9a-f]{32}|", line)]:
        raise InputError(f"{path} has the line {wrong[0]!r}, no fingerprint of an image; export the run again")
    return frozenset(filter(None, lines))


def onnx_name(network: str, graph: str, dtype: str) -> str:
    return f"{NETWORKS}/{name_of_file(network)}.{graph}.{dtype}.onnx"


def engine_name(network: str, graph: str, dtype: str, library: str, targets: list[str]) -> str:
    return f"{NETWORKS}/{name_of_file(network)}.{graph}.{dtype}.{library}.{'-'.join(targets)}.engine"


def identity(run: str, family: str, which: tuple[str, str, str]) -> dict[str, str]:
    """What the file of (network, graph, dtype) says of itself, so that files of several runs can't be mixed up."""
    return {"run": run, "family": family} | dict(zip(("network", "graph", "dtype"), which, strict=True))
