"""Label images: int (H, W), 0 is background, a number for each cell."""

from __future__ import annotations

import io
from collections.abc import Iterable, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from monolayer.coco.records import Rle
from monolayer.coco.rle import Placed, crop_from_rle, rles_from_crops
from monolayer.files import InputError


def label_image(rles: Iterable[Rle], height: int, width: int) -> NDArray[np.int32]:
    """int32 (H, W), 0 is background, the n-th mask is n; where masks overlap the smaller one is seen."""
    return paint([crop_from_rle(rle) for rle in rles], height, width)


def paint(crops: Sequence[Placed], height: int, width: int) -> NDArray[np.int32]:
    """As `label_image`, of masks cut to boxes."""
    labels = np.zeros((height, width), np.int32)
    for index in sorted(range(len(crops)), key=lambda i: -int(crops[i][0].sum())):
        crop, x, y = crops[index]
        labels[y : y + crop.shape[0], x : x + crop.shape[1]][crop] = index + 1
    return labels


def rles_from_labels(labels: NDArray[Any]) -> list[Rle]:
    """One RLE for each value > 0 of a label image (H, W), in the order of the values."""
    from scipy import ndimage

    if labels.max(initial=0) > labels.size:  # numbers with large gaps
        labels = np.searchsorted(np.unique(labels[labels > 0]), labels, side="right")
    boxes = enumerate(ndimage.find_objects(labels), start=1)
    crops = [(labels[box] == value, box[1].start, box[0].start) for value, box in boxes if box]
    return rles_from_crops(crops, *labels.shape)


def read_labels(path: Path) -> NDArray[np.int64]:
    """A label image (H, W) from TIFF or PNG: whole numbers, 0 is background."""
    try:
        if path.suffix.lower() == ".png":
            from PIL import Image

            with Image.open(path) as image:
                pixels = np.asarray(image)
        else:
            import tifffile

            pixels = tifffile.imread(path)
    except Exception as error:  # decoders raise of all kinds
        raise InputError(f"{path} is not readable as a label image ({error}); save it again") from error
    if pixels.ndim != 2:
        raise InputError(f"{path} has the shape {pixels.shape}; a label image is one grey plane (height, width)")
    with np.errstate(invalid="ignore"):
        labels = pixels.astype(np.int64)
    if not (labels == pixels).all() or labels.min(initial=0) < 0:
        raise InputError(f"{path} holds values that are no cell numbers; a label image has whole numbers from 0 on")
    return labels


def label_tiff(
    labels: Sequence[NDArray[np.int32]], pixel_size_um: float | None, interval_s: float | None = None
) -> bytes:
    """A TIFF of label images, a page for each frame, 16-bit unless a frame has more than 65,535 cells.

    It says what it holds as ImageJ does, so that ImageJ, Bio-Formats and tifffile see frames, not slices or colours.
    """
    import tifffile

    frames = np.stack(labels)
    frames = frames.astype(np.uint16 if frames.max(initial=0) < 2**16 else np.uint32)
    about: dict[str, Any] = {}
    if len(frames) > 1:
        about = {"images": len(frames), "frames": len(frames), "hyperstack": "true", "mode": "grayscale"}
    if len(frames) > 1 and interval_s:
        about["finterval"] = f"{interval_s:.10g}"
    if pixel_size_um:
        about["unit"] = "micron"
    size = Fraction(f"{pixel_size_um or 1:.6g}")  # of 0.65 the resolution is 20/13, which no float is
    buffer = io.BytesIO()
    tifffile.imwrite(
        buffer,
        frames if len(frames) > 1 else frames[0],
        photometric="minisblack",
        compression="zlib",
        metadata=None,
        description="\n".join(["ImageJ=1.53t", *(f"{key}={value}" for key, value in about.items()), ""]),
        software=False,
        resolution=((size.denominator, size.numerator),) * 2,
        resolutionunit="NONE",
    )
    return buffer.getvalue()
