"""Corrected cells on their way back: images and masks as `source: masks` reads them, and every save as it was.

A folder has images/NAME, masks/NAME.tif (the newest label image) and versions/NAME.0001.tif, NAME.0002.tif and so on.
Nothing in it is lost: an image is written once, a version never again, and masks that are not the newest version become
one before the next save, whoever put them there: another program, a person who copied an earlier version back, or a
save that was cut off, which writes the masks first.
"""

from __future__ import annotations

import fcntl
import io
import logging
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path, PurePath
from typing import Any, NamedTuple
from unicodedata import normalize

import numpy as np
from fastapi import HTTPException
from numpy.typing import NDArray
from pydantic import ValidationError

from monolayer.coco.labels import label_tiff, read_labels
from monolayer.data import png, tiff
from monolayer.data.reading import read_frame
from monolayer.data.sources import masks
from monolayer.files import InputError, atomic_write, name_of_file, write_bytes
from monolayer.params.section import faults
from monolayer.service.interface import LabelRuns
from monolayer.service.uploads import Limits, frames

logger = logging.getLogger("monolayer.service")
IMAGES, MASKS, VERSIONS = "images", "masks", "versions"
VERSION = re.compile(r"(.+)\.(\d{4,})\.tif")
MOST = (1 << 31) - 1  # a cell's number
LONGEST = 180  # bytes of a name: with a version and what a file is called until it is whole, disks take 255


class CorrectedImage(NamedTuple):
    """An image as it lies in the folder: the name of its masks, its own file name, its bytes and its pixels (H, W)."""

    key: str
    name: str
    content: bytes
    pixels: NDArray[Any]


def corrected_image(data: bytes, name: str, frame: int, limits: Limits) -> CorrectedImage:
    """A stranger's image file; of a series the frame, a TIFF of its own, as `source: masks` takes one frame a file."""
    found = frames(data, name, limits)
    if frame >= len(found):
        raise InputError(f"{name} has {len(found)} frames, and frame is {frame}; they are counted from 0")
    if len(found) == 1:
        suffix = ".png" if data.startswith(png.START) else ".tif" if data.startswith(tiff.STARTS) else ".jpg"
        key = key_of(name, None)
        return CorrectedImage(key, key + suffix, data, found[0])
    key = key_of(name, frame)
    return CorrectedImage(key, f"{key}.tif", _frame_tiff(found[frame]), found[frame])


def _frame_tiff(pixels: NDArray[Any]) -> bytes:
    import tifffile

    buffer = io.BytesIO()
    how: dict[str, Any] = {"photometric": "minisblack", "compression": "zlib", "metadata": None, "software": False}
    tifffile.imwrite(buffer, pixels, **how)
    return buffer.getvalue()


def key_of(name: str, frame: int | None) -> str:
    """The name under which image and masks find each other; none leads out of the folder.

    >>> [key_of(name, None) for name in ("A1.png", "scan.ome.tif", "../x.png", "..", " .png")], key_of("a.tif", 3)
    (['A1', 'scan', 'x', '%2E', '%'], 'a.t003')
    """
    stem = normalize("NFC", PurePath(name).stem)
    while stem.endswith(".ome"):  # which its reader takes off masks
        stem = stem.removesuffix(".ome")
    key = (name_of_file(stem).rstrip(". ") or "%") + ("" if frame is None else f".t{frame:03d}")
    if mark := next((mark for mark in (*masks.MARKS, masks.IGNORE) if key.endswith(mark)), None):
        raise InputError(f"{name} ends in {mark}, as masks of another image do; rename it")
    if len(key.encode()) > LONGEST:
        raise InputError(f"{name[:40]}... has {len(key.encode())} bytes, and {LONGEST} are taken; shorten the name")
    return key


def labels_of(text: bytes, shape: tuple[int, ...]) -> NDArray[np.int32]:
    """The label image (H, W) of an image of that shape from its run lengths."""
    try:
        given = LabelRuns.model_validate_json(text)
    except ValidationError as error:
        raise InputError(f"labels are no run lengths: {'; '.join(faults(error)[:3])}; /openapi.json has them") from None
    height, width = shape
    if (given.height, given.width) != (height, width):
        told = f"labels are {given.width}x{given.height} px, their image {width}x{height} px"
        raise InputError(f"{told}; send those of this image, at its size")
    runs = np.array(given.runs, np.int64)
    if len(runs) % 2 or (runs[1::2] < 1).any() or runs[1::2].sum() != height * width:
        raise InputError(f"labels are to be pairs of a number and how many pixels have it, {height * width:,} in all")
    return np.repeat(runs[::2], runs[1::2]).astype(np.int32).reshape(height, width)


def runs_of(labels: NDArray[Any]) -> LabelRuns:
    """The run lengths of a label image (H, W)."""
    flat = labels.ravel()
    starts = np.r_[0, np.flatnonzero(flat[1:] != flat[:-1]) + 1]
    runs = np.stack([flat[starts], np.diff(np.r_[starts, flat.size])], 1)
    return LabelRuns(height=labels.shape[0], width=labels.shape[1], runs=runs.ravel().tolist())


# ---- the folder ------------------------------------------------------------------------------------------


def saved(folder: Path) -> dict[str, int]:
    """The newest version of each image by its name."""
    found: dict[str, int] = {}
    paths = (folder / VERSIONS).iterdir() if (folder / VERSIONS).is_dir() else ()
    for match in filter(None, (VERSION.fullmatch(path.name) for path in paths if not path.name.startswith("."))):
        found[match[1]] = max(found.get(match[1], 0), int(match[2]))
    return dict(sorted(found.items()))


