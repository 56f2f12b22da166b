"""Images of a plate as they lie in its files."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from monolayer.data.reading import read_frames
from monolayer.files import InputError
from monolayer.plates.ngff import ZarrImage
from monolayer.plates.plan import PlateAbout, PlateImage, path_of


@dataclass
class PlateReader:
    """Reads images of a plate; a file with several frames is decoded once, an image of an OME-Zarr opened once."""

    about: PlateAbout
    _file: tuple[str, list[int]] = ("", [])
    _frames: list[NDArray[Any]] = field(default_factory=list)
    _zarr: ZarrImage | None = None

    def state(self, image: PlateImage) -> list[int]:
        """Size and time of its file; nothing of an OME-Zarr, whose planes have many."""
        if self.about.is_zarr:
            return []
        status = path_of(Path(self.about.path), image.file).stat()
        return [status.st_size, status.st_mtime_ns]

    def read(self, image: PlateImage) -> NDArray[Any]:
        """Its grey values (H, W)."""
        if image.fault:
            raise InputError(image.fault)
        plate = Path(self.about.path)
        if self.about.is_zarr:
            if self._zarr is None or self._zarr.path != plate / image.file:
                self._zarr = ZarrImage(plate / image.file)
            pixels = self._zarr.frame(image.plane, self.about.which)
        else:
            path, state = path_of(plate, image.file), self.state(image)
            if self._file != (image.file, state):
                frames = read_frames(path.read_bytes(), str(path), self.about.which)
                if self.state(image) != state:
                    raise InputError(f"{path} changes while it is read; wait until the microscope has ended")
                self._file, self._frames = (image.file, state), frames
            if image.plane >= len(self._frames):
                raise InputError(f"{path} has {len(self._frames)} frames, and this is number {image.plane + 1} of it")
            if image.plane < 0 and len(self._frames) > 1:
                raise InputError(f"{path} holds {len(self._frames)} frames, and its name tells the time of one")
            pixels = self._frames[image.plane]
        if pixels.shape != (image.height, image.width):
            size = f"{pixels.shape[1]}x{pixels.shape[0]}"
            raise InputError(f"it has {size} px, the first image of its field {image.width}x{image.height}")
        return pixels
