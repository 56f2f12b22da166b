"""Find the cells of every image of a split and stream them to COCO results at native image size."""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import groupby, islice
from pathlib import Path
from typing import Any, TypeVar

from monolayer import models
from monolayer.coco import InputError, Result, read_truth, write_results
from monolayer.dataset import Sample, read_image, samples
from monolayer.params import PredictParams
from monolayer.progress import track

logger = logging.getLogger(__name__)
Item = TypeVar("Item")


def predict(weights: Path, images: Path, truth: Path, params: PredictParams, output: Path) -> None:
    """Write the cells that the networks of `weights` find in the images that `truth` lists."""
    import torch

    torch.set_num_threads(params.cpu_threads)
    run, networks = models.load_weights(weights, "cuda" if torch.cuda.is_available() else "cpu")
    todo = samples(read_truth(truth), images)
    family = models.family(run.family)

    def find(name: str, batch: list[Sample], pixels: list[Any]) -> Iterator[Result]:
        for sample, found in zip(batch, family.predict(networks[name], pixels, params.settings), strict=True):
            yield from found.results(sample.image["id"])

    def stream() -> Iterator[Result]:
        batches = list(_batches(todo, networks, params.settings.batch))
        reader = _ahead(lambda part: (*part, [read_image(sample.path) for sample in part[1]]), batches)
        for name, batch, pixels in track(reader, len(batches), f"predict {truth.stem}"):
            yield from find(name, batch, pixels)

    count = write_results(output, stream())
    logger.info("%d cells in %d images", count, len(todo))


def _batches(todo: list[Sample], networks: dict[str, Any], size: int) -> Iterator[tuple[str, list[Sample]]]:
    """Runs of at most `size` images for one network: the cell line's own where the run has one for each."""

    def name(sample: Sample) -> str:
        line = sample.image["cell_line"]
        if "all" not in networks and line not in networks:
            raise InputError(
                f"{sample.image['file_name']} is of cell line {line}, for which this run has no network "
                f"(it has {', '.join(networks)}); train it on that line or use a run of all lines"
            )
        return "all" if "all" in networks else line

    for network, group in groupby(todo, name):
        while batch := list(islice(group, size)):
            yield network, batch


def _ahead(work: Callable[[Item], Any], items: Iterable[Item], ahead: int = 2) -> Iterator[Any]:
    """work(item) of each item in order, computed on a thread up to `ahead` items before it is asked for."""
    with ThreadPoolExecutor(1) as pool:
        pending: deque[Any] = deque()
        for item in items:
            pending.append(pool.submit(work, item))
            if len(pending) > ahead:
                yield pending.popleft().result()
        while pending:
            yield pending.popleft().result()
