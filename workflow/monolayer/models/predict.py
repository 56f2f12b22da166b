"""Find the cells of every image of a split, or of any folder, and stream them to COCO results at native image size."""

from __future__ import annotations

import hashlib
import logging
import math
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np

from monolayer.backends.manifest import CellDiameters, read_manifest
from monolayer.coco.instances import Instances
from monolayer.coco.io import read_truth, write_results
from monolayer.coco.records import Result
from monolayer.coco.rle import rle_area
from monolayer.data.dataset import Sample, read_image, samples
from monolayer.data.images import Pixels, eight_bit
from monolayer.data.plane import ANY, OWN, ImagePlane, ReadLimits
from monolayer.data.reading import SUFFIXES, image_files, read_frame
from monolayer.files import InputError, state_of, write_bytes
from monolayer.models import predictor
from monolayer.models.journal import Journal, journal_of
from monolayer.models.predictor import Frame, Predictor
from monolayer.parallel import prefetch
from monolayer.params.data import Percentiles
from monolayer.params.steps import Dtype, PredictParams
from monolayer.progress import track

logger = logging.getLogger(__name__)
SHOWN = 5  # faults that an error tells


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


Make = Callable[[str, str, Path, Instances], bytes]  # of a form, an image's name and file, and its cells
LABELS = {"labels": ".tif"}


class Choice(NamedTuple):
    """All that the files of a prediction hang on, beside the model: an interrupted one goes on with the same only.

    Cells from which score up are written, and where to, as label images besides; what runs an exported run.

    `forms` are what is written of each image in place of a label TIFF, by name the suffix; the pixel size is for these.

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
    which: ImagePlane = ANY
    limits: ReadLimits = OWN
    diameter: float | None = None
    pixel_size_um: float | None = None
    forms: Mapping[str, str] = LABELS


def predict_folder(
    model: Path, images: Path, output: Path, choice: Choice, threads: int, *, make: Make | None = None
) -> None:
    """Write the cells of each image in a folder (and below) as COCO results that name the file, and as label TIFFs.

    `make` makes files of other forms than label TIFFs.

    `model` is an exported run's folder or a weights.pt. Images are numbered over all shards. One that can't be used is
    named at the end, as an error, and `output` is not written before all are: what was found is kept beside it, and
    the same command goes on with it, after a kill too. No file in the folder of label images is overwritten but what a
    call for the same output wrote and nobody changed since.
    """
    files = _image_files(images, choice.labels)
    first, step = choice.shard
    own = dict(list(enumerate(files, start=1))[first - 1 :: step])
    if choice.labels is not None:
        _check_names(choice, files)
    run = _load(model, choice, threads)
    depends = choice._asdict() | {
        "limits": None,
        "percentiles": run.percentiles,
        "model": _sums(model),
        "images": images,
    }
    with journal_of(output, {key: str(value) for key, value in depends.items()}) as journal:
        if choice.labels is not None:
            logger.info("label images hold cells with a score of %g or more", run.least)
        folder = Folder({name: files[name] for name in own.values()}, choice, run.percentiles, run.least, journal, make)
        todo = folder.todo()
        folder.check_free(todo)
        journal.begin()
        faults = folder.segment(todo, run.predictor, f"predict {images.name}")
        found = {number: name for number, name in own.items() if name in journal.done and name not in faults}
        partial = output.with_name(f"incomplete.{output.name}")
        if faults and not found:
            raise InputError(_told(list(faults.values())))
        count = write_results(partial if faults else output, _sized(journal.results(found), run, choice.diameter))
        if faults:
            raise _unusable(list(faults.values()), f"{partial} has the cells of the other {len(found)} of {len(own)}")
        partial.unlink(missing_ok=True)
    logger.info("%d cells in %d images: %s", count, len(own), output)


def _told(faults: list[str]) -> str:
    """The first few faults; the others are logged."""
    for fault in faults[SHOWN:]:
        logger.error("%s", fault)
    more = [f"and {len(faults) - SHOWN} more, listed above"] if len(faults) > SHOWN else []
    return "; ".join([*faults[:SHOWN], *more])


def _unusable(faults: list[str], others: str) -> InputError:
    """The end of a run some of whose images could not be used."""
    cure = "mend these or take them away and give the same command again: it goes on from here"
    return InputError(f"{_told(faults)}. {others} images; {cure}")


@dataclass
class Folder:
    """Images by name, how they are read and what is noted of them; faults are what can't be used, and why."""

    files: dict[str, Path]
    choice: Choice
    percentiles: Percentiles | None
    least: float
    journal: Journal
    make: Make | None

    def todo(self) -> dict[str, list[int]]:
        """The images that are not done, with the states of their files."""
        states = {name: state_of([path]) for name, path in self.files.items()}
        return {name: state for name, state in states.items() if not self._is_done(name, state)}

    def check_free(self, todo: Iterable[str]) -> None:
        """Refuse to write over a file that is not ours, or that somebody changed since."""
        for name in todo:
            for path in _label_paths(self.choice, name).values():
                if path.exists() and not self.journal.is_own(path):
                    raise InputError(f"{path} exists and would be overwritten; give another folder for label images")

    def segment(self, todo: Mapping[str, list[int]], run: Predictor, label: str) -> dict[str, str]:
        """Note the cells of all images that are not done; what can't be used is returned with the reason."""
        network, faults = run.network(None, "an image of a folder"), dict[str, str]()
        given = deque[str]()

        def read(name: str) -> tuple[str, Pixels | None]:
            try:
                image = self._read(name)
                predictor.check_image(str(self.files[name]), image, network)
                return name, image
            except (InputError, OSError) as error:
                faults[name] = str(error)
                return name, None

        def frames() -> Iterator[Frame]:
            for name, image in prefetch(read, todo):
                if image is not None:
                    given.append(name)
                    yield Frame(name, None, partial(_same, image))

        if len(todo) < len(self.files):
            logger.info("%d of %d images are done already", len(self.files) - len(todo), len(self.files))
        for instances in track(run.stream(frames()), len(todo), label):
            self._note(name := given.popleft(), todo[name], instances)
        return dict(sorted(faults.items()))

    def _read(self, name: str) -> Pixels:
        path = self.files[name]
        own = read_frame(path.read_bytes(), str(path), self.choice.which, self.choice.limits)
        return eight_bit(own, str(path), self.percentiles)

    def _is_done(self, name: str, state: list[int]) -> bool:
        """Whether its cells are noted, and its label image, which comes after, is there, mended by somebody or not."""
        paths = _label_paths(self.choice, name).values()
        there = (path.exists() and not self.journal.is_outdated(path) for path in paths)
        return self.journal.has(name, state) and all(there)

    def _note(self, name: str, state: list[int], instances: Instances) -> None:
        from monolayer.coco.labels import label_tiff

        kept = instances.at_least(self.choice.score_min or 0.0)
        shown, made = kept.at_least(self.least), dict[Path, bytes]()
        for form, path in _label_paths(self.choice, name).items():
            if self.make is None:
                made[path] = label_tiff([shown.label_image()], self.choice.pixel_size_um)
            else:
                made[path] = self.make(form, name, self.files[name], shown)
        self.journal.add(name, state, kept.results(0), made)
        for path, content in made.items():
            write_bytes(path, content)


