"""Find the cells of every image of a split and stream them to COCO results at native image size."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from monolayer import predictor
from monolayer.coco import Result, read_truth, write_results
from monolayer.dataset import Sample, read_image, samples
from monolayer.params import PredictParams
from monolayer.predictor import Frame, Predictor, ahead
from monolayer.progress import track

logger = logging.getLogger(__name__)


def predict(weights: Path, images: Path, truth: Path, params: PredictParams, output: Path) -> None:
    """Write the cells that the networks of `weights` find in the images that `truth` lists."""
    todo = samples(read_truth(truth), images)
    run = predictor.from_weights(weights, params.settings, params.cpu_threads)
    count = write_results(output, results(run, todo, f"predict {truth.stem}"))
    logger.info("%d cells in %d images", count, len(todo))


def results(run: Predictor, todo: list[Sample], label: str) -> Iterator[Result]:
    """The results of each sample in order, their masks encoded on a thread of their own."""
    found = zip((sample.image["id"] for sample in todo), run.stream(frames(todo)), strict=True)
    for encoded in track(ahead(lambda one: list(one[1].results(one[0])), found), len(todo), label):
        yield from encoded


def frames(todo: list[Sample]) -> Iterator[Frame]:
    for sample in todo:
        yield Frame(sample.image["file_name"], sample.image["cell_line"], partial(read_image, sample.path))
