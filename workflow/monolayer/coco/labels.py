"""Label images: int (H, W), 0 is background, a number for each cell."""

from __future__ import annotations

import io
import itertools
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from monolayer.coco.records import Rle
from monolayer.coco.rle import Mask, crop_from_rle
from monolayer.files import InputError


def label_image(rles: Iterable[Rle], height: int, width: int) -> NDArray[np.int32]:
    """int32 (H, W), 0 is background, the n-th mask is n; where masks overlap the smaller one is seen."""
    return paint([crop_from_rle(rle) for rle in rles], height, width)


def paint(crops: Sequence[tuple[Mask, int, int]], height: int, width: int) -> NDArray[np.int32]:
    """As `label_image`, of masks cut to their boxes: bool (h, w) and the box's upper left corner (x, y)."""
    labels = np.zeros((height, width), np.int32)
    for index in sorted(range(len(crops)), key=lambda i: -int(crops[i][0].sum())):
        crop, x, y = crops[index]
        labels[y : y + crop.shape[0], x : x + crop.shape[1]][crop] = index + 1
    return labels


def rles_from_labels(labels: NDArray[Any]) -> list[Rle]:
    """One RLE for each value > 0 of a label image (H, W), in the order of the values.

    All runs are found and compressed at once: thousands of cells cost little more than one.
    """
    height, width = labels.shape
    flat = labels.ravel(order="F")
    bounds = np.r_[0, np.flatnonzero(flat[1:] != flat[:-1]) + 1, flat.size]
    values = flat[bounds[:-1]]
    runs = np.flatnonzero(values > 0)
    runs = runs[np.argsort(values[runs], kind="stable")]
    if not len(runs):
        return []
    starts, stops, values = bounds[runs], bounds[runs + 1], values[runs]
    first = np.r_[True, values[1:] != values[:-1]]
    last = np.r_[first[1:], True]
    counts = np.empty((len(runs), 3), np.int64)  # background before the run, the run, background after the last one
    counts[:, 0] = starts - np.where(first, 0, np.r_[0, stops[:-1]])
    counts[:, 1] = stops - starts
    counts[:, 2] = flat.size - stops
    wanted = np.ones(counts.shape, np.bool_)
    wanted[:, 2] = last & (counts[:, 2] > 0)  # as pycocotools: no empty last run
    ends = np.cumsum(wanted.sum(1))[last]
    texts = _compressed(counts[wanted], np.r_[0, ends[:-1]])
    return [Rle(size=[height, width], counts=text) for text in texts]


def _compressed(counts: NDArray[np.int64], first: NDArray[np.int64]) -> list[str]:
    """COCO's text for several lists of run lengths, one after the other; `first` is where each begins.

    The inverse of `_run_edges`: 5 bits a byte, the sixth says that more follow, the last byte's fifth is the sign.
    """
    place = np.arange(len(counts)) - np.repeat(first, np.diff(np.r_[first, len(counts)]))
    values = counts.copy()
    values[2:] -= np.where(place[2:] > 2, counts[:-2], 0)
    size = np.ones(len(values), np.int64)  # bytes
    for more in range(1, 7):
        size += (values >= 1 << (5 * more - 1)) | (values < -(1 << (5 * more - 1)))
    begin = np.cumsum(size) - size
    number = np.arange(size.sum()) - np.repeat(begin, size)
    bits = np.repeat(values, size) >> (5 * number) & 31
    text = (bits + np.where(number + 1 < np.repeat(size, size), 32, 0) + 48).astype(np.uint8).tobytes().decode()
    bounds = [*begin[first].tolist(), len(text)]
    return [text[start:stop] for start, stop in itertools.pairwise(bounds)]


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
    except (OSError, ValueError) as error:
        raise InputError(f"{path} is not readable as a label image ({error}); save it again") from error
    if pixels.ndim != 2:
        raise InputError(f"{path} has the shape {pixels.shape}; a label image is one grey plane (height, width)")
    labels = pixels.astype(np.int64)
    if not (labels == pixels).all() or labels.min(initial=0) < 0:
        raise InputError(f"{path} holds values that are no cell numbers; a label image has whole numbers from 0 on")
    return labels


def label_tiff(labels: Sequence[NDArray[np.int32]], pixel_size_um: float | None) -> bytes:
    """A TIFF of label images, a page for each frame, 16-bit unless a frame has more than 65,535 cells."""
    import tifffile

    frames = np.stack(labels)
    frames = frames.astype(np.uint16 if frames.max(initial=0) < 2**16 else np.uint32)
    buffer = io.BytesIO()
    tifffile.imwrite(
        buffer,
        frames if len(frames) > 1 else frames[0],
        photometric="minisblack",
        compression="zlib",
        metadata={"axes": "TYX" if len(frames) > 1 else "YX"},
        resolution=(1e4 / pixel_size_um, 1e4 / pixel_size_um) if pixel_size_um else None,
        resolutionunit="CENTIMETER" if pixel_size_um else None,
    )
    return buffer.getvalue()
