"""A part of a TIFF's frame: only the strips or tiles that hold it are decoded, so that memory goes with the part."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from monolayer.data.plane import TIME, ImagePlane, frames_of
from monolayer.data.reading import decoding
from monolayer.data.tiff import ORIENTATION
from monolayer.files import InputError
from monolayer.plates.region import Region
from monolayer.plates.tiff_picture import named, opened, pictured

PLAIN = "MINISBLACK"


def page_region(path: Path, number: int, region: Region) -> NDArray[Any]:
    """A part (H, W) of one page."""
    import tifffile

    with decoding(str(path)), tifffile.TiffFile(path) as tif:
        if number >= len(tif.pages):
            raise InputError(f"{path} has {len(tif.pages)} pages, and its set names number {number + 1}; copy it again")
        page: Any = tif.pages[number]
        _check([page], path)
        return np.asarray(_opened(page.aszarr())[region.place])


def frame_region(path: Path, index: int, which: ImagePlane, region: Region) -> NDArray[Any]:
    """A part (H, W) of the plane that is meant of the frame `index`, in its own grey values; -1: the only one."""
    with decoding(str(path)), opened(path) as tif:
        series, pages = pictured(tif, path)
        # one plane after the other: the file may describe the first one only
        _check(pages, path, 0 if series.dataoffset is None else series.dataoffset + series.nbytes)
        axes, place, left = named(series.axes, which), list[Any](), which
        for axis, length in zip(axes, series.shape, strict=True):
            place.append(slice(None))
            if axis in TIME and sum(one in TIME for one in axes) == 1:
                if index >= length:
                    raise InputError(f"{path} has {length} frames, and this is number {index + 1} of it")
                if index < 0 and length > 1:
                    raise InputError(f"{path} holds {length} frames, and its name tells the time of one")
                place[-1] = slice(max(index, 0), max(index, 0) + 1)
            elif axis == "C" and left.channel and left.channel <= length:
                place[-1], left = slice(left.channel - 1, left.channel), left._replace(channel=None)
            elif axis == "Z" and isinstance(left.z, int) and left.z <= length:
                place[-1], left = slice(left.z - 1, left.z), left._replace(z=None)
        place[axes.index("Y")], place[axes.index("X")] = region.place
        pixels = np.asarray(_opened(series.aszarr(level=0))[tuple(place)])
        (frame,) = frames_of(pixels, axes, left, str(path))
        return frame


def _opened(store: Any) -> Any:
    import zarr

    return zarr.open_array(store, mode="r")


def _check(pages: Iterable[Any], path: Path, end: int = 0) -> None:
    """Refuse what is cut short or turned, and colours: what their values mean is `monolayer.data.tiff`'s to say."""
    import tifffile

    size = path.stat().st_size
    for page in pages:
        ends = [start + length for start, length in zip(page.dataoffsets, page.databytecounts, strict=True)]
        if max([*ends, end]) > size:
            raise InputError(f"{path} is cut short: its pixels go on beyond the end of the file; copy it again")
        if ORIENTATION in page.tags and page.tags[ORIENTATION].value != 1:
            raise InputError(f"{path} is to be shown turned (TIFF orientation); save it upright")
        if (
            tifffile.PHOTOMETRIC(page.photometric).name != PLAIN
            or page.samplesperpixel > 1
            or 1 < page.bitspersample < 8
        ):
            raise InputError(f"{path} is read in parts, and is not of grey values with black as 0; save it so")
