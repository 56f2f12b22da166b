"""The one picture in a TIFF, its pixels left where they lie: opened and told apart as `monolayer.data.tiff` does."""

from __future__ import annotations

import logging
import math
import mmap
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from monolayer.data.plane import ASKED, TIME, ImagePlane, ReadLimits
from monolayer.data.tiff import ALPHA, COLOUR, _no_picture, _pages, _picture
from monolayer.files import InputError

FILES = re.compile(r'<(?:\w+:)?UUID\b[^>]*\bFileName="([^"]*)"')  # that an OME-TIFF names
OF_ANY_SIZE = ReadLimits(1 << 62, 1 << 62, 1 << 30)  # no pixel is read here


@contextmanager
def opened(path: Path) -> Iterator[Any]:
    """A TIFF as tifffile has it, with its own pages alone.

    OME-XML may name a file that bears this one's name no more; opened by path, its pixels would be taken for these.
    """
    import tifffile

    logging.getLogger("tifffile").setLevel(logging.CRITICAL)  # what is wrong, errors say with a name
    with path.open("rb") as file:
        with tifffile.TiffFile(file) as tif:
            about = tif.ome_metadata or ""
        files = set(FILES.findall(about))
        if len(files) > 1:
            raise InputError(f"{path} is one of a set of files; give it, not its folder, as the plate")
        if "BinaryOnly" in about:
            raise InputError(f"{path} is a part of a set; put the .companion.ome file that describes it beside it")
        file.seek(0)
        with tifffile.TiffFile(file, name=files.pop() if files else None) as tif:
            yield tif


def pictured(tif: Any, path: Path) -> tuple[Any, list[Any]]:
    """The series that is the picture, of which no plane is missing; and its pages, each with tags of its own."""
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as mapped:
        data: Any = mapped  # bytes that are not read
        pages = _pages(tif, data, str(path), OF_ANY_SIZE)
    own = [page for page in pages if not _no_picture(page)]
    series = _picture(tif, {page.offset for page in pages} - {page.offset for page in own}, str(path))
    planes = math.prod(series.get_shape(squeeze=False)) // series.keyframe.size
    held = sum(page is not None for page in series.pages)
    if held < len(series.pages):
        raise InputError(f"{path} announces {len(series.pages)} planes and holds {held}; export it again")
    if 1 < len(own) != planes:
        raise InputError(f"{path} has {len(own)} pages and says that they are {planes}; export it again")
    described = tif.is_ome or tif.is_imagej or tif.is_shaped
    if described and series.kind in ("uniform", "generic") and set(series.axes) - set("YXS"):
        raise InputError(f"{path} says what its pages are, but not in a way that fits them; export it again")
    return series, own


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
