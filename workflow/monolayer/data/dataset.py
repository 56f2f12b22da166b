"""Images and truth as training and prediction read them: samples of one split, one grey frame at a time."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray
from PIL import Image as PillowImage

from monolayer.coco.io import read_truth
from monolayer.coco.labels import label_image
from monolayer.coco.records import Annotation, Image, Truth, by_image, cells_in
from monolayer.data.plane import ANY, ImagePlane
from monolayer.data.reading import read_frame
from monolayer.files import InputError, few

Item = TypeVar("Item")


@dataclass(frozen=True)
class Sample:
    """One image of a split with its true cells, and crowds, which nobody took apart; the pixels stay on disk."""

    image: Image
    path: Path
    annotations: list[Annotation]
    crowds: list[Annotation] = field(default_factory=list)

    def pixels(self) -> NDArray[np.uint8]:
        """uint8 (H, W), crowds covered with the median grey, so that nothing is learnt of them.

        Cells that are known though a crowd lies over them stay: truth has to be seen.
        """
        image = read_image(self.path)
        if self.crowds:
            crowds, cells = (
                label_image((one["segmentation"] for one in part), *image.shape) > 0
                for part in (self.crowds, self.annotations)
            )
            image = np.where(crowds & ~cells, np.uint8(np.median(image)), image)
        return image


def samples(truth: Truth, images: Path) -> list[Sample]:
    """The samples of a split in the order of its images."""
    cells, crowds = by_image(cells_in(truth["annotations"])), by_image(a for a in truth["annotations"] if a["iscrowd"])
    return [
        Sample(image, images / image["file_name"], cells[image["id"]], crowds[image["id"]]) for image in truth["images"]
    ]


def of_lines(every: Sequence[Sample], lines: Sequence[str]) -> list[Sample]:
    """The samples of these cell lines; a line without any is an error."""
    known = sorted({sample.image["cell_line"] for sample in every})
    for line in lines:
        if line not in known:
            raise InputError(f"cell line {line} has no image here; the lines are {', '.join(known)}")
    return [sample for sample in every if sample.image["cell_line"] in lines]


def evenly(every: Sequence[Item], count: int) -> list[Item]:
    """At most so many of them, from the first to the last (and so over cell lines)."""
    return [every[i] for i in np.linspace(0, len(every) - 1, min(len(every), count)).round().astype(int)]


def lines_in_turn(every: Sequence[Sample]) -> list[int]:
    """Indices of an epoch that draws each cell line equally often: as often as the most frequent one has images."""
    by_line: dict[str, list[int]] = {}
    for index, sample in enumerate(every):
        by_line.setdefault(sample.image["cell_line"], []).append(index)
    most = max(len(line) for line in by_line.values())
    return [line[i % len(line)] for line in by_line.values() for i in range(most)]


def check_replaced(folder: Path, annotations: Path) -> None:
    """Refuse to make images anew in a folder that holds others than those of the COCO truth `annotations`: a user's."""
    own: set[str | None] = set()
    with suppress(InputError):  # of a file that is none of ours either
        own = {
            name for image in read_truth(annotations)["images"] for name in (image["file_name"], image.get("values"))
        }
    found = (path.relative_to(folder) for path in sorted(folder.rglob("*")) if path.is_file())
    if others := [place for place in found if place.as_posix() not in own and not place.name.startswith(".")]:
        raise InputError(
            f"{folder} holds {few(others, 3)}, which {annotations} does not list and which would be deleted; "
            "name another folder, or remove them"
        )


def read_image(path: Path) -> NDArray[np.uint8]:
    """A normalised frame, uint8 (H, W)."""
    try:
        with PillowImage.open(path) as image:
            pixels = np.asarray(image)
    except OSError as error:
        raise InputError(f"{path} is not readable as an image ({error}); download the data again") from error
    if pixels.dtype != np.uint8 or pixels.ndim != 2:
        raise InputError(f"{path} is {pixels.dtype} {pixels.shape}, not uint8 (height, width); download the data again")
    return pixels


def read_values(folder: Path, image: Image, which: ImagePlane = ANY) -> NDArray[Any]:
    """An image (H, W) in the grey values of its file, which of a normalised frame may lie beside it."""
    path = folder / image.get("values", image["file_name"])
    try:
        return read_frame(path.read_bytes(), str(path), which)
    except OSError as error:
        raise InputError(f"{path} is not readable as an image ({error}); check the folder of images") from error


class TrueCells:
    """Samples with their pixels and label images, of which as many stay in memory as `room` bytes hold.

    Draws are uniform over the samples, so that it does not matter which ones stay.
    """

    def __init__(self, samples: Sequence[Sample], room: int = 1_000_000_000) -> None:
        self.samples = samples
        self._room = room
        self._kept: dict[tuple[str, int], NDArray[Any]] = {}

    def image(self, index: int) -> NDArray[np.uint8]:
        """uint8 (H, W) of samples[index]. Not to be written to."""
        return self._keep("image", index, self.samples[index].pixels)

    def labels(self, index: int) -> NDArray[np.int32]:
        """int32 (H, W) of samples[index]; of overlapping cells the smaller one is seen. Not to be written to."""
        sample = self.samples[index]
        size = sample.image["height"], sample.image["width"]
        rles = (annotation["segmentation"] for annotation in sample.annotations)
        return self._keep("labels", index, lambda: label_image(rles, *size))

    def _keep(self, kind: str, index: int, make: Callable[[], NDArray[Any]]) -> NDArray[Any]:
        if (kind, index) in self._kept:
            return self._kept[kind, index]
        made = make()
        if made.nbytes <= self._room:
            self._room -= made.nbytes
            self._kept[kind, index] = made
        return made
