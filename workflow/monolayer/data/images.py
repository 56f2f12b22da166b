"""Image files of any kind a microscope leaves (PNG, JPEG, TIFF; 8, 16 or 32 bit; grey or colour) as 8-bit grey."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Generator
from contextlib import contextmanager
from io import BytesIO
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image as PillowImage
from PIL import UnidentifiedImageError

from monolayer.data.png import START, check_png
from monolayer.files import InputError
from monolayer.params.data import Percentiles

Pixels = NDArray[np.uint8]  # (H, W)

SUFFIXES = (".png", ".jpg", ".jpeg", ".tif", ".tiff")
LUMA = (0.299, 0.587, 0.114)  # ITU-R BT.601, as Pillow's "L"
TIFF_STARTS = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
TIFF_GREY_OR_RGB = ("MINISBLACK", "MINISWHITE", "RGB", "YCBCR")


def grey(data: bytes, name: str, percentiles: Percentiles | None) -> Pixels:
    """8-bit grey pixels, uint8 (H, W), of the image file `data`; errors call it `name`.

    8-bit values stay what they are. Deeper images are scaled by their own percentiles; null: they are an error.
    """
    return eight_bit(one_plane(_decode(data, name)), name, percentiles)


def eight_bit(pixels: NDArray[Any], name: str, percentiles: Percentiles | None) -> Pixels:
    """Grey pixels (H, W) of any type as uint8, as `grey` does it."""
    if pixels.dtype == np.uint8:
        return pixels
    if percentiles is None:
        raise InputError(
            f"{name} holds {pixels.dtype} pixels, and nothing says which of them become 0 and 255: "
            "this source has 8-bit images only; predict takes --percentiles LOW HIGH"
        )
    if not np.isfinite(pixels).all():
        raise InputError(f"{name} has pixels that are NaN or infinite; export it again without them")
    return scale(pixels, *np.percentile(pixels, (percentiles.low, percentiles.high)))


def fingerprint(pixels: Pixels) -> str:
    """A hash of size and pixels: images with the same are one picture."""
    return hashlib.sha256(str(pixels.shape).encode() + pixels.tobytes()).hexdigest()[:32]


def scale(pixels: NDArray[Any], low: float, high: float) -> Pixels:
    """Map [low, high] to 0..255 and clip; all 0 where low is high (one grey value only)."""
    if high <= low:
        return np.zeros(pixels.shape, np.uint8)
    return np.rint((pixels.astype(np.float64) - low).clip(0, high - low) * (255 / (high - low))).astype(np.uint8)


def one_plane(pixels: NDArray[Any]) -> NDArray[Any]:
    """(H, W) of (H, W) or (H, W, 3); bool and uint8 come out as uint8."""
    if pixels.dtype == np.bool_:
        pixels = pixels.astype(np.uint8) * np.uint8(255)
    if pixels.ndim == 2:
        return pixels
    if np.array_equal(pixels[..., 0], pixels[..., 1]) and np.array_equal(pixels[..., 0], pixels[..., 2]):
        return np.ascontiguousarray(pixels[..., 0])
    mixed = pixels @ np.array(LUMA)
    return np.asarray(np.rint(mixed).astype(pixels.dtype) if np.issubdtype(pixels.dtype, np.integer) else mixed)


def _decode(data: bytes, name: str) -> NDArray[Any]:
    """(H, W) or (H, W, 3) of any dtype."""
    if not data:
        raise InputError(f"{name} is empty (0 bytes); copy it again")
    with decoding(name):
        return _decode_tiff(data, name) if data.startswith(TIFF_STARTS) else decode_png_or_jpeg(data, name)


@contextmanager
def decoding(name: str) -> Generator[None]:
    """An InputError of whatever a decoder raises on a broken file."""
    try:
        yield
    except (InputError, MemoryError):
        raise
    except Exception as error:
        raise InputError(f"{name} is not readable as an image ({error}); is it cut short? copy it again") from error


def _decode_tiff(data: bytes, name: str) -> NDArray[Any]:
    import tifffile

    # what it says of a broken file, the error says with a name
    logging.getLogger("tifffile").setLevel(logging.CRITICAL)
    with tifffile.TiffFile(BytesIO(data)) as tif:
        if not tif.series:
            raise ValueError("it has no page")
        if len(tif.series) != 1 or tif.series[0].axes not in ("YX", "YXS", "SYX"):
            shapes = ", ".join(f"{series.axes} {series.shape}" for series in tif.series)
            raise InputError(
                f"{name} holds {len(tif.pages)} pages ({shapes}), not one frame; save each frame as a file of its own "
                "and list it in the annotations"
            )
        return tiff_page(tif.series[0].keyframe, len(data), name)


def tiff_page(page: Any, size: int, name: str) -> NDArray[Any]:
    """(H, W) or (H, W, 3) of one page of a TIFF file of that size in bytes."""
    import tifffile

    colours = tifffile.PHOTOMETRIC(page.photometric).name
    if colours not in TIFF_GREY_OR_RGB:
        raise InputError(f"{name} is a TIFF with {colours} colours; save it as grey or RGB")
    if any(offset + count > size for offset, count in zip(page.dataoffsets, page.databytecounts, strict=True)):
        raise InputError(f"{name} is cut short: its pixels go on beyond the end of the file; copy it again")
    pixels = np.asarray(page.asarray())
    if colours == "MINISWHITE":
        pixels = ~pixels if pixels.dtype == np.bool_ else np.iinfo(pixels.dtype).max - pixels
    pixels = np.moveaxis(pixels, 0, -1) if page.axes == "SYX" else pixels
    return _without_alpha(pixels)


def decode_png_or_jpeg(data: bytes, name: str) -> NDArray[Any]:
    if data.startswith(START):
        check_png(data, name)
    try:
        image = PillowImage.open(BytesIO(data), formats=["PNG", "JPEG"])
    except UnidentifiedImageError:
        raise InputError(f"{name} is no PNG, JPEG or TIFF; save it as one of these") from None
    with image:
        if image.getexif().get(0x0112, 1) != 1:
            raise InputError(f"{name} is to be shown turned (EXIF orientation); save it upright, as it was annotated")
        if getattr(image, "n_frames", 1) != 1:
            raise InputError(f"{name} holds several frames; save each as a file of its own")
        if image.format == "PNG" and data[24] == 16:  # Pillow cuts 16-bit colours to 8 bits
            import imagecodecs

            return _without_alpha(np.asarray(imagecodecs.png_decode(data)))
        if image.mode in ("P", "PA"):
            return np.asarray(image.convert("RGB"))
        if image.mode not in ("1", "L", "LA", "RGB", "RGBA"):
            raise InputError(f"{name} has the colour mode {image.mode}; save it as grey or RGB")
        return _without_alpha(np.asarray(image))


def _without_alpha(pixels: NDArray[Any]) -> NDArray[Any]:
    """(H, W) of grey with or without alpha, (H, W, 3) of RGB."""
    if pixels.ndim == 2:
        return pixels
    return pixels[..., 0] if pixels.shape[-1] < 3 else pixels[..., :3]
