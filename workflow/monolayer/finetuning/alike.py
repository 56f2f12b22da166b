"""Which images show one field: frames of a time-lapse, or the same place a nudge of the stage apart."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import cv2
import numpy as np
from PIL import Image as PillowImage

from monolayer.coco.records import Image
from monolayer.compiled import Flags
from monolayer.data.near_copies import FINE, near_copies
from monolayer.finetuning.looking import Reading, read_pixels
from monolayer.parallel import each

LEAST = 0.14  # as audit.near_copy in params.yaml, where it is measured


def near_copies_among(reading: Reading, files: Sequence[Path], workers: int) -> Flags:
    """bool (N, N): whether two images show one field; not said of an image itself."""
    found = np.zeros((len(files), len(files)), bool)
    with tempfile.TemporaryDirectory() as folder:
        work = partial(_thumbnail, reading, Path(folder))
        images = list(each(work, list(enumerate(files)), workers))
        for pair in near_copies(images, Path(folder), LEAST):
            found[pair.first, pair.second] = found[pair.second, pair.first] = True
    return found


def _thumbnail(reading: Reading, folder: Path, numbered: tuple[int, Path]) -> Image:
    """Write an image as large as it is looked at."""
    number, path = numbered
    pixels = read_pixels(reading, path)
    gain = min(1.0, FINE / max(pixels.shape))
    small = np.asarray(cv2.resize(pixels, None, fx=gain, fy=gain, interpolation=cv2.INTER_AREA), np.uint8)
    name, (height, width) = f"{number}.png", small.shape
    PillowImage.fromarray(small).save(folder / name)
    # sizes are of the images: those of thumbnails may be alike where the images' are not
    return Image(
        id=number,
        file_name=name,
        width=width,
        height=height,
        cell_line=f"{pixels.shape}",
        well="",
        timestamp=None,
        split=None,
    )
