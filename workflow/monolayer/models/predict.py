"""Find the cells of every image of a split, or of any folder, and stream them to COCO results at native image size."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import NamedTuple

from monolayer.backends.manifest import read_manifest
from monolayer.coco.instances import Instances
from monolayer.coco.io import read_truth, write_results
from monolayer.coco.records import Result
from monolayer.data.dataset import Sample, read_image, samples
from monolayer.data.images import SUFFIXES, Pixels, grey
from monolayer.files import InputError, write_bytes
from monolayer.models import predictor
from monolayer.models.predictor import Frame, Predictor
from monolayer.parallel import prefetch
from monolayer.params.data import Percentiles
from monolayer.params.steps import Dtype, PredictParams
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
    for encoded in track(prefetch(lambda one: list(one[1].results(one[0])), found), len(todo), label):
        yield from encoded


def frames(todo: list[Sample]) -> Iterator[Frame]:
    for sample in todo:
        yield Frame(sample.image["file_name"], sample.image["cell_line"], partial(read_image, sample.path))


class Choice(NamedTuple):
    """Cells from which score up are written, and where to, as label images besides; what runs an exported run.

    Without score_min results hold every cell, since they tell its score, and label images those from the run's own
    threshold up, which `evaluate` chose on val. Without percentiles images of more than 8 bits are scaled by those of
    the exported run; a weights.pt has none. Shard (k, n) is every nth image from the kth on, counted from 1.
    """

    score_min: float | None
    labels: Path | None
    backend: str = "onnxruntime"
    dtype: Dtype = "fp32"
    tta: int | None = None
    shard: tuple[int, int] = (1, 1)
    percentiles: Percentiles | None = None


def predict_folder(model: Path, images: Path, output: Path, choice: Choice, threads: int) -> None:
    """Write the cells of each image in a folder (and below) as COCO results that name the file, and as label TIFFs.

    `model` is an exported run's folder or a weights.pt. A file that is no image stops all before anything is written;
    existing label images are not overwritten. Images are numbered over all shards.
    """
    names = sorted(p.relative_to(images).as_posix() for p in images.rglob("*") if p.suffix.lower() in SUFFIXES)
    if not names:
        raise InputError(f"{images} holds no image ({', '.join(SUFFIXES)}); give the folder that they are in")
    first, step = choice.shard
    own = dict(list(enumerate(names, start=1))[first - 1 :: step])
    if choice.labels is not None:
        _check_label_paths(choice.labels, images, names, own.values())
    run, percentiles, least = _load(model, choice, threads)
    files = (Frame(name, None, partial(_grey, images / name, percentiles)) for name in own.values())
    every = track(run.stream(files), len(own), f"predict {images.name}")
    found = (instances.at_least(choice.score_min or 0.0) for instances in every)
    if choice.labels is not None:
        logger.info("label images hold cells with a score of %g or more", least)
    count = write_results(output, _named_results(own, found, choice.labels, least))
    logger.info("%d cells in %d images: %s", count, len(own), output)


def _load(model: Path, choice: Choice, threads: int) -> tuple[Predictor, Percentiles | None, float]:
    """A run, what scales deeper images for it, and the score from which label images show its cells."""
    if model.suffix == ".pt":
        if choice.tta is not None:
            raise InputError(f"--tta is of exported runs, and {model} is none; export it or leave the option out")
        return predictor.from_weights(model, None, threads), choice.percentiles, choice.score_min or 0.0
    run = predictor.load(model, choice.backend, choice.dtype, threads, tta=choice.tta)
    _, manifest = read_manifest(model)
    least = manifest.score_threshold if choice.score_min is None else choice.score_min
    return run, choice.percentiles or manifest.percentiles, least


def _grey(path: Path, percentiles: Percentiles | None) -> Pixels:
    return grey(path.read_bytes(), str(path), percentiles)


def _named_results(
    names: dict[int, str], found: Iterable[Instances], labels: Path | None, least: float
) -> Iterator[Result]:
    """Results with the number and the file's name of each image; labels are written on the way, all or none."""
    from monolayer.coco.labels import label_tiff

    written: list[Path] = []
    try:
        for (number, name), instances in zip(names.items(), found, strict=True):
            for result in instances.results(number):
                yield Result(file_name=name, **result)
            if labels is not None:
                written.append(_label_path(labels, name))
                write_bytes(written[-1], label_tiff([instances.at_least(least).label_image()], None))
    except BaseException:
        for path in written:
            path.unlink(missing_ok=True)
        raise


def _label_path(folder: Path, name: str) -> Path:
    return folder / Path(name).with_suffix(".tif")


def _check_label_paths(folder: Path, images: Path, names: Iterable[str], own: Iterable[str]) -> None:
    if images.resolve() in (folder.resolve(), *folder.resolve().parents):
        raise InputError(
            f"{folder} lies in {images}, where label images would be taken for images the next time; "
            "give a folder beside it for them"
        )
    for path, number in Counter(_label_path(folder, name) for name in names).items():
        if number > 1:
            raise InputError(f"{number} images would have the label image {path}; rename all but one of them")
    for path in (_label_path(folder, name) for name in own):
        if path.exists():
            raise InputError(f"{path} exists and would be overwritten; give another folder for the label images")
