"""Images of a plate as they lie in its files."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from monolayer.data.plane import TooLargeError
from monolayer.data.reading import one_plane, read_frames
from monolayer.files import InputError, state_of
from monolayer.plates.about import SETTING, about_file, unlike
from monolayer.plates.companion import OmeSet
from monolayer.plates.ngff import ZarrImage
from monolayer.plates.plan import PlateAbout, PlateImage
from monolayer.plates.region import WHOLE
from monolayer.plates.source import path_of
from monolayer.plates.state import state_of_many
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

    def _image(self, image: PlateImage) -> ZarrImage:
        path = Path(self.about.path) / image.file
        if self._zarr is None or self._zarr.path != path:
            self._zarr = ZarrImage(path)
        return self._zarr

    def state(self, image: PlateImage) -> list[int]:
        """Sizes and times of its files; of an OME-Zarr or a set, of those that the frame lies in."""
        if self.about.kind == "zarr":
            return state_of_many(self._image(image).files(image.plane, self.about.which, image.region))
        if self.about.kind == "set" and (files := self._set.files(image.file, image.plane)):
            return state_of(files)
        return state_of([path_of(Path(self.about.path), image.file)])

    def chunks(self, image: PlateImage) -> tuple[int, int]:
        """How many chunks of an OME-Zarr it lies in, and how many are not stored: these read as the fill value."""
        if self.about.kind != "zarr":
            return 0, 0
        files = self._image(image).files(image.plane, self.about.which, image.region)
        return len(files), sum(not path.exists() for path in files)

    def read(self, image: PlateImage) -> NDArray[Any]:
        """Its grey values (H, W), of files that are the same before and after they are read."""
        if image.fault:
            raise InputError(image.fault)
        state = self.state(image)
        pixels = self._pixels(image, state)
        if self.state(image) != state:
            self._file = ("", [])
            raise InputError(f"{image.file} changes while it is read; wait until the microscope has ended")
        if pixels.shape != (image.height, image.width):
            size = f"{pixels.shape[1]}x{pixels.shape[0]}"
            raise InputError(f"it has {size} px, the first image of its field {image.width}x{image.height}")
        return _real(pixels)

    def _pixels(self, image: PlateImage, state: list[int]) -> NDArray[Any]:
        path, which = path_of(Path(self.about.path), image.file), self.about.which
        if self.about.kind == "zarr":
            return self._image(image).frame(image.plane, which, image.region)
        if self.about.kind == "set":
            return self._set.frame(image.file, image.plane, which, image.region)
        if image.tiled and path.suffix.lower() in TIFF:
            pixels = frame_region(path, image.plane, which, image.region)
        else:
            pixels = self._of_file(image, path, state)[image.region.place]
        if image.plane < 0:
            self._check_alike(path)
        return pixels

    def _check_alike(self, path: Path) -> None:
        """Refuse a frame of other channels or pixels than the plate's: the plan looks at the first of each field."""
        about, setting = self.about, None
        if about.pixel_size_from == SETTING:
            setting = about.pixel_size_um
        if said := unlike(about_file(path, about.which), tuple(about.channels), about.pixel_size_um, setting):
            raise InputError(said)

    def _of_file(self, image: PlateImage, path: Path, state: list[int]) -> NDArray[Any]:
        """A whole frame of a file, of which all frames are kept until another file is read."""
        if self._file != (image.file, state):
            try:
                self._frames = read_frames(path.read_bytes(), str(path), self.about.which)
            except TooLargeError:  # as a whole
                if path.suffix.lower() not in TIFF or image.plane < 0:
                    raise
                self._frames = []
            self._file = (image.file, state)
        if not self._frames:
            return frame_region(path, image.plane, self.about.which, WHOLE)
        if image.plane >= len(self._frames):
            raise InputError(f"{path} has {len(self._frames)} frames, and this is number {image.plane + 1} of it")
        if image.plane < 0 and len(self._frames) > 1:
            raise InputError(f"{path} holds {len(self._frames)} frames, and its name tells the time of one")
        return self._frames[image.plane]


def _real(pixels: NDArray[Any]) -> NDArray[Any]:
    """Grey values of any kind of file as numbers."""
    if pixels.dtype.kind not in "buif":
        raise InputError(f"it holds {pixels.dtype} pixels; save it with real numbers")
    if not np.isfinite(pixels).all():
        raise InputError("it has pixels that are NaN or infinite; export it again without them")
    return one_plane(pixels)
