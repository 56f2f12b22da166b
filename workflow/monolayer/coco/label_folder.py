"""A folder of label images as results: one for each image, under the image's path."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from monolayer.coco.labels import read_labels, rles_from_labels
from monolayer.coco.names import Names
from monolayer.coco.seg_npy import read_seg_npy
from monolayer.files import InputError

log = logging.getLogger(__name__)
ENDINGS = (".tif", ".tiff", ".png", "_seg.npy")
# Cellpose writes <image>_cp_masks.png (or .tif) and <image>_seg.npy beside the image; the first are plain pixels
MARKS = (re.compile(r"_cp_masks(?=\.\w+$)"), re.compile(r"_seg(?=\.npy$)"))
MANY = 2  # separate parts of a label, on the mean over an image: no cells


def label_records(
    folder: Path, ids: Sequence[int], names: Sequence[str], sizes: Sequence[list[int]]
) -> Iterator[dict[str, Any]]:
    """One record, of score 1, for each cell of the label images."""
    files, classes = label_files(folder, names), dict[str, tuple[int, int]]()
    for index, (image, name, size) in enumerate(zip(ids, names, sizes, strict=True)):
        if index not in files:
            stem = "/".join(Names.parts(name))
            raise InputError(
                f"{folder} has no label image {stem}.tif, .png or _seg.npy; save one of zeros where no cell was found"
            )
        path = files[index]
        labels = read_seg_npy(path) if path.suffix.lower() == ".npy" else read_labels(path)
        if list(labels.shape) != size:
            raise InputError(
                f"{files[index]} is {labels.shape[1]}x{labels.shape[0]} px, its image {size[1]}x{size[0]} px"
            )
        rles = rles_from_labels(labels)
        if (parts := parts_of(labels)) >= MANY * max(len(rles), 1):
            classes[str(files[index])] = parts, len(rles)
        for rle in rles:
            yield {"image_id": image, "category_id": 1, "segmentation": rle, "score": 1.0}
    if classes:
        most = max(classes, key=lambda path: classes[path])
        log.warning(
            "%d of %d label images of %s have %d or more separate parts a label, %s %d for %d: binary masks? "
            "Classes? A label is a cell, so number the parts first (connected components, as by scipy.ndimage.label)",
            *(len(classes), len(files), folder, MANY, most, *classes[most]),
        )


def parts_of(labels: NDArray[Any]) -> int:
    """How many separate parts of one value a label image has."""
    from skimage.measure import label

    return int(label(labels, connectivity=2).max(initial=0))  # type: ignore[no-untyped-call]


def label_files(folder: Path, names: Sequence[str]) -> dict[int, Path]:
    """The label image of each image, by its index."""
    files = [
        path
        for path in sorted(folder.rglob("*"))
        if path.name.lower().endswith(ENDINGS) and not path.name.startswith(".") and path.is_file()
    ]
    marked = ([path for path in files if mark.search(path.name)] for mark in MARKS)
    paths, found = Names(names), dict[int, Path]()
    for path in next(filter(None, marked), files):
        own = path.relative_to(folder).with_name(_unmarked(path.name)).as_posix()
        meant = paths.find(own)
        if not meant:
            raise InputError(f"{path} belongs to no image of the truth; remove it or give the truth that lists it")
        if len({names[index] for index in meant}) > 1:
            shown = " or ".join(names[index] for index in meant[:3])
            raise InputError(f"{path} can be the label image of {shown}; save it under the image's own path")
        if meant[0] in found:
            raise InputError(f"{found[meant[0]]} and {path} are both label images of {names[meant[0]]}; remove one")
        found |= dict.fromkeys(meant, path)
    return found


def _unmarked(name: str) -> str:
    for mark in MARKS:
        name = mark.sub("", name)
    return name
