"""TIFF as microscopes and their programs write it: the frames of the one picture in a file, by the axes it names."""

from __future__ import annotations

import logging
import re
import struct
from io import BytesIO
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from monolayer.data.plane import ImagePlane, ReadLimits, TooLargeError, frames_of
from monolayer.files import InputError

STARTS = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
GREY, COLOUR = ("MINISBLACK", "MINISWHITE", "PALETTE"), ("RGB", "YCBCR")
ORIENTATION, OLD_SUBFILE, OLD_REDUCED = 274, 255, 2
NO_PICTURE = 0b101  # of NewSubfileType: a reduced copy, a transparency mask
ALPHA = (1, 2)  # of ExtraSamples
FILES = re.compile(r'<(?:\w+:)?UUID\b[^>]*\bFileName="([^"]*)"')  # that an OME-TIFF names
# compressions that can't write more than the page's header says
BOUNDED = {1: "none", 5: "LZW", 8: "deflate", 32773: "PackBits", 32946: "deflate", 50000: "Zstandard"}


def read_tiff(data: bytes, name: str, which: ImagePlane, limits: ReadLimits) -> list[NDArray[Any]]:
    """The frames along time, (H, W) or (H, W, 3) of any type, of the picture in a TIFF file."""
    about, files = described(BytesIO(data))
    if len(files) > 1 or "BinaryOnly" in about:
        others = f" of {len(files)} files" if files else ""
        raise InputError(f"{name} is one file of an OME-TIFF set{others}; save its planes as files that stand alone")
    with opened(BytesIO(data), files) as tif:
        series, _ = pictured(tif, data, name, limits)
        pixels, axes = _decoded(series, len(data), bool(tif.is_imagej or tif.is_ome), name, limits)
        check_description(tif, series, axes, name)
        return frames_of(pixels, axes, which, name, _channel_names(about))


def described(file: IO[bytes]) -> tuple[str, set[str]]:
    """The OME-XML in a TIFF, empty if it has none, and the files that this names."""
    import tifffile

    # what it says of a broken file, the error says with a name
    logging.getLogger("tifffile").setLevel(logging.CRITICAL)
    with tifffile.TiffFile(file) as tif:
        about = tif.ome_metadata or ""
    return about, set(FILES.findall(about))


def opened(file: IO[bytes], files: set[str]) -> Any:
    """A TIFF as tifffile has it, with its own pages alone; `files` are those that its OME-XML names, one at most.

    tifffile knows a file of an OME-TIFF by its name, which may have changed since: opened by path, the pixels of
    another one that bears it now would be taken for these.
    """
    import tifffile

    file.seek(0)
    return tifffile.TiffFile(file, name=next(iter(files), None))


def pictured(tif: Any, data: bytes, name: str, limits: ReadLimits) -> tuple[Any, list[Any]]:
    """The series that is the picture, and its pages, none of which is missing, sparse or beyond the limits."""
    pages = _pages(tif, data, name, limits)
    own = [page for page in pages if not _no_picture(page)]
    series = _picture(tif, {page.offset for page in pages} - {page.offset for page in own}, name)
    planes = int(np.prod(series.get_shape(squeeze=False), dtype=object)) // series.keyframe.size
    if 1 < len(own) != planes:
        raise InputError(f"{name} has {len(own)} pages and says that they are {planes}; export it again")
    held = sum(page is not None for page in series.pages)
    if held < len(series.pages):
        raise InputError(f"{name} announces {len(series.pages)} planes and holds {held}; export it again")
    parts = [size for page in own for size in page.databytecounts]
    if 0 in parts:  # a sparse file: they would be read as 0, and counted as ground
        lacking = f"{name} holds nothing of {parts.count(0)} of its {len(parts)} tiles or strips"
        raise InputError(f"{lacking}, which were never written; export it again, as a whole")
    return series, own


def check_description(tif: Any, series: Any, axes: str, name: str) -> None:
    """Refuse pages whose axes nobody knows, though the file says something of them."""
    told = tif.is_ome or tif.is_imagej or tif.is_shaped
    if told and series.kind in ("uniform", "generic") and set(axes) - set("YXS"):
        raise InputError(f"{name} says what its pages are, but not in a way that fits them; export it again")


