"""A folder of the user's images and one of what was drawn on them, in whatever form; nothing of theirs is changed."""

from __future__ import annotations

import re
from pathlib import Path, PurePosixPath

import numpy as np

from monolayer.coco.drawn import read_drawn
from monolayer.coco.findings import Findings
from monolayer.coco.label_folder import MANY, parts_of
from monolayer.coco.labels import read_labels, rles_from_labels
from monolayer.coco.names import Names, without_ome
from monolayer.coco.reader import ListedImage
from monolayer.coco.records import Image, Rle, Truth
from monolayer.coco.rle import annotation, rles_from_crops
from monolayer.coco.seg_npy import read_seg_npy
from monolayer.data.images import eight_bit
from monolayer.data.plane import ImagePlane
from monolayer.data.reading import image_files, read_frame
from monolayer.data.sources import Read, Scaled
from monolayer.data.sources.truth import Part, by_pattern, flat_names, join, sample
from monolayer.files import InputError
from monolayer.params.data import MasksSource

SUFFIXES = (".tif", ".tiff", ".png", ".npy", ".zip", ".roi", ".json", ".geojson")
PICTURES = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+", b"\x89PNG")
NUMPY = b"\x93NUMPY"
MARKS = ("_cp_masks", "_masks", "_mask", "_seg", "_labels", "_label", "_rois")  # behind an image's name
IGNORE = "_ignore"  # behind it, of an image of what nobody annotated
CTC = re.compile(r"(man_seg|man_track|mask)(\d{3,4})")  # of the image t000


def collect(params: MasksSource, folder: Path) -> tuple[Truth, Read]:
    """Truth of `max_images` images evenly over lines; `folder` is not needed."""
    findings, which = Findings(), ImagePlane(params.channel, params.z)
    files, drawn = assigned(Path(params.images), Path(params.masks), findings)
    listed = [ListedImage(number, name, 1, 1, {}) for number, name in enumerate(sorted(drawn), start=1)]
    lines = {one.id: _line(params, one) for one in listed}
    wanted, names = sample(lines, params.max_images), flat_names(one.file_name for one in listed)
    part = Part(params.masks, [], [])
    for one in (one for one in listed if one.id in wanted):
        path = files[one.file_name]
        height, width = read_frame(path.read_bytes(), str(path), which).shape
        well = by_pattern(params.well, "well", one, params.images) if params.well else None
        image = Image(
            id=one.id,
            file_name=names[one.file_name],
            width=width,
            height=height,
            cell_line=lines[one.id],
            well=well or Path(names[one.file_name]).stem,
            timestamp=by_pattern(params.time, "time", one, params.images) if params.time else None,
            split=None,
        )
        part.images.append(image)
        for file, all_ignored in drawn[one.file_name]:
            cells, ignored = read_masks(file, (height, width), findings, ignored=all_ignored)
            for rle in cells + ignored:
                part.annotations.append(annotation(len(part.annotations) + 1, one.id, rle))
            for cell in part.annotations[len(part.annotations) - len(ignored) :]:
                cell["iscrowd"] = 1
                findings.add("ignored_regions", f"{file}: {cell['bbox']}")
    by_name = {names[name]: files[name] for name in drawn}

    def read_image(image: Image) -> Scaled:
        path = by_name[image["file_name"]]
        own = read_frame(path.read_bytes(), str(path), which)
        return Scaled(eight_bit(own, str(path), params.percentiles), own)

    return join([part], findings), read_image


def _line(params: MasksSource, one: ListedImage) -> str:
    if params.cell_line.startswith("regex:"):
        return by_pattern(params.cell_line, "line", one, params.images)
    return params.cell_line


# ---- which file is of which image ------------------------------------------------------------------------


def assigned(
    images: Path, masks: Path, findings: Findings
) -> tuple[dict[str, Path], dict[str, list[tuple[Path, bool]]]]:
    """The images by name; and the files of masks of each that has some, and whether they say what is to be ignored."""
    for path, key in ((images, "images"), (masks, "masks")):
        if not path.is_dir():
            raise InputError(f"{path} is no folder; set `{key}` to the one that your {key} are in")
    inside = images.resolve() in masks.resolve().parents
    below = (path for path in images.rglob("*") if not (inside and masks.resolve() in path.resolve().parents))
    pictures = image_files(images, below)[0]
    files = without_masks(pictures)
    names = list(files)
    known, own = Names(names), {path.resolve() for path in files.values()}
    drawn: dict[tuple[str, bool], Path] = {}
    for path in sorted(masks.rglob("*")):
        place = path.relative_to(masks)
        hidden = any(part.startswith(".") for part in place.parts)
        if hidden or path.suffix.lower() not in SUFFIXES or path.is_dir() or path.resolve() in own:
            continue
        meant, ignored = _meant(path, place, known, names)
        if not meant:
            findings.add("no_image", str(path))
            continue
        if len(meant) > 1:
            raise InputError(f"{path} can be of {' or '.join(meant[:3])}; save it under the image's own path")
        of = meant[0], ignored
        if of in drawn:
            raise InputError(f"{drawn[of]} and {path} are both masks of {meant[0]}; remove one")
        drawn[of] = path
    annotated = sorted({name for name, ignored in drawn if not ignored})
    for name in sorted(files.keys() - set(annotated)):
        findings.add("unannotated", str(files[name]))
    if not annotated:
        raise InputError(f"{masks} has masks of none of the {len(files)} images of {images}; name each as its image")
    of_name = {name: [(name, ignored) for ignored in (False, True)] for name in annotated}
    return files, {name: [(drawn[key], key[1]) for key in keys if key in drawn] for name, keys in of_name.items()}


