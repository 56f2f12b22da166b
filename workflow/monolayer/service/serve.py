"""Exported models as a running service: what `monolayer serve` does."""

from __future__ import annotations

import logging
import os
import signal
from collections.abc import Sequence
from pathlib import Path

from monolayer.params.steps import Dtype
from monolayer.service.app import create
from monolayer.service.state import ServedModel, Settings, State

logger = logging.getLogger(__name__)


def load(path: Path, dtype: Dtype, threads: int, score_min: float | None, tta: int | None = None) -> ServedModel:
    """An exported run as a model of the service; without `score_min` its threshold of val is taken."""
    from monolayer.backends.manifest import read_manifest
    from monolayer.models import predictor

    folder, manifest = read_manifest(path)
    run = predictor.load(folder, "onnxruntime", dtype, threads, tta=tta)
    lines = [] if "all" in run.networks else sorted(run.networks)

    return ServedModel(
        name=manifest.run,
        family=manifest.family,
        lines=lines,
        dtype=dtype,
        score_min=manifest.score_threshold if score_min is None else score_min,
        percentiles=manifest.percentiles,
        neighbours=manifest.neighbours,
        segment=run.segment,
        batch=run.batch,
    )


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
