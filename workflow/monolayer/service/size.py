"""What a file announces before any pixel of it is decoded."""

from __future__ import annotations

import io
import logging
import warnings
from typing import Any

from PIL import Image as PillowImage


def announced_pixels(data: bytes, frames: int) -> int:
    """The pixels of an image file's frames (of so many at most) by its header; 0 where its reader will refuse it."""
    import tifffile

    logging.getLogger("tifffile").setLevel(logging.CRITICAL)  # strangers would fill the log with their tags
    try:
        if data[:2] not in (b"II", b"MM"):
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", PillowImage.DecompressionBombWarning)
                with PillowImage.open(io.BytesIO(data), formats=["PNG", "JPEG"]) as image:
                    return image.width * image.height
        with tifffile.TiffFile(io.BytesIO(data)) as tif:
            count = 0
            for index in range(frames):
                try:
                    page: Any = tif.pages[index]
                except IndexError:
                    break
                count += max(0, page.imagelength) * max(0, page.imagewidth)
            return int(count)
    except Exception:  # whatever a decoder makes of a broken file: its reader says it
        return 0
