"""The one picture in a TIFF, as `monolayer.data.tiff` tells it apart, its pixels left where they lie."""

from __future__ import annotations

import mmap
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from monolayer.data import tiff
from monolayer.data.plane import ASKED, TIME, ImagePlane, ReadLimits
from monolayer.data.tiff import ALPHA, COLOUR
from monolayer.files import InputError

OF_ANY_SIZE = ReadLimits(1 << 62, 1 << 62, 1 << 30)  # no pixel is read here


@contextmanager
def opened(path: Path) -> Iterator[Any]:
    """A TIFF as tifffile has it, with its own pages alone."""
    with path.open("rb") as file:
        about, files = tiff.described(file)
        if len(files) > 1:
            raise InputError(f"{path} is one of a set of files; give it, not its folder, as the plate")
        if "BinaryOnly" in about:
            raise InputError(f"{path} is a part of a set; put the .companion.ome file that describes it beside it")
        with tiff.opened(file, files) as tif:
            yield tif


def pictured(tif: Any, path: Path) -> tuple[Any, list[Any]]:
    """The series that is the picture, and its pages, each with tags of its own."""
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as mapped:
        data: Any = mapped  # bytes that are not read
        series, pages = tiff.pictured(tif, data, str(path), OF_ANY_SIZE)
    tiff.check_description(tif, series, series.axes, str(path))
    return series, pages


def lengths_of(series: Any, which: ImagePlane) -> dict[str, int]:
    """Lengths of its axes by name, of those longer than 1 and Y and X; samples that are no colour are channels."""
    import tifffile

    axes, shape, key = series.get_axes(squeeze=False), series.get_shape(squeeze=False), series.keyframe
    found = {axis: length for axis, length in zip(axes, shape, strict=True) if length > 1 or axis in "YX"}
    if "S" in found and tifffile.PHOTOMETRIC(key.photometric).name not in COLOUR:
        samples = found.pop("S") - sum(kind in ALPHA for kind in key.extrasamples)
        found |= {"C": samples} if samples > 1 else {}
    return dict(zip(named("".join(found), which), found.values(), strict=True))


def named(axes: str, which: ImagePlane) -> str:
    """Axes, of which one without a name is what is asked for: who asks for a channel or z knows what the pages are.

    >>> named("IYX", ImagePlane(z="max")), named("IYX", ImagePlane()), named("TYX", ImagePlane(z=2))
    ('ZYX', 'IYX', 'TYX')
    """
    for axis, (option, _) in ASKED.items():
        unnamed = [known for known in TIME[1:] if axes.count(known) == 1]
        if axis not in axes and getattr(which, option) is not None and len(unnamed) == 1:
            axes = axes.replace(unnamed[0], axis)
    return axes