def sizes(path: Path) -> set[tuple[int, int]]:
    """(height, width) of its pages."""
    import tifffile

    with tifffile.TiffFile(path) as tif:
        pages: Any = tif.pages
        return {(page.imagelength, page.imagewidth) for page in pages}


def _pages(tif: Any, data: bytes, name: str, limits: ReadLimits) -> list[Any]:
    """All pages, none of which costs more than the limits or goes on beyond the end."""
    pages: list[Any] = []
    while len(pages) <= limits.frames:
        try:
            pages.append(tif.pages[len(pages)])
        except IndexError:
            break
    if len(pages) > limits.frames:
        raise TooLargeError(f"{name} has more than {limits.frames} pages; save the series in parts")
    if not pages:
        raise InputError(f"{name} is not readable as an image: it is cut short before its first page; copy it again")
    if _goes_on(tif, data, pages[-1]):
        raise InputError(f"{name} is cut short: it announces more pages than it has; copy it again")
    costs = [_cost(page, name, limits) for page in pages]
    limits.check(name, max(page.imagelength * page.imagewidth for page in pages), sum(costs))
    return pages


def _goes_on(tif: Any, data: bytes, page: Any) -> bool:
    """Whether a page points to a next one: tifffile leaves pages beyond the end of a file out without a word."""
    # a directory: the number of its tags, these, and where the next directory begins
    number, tag, following = ("Q", 20, "Q") if tif.is_bigtiff else ("H", 12, "I")
    tags = struct.unpack_from(tif.byteorder + number, data, page.offset)[0]
    end = page.offset + struct.calcsize(tif.byteorder + number) + tag * tags
    return bool(struct.unpack_from(tif.byteorder + following, data, end)[0])


def _cost(page: Any, name: str, limits: ReadLimits) -> int:
    """Pixels that decoding a page takes, as its header says them."""
    import tifffile

    if limits.stranger and page.compression not in BOUNDED:
        way = getattr(page.compression, "name", page.compression)
        allowed = ", ".join(dict.fromkeys(BOUNDED.values()))
        raise InputError(f"{name} is compressed with {way}, which this service does not read; save it with {allowed}")
    if limits.stranger and page.bitspersample not in (1, 8, 16, 32, 64):
        raise InputError(f"{name} has {page.bitspersample} bits per pixel; save it with 8 or 16")
    if page.imagelength < 1 or page.imagewidth < 1:  # less than none, a page would make room for another one
        raise InputError(f"{name} has a page of {page.imagewidth}x{page.imagelength} px; export it again")
    colours = tifffile.PHOTOMETRIC(page.photometric).name
    if colours not in GREY + COLOUR:
        raise InputError(f"{name} is a TIFF with {colours} colours; save it as grey or RGB")
    if ORIENTATION in page.tags and page.tags[ORIENTATION].value != 1:
        raise InputError(f"{name} is to be shown turned (TIFF orientation); save it upright, as it was annotated")
    tile = max(1, page.tilelength) * max(1, page.tilewidth) if page.is_tiled else 0
    return int(max(page.imagelength * page.imagewidth, tile) * page.samplesperpixel)


def _no_picture(page: Any) -> bool:
    """Whether a page is a thumbnail, an overview or a mask of another one."""
    old = page.tags[OLD_SUBFILE].value if OLD_SUBFILE in page.tags else 1
    return bool(page.subfiletype & NO_PICTURE or old == OLD_REDUCED)


