"""What a plate's path is: files by name, an OME-Zarr, an OME-TIFF set; and what its files say of themselves."""

from __future__ import annotations

import logging
import re
import unicodedata
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Literal, NamedTuple

from monolayer.data.plane import ANY, ImagePlane
from monolayer.files import InputError
from monolayer.params.plates import PlateReading
from monolayer.plates import layout
from monolayer.plates.about import ImageAbout, about_file
from monolayer.plates.companion import OmeSet, set_of
from monolayer.plates.layout import SeriesFile, natural
from monolayer.plates.ngff import ZarrImage, is_zarr, listed_zarr

logger = logging.getLogger(__name__)
WELL = re.compile(r"([A-Za-z]{1,2})(\d+)")  # a plate has up to two letters for its rows
Kind = Literal["files", "zarr", "set"]  # an OME-Zarr, an OME-TIFF set
Fields = dict[tuple[str, str], ImageAbout | str]  # a text says why a field can't be used


class PlateSource(NamedTuple):
    """A plate and its images; of a set the path is that of the file that describes it."""

    path: Path
    kind: Kind
    files: list[SeriesFile]
    described: OmeSet | None = None  # what a set says of itself, parsed once

    def about(self, one: SeriesFile, which: ImagePlane = ANY) -> ImageAbout:
        """What a file, or an image of an OME-Zarr or a set, says of itself, where this is what is asked of it."""
        if self.kind == "zarr":
            about = ZarrImage(self.path / one.file).about()
        elif self.described is not None:
            about = self.described.about(one.file)
        else:
            about = about_file(path_of(self.path, one.file), which)
        if min(about.frames, about.height, about.width) < 1:
            size = f"{about.frames} frames of {about.width}x{about.height} px"
            raise InputError(f"{self.path}: {one.file} says that it has {size}; export it again")
        return about

    def not_stored(self, one: SeriesFile, frames: Iterable[int], which: ImagePlane) -> set[int]:
        """The frames of which an OME-Zarr has no chunk: nothing was copied, or taken, where a writer made room."""
        if self.kind != "zarr":
            return set()
        image = ZarrImage(self.path / one.file)
        chunks = {frame: image.files(frame, which) for frame in frames}
        return {frame for frame, files in chunks.items() if files and not any(path.exists() for path in files)}


def source_of(path: Path, settings: PlateReading, only: set[str] | None = None) -> PlateSource:
    """The images of a plate, by well, field and time; in a folder that grows, of these files alone."""
    source = _source(path, settings, only)
    _check_spelling(source)
    return source


def _source(path: Path, settings: PlateReading, only: set[str] | None) -> PlateSource:
    if is_zarr(path):
        return PlateSource(path, "zarr", _apart(path, listed_zarr(path)))
    if (described := set_of(path)) is not None:
        images = OmeSet(described)
        if path.is_dir() and (others := images.others()):
            few = ", ".join(others[:3])
            logger.warning("%s: left out, for %s names none of them: %s", path, described.name, few)
        return PlateSource(described, "set", _apart(described, images.listed()), images)
    return PlateSource(path, "files", layout.listed(path, settings, only))


def _apart(path: Path, files: list[SeriesFile]) -> list[SeriesFile]:
    """Refuse images that would be taken for times of one field, as those of two plates in one description."""
    places: dict[tuple[str, str], str] = {}
    for one in files:
        if (first := places.setdefault((one.well, one.field), one.file)) != one.file:
            both = f"{first} and {one.file} are both well {one.well}, field {one.field}"
            raise InputError(f"{path}: {both}; export each plate by itself")
    return files


def _check_spelling(source: PlateSource) -> None:
    """Refuse A1 beside A01: one well in two ways is a mixture, and as two wells it would tell two growths.

    So it is with dish1 beside dish01, fields and times. A file that is a well by itself may have any name.
    """
    first: dict[tuple[object, ...], tuple[str, str]] = {}
    for one in source.files:
        of_plate = WELL.fullmatch(one.well)
        if not (one.stamp or of_plate):
            continue
        key: tuple[object, ...] = ()
        for what, name in (("well", one.well), ("field", one.field), ("time", one.stamp)):
            same = unicodedata.normalize("NFC", name)  # macOS writes ä as two characters
            key = (*key, *natural(same.upper() if what == "well" and of_plate else same), what)
            other, file = first.setdefault(key, (name, one.file))
            if other != name:
                both = f"{other} ({file}) and {name} ({one.file}) are one {what}, written in two ways"
                raise InputError(f"{source.path}: {both}; name its files in one way")


def check_comes_by_files(path: Path) -> None:
    """Refuse what can't be followed while it grows: only a folder of files says which of them are complete."""
    if not path.is_dir():
        raise InputError(f"{path} is no folder; give the one that the microscope writes to")
    if is_zarr(path) or set_of(path) is not None:
        raise InputError(f"{path} does not come file by file; give it as a plate once it is whole")


def abouts_of(source: PlateSource, which: ImagePlane) -> Iterator[tuple[tuple[str, str], ImageAbout | str]]:
    """What the first file of each field says of itself."""
    seen = set[tuple[str, str]]()
    for one in source.files:
        if (key := (one.well, one.field)) in seen:
            continue
        seen.add(key)
        try:
            yield key, source.about(one, which)
        except InputError as error:
            if not one.stamp:
                yield key, str(error)
            else:  # a frame that is broken says nothing of the others
                seen.discard(key)
    for one in source.files:
        if (one.well, one.field) not in seen:
            seen.add((one.well, one.field))
            broken = path_of(source.path, one.file)
            yield (one.well, one.field), f"{broken} and all others of its field are not readable"


def path_of(plate: Path, file: str) -> Path:
    """A file of a plate, which may be the plate."""
    return plate if plate.is_file() else plate / file
