"""Files that strangers send, as grey frames: every size is known from the header before a pixel is decoded."""

from __future__ import annotations

import io
import struct
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image as PillowImage

from monolayer.data import images
from monolayer.files import InputError

# Of TIFF: compressions that can't write more than the page's header says.
COMPRESSIONS = {1: "none", 5: "LZW", 8: "deflate", 32773: "PackBits", 32946: "deflate", 50000: "Zstandard"}


class NotAnImageError(InputError):
    """The bytes are no PNG, JPEG or TIFF."""


class TooLargeError(InputError):
    """More bytes, pixels or frames than the service takes."""


@dataclass(frozen=True)
class Limits:
    """What one request may cost; run-time choices that change no result."""

    bytes: int = 64 << 20
    pixels: int = 64 << 20  # of all frames
    frames: int = 200
    waiting: int = 64  # requests at a time; the next one is told to come back
    seconds: float = 120.0


def frames(data: bytes, name: str, limits: Limits) -> list[NDArray[Any]]:
    """The frames of an image file, (H, W) in its own grey values; several where a TIFF has several pages."""
    if data.startswith(images.TIFF_STARTS):
        found = list(_tiff(data, name, limits))
    elif data.startswith((b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff")):
        found = [_png_or_jpeg(data, name, limits)]
    elif not data:
        raise NotAnImageError(f"{name} is empty (0 bytes); choose an image")
    else:
        raise NotAnImageError(f"{name} is no PNG, JPEG or TIFF; save it as one of these")
    for frame in found:
        if not np.isfinite(frame).all():
            raise InputError(f"{name} has pixels that are NaN or infinite; export it again without them")
    return found


def _check(name: str, count: int, limits: Limits) -> None:
    if count > limits.pixels:
        raise TooLargeError(
            f"{name} has {count:,} pixels; this service takes {limits.pixels:,}: cut it into tiles or send fewer pages"
        )


def _png_or_jpeg(data: bytes, name: str, limits: Limits) -> NDArray[Any]:
    with images.decoding(name):
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", PillowImage.DecompressionBombWarning)  # our limit is checked below
                with PillowImage.open(io.BytesIO(data), formats=["PNG", "JPEG"]) as image:
                    _check(name, image.width * image.height, limits)
        except PillowImage.DecompressionBombError as error:
            raise TooLargeError(f"{name} has too many pixels ({error}); cut it into tiles") from None
        return images.one_plane(images.decode_png_or_jpeg(data, name))


def _tiff(data: bytes, name: str, limits: Limits) -> Iterator[NDArray[Any]]:
    import tifffile

    with images.decoding(name), tifffile.TiffFile(io.BytesIO(data)) as tif:
        if tif.is_imagej and (tif.imagej_metadata or {}).get("channels", 1) > 1:
            raise InputError(f"{name} has several channels; save the one to segment")
        pages = []
        for index in range(limits.frames + 1):
            try:
                pages.append(tif.pages[index])
            except IndexError:
                break
        if len(pages) > limits.frames:
            raise TooLargeError(f"{name} has more than {limits.frames} pages; send the series in parts")
        if not pages or _goes_on(tif, data, pages[-1]):
            raise InputError(f"{name} is cut short: it announces more pages than it has; copy it again")
        _check(name, sum(_cost(page, name) for page in pages), limits)
        for number, page in enumerate(pages, start=1):
            label = f"{name}, page {number}" if len(pages) > 1 else name
            yield images.one_plane(images.tiff_page(page, len(data), label))


def _goes_on(tif: Any, data: bytes, page: Any) -> bool:
    """Whether a page points to a next one: tifffile leaves pages beyond the end of a file out without a word."""
    # a directory: the number of its tags, these, and where the next directory begins
    number, tag, following = ("Q", 20, "Q") if tif.is_bigtiff else ("H", 12, "I")
    tags = struct.unpack_from(tif.byteorder + number, data, page.offset)[0]
    end = page.offset + struct.calcsize(tif.byteorder + number) + tag * tags
    return bool(struct.unpack_from(tif.byteorder + following, data, end)[0])


def _cost(page: Any, name: str) -> int:
    """Pixels that decoding a page takes, as its header says them; a page that is no plain frame is refused."""
    if page.axes not in ("YX", "YXS", "SYX"):
        raise InputError(f"{name} has a page with the axes {page.axes}; save each frame as a page of its own")
    if page.compression not in COMPRESSIONS:
        allowed = ", ".join(dict.fromkeys(COMPRESSIONS.values()))
        raise InputError(f"{name} is compressed in a way that this service does not read; save it with {allowed}")
    if page.bitspersample not in (1, 8, 16, 32, 64):
        raise InputError(f"{name} has {page.bitspersample} bits per pixel; save it with 8 or 16")
    if page.imagelength < 1 or page.imagewidth < 1:  # less than none, a page would make room for another one
        raise InputError(f"{name} has a page of {page.imagewidth}x{page.imagelength} px; export it again")
    tile = max(1, page.tilelength) * max(1, page.tilewidth) if page.is_tiled else 0
    return int(max(page.imagelength * page.imagewidth, tile) * page.samplesperpixel)
