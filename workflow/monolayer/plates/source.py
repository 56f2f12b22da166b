"""What a plate's path is: files by name, an OME-Zarr, an OME-TIFF set; and what its files say of themselves."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Literal, NamedTuple

from monolayer.files import InputError
from monolayer.params.plates import PlateReading
from monolayer.plates import layout
from monolayer.plates.about import ImageAbout, about_file
from monolayer.plates.companion import OmeSet, set_of
from monolayer.plates.layout import SeriesFile
from monolayer.plates.ngff import ZarrImage, is_zarr, listed_zarr

Kind = Literal["files", "zarr", "set"]  # an OME-Zarr, an OME-TIFF set
Fields = dict[tuple[str, str], ImageAbout | str]  # a text says why a field can't be used


class PlateSource(NamedTuple):
    """A plate and its images; of a set the path is that of the file that describes it."""

    path: Path
    kind: Kind
    files: list[SeriesFile]

    def about(self, one: SeriesFile) -> ImageAbout:
        """What a file, or an image of an OME-Zarr or a set, says of itself."""
        if self.kind == "zarr":
            return ZarrImage(self.path / one.file).about()
        if self.kind == "set":
            return OmeSet(self.path).about(one.file)
        return about_file(path_of(self.path, one.file))


def source_of(path: Path, settings: PlateReading, only: set[str] | None = None) -> PlateSource:
    """The images of a plate, by well, field and time; in a folder that grows, of these files alone."""
    if is_zarr(path):
        return PlateSource(path, "zarr", listed_zarr(path))
    if (described := set_of(path)) is not None:
        return PlateSource(described, "set", OmeSet(described).listed())
    return PlateSource(path, "files", layout.listed(path, settings, only))


def check_comes_by_files(path: Path) -> None:
    """Refuse what can't be followed while it grows: only a folder of files says which of them are complete."""
    if not path.is_dir():
        raise InputError(f"{path} is no folder; give the one that the microscope writes to")
    if is_zarr(path) or set_of(path) is not None:
        raise InputError(f"{path} does not come file by file; give it as a plate once it is whole")


def abouts_of(source: PlateSource) -> Iterator[tuple[tuple[str, str], ImageAbout | str]]:
    """What the first file of each field says of itself."""
    seen = set[tuple[str, str]]()
    for one in source.files:
        if (key := (one.well, one.field)) in seen:
            continue
        seen.add(key)
        try:
            yield key, source.about(one)
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