def _picture(tif: Any, left_out: set[int], name: str) -> Any:
    """The series of pages that is the picture, without thumbnails and the like."""
    from tifffile import TiffPageSeries

    every = []
    for series in tif.series:
        kept = [page for page in series.pages if page is None or page.offset not in left_out]
        if len(kept) == len(series.pages):
            every.append(series)
        elif kept and series.kind in ("generic", "uniform"):
            shape = (len(kept), *series.get_shape(squeeze=False)[1:])
            every.append(TiffPageSeries(kept, shape, series.dtype, series.get_axes(squeeze=False), kind=series.kind))
    if not every:
        raise InputError(f"{name} has no page that is a picture of its own; export it again")
    if len(every) > 1:
        shapes = ", ".join(f"{series.axes} {series.shape}" for series in every)
        raise InputError(f"{name} holds several pictures ({shapes}), not one frame; save each as a file of its own")
    return every[0]


def _decoded(series: Any, size: int, science: bool, name: str, limits: ReadLimits) -> tuple[NDArray[Any], str]:
    """The pixels of a series in its own grey values, and the axes that are longer than 1, Y and X."""
    shape, axes, key = series.get_shape(squeeze=False), series.get_axes(squeeze=False), series.keyframe
    ends = [o + n for page in series.pages for o, n in zip(page.dataoffsets, page.databytecounts, strict=True)]
    if series.dataoffset is not None:  # one after the other: a file may describe the first one only
        ends.append(series.dataoffset + series.nbytes)
    if max(ends, default=0) > size:
        raise InputError(f"{name} is cut short: its pixels go on beyond the end of the file; copy it again")
    limits.check(name, key.imagelength * key.imagewidth, int(np.prod(shape, dtype=object)))
    pixels = series.asarray().reshape(shape)
    for place in reversed(range(len(axes))):
        if shape[place] == 1 and axes[place] not in "YX":
            pixels, axes = pixels.take(0, place), axes[:place] + axes[place + 1 :]
    pixels, axes = _coloured(pixels, axes, key, science, name)
    if pixels.dtype.kind not in "buif":
        raise InputError(f"{name} holds {pixels.dtype} pixels; save it with real numbers")
    return pixels, axes


def _coloured(pixels: NDArray[Any], axes: str, key: Any, science: bool, name: str) -> tuple[NDArray[Any], str]:
    """Samples are a colour where the file says so, and channels where it does not; palettes are looked up."""
    import tifffile

    colours, bits = tifffile.PHOTOMETRIC(key.photometric).name, key.bitspersample
    samples = pixels.shape[axes.index("S")] if "S" in axes else 1
    if colours in COLOUR:
        if not 3 <= samples <= 4:
            raise InputError(f"{name} is {colours} with {samples} samples a pixel; save it as grey or RGB")
        return pixels.take(range(3), axes.index("S")), axes
    # a palette of ImageJ's or OME's is how grey values are shown, elsewhere it is what they mean
    if colours == "PALETTE" and not science and samples == 1:
        table = np.asarray(key.colormap)
        return (table.T >> 8).astype(np.uint8)[pixels], axes + "S"
    if samples > 1:
        alpha = [samples - len(key.extrasamples) + n for n, kind in enumerate(key.extrasamples) if kind in ALPHA]
        pixels = np.delete(pixels, alpha, axes.index("S"))
        if len(alpha) == samples - 1:
            pixels, axes = pixels.take(0, axes.index("S")), axes.replace("S", "")
        elif "C" in axes:
            raise InputError(f"{name} has channels of {samples - len(alpha)} samples each; save one as grey")
        axes = axes.replace("S", "C")
    if pixels.dtype.kind in "ui":
        most = (1 << bits) - 1 if pixels.dtype.kind == "u" else int(np.iinfo(pixels.dtype).max)
        if colours == "MINISWHITE":
            pixels = most - pixels
        if bits < 8:  # as PNG's are read
            pixels = (pixels.astype(np.uint16) * 255 // most).astype(np.uint8)
    elif colours == "MINISWHITE":
        if pixels.dtype.kind == "f":
            raise InputError(f"{name} has {pixels.dtype} pixels of which white is 0; save it with black as 0")
        pixels = ~pixels
    return pixels, axes


def _channel_names(about: str) -> list[str]:
    """The names of an OME-TIFF's channels, where it has one picture."""
    return re.findall(r'<(?:\w+:)?Channel\b[^>]*\bName="([^"]*)"', about)
