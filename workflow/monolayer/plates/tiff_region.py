"""A part of a TIFF's frame: only the strips or tiles that hold it are decoded, so that memory goes with the part."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from monolayer.data.plane import TIME, ImagePlane, frames_of
from monolayer.data.reading import decoding
from monolayer.data.tiff import NO_PICTURE, ORIENTATION
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
        return _finite(_opened(page.aszarr())[region.place], path)


def frame_region(path: Path, index: int, which: ImagePlane, region: Region) -> NDArray[Any]:
    """A part (H, W) of the plane that is meant of the frame `index`, in its own grey values; -1: the only one."""
    import tifffile

    with decoding(str(path)), tifffile.TiffFile(path) as tif:
        pictures: list[Any] = [one for one in tif.series if not one.keyframe.subfiletype & NO_PICTURE]
        if len(pictures) != 1:
            raise InputError(f"{path} holds {len(pictures)} pictures, not one frame; save each as a file of its own")
        [series] = pictures
        _check([page for page in series.pages if page is not None], path)
        axes, place, left = series.axes, list[Any](), which
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
        (frame,) = frames_of(_finite(_opened(series.aszarr(level=0))[tuple(place)], path), axes, left, str(path))
        return frame


def _finite(pixels: Any, path: Path) -> NDArray[Any]:
    if not np.isfinite(found := np.asarray(pixels)).all():
        raise InputError(f"{path} has pixels that are NaN or infinite; export it again without them")
    return found


def _opened(store: Any) -> Any:
    import zarr

    return zarr.open_array(store, mode="r")


def _check(pages: Iterable[Any], path: Path) -> None:
    """Refuse what is cut short or turned, and colours: what their values mean is `monolayer.data.tiff`'s to say."""
    import tifffile

    size = path.stat().st_size
    for page in pages:
        ends = [start + length for start, length in zip(page.dataoffsets, page.databytecounts, strict=True)]
        if max(ends, default=0) > size:
            raise InputError(f"{path} is cut short: its pixels go on beyond the end of the file; copy it again")
        if ORIENTATION in page.tags and page.tags[ORIENTATION].value != 1:
            raise InputError(f"{path} is to be shown turned (TIFF orientation); save it upright")
        if tifffile.PHOTOMETRIC(page.photometric).name != PLAIN or page.samplesperpixel > 1:
            raise InputError(f"{path} is read in parts, and is not of grey values with black as 0; save it so")
