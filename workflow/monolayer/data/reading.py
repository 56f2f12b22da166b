"""Image files of any kind a microscope leaves (PNG, JPEG, TIFF; of any depth; grey or colour) in their grey values.

Every verb, the service and every source of data reads image files here.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Generator, Iterable
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image as PillowImage

from monolayer.data import png, tiff
from monolayer.data.plane import ANY, OWN, ImagePlane, NotAnImageError, ReadLimits, frames_of, one
from monolayer.files import InputError

SUFFIXES = (".png", ".jpg", ".jpeg", ".tif", ".tiff")
JPEG_START = b"\xff\xd8\xff"
LUMA = (0.299, 0.587, 0.114)  # ITU-R BT.601, as Pillow's "L"
EXIF_ORIENTATION = 0x0112

PillowImage.MAX_IMAGE_PIXELS = None  # ReadLimits knows which files are the user's own


def read_frames(data: bytes, name: str, which: ImagePlane = ANY, limits: ReadLimits = OWN) -> list[NDArray[Any]]:
    """The frames along time, (H, W) in the file's own grey values, of an image file; errors call it `name`."""
    with decoding(name):
        frames = (tiff.read_tiff if _is_tiff(data, name) else _read_png_or_jpeg)(data, name, which, limits)
        planes = [one_plane(frame) for frame in frames]
    if not all(np.isfinite(plane).all() for plane in planes):
        raise InputError(f"{name} has pixels that are NaN or infinite; export it again without them")
    return planes


def read_frame(data: bytes, name: str, which: ImagePlane = ANY, limits: ReadLimits = OWN) -> NDArray[Any]:
    """As `read_frames`, of a file that has one frame."""
    return one(read_frames(data, name, which, limits), name)


def sizes(path: Path) -> set[tuple[int, int]]:
    """(height, width) of the pages that a file's header tells of; none where it can't be read, as its reader will say.

    >>> sizes(Path("no file"))
    set()
    """
    try:
        with path.open("rb") as file:
            if file.read(4) in tiff.STARTS:
                return tiff.sizes(path)
        with PillowImage.open(path) as image:
            return {(image.height, image.width)}
    except Exception:
        return set()


def _is_tiff(data: bytes, name: str) -> bool:
    """Whether a file is a TIFF or else a PNG or JPEG."""
    if not data:
        raise NotAnImageError(f"{name} is empty (0 bytes); copy it again")
    if data.startswith(tiff.STARTS):
        return True
    if not data.startswith((png.START, JPEG_START)):
        raise NotAnImageError(f"{name} is no PNG, JPEG or TIFF; save it as one of these")
    return False


def image_files(folder: Path, entries: Iterable[Path]) -> tuple[dict[str, Path], Counter[str]]:
    """The image files among these by their path in the folder, sorted; and how many others there are of each suffix.

    Hidden files are none of the user's: macOS leaves a ._x.tif beside x.tif on foreign disks.
    """
    found, others = dict[str, Path](), Counter[str]()
    for path in entries:
        place = path.relative_to(folder)
        if any(part.startswith(".") for part in place.parts) or path.is_dir():
            continue
        if path.suffix.lower() in SUFFIXES:
            found[place.as_posix()] = path
        else:
            others[path.suffix.lower() or path.name] += 1
    return dict(sorted(found.items())), others


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


@contextmanager
def decoding(name: str) -> Generator[None]:
    """An InputError of whatever a decoder raises on a broken file."""
    try:
        yield
    except (InputError, MemoryError):
        raise
    except Exception as error:
        raise InputError(f"{name} is not readable as an image ({error}); is it cut short? copy it again") from error


def _read_png_or_jpeg(data: bytes, name: str, which: ImagePlane, limits: ReadLimits) -> list[NDArray[Any]]:
    if data.startswith(png.START):
        png.check_png(data, name)
    with PillowImage.open(BytesIO(data), formats=["PNG", "JPEG"]) as image:
        limits.check(name, image.width * image.height, image.width * image.height)
        if image.getexif().get(EXIF_ORIENTATION, 1) != 1:
            raise InputError(f"{name} is to be shown turned (EXIF orientation); save it upright, as it was annotated")
        if getattr(image, "n_frames", 1) != 1:
            raise InputError(f"{name} holds several frames; save each as a file of its own")
        if image.format == "PNG" and data[24] == 16:  # Pillow cuts 16-bit colours to 8 bits
            import imagecodecs

            pixels = np.asarray(imagecodecs.png_decode(data))
        elif image.mode in ("P", "PA"):
            pixels = np.asarray(image.convert("RGB"))
        elif image.mode in ("1", "L", "LA", "RGB", "RGBA"):
            pixels = np.asarray(image)
        else:
            raise InputError(f"{name} has the colour mode {image.mode}; save it as grey or RGB")
    pixels = _without_alpha(pixels)
    return frames_of(pixels, "YXS"[: pixels.ndim], which, name)


def _without_alpha(pixels: NDArray[Any]) -> NDArray[Any]:
    """(H, W) of grey with or without alpha, (H, W, 3) of RGB; PNG has no other samples."""
    if pixels.ndim == 2:
        return pixels
    return pixels[..., 0] if pixels.shape[-1] < 3 else pixels[..., :3]
