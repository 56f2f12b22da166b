"""Exported models as a running service: what `monolayer serve` does."""

from __future__ import annotations

import hashlib
import logging
import os
import signal
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from monolayer.backends import manifest
from monolayer.files import InputError
from monolayer.params.steps import Dtype
from monolayer.service.app import create
from monolayer.service.state import ServedModel, Settings, State

logger = logging.getLogger(__name__)


def load(
    path: Path,
    dtype: Dtype,
    threads: int,
    score_min: float | None,
    tta: int | None = None,
    *,
    diameter: float | None = None,
) -> ServedModel:
    """An exported run as a model of the service; without `score_min` its threshold of val is taken."""
    from monolayer.models import predictor

    folder, about = manifest.read_manifest(path)
    run = predictor.load(folder, "onnxruntime", dtype, threads, tta=tta, diameter=diameter)

    return ServedModel(
        name=about.run,
        family=about.family,
        lines=sorted(run.networks.keys() - {"all"}),
        dtype=dtype,
        score_min=about.score_threshold if score_min is None else score_min,
        percentiles=about.percentiles,
        neighbours=about.neighbours,
        segment=run.segment,
        batch=run.batch,
        digest=_digest(folder, dtype),
        tta=tta,
        diameter=diameter,
        line_required="all" not in run.networks,
        enlarged=run.enlarged,
        stride=max(network.pipeline.stride for network in run.networks.values()),
    )


def told_apart(models: Sequence[ServedModel], folders: Sequence[Path]) -> list[ServedModel]:
    """The models; those of one name are called by the ends of their folders' paths, as long as tells them apart."""
    parts = [(path.parent if path.suffix == ".json" else path).resolve().parts for path in folders]
    names = [model.name for model in models]

    def name(number: int) -> str:
        own = parts[number]
        others = [parts[n] for n, other in enumerate(names) if other == names[number] and n != number]
        if own in others:
            raise InputError(f"--model has {folders[number]} twice; give it once")
        if not others:
            return names[number]
        return next(
            "/".join(own[-length:])
            for length in range(1, len(own) + 1)
            if all(other[-length:] != own[-length:] for other in others)
        )

    return [replace(model, name=name(number)) for number, model in enumerate(models)]


def _digest(folder: Path, dtype: Dtype) -> str:
    """A hash of the files that a run's cells hang on."""
    whole = hashlib.sha256()
    for path in (folder / manifest.MANIFEST, *sorted((folder / manifest.NETWORKS).glob(f"*.{dtype}.onnx"))):
        with path.open("rb") as file:
            whole.update(hashlib.file_digest(file, "sha256").digest())
    return whole.hexdigest()


def serve(models: Sequence[ServedModel], settings: Settings, host: str, port: int) -> None:
    """Answer requests until SIGTERM or SIGINT; then finish what is under way."""
    from monolayer.service.connections import server

    app = create(list(models), settings)
    state: State = app.state.service
    names = ", ".join(model.name for model in models)
    logger.info("models %s; page, service and metrics at http://%s:%d/", names, host, port)
    try:
        server(app, state, host, port).run()
    finally:
        if state.served and not state.ended:  # a step of nobody's work goes on; Python would wait for its end
            logging.shutdown()
            os._exit(128 + signal.SIGTERM)