def newest(folder: Path, image: CorrectedImage) -> tuple[int, NDArray[Any] | None]:
    """The number of an image's newest version and its label image; 0 and None before the first."""
    with _alone(folder):
        _check_room(folder, image)
        number = _settled(folder, image)
        return number, _labels_in(_version(folder, image.key, number), image) if number else None


def _labels_in(path: Path, image: CorrectedImage) -> NDArray[Any]:
    """The label image in a file of the folder, if it is one of this image."""
    labels, (height, width) = read_labels(path), image.pixels.shape
    name = f"{path.parent.name}/{path.name}"
    if labels.shape != (height, width):
        said = f"{name} is {labels.shape[1]}x{labels.shape[0]} px, its image {width}x{height} px"
        raise InputError(f"{said}; move it away")
    if labels.max(initial=0) > MOST:
        raise InputError(f"{name} has a cell {labels.max():,}, and {MOST:,} is the most; number its cells from 1 on")
    return labels


def save(folder: Path, image: CorrectedImage, labels: NDArray[np.int32], began: int) -> int:
    """Make these labels the image's newest version, and return its number; `began` is the version they began from.

    All of it is there or nothing. Who sends again what was saved, because no answer came, gets its number.
    """
    content = label_tiff([labels], None)
    with _alone(folder):
        _check_room(folder, image)
        number = _settled(folder, image)
        if number and _version(folder, image.key, number).read_bytes() == content:
            return number
        if began != number:
            told = f"{image.name} is at version {number} by now, and yours began from {began}"
            raise HTTPException(409, f"{told}: load the newer one, or save yours after it; both are kept")
        _write(folder, image, content, number + 1)
    return number + 1


def _write(folder: Path, image: CorrectedImage, content: bytes, number: int) -> None:
    """Write the image if it is new, its masks, and they as this version; or nothing.

    The version gets its name last: at whatever moment this ends, masks/ tells what was meant, without dates of files,
    which are copied along and differ from clock to clock.
    """
    own, mask = folder / IMAGES / image.name, folder / MASKS / f"{image.key}.tif"
    version, new = _version(folder, image.key, number), not own.exists()
    before = mask.read_bytes() if mask.is_file() else None
    try:
        if new:
            write_bytes(own, image.content)
        with atomic_write(version) as partial:  # its bytes before the masks', so that a full disk changes nothing
            partial.write_bytes(content)
            write_bytes(mask, content)
    except OSError as error:
        with suppress(OSError):  # where the old masks can't be written either, the new ones become a version
            version.unlink(missing_ok=True)
            if before is None:
                mask.unlink(missing_ok=True)
            elif not _has(mask, before):
                write_bytes(mask, before)
            if new:
                own.unlink(missing_ok=True)
        raise _not_saved(mask, error) from error


def _not_saved(path: Path, error: OSError) -> HTTPException:
    logger.error("%s can't be read or written: %s", path, error)
    told = f"nothing was saved ({os.strerror(error.errno or 0)})"
    return HTTPException(507, f"{told}; keep the page open, tell who runs this service, and save again")


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """One at a time, of all threads and processes; what the disk refuses is told."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with (folder / ".lock").open("a") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield
    except OSError as error:
        raise _not_saved(Path(error.filename or folder), error) from error


def _version(folder: Path, key: str, number: int) -> Path:
    return folder / VERSIONS / f"{key}.{number:04d}.tif"


def _settled(folder: Path, image: CorrectedImage) -> int:
    """The number of the newest version once it is what masks/ has; 0 for none.

    Masks that are anything else become a version; where there are none, the newest version is put there.
    """
    key = image.key
    newest, mask = saved(folder).get(key, 0), folder / MASKS / f"{key}.tif"
    last = _version(folder, key, newest)
    if not mask.is_file():
        if newest:
            write_bytes(mask, last.read_bytes())
        return newest
    content = mask.read_bytes()
    if _has(last, content):
        return newest
    _labels_in(mask, image)  # before it is kept for ever
    write_bytes(_version(folder, key, newest + 1), content)
    return newest + 1


def _has(path: Path, content: bytes) -> bool:
    return path.is_file() and path.read_bytes() == content


def _check_room(folder: Path, image: CorrectedImage) -> None:
    """Refuse an image whose name another one has, and one whose masks another program keeps in another form."""
    for path in _shown(folder / IMAGES):
        if path.name == image.name:
            if not _same(path, image):
                raise HTTPException(409, f"{IMAGES}/{path.name} is another image of the same name; rename yours")
        elif path.stem.casefold() == image.key.casefold():
            raise HTTPException(409, f"{IMAGES}/{path.name} has the name of {image.name}; rename yours")
    for path in _shown(folder / MASKS):
        stem = path.stem.removesuffix(next((mark for mark in masks.MARKS if path.stem.endswith(mark)), ""))
        if stem == image.key and path.name != f"{image.key}.tif" and path.suffix.lower() in masks.SUFFIXES:
            raise HTTPException(409, f"{MASKS}/{path.name} has masks of {image.name} already; move it away first")


def _shown(folder: Path) -> list[Path]:
    return [path for path in folder.iterdir() if not path.name.startswith(".")] if folder.is_dir() else []


def _same(path: Path, image: CorrectedImage) -> bool:
    """Whether a file is an image, be it written by another version of a library."""
    content = path.read_bytes()
    return content == image.content or np.array_equal(read_frame(content, str(path)), image.pixels)
