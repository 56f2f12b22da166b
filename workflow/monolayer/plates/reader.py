"""Images of a plate as they lie in its files."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from monolayer.data.reading import read_frames
from monolayer.files import InputError
from monolayer.plates.companion import OmeSet
from monolayer.plates.ngff import ZarrImage
from monolayer.plates.plan import PlateAbout, PlateImage
from monolayer.plates.source import path_of
from monolayer.plates.tiff_region import frame_region

TIFF = (".tif", ".tiff")


@dataclass
class PlateReader:
    """Reads images of a plate; a file with several frames is decoded once, an image of an OME-Zarr opened once."""

    about: PlateAbout
    _file: tuple[str, list[int]] = ("", [])
    _frames: list[NDArray[Any]] = field(default_factory=list)
    _zarr: ZarrImage | None = None

    @cached_property
    def _set(self) -> OmeSet:
        return OmeSet(Path(self.about.path))

    def state(self, image: PlateImage) -> list[int]:
        """Size and time of its files; nothing of an OME-Zarr, whose planes have many."""
        if self.about.kind == "zarr":
            return []
        plate = Path(self.about.path)
        set_files = self._set.files(image.file, image.plane) if self.about.kind == "set" else []
        found = list[int]()
        for path in set_files or [path_of(plate, image.file)]:
            status = path.stat()
            found += [status.st_size, status.st_mtime_ns]
        return found

    def read(self, image: PlateImage) -> NDArray[Any]:
        """Its grey values (H, W)."""
        if image.fault:
            raise InputError(image.fault)
        plate = Path(self.about.path)
        if self.about.kind == "zarr":
            if self._zarr is None or self._zarr.path != plate / image.file:
                self._zarr = ZarrImage(plate / image.file)
            pixels = self._zarr.frame(image.plane, self.about.which, image.region)
        else:
            pixels = self._unchanged(image, plate)
        if pixels.shape != (image.height, image.width):
            size = f"{pixels.shape[1]}x{pixels.shape[0]}"
            raise InputError(f"it has {size} px, the first image of its field {image.width}x{image.height}")
        return pixels

    def _unchanged(self, image: PlateImage, plate: Path) -> NDArray[Any]:
        """Pixels of files that are the same before and after they are read."""
        state = self.state(image)
        if self.about.kind == "set":
            pixels = self._set.frame(image.file, image.plane, self.about.which, image.region)
        else:
            path = path_of(plate, image.file)
            if image.tiled and path.suffix.lower() in TIFF:
                pixels = frame_region(path, image.plane, self.about.which, image.region)
            else:
                pixels = self._of_file(image, path, state)[image.region.place]
        if self.state(image) != state:
            self._file = ("", [])
            raise InputError(f"{image.file} changes while it is read; wait until the microscope has ended")
        return pixels

    def _of_file(self, image: PlateImage, path: Path, state: list[int]) -> NDArray[Any]:
        """A whole frame of a file, of which all frames are kept until another file is read."""
        if self._file != (image.file, state):
            frames = read_frames(path.read_bytes(), str(path), self.about.which)
            self._file, self._frames = (image.file, state), frames
        if image.plane >= len(self._frames):
            raise InputError(f"{path} has {len(self._frames)} frames, and this is number {image.plane + 1} of it")
        if image.plane < 0 and len(self._frames) > 1:
            raise InputError(f"{path} holds {len(self._frames)} frames, and its name tells the time of one")
        return self._frames[image.plane]
