"""Export a run: the graphs of its networks as ONNX in each dtype, TensorRT engines, and the manifest beside them."""

from __future__ import annotations

import logging
import math
import platform
import tempfile
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from monolayer import models
from monolayer.backends.eager import eager
from monolayer.backends.manifest import (
    CARD,
    MANIFEST,
    PARITY,
    SEEN,
    CellDiameters,
    EngineFile,
    ExportedGraph,
    ExportedNetwork,
    ImageSides,
    Manifest,
    engine_name,
    identity,
    onnx_name,
)
from monolayer.backends.trt import library as trt_library
from monolayer.coco.io import read_truth
from monolayer.data.dataset import Sample, evenly, of_lines, samples
from monolayer.deployment import engines, onnx_graph, parity
from monolayer.deployment.calibration import Feed, record
from monolayer.deployment.onnx_half import halved
from monolayer.files import FORMAT, write_bytes, write_json
from monolayer.models.beginnings import seen_by
from monolayer.models.pipeline import Pipeline, pipeline
from monolayer.params.steps import ExportParams

logger = logging.getLogger(__name__)
VERSIONS = ("monolayer", "torch", "onnx", "onnxscript", "onnxruntime")


def export(
    weights: Path, images: Path, splits: Path, params: ExportParams, output: Path, *, score_threshold: float
) -> None:
    """Write model.json, the files that it lists and seen.txt into the folder `output`; int8 is calibrated on train.

    What an earlier export said there goes first: after a kill the graphs of one would be run with the numbers of both.
    """
    import torch

    torch.set_num_threads(params.cpu_threads)
    run, networks = models.load_weights(weights, "cpu")
    train = samples(read_truth(splits / "train.json"), images)
    learned = train if isinstance(run.lines, str) else of_lines(train, run.lines)
    for name in (MANIFEST, PARITY, SEEN, CARD):
        (output / name).unlink(missing_ok=True)
    exporter = Exporter(run.family, params, output)
    written = {name: exporter.network(name, network, train) for name, network in networks.items()}
    manifest = Manifest(
        format=FORMAT,
        run=params.run,
        family=run.family,
        settings=params.predict,
        score_threshold=score_threshold,
        percentiles=params.settings.percentiles,
        neighbours=params.neighbours,
        notes=params.settings.notes,
        card=CARD,
        networks={name: network for name, (network, _) in written.items()},
        dtypes=params.settings.dtypes,
        engines=[file for _, engines in written.values() for file in engines],
        diameters=cell_diameters(learned),
        sides=_sides(learned),
        versions={"python": platform.python_version()} | {name: version(name) for name in VERSIONS},
    )
    write_bytes(output / SEEN, "".join(f"{one}\n" for one in sorted(seen_by(weights))).encode())
    write_json(output / MANIFEST, manifest.model_dump(), indent=1)


def cell_diameters(train: Sequence[Sample]) -> CellDiameters | None:
    """How large the training cells are; of no cells nothing is known.

    Each line has its own range: in that of all images, a line of few with larger cells would be left out.
    """
    every, of_line = list[float](), defaultdict[str, list[float]](list)
    for sample in train:
        if sizes := [2 * math.sqrt(cell["area"] / math.pi) for cell in sample.annotations]:
            every += sizes
            of_line[sample.image["cell_line"]].append(float(np.median(sizes)))
    if not every:
        return None
    ranges = np.array([np.percentile(medians, (5, 95)) for medians in of_line.values()])
    low, median, high = (round(float(value), 2) for value in (ranges.min(), np.median(every), ranges.max()))
    return CellDiameters(low=low, median=median, high=high)


def _sides(train: Sequence[Sample]) -> ImageSides:
    longer = [max(sample.image["height"], sample.image["width"]) for sample in train]
    return ImageSides(low=min(longer), high=max(longer))


def check(exported: Path, images: Path, splits: Path, reference: Path, params: ExportParams) -> dict[str, Any]:
    """Parity of an exported run with torch's results on test."""
    return parity.check(exported, images, splits, reference, params.settings)


@dataclass(frozen=True)
class Exporter:
    family: str
    params: ExportParams
    output: Path

    def network(self, name: str, network: Any, train: Sequence[Sample]) -> tuple[ExportedNetwork, list[EngineFile]]:
        """Write the files of one network."""
        family = models.family(self.family)
        graphs, constants = family.graphs(network), family.constants(network)
        of = pipeline(self.family, self.params.predict, constants)
        feeds: dict[str, list[Feed]] = {}
        if "int8" in self.params.settings.dtypes:
            shown = train if name == "all" else of_lines(train, [name])
            feeds = record(of, eager(graphs), evenly(shown, self.params.settings.calibration))
        signatures, engines = {}, []
        for graph, part in graphs.items():
            exact = onnx_graph.export_graph(part)
            signatures[graph] = onnx_graph.signature(exact, part.multiple)
            for dtype in self.params.settings.dtypes:
                model = _in_dtype(exact, dtype, feeds.get(graph, []))
                facts = identity(self.params.run, self.family, (name, graph, dtype))
                content = onnx_graph.write(model, facts, self.output / onnx_name(name, graph, dtype))
                if dtype in self.params.settings.engines:
                    engines += self._engines((name, graph, dtype), content, signatures[graph], of)
            logger.info("exported %s of %s", graph, name)
        return ExportedNetwork(constants=constants, graphs=signatures), engines

    def _engines(
        self, which: tuple[str, str, str], model: bytes, signature: ExportedGraph, of: Pipeline
    ) -> list[EngineFile]:
        """One engine for all named targets and, where the full library and a GPU are, one for that GPU."""
        files = []
        for library, targets in engines.libraries(self.params.settings.targets):
            content = engines.build(model, signature, of.axes, targets, library)
            file = engine_name(*which, library, targets)
            write_bytes(self.output / file, content)
            facts = dict(zip(("network", "graph", "dtype"), which, strict=True))
            facts |= {"file": file, "library": library, "version": trt_library(library).__version__}
            files.append(EngineFile.model_validate(facts | {"targets": targets}))
        return files


def _in_dtype(exact: Any, dtype: str, feeds: Sequence[Feed]) -> Any:
    if dtype == "fp16":
        return halved(exact)
    if dtype == "int8":
        with tempfile.TemporaryDirectory() as folder:
            return onnx_graph.quantised(exact, feeds, Path(folder))
    return exact
