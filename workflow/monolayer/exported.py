"""An exported run: what its folder's model.json says, and the names of the files beside it."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from pydantic import ValidationError

from monolayer.coco import InputError
from monolayer.params import Dtype, PredictSettings, Section

CONTRACT = "model.json"


class Value(Section):
    """An input or output of a graph; an axis is a length, the name of one that may vary, or null: it hangs on those."""

    name: str
    dtype: str
    shape: list[int | str | None]


class ExportedGraph(Section):
    inputs: list[Value]
    outputs: list[Value]


class ExportedNetwork(Section):
    """A network's graphs, and the constants that its family's finder needs."""

    constants: dict[str, Any]
    graphs: dict[str, ExportedGraph]


class Contract(Section):
    """model.json: what finds cells in a uint8 (height, width) image with these files, without the training code."""

    format: Literal[1]
    run: str
    family: str
    settings: PredictSettings
    networks: dict[str, ExportedNetwork]
    dtypes: list[Dtype]
    versions: dict[str, str]


def read_contract(path: Path) -> tuple[Path, Contract]:
    """The folder of an exported run and its model.json; `path` is either."""
    file = path / CONTRACT if path.is_dir() else path
    try:
        return file.parent, Contract.model_validate_json(file.read_bytes())
    except (OSError, ValidationError) as error:
        raise InputError(f"{file} is not the {CONTRACT} of an exported run ({error}); export the run again") from error


def onnx_name(network: str, graph: str, dtype: str) -> str:
    return f"{network}.{graph}.{dtype}.onnx"


def identity(contract: Contract, network: str, graph: str, dtype: str) -> dict[str, str]:
    """What a graph's file says of itself, so that files of several runs can't be mixed up."""
    return {"run": contract.run, "family": contract.family, "network": network, "graph": graph, "dtype": dtype}
