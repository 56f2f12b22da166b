"""A shard of a plate: its images stream through the network into label images and a part of the tables.

No byte depends on how many images a shard has: each goes through the network by itself.
"""

from __future__ import annotations

import json
import logging
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from monolayer.backends.manifest import Manifest, read_manifest
from monolayer.coco.instances import Instances
from monolayer.data.images import Pixels, eight_bit
from monolayer.files import InputError, few
from monolayer.measurement.files import arrow
from monolayer.measurement.measure import cell_columns, image_row, trimmed, with_um
from monolayer.models import predictor
from monolayer.models.predictor import Frame, Predictor
from monolayer.parallel import prefetch
from monolayer.params.plates import PlateFinding
from monolayer.plates import dictionary
from monolayer.plates.expected import looks
from monolayer.plates.labels import has_plane, write_plane
from monolayer.plates.model import model_folder, network_sums
from monolayer.plates.parts import PARTS, PartJournal, part_journal
from monolayer.plates.plan import PlateAbout, PlateImage, read_about, read_plan
from monolayer.plates.quality import certainty, measures
from monolayer.plates.reader import PlateReader
from monolayer.plates.views import with_views
from monolayer.progress import track

logger = logging.getLogger(__name__)
SHOWN = 5  # faults that the last line tells


class ReadImage(NamedTuple):
    """An image as it was read: the state of its file, its own grey values, and those that the network sees."""

    image: PlateImage
    state: list[int]
    own: NDArray[Any]
    grey: Pixels
    chunks: tuple[int, int]  # of an OME-Zarr that it lies in, and those of them that are not stored


class PlateModel(NamedTuple):
    """What finds cells: networks, the manifest that came with them, and the score from which cells count."""

    predictor: Predictor
    manifest: Manifest
    score_min: float
    sums: dict[str, str]  # of its files


def load_model(settings: PlateFinding, threads: int) -> PlateModel:
    folder, manifest = read_manifest(model_folder(settings))
    run = predictor.load(folder, threads=threads, tta=settings.tta, diameter=settings.diameter)
    score_min = manifest.score_threshold if settings.score_min is None else settings.score_min
    run = replace(with_views(run, score_min, settings.mirror), batch=1)
    return PlateModel(run, manifest, score_min, network_sums(folder))


def segment(plan: Path, settings: PlateFinding, shard: tuple[int, int], threads: int) -> None:
    """Write the labels of the images from the first to the last number of a shard, and its part of the tables.

    Images that can't be used are named at the end, as an error, and the part is not written before all are: what was
    found is kept, and the same call goes on with it, after a kill or for a new plan too.
    """
    about, images = read_about(plan), read_plan(plan, *shard)
    if shard[1] > about.images:
        raise InputError(f"the shard ends at image {shard[1]}, and the plan has {about.images}; end it there")
    name = f"{shard[0]}-{shard[1]}"
    model = load_model(settings, threads)
    read = {"path": about.path, "which": about.which, "pixel_size_um": about.pixel_size_um}
    columns = [*dictionary.CELLS, *dictionary.QUALITY]  # those of an earlier version are others
    depends = {"model": model.sums, "settings": settings.model_dump(mode="json"), "plate": read, "columns": columns}
    with part_journal(plan / PARTS, name, depends, {(image.labels, image.frame) for image in images}) as journal:
        run = Shard(plan, about, model, journal)
        faults = run.segment(images)
        if faults:
            raise UnusableImagesError(faults, len(images))
        journal.finish([run.keys[image.number] for image in images])


class UnusableImagesError(InputError):
    """Images of a shard that can't be used; the others are done."""

    def __init__(self, faults: Sequence[tuple[PlateImage, str]], count: int) -> None:
        lines = [f"{image.name}: {said}" for image, said in faults]
        for line in lines[SHOWN:]:
            logger.error("%s", line)
        more = f"; and {len(lines) - SHOWN} more, listed above" if len(lines) > SHOWN else ""
        super().__init__(
            f"{'; '.join(lines[:SHOWN])}{more}. The other {count - len(lines)} of {count} images are done; mend these "
            "or take them away and give the same command again: it goes on from here"
        )
        self.files = sorted({image.file for image, _ in faults})


