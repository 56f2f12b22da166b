"""Exported models as a running service: what `monolayer serve` does."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from monolayer.coco.instances import Instances
from monolayer.params.steps import Dtype
from monolayer.service.app import create
from monolayer.service.state import ServedModel, Settings

logger = logging.getLogger(__name__)
GRACE_S = 30  # for what is under way at shut-down


def load(path: Path, dtype: Dtype, threads: int, score_min: float | None, tta: int | None = None) -> ServedModel:
    """An exported run as a model of the service; without `score_min` its threshold of val is taken."""
    from monolayer.backends.manifest import read_manifest
    from monolayer.models import predictor

    folder, manifest = read_manifest(path)
    run = predictor.load(folder, "onnxruntime", dtype, threads, tta=tta)
    lines = [] if "all" in run.networks else sorted(run.networks)

    def segment(images: Sequence[NDArray[np.uint8]], cell_line: str | None) -> list[Instances]:
        return run.segment(images, cell_line)

    return ServedModel(
        name=manifest.run,
        family=manifest.family,
        lines=lines,
        dtype=dtype,
        score_min=manifest.score_threshold if score_min is None else score_min,
        percentiles=manifest.percentiles,
        neighbours=manifest.neighbours,
        segment=segment,
        batch=run.batch,
    )


def serve(models: Sequence[ServedModel], settings: Settings, host: str, port: int) -> None:
    """Answer requests until SIGTERM or SIGINT; then finish what is under way."""
    import uvicorn

    app = create(list(models), settings)
    names = ", ".join(model.name for model in models)
    logger.info("models %s; page, service and metrics at http://%s:%d/", names, host, port)
    uvicorn.run(
        app,
        host=host,
        port=port,
        log_config=None,
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=GRACE_S,
    )