def _meant(path: Path, place: Path, known: Names, names: list[str]) -> tuple[list[str], bool]:
    """The images that a file of masks can be of, and whether it says what is to be ignored in them."""
    for base, ignored in unmarked(place.as_posix()):
        if found := [names[index] for index in known.find(f"{base}.png")] or _by_frame(path, base, names):
            return found, ignored
    return [], False


def without_masks(files: dict[str, Path]) -> dict[str, Path]:
    """The images that are no masks of others, as a_cp_masks.png is beside a.tif."""
    stems = {_stem(name) for name in files} | {_stem(without_ome(name)) for name in files}
    others = {name: {base for base, _ in unmarked(name)} - {_stem(name)} for name in files}
    return {name: path for name, path in files.items() if not stems & others[name]}


def _stem(name: str) -> str:
    return PurePosixPath(name).with_suffix("").as_posix()


def unmarked(name: str) -> list[tuple[str, bool]]:
    """The paths, without suffix, that the image of a file of masks can have, likeliest first; and whether the file then
    says what is to be ignored.

    >>> [unmarked(name) for name in ("a_masks.png", "b/a_ignore.ome.tif", "a.ome.tif", "a_ignore_rois.zip")]
    [[('a', False)], [('b/a', True)], [('a.ome', False)], [('a_ignore', False), ('a', True)]]
    """
    bare = _stem(without_ome(name))
    if bare.lower().endswith(IGNORE):
        own = bare[: -len(IGNORE)]
        return [(base, True) for base in dict.fromkeys((own, _without_mark(own)))]
    plain = _without_mark(bare)
    also = [(plain[: -len(IGNORE)], True)] if plain.lower().endswith(IGNORE) else []
    return [(_stem(name) if plain == bare else plain, False), *also]


def _without_mark(stem: str) -> str:
    return stem.removesuffix(next((mark for mark in MARKS if stem.endswith(mark)), ""))


def _by_frame(path: Path, base: str, names: list[str]) -> list[str]:
    """As the Cell Tracking Challenge names masks: man_seg012.tif is of t012.tif."""
    match = CTC.fullmatch(PurePosixPath(base).name)
    found = [name for name in names if PurePosixPath(name).stem == f"t{match[2]}"] if match else []
    if found and match and match[1] == "man_track":
        raise InputError(
            f"{path} holds markers of tracks, which need not be whole cells; take `source: ctc`, or set `masks` to the "
            "folder of man_seg files"
        )
    return found


# ---- what a file holds -----------------------------------------------------------------------------------


def read_masks(path: Path, size: tuple[int, int], findings: Findings, *, ignored: bool) -> tuple[list[Rle], list[Rle]]:
    """The cells of a file of any kind, and what is to be ignored, which may be all of it."""
    with path.open("rb") as file:
        start = file.read(8)
    if not start.startswith((*PICTURES, NUMPY)):
        cells, regions = read_drawn(path, size, findings, ignored=ignored)
        return rles_from_crops(cells, *size), rles_from_crops(regions, *size)
    labels = read_seg_npy(path) if start.startswith(NUMPY) else read_labels(path)
    if labels.shape != size:
        height, width = labels.shape
        raise InputError(f"{path} is {width}x{height} px, its image {size[1]}x{size[0]} px; save the masks at its size")
    if ignored:
        return [], rles_from_labels(np.minimum(labels, 1))
    rles = rles_from_labels(labels)
    if (parts := parts_of(labels)) >= MANY * max(len(rles), 1):
        what = f"{path} has {parts} separate parts of {len(rles)} labels: is it black and white, or classes?"
        raise InputError(
            f"{what} A label is a cell: number the parts (connected components, as scipy.ndimage.label does)"
        )
    return rles, []
