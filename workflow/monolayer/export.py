"""Export a run: each graph of each network as ONNX, and what is needed to find cells with them."""

from __future__ import annotations

import logging
import platform
from importlib.metadata import version
from pathlib import Path
from typing import Any

from monolayer import models
from monolayer.coco import write_json
from monolayer.exported import CONTRACT, Contract, ExportedNetwork, identity, onnx_name
from monolayer.params import ExportParams

logger = logging.getLogger(__name__)


def export(weights: Path, images: Path, truth: Path, params: ExportParams, output: Path) -> None:
    """Write model.json and its files into the folder `output`; int8 is calibrated on images of `truth`."""
    run, networks = models.load_weights(weights, "cpu")
    family = models.family(run.family)
    contract = Contract(
        format=1,
        run=params.run,
        family=run.family,
        settings=params.predict,
        networks={},
        dtypes=params.settings.dtypes,
        versions={"python": platform.python_version(), **{n: version(n) for n in ("monolayer", "torch", "onnx")}},
    )
    output.mkdir(parents=True, exist_ok=True)
    for name, network in networks.items():
        contract.networks[name] = _export_network(family, (name, network), contract, output)
    write_json(output / CONTRACT, contract.model_dump(), indent=1)


def _export_network(family: models.Family, named: tuple[str, Any], contract: Contract, output: Path) -> ExportedNetwork:
    from monolayer import onnx_graph

    name, network = named
    graphs = {}
    for graph, part in family.graphs(network).items():
        model = onnx_graph.export_graph(part)
        graphs[graph] = onnx_graph.signature(model)
        onnx_graph.write(model, identity(contract, name, graph, "fp32"), output / onnx_name(name, graph, "fp32"))
        if "fp16" in contract.dtypes:
            half = onnx_graph.halved(model)
            onnx_graph.write(half, identity(contract, name, graph, "fp16"), output / onnx_name(name, graph, "fp16"))
    return ExportedNetwork(constants=family.constants(network), graphs=graphs)
