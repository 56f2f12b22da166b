"""A part of a TIFF's frame: only the strips or tiles that hold it are decoded, so that memory goes with the part."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from monolayer.data.plane import TIME, ImagePlane, frames_of
from monolayer.data.reading import decoding
from monolayer.files import InputError
from monolayer.plates.region import Region

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
    """A part (H, W) of the plane that is meant of the frame `index`, in its own grey values."""
    import tifffile

    with decoding(str(path)), tifffile.TiffFile(path) as tif:
        series: Any = tif.series[0]
        _check([page for page in series.pages if page is not None], path)
        axes, place, left = series.axes, list[Any](), which
        for axis, length in zip(axes, series.shape, strict=True):
            place.append(slice(None))
            if axis in TIME and sum(one in TIME for one in axes) == 1:
                if index >= length:
                    raise InputError(f"{path} has {length} frames, and this is number {index + 1} of it")
                place[-1] = slice(index, index + 1)
            elif axis == "C" and left.channel and left.channel <= length:
                place[-1], left = slice(left.channel - 1, left.channel), left._replace(channel=None)
            elif axis == "Z" and isinstance(left.z, int) and left.z <= length:
                place[-1], left = slice(left.z - 1, left.z), left._replace(z=None)
        place[axes.index("Y")], place[axes.index("X")] = region.place
        (frame,) = frames_of(np.asarray(_opened(series.aszarr(level=0))[tuple(place)]), axes, left, str(path))
        return frame


def _opened(store: Any) -> Any:
    import zarr

    return zarr.open_array(store, mode="r")


def _check(pages: Iterable[Any], path: Path) -> None:
    """Refuse what is cut short, and colours: what their values mean is `monolayer.data.tiff`'s to say."""
    import tifffile

    size = path.stat().st_size
    for page in pages:
        ends = [start + length for start, length in zip(page.dataoffsets, page.databytecounts, strict=True)]
        if max(ends, default=0) > size:
            raise InputError(f"{path} is cut short: its pixels go on beyond the end of the file; copy it again")
        if tifffile.PHOTOMETRIC(page.photometric).name != PLAIN or page.samplesperpixel > 1:
            raise InputError(f"{path} is too large to be read at once, and has colours; save it as grey")
