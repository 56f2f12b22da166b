"""Find the cells of every image of a split, or of any folder, and stream them to COCO results at native image size."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import NamedTuple

from monolayer.backends.manifest import read_manifest, threshold
from monolayer.coco.instances import Instances
from monolayer.coco.io import read_truth, write_results
from monolayer.coco.records import Result
from monolayer.data.dataset import Sample, read_image, samples
from monolayer.data.images import Pixels, grey
from monolayer.data.sources.coco import SUFFIXES
from monolayer.files import InputError, atomic_write
from monolayer.models import predictor
from monolayer.models.predictor import Frame, Predictor
from monolayer.parallel import prefetch
from monolayer.params.data import Percentiles
from monolayer.params.steps import Dtype, PredictParams
from monolayer.progress import track

logger = logging.getLogger(__name__)

DEEP = Percentiles(low=0.5, high=99.8)  # of an image of more than 8 bits, as params.yaml's `own` has it


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


# ---- any folder ----------------------------------------------------------------------------------


class Choice(NamedTuple):
    """Cells from which score up are written, and where to, as label images besides; what runs an exported run.

    Without score_min results hold every cell, since they tell its score, and label images those from the run's own
    threshold up, which `evaluate` chose on val. Shard (k, n) is every nth image from the kth on, counted from 1.
    """

    score_min: float | None
    labels: Path | None
    backend: str = "onnxruntime"
    dtype: Dtype = "fp32"
    tta: int | None = None
    shard: tuple[int, int] = (1, 1)


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
        _refuse_one_for_two(_label_path(choice.labels, name) for name in names)
        _refuse_to_overwrite(_label_path(choice.labels, name) for name in own.values())
    run = _load(model, choice, threads)
    every = track(run.stream(_files(images, own.values())), len(own), f"predict {images.name}")
    found = (instances.at_least(choice.score_min or 0.0) for instances in every)
    least = 0.0 if choice.labels is None else _label_threshold(model, choice.score_min)
    count = write_results(output, _named_results(own, found, choice.labels, least))
    logger.info("%d cells in %d images: %s", count, len(own), output)


def _load(model: Path, choice: Choice, threads: int) -> Predictor:
    if model.suffix != ".pt":
        return predictor.load(model, choice.backend, choice.dtype, threads, tta=choice.tta)
    if choice.tta is not None:
        raise InputError(f"--tta is of exported runs, and {model} is none; export it or leave the option out")
    return predictor.from_weights(model, None, threads)


def _label_threshold(model: Path, asked: float | None) -> float:
    if asked is not None:
        return asked
    known = None if model.suffix == ".pt" else threshold(*read_manifest(model))
    logger.info("label images hold %s", "every cell" if known is None else f"cells with a score of {known:g} or more")
    return known or 0.0


def _files(folder: Path, names: Iterable[str]) -> Iterator[Frame]:
    for name in names:
        yield Frame(name, None, partial(_grey, folder / name))


def _grey(path: Path) -> Pixels:
    return grey(path.read_bytes(), str(path), DEEP)


def _named_results(
    names: dict[int, str], found: Iterable[Instances], labels: Path | None, least: float
) -> Iterator[Result]:
    """Results with the number and the file's name of each image; labels are written on the way, all or none."""
    written: list[Path] = []
    try:
        for (number, name), instances in zip(names.items(), found, strict=True):
            for result in instances.results(number):
                yield Result(file_name=name, **result)
            if labels is not None:
                written.append(_label_path(labels, name))
                _write_labels(written[-1], instances.at_least(least))
    except BaseException:
        for path in written:
            path.unlink(missing_ok=True)
        raise


def _label_path(folder: Path, name: str) -> Path:
    return folder / Path(name).with_suffix(".tif")


def _refuse_one_for_two(paths: Iterable[Path]) -> None:
    for path, number in Counter(paths).items():
        if number > 1:
            raise InputError(f"{number} images would have the label image {path}; rename all but one of them")


def _refuse_to_overwrite(paths: Iterable[Path]) -> None:
    for path in paths:
        if path.exists():
            raise InputError(f"{path} exists and would be overwritten; give another folder for the label images")


def _write_labels(path: Path, found: Instances) -> None:
    from monolayer.coco.labels import label_tiff

    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_write(path) as partial_path:
        partial_path.write_bytes(label_tiff([found.label_image()], None))