@dataclass
class Shard:
    """Images on their way through the network, and what is noted of them."""

    plan: Path
    about: PlateAbout
    model: PlateModel
    journal: PartJournal
    keys: dict[int, str] = field(default_factory=dict)  # under which images are noted
    gaps: list[str] = field(default_factory=list)  # images of which some chunks are not stored

    def segment(self, images: Sequence[PlateImage]) -> list[tuple[PlateImage, str]]:
        """Note the cells of all images that are not done; what can't be used is returned with the reason."""
        reader, given, faults = PlateReader(self.about), deque[ReadImage](), list[tuple[PlateImage, str]]()
        todo = [image for image in images if not self._is_done(image, reader)]
        if len(todo) < len(images):
            logger.info("%d of %d images are done already", len(images) - len(todo), len(images))

        def read(image: PlateImage) -> ReadImage | tuple[PlateImage, str]:
            try:
                return self._read(image, reader)
            except (InputError, OSError) as error:
                return image, str(error)

        def frames() -> Iterator[Frame]:
            for one in prefetch(read, todo):
                if not isinstance(one, ReadImage):
                    faults.append(one)
                else:
                    given.append(one)
                    yield Frame(one.image.name, one.image.line or None, partial(_same, one.grey))

        def finish(found: Instances) -> tuple[ReadImage, dict[str, Any], Any]:
            one = given.popleft()
            return one, *self._measured(one, found)

        done = prefetch(finish, self.model.predictor.stream(frames()))
        for one, row, cells in track(done, len(todo), f"segment {Path(self.about.path).name}"):
            self.keys[one.image.number] = key_of(one.image, one.state)
            self.journal.add(self.keys[one.image.number], row, cells)
        if self.gaps:
            said = "of %d of %d images some chunks are not stored and read as the fill value: %s"
            logger.warning(said, len(self.gaps), len(todo), few(self.gaps, SHOWN))
        return faults

    def _is_done(self, image: PlateImage, reader: PlateReader) -> bool:
        """Whether it is noted as it is today, and its label image is there: one without a cell has no file."""
        try:
            key = key_of(image, reader.state(image))
        except (OSError, InputError):  # reading it tells
            return False
        noted = self.journal.noted.get(key)
        if image.fault or noted is None or (noted.cells and not has_plane(self.plan, image.labels, image.frame)):
            return False
        self.keys[image.number] = key
        return True

    def _read(self, image: PlateImage, reader: PlateReader) -> ReadImage:
        state = [] if image.fault else reader.state(image)
        own = reader.read(image)
        count, lacking = chunks = reader.chunks(image)
        if lacking:
            self.gaps.append(f"{image.name} lacks {lacking} of {count}")
        grey = eight_bit(own, image.file, self.model.manifest.percentiles)
        network = self.model.predictor.network(image.line or None, image.name)
        predictor.check_image(image.file, grey, network)
        return ReadImage(image, state, own, grey, chunks)

    def _measured(self, one: ReadImage, found: Instances) -> tuple[dict[str, Any], Any]:
        """The row of an image and the table of its cells; writes its label image."""
        kept = trimmed(found.at_least(self.model.score_min))
        kept = kept.take(np.argsort(-kept.ranking, kind="stable"))
        labels = kept.label_image()
        write_plane(self.plan, one.image.labels, one.image.frame, labels)
        columns = cell_columns(kept, labels, one.own, self.model.manifest.neighbours)
        areas, scale = columns["area_px2"], self.about.pixel_size_um
        columns = with_um(columns, scale)
        row = image_row(columns, labels, scale) | measures(one.own, areas) | certainty(kept, found)
        count, lacking = one.chunks
        row["not_stored"] = lacking / count if count else 0.0
        return row | {"looks": looks(one.grey)}, arrow(dictionary.CELLS, columns)


def key_of(image: PlateImage, state: Sequence[int]) -> str:
    """What an image's numbers hang on besides the model: its pixels, and where its labels lie."""
    place = [image.labels, image.frame, image.height, image.width, image.top, image.left, image.line]
    return json.dumps([*place, image.file, image.plane, *state])


def _same(image: Pixels) -> Pixels:
    return image
