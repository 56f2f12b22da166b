"""OME-Zarr 0.4 and 0.5: the images of a plate or a single one, read plane by plane; its metadata typed by yaozarrs."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from monolayer.data.plane import ImagePlane, frames_of
from monolayer.files import InputError
from monolayer.plates.about import HOURS, MICROMETRES, ImageAbout, scaled
from monolayer.plates.layout import SeriesFile
from monolayer.plates.region import WHOLE, Region

SPATIAL = ("y", "x")


def is_zarr(path: Path) -> bool:
    return any((path / name).is_file() for name in ("zarr.json", ".zgroup", ".zattrs"))


@contextmanager
def _reading(name: str) -> Iterator[None]:
    """An InputError of whatever zarr or the typed metadata raise."""
    try:
        yield
    except (InputError, MemoryError, ModuleNotFoundError):
        raise
    except Exception as error:  # of all kinds: missing files, chunks cut short, metadata of no known form
        said = " ".join(str(error).split())[:300]
        raise InputError(f"{name} is not readable as OME-Zarr 0.4 or 0.5 ({said}); copy it again") from error


def metadata(group: Any, name: str) -> Any:
    """The OME metadata of a group, typed: of a plate, a well or an image."""
    from yaozarrs import v04, v05

    about = dict(group.attrs)
    ome = dict(about.get("ome", about))
    ome.pop("omero", None)  # how it is shown; writers take liberties with it
    kinds = {"plate": "Plate", "well": "Well", "multiscales": "Image"}
    kind = next((kind for key, kind in kinds.items() if key in ome), None)
    if kind is None:
        raise InputError(f"{name} is a zarr group, but no OME-Zarr plate, well or image")
    version = v05 if "ome" in about else v04
    return getattr(version, kind).model_validate(ome)


def _opened(path: Path) -> Any:
    """A group as it is now: a consolidated copy of metadata, which zarr would take, may be older than the arrays."""
    import zarr

    return zarr.open_group(path, mode="r", use_consolidated=False)


def listed_zarr(path: Path) -> list[SeriesFile]:
    """The images of an OME-Zarr: each field of a plate, or the one image that it is."""
    with _reading(str(path)):
        about = metadata(_opened(path), str(path))
        if not hasattr(about, "plate"):
            return [SeriesFile(".", path.name.removesuffix(".zarr").removesuffix(".ome"), "1")]
        found, scans = [], dict[object, str]()
        for well in about.plate.wells:
            inside = metadata(_opened(path / well.path), f"{path / well.path}")
            row, _, column = well.path.partition("/")
            name = f"{row}{column}" if row.isalpha() else well.path  # 1/11 is not 11/1
            for one in inside.well.images:
                found.append(SeriesFile(f"{well.path}/{one.path}", name, str(one.path)))
                scans.setdefault(getattr(one, "acquisition", None), found[-1].file)
        if len(scans) > 1:  # the images of a spot would be taken for fields side by side
            files = ", ".join(list(scans.values())[:3])
            said = f"{path} holds {len(scans)} acquisitions ({files})"
            raise InputError(f"{said}, which are scans of one plate; export each by itself")
        return found


@dataclass(frozen=True)
class ZarrImage:
    """One image of an OME-Zarr at its full size."""

    path: Path

    @cached_property
    def _group(self) -> Any:
        return _opened(self.path)

    @cached_property
    def _multiscale(self) -> Any:
        return metadata(self._group, str(self.path)).multiscales[0]

    @cached_property
    def _array(self) -> Any:
        return self._group[self._multiscale.datasets[0].path]

    @property
    def axes(self) -> str:
        return "".join(axis.name for axis in self._multiscale.axes)

    def about(self) -> ImageAbout:
        """What its metadata says."""
        with _reading(str(self.path)):
            axes, array = self.axes, self._array
            if set(axes) - set("tczyx") or not set(SPATIAL) <= set(axes) or array.ndim != len(axes):
                raise InputError(f"{self.path} has the axes {axes}; t, c, z, y, x are known")
            lengths = dict(zip(axes, array.shape, strict=True))
            sizes = dict.fromkeys(axes, 1.0)
            of_all = getattr(self._multiscale, "coordinateTransformations", None) or []
            for transform in (*self._multiscale.datasets[0].coordinateTransformations, *of_all):
                if transform.type == "scale":
                    sizes = {axis: sizes[axis] * by for axis, by in zip(axes, transform.scale, strict=True)}
            units = {axis.name: getattr(axis, "unit", None) for axis in self._multiscale.axes}
            about = dict(self._group.attrs)
            channels = about.get("ome", about).get("omero", {}).get("channels", [])
            names = tuple(str(channel.get("label") or "") for channel in channels)
            count = lengths.get("c", 1)
            return ImageAbout(
                frames=lengths.get("t", 1),
                height=lengths["y"],
                width=lengths["x"],
                channels=names if len(names) == count else ("",) * count,
                pixel_size_um=scaled(sizes["x"], units["x"], MICROMETRES),
                pixel_height_um=scaled(sizes["y"], units["y"], MICROMETRES),
                frame_hours=scaled(sizes.get("t"), units.get("t"), HOURS),
            )

    def frame(self, index: int, which: ImagePlane, region: Region = WHOLE) -> NDArray[Any]:
        """The plane (H, W) that is meant of one frame, in its own grey values; nothing else is read."""
        with _reading(str(self.path)):
            place: list[Any] = [slice(None)] * len(self.axes)
            axes = self.axes
            place[axes.index("y")], place[axes.index("x")] = region.place
            if "t" in axes:
                place[axes.index("t")] = index
            if "c" in axes:
                channel = 1 if which.channel is None else which.channel
                place[axes.index("c")] = slice(channel - 1, channel)
            pixels = np.asarray(self._array[tuple(place)])
        left = axes.replace("t", "").upper()
        for axis in ("C", "Z"):
            if axis in left and pixels.shape[left.index(axis)] == 1:
                pixels, left = pixels.take(0, left.index(axis)), left.replace(axis, "")
        (frame,) = frames_of(pixels, left, ImagePlane(None, which.z), str(self.path))
        return frame

    def files(self, index: int, which: ImagePlane, region: Region = WHOLE) -> list[Path]:
        """The chunks or shards that a part of one frame lies in; one that is not there reads as the fill value."""
        with _reading(str(self.path)):
            array, axes = self._array, self.axes
            meant = {"t": slice(index, index + 1), **dict(zip(SPATIAL, region.place, strict=True))}
            for axis, number in (("c", which.channel), ("z", which.z)):
                if isinstance(number, int):
                    meant[axis] = slice(number - 1, number)
            places = []
            for axis, length, size in zip(axes, array.shape, array.shards or array.chunks, strict=True):
                first, end, _ = meant.get(axis, slice(None)).indices(length)
                places.append(range(first // size, -(-end // size)))
            folder = self.path / self._multiscale.datasets[0].path
            return [folder / array.metadata.encode_chunk_key(place) for place in product(*places)]