def _same(image: Pixels) -> Pixels:
    return image


class LoadedRun(NamedTuple):
    """A run, what scales deeper images for it, the score from which label images show its cells, its cells' sizes."""

    predictor: Predictor
    percentiles: Percentiles | None
    least: float
    diameters: CellDiameters | None


def _load(model: Path, choice: Choice, threads: int) -> LoadedRun:
    if model.suffix == ".pt":
        for option in ("tta", "diameter"):
            if getattr(choice, option) is not None:
                text = f"--{option} is of exported runs, and {model} is none; export it or leave the option out"
                raise InputError(text)
        run = predictor.from_weights(model, None, threads)
        return LoadedRun(run, choice.percentiles, choice.score_min or 0.0, None)
    run = predictor.load(model, choice.backend, choice.dtype, threads, tta=choice.tta, diameter=choice.diameter)
    _, manifest = read_manifest(model)
    least = manifest.score_threshold if choice.score_min is None else choice.score_min
    return LoadedRun(run, choice.percentiles or manifest.percentiles, least, manifest.diameters)


def _sized(results: Iterable[Result], run: LoadedRun, diameter: float | None) -> Iterator[Result]:
    """The same results; at their end a warning where their cells are not as large as those of the training images."""
    found = list[float]()
    for result in results:
        if result.get("mask_score", result["score"]) >= run.least:
            found.append(2 * math.sqrt(rle_area(result["segmentation"]) / math.pi))
        yield result
    if not found or (known := run.diameters) is None:
        return
    scale = 1.0 if diameter is None else known.median / diameter
    if not known.low <= (median := scale * float(np.median(found))) <= known.high:
        logger.warning(
            "the median cell found has a diameter of %.1f px, where the network saw it %.1f; those of the images that "
            "it learned from have %.1f to %.1f: look at some, and give the diameter of yours with --diameter",
            *(median / scale, median, known.low, known.high),
        )


def _sums(model: Path) -> dict[str, str]:
    """The files of a model by their sums."""
    folder = model.parent if model.is_file() else model
    files = [model] if model.suffix == ".pt" else folder.rglob("*")
    return {f.name: hashlib.sha256(f.read_bytes()).hexdigest() for f in sorted(files) if f.is_file()}


def _image_files(images: Path, labels: Path | None) -> dict[str, Path]:
    """The images of a folder by name; what is left out is told."""
    if labels is not None and labels.resolve().is_relative_to(images.resolve()):
        raise InputError(
            f"{labels} lies in {images}, where label images would be taken for images the next time; "
            "give a folder beside it for them"
        )
    files, others = image_files(images, images.rglob("*"))
    if not files:
        raise InputError(f"{images} holds no image ({', '.join(SUFFIXES)}); give the folder that they are in")
    if others:
        counts = ", ".join(f"{count} {suffix}" for suffix, count in sorted(others.items()))
        logger.info("%s also holds %s: no images (%s)", images, counts, ", ".join(SUFFIXES))
    return files


def _label_paths(choice: Choice, name: str) -> dict[str, Path]:
    """Where the files of an image go, by form."""
    if choice.labels is None:
        return {}
    stem = choice.labels / Path(name).with_suffix("")
    return {form: stem.with_name(stem.name + suffix) for form, suffix in choice.forms.items()}


def _check_names(choice: Choice, names: Iterable[str]) -> None:
    for path, number in Counter(path for name in names for path in _label_paths(choice, name).values()).items():
        if number > 1:
            raise InputError(f"{number} images would have the label image {path}; rename all but one of them")
