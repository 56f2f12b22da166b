"""A mask as COCO's run lengths, and what it is made of and becomes: polygons, a plane, a crop.

Boxes are xywh in files and xyxy in memory.
"""

from __future__ import annotations

from typing import Any, cast

import numpy as np
from numpy.typing import NDArray
from pycocotools import mask as rle_codec

from monolayer.coco.records import Rle
from monolayer.files import InputError

Mask = NDArray[np.bool_]


def rle_from_crop(crop: Mask, x: int, y: int, height: int, width: int) -> Rle:
    """RLE of a mask of which only a box is at hand: bool (h, w), its upper left pixel at (x, y) of the image.

    Works on the crop's runs alone, so that its cost does not grow with the image.
    """
    h, w = crop.shape
    if x < 0 or y < 0 or x + w > width or y + h > height:
        raise InputError(f"a mask of {w}x{h} px at ({x}, {y}) leaves its image of {width}x{height} px")
    padded = np.zeros((w, h + 1), np.int8)  # columns as rows; the spare cell ends the last run of each
    padded[:, :h] = crop.T
    steps = np.diff(padded.ravel(), prepend=np.int8(0))
    starts, ends = np.flatnonzero(steps == 1), np.flatnonzero(steps == -1)
    starts = (starts // (h + 1) + x) * height + starts % (h + 1) + y
    ends = (ends // (h + 1) + x) * height + ends % (h + 1) + y
    if h == height and len(starts):  # a run may go on over the foot of a column
        joined = starts[1:] == ends[:-1]
        starts, ends = starts[np.r_[True, ~joined]], ends[np.r_[~joined, True]]
    edges = np.empty(2 * len(starts) + 2, np.int64)
    edges[0], edges[-1] = 0, height * width
    edges[1:-1:2], edges[2:-1:2] = starts, ends
    counts = np.diff(edges)
    if counts[-1] == 0:  # as pycocotools: no empty last run
        counts = counts[:-1]
    rle = rle_codec.frPyObjects({"size": [height, width], "counts": counts.tolist()}, height, width)
    return Rle(size=[height, width], counts=rle["counts"].decode())


def crop_from_rle(rle: Rle) -> tuple[Mask, int, int]:
    """The mask cut to its box, bool (h, w), and the box's upper left corner (x, y); (0, 0) px for an empty mask.

    Fills the box's columns from the runs: pycocotools decodes the whole image for each cell, ten times as long.
    """
    x, y, w, h = (int(v) for v in rle_codec.toBbox(cast(Any, rle)))
    height = rle["size"][0]
    edges = run_edges(rle["counts"]) - x * height
    steps = np.zeros(max(w * height, int(edges[-1])) + 1, np.int8)
    np.add.at(steps, edges[0:-1:2], 1)  # an edge may come twice: runs of no pixels are allowed
    np.subtract.at(steps, edges[1::2], 1)
    columns = np.cumsum(steps[: w * height], dtype=np.int8).reshape(w, height)
    return columns[:, y : y + h].T.astype(bool), x, y


def run_edges(counts: str) -> NDArray[np.int64]:
    """Where background and mask alternate, in px down the columns, from COCO's compressed counts.

    A count is its groups of 5 bits, lowest first, the last with its sign in bit 4 and the others with bit 5 set;
    from the fourth on it is the difference from the last but one.
    """
    chars = np.frombuffer(counts.encode(), np.uint8).astype(np.int64) - 48
    last = np.flatnonzero(chars & 32 == 0)
    first = np.r_[0, last[:-1] + 1]
    place = np.arange(len(chars)) - np.repeat(first, last - first + 1)
    numbers = np.add.reduceat((chars & 31) << 5 * place, first)
    numbers[chars[last] & 16 > 0] -= 1 << 5 * (place[last] + 1)[chars[last] & 16 > 0]
    numbers[1::2] = np.cumsum(numbers[1::2])
    numbers[2::2] = np.cumsum(numbers[2::2])
    return np.cumsum(numbers)


def rle_from_mask(mask: Mask) -> Rle:
    """RLE of a bool (H, W) mask."""
    rle = rle_codec.encode(np.asfortranarray(mask, dtype=np.uint8))
    return Rle(size=[mask.shape[0], mask.shape[1]], counts=rle["counts"].decode())


def rle_from_polygons(polygons: list[list[float]], height: int, width: int) -> Rle:
    """RLE of the union of polygons [x0, y0, x1, y1, ...], rasterised as COCO does."""
    rle = rle_codec.merge(rle_codec.frPyObjects(polygons, height, width))
    return Rle(size=[height, width], counts=rle["counts"].decode())


def mask_from_rle(rle: Rle) -> Mask:
    return np.asarray(rle_codec.decode(cast(Any, rle)), dtype=np.bool_)


def rle_area(rle: Rle) -> int:
    return int(rle_codec.area(cast(Any, rle)))


def box_xywh(rle: Rle) -> list[float]:
    return [float(v) for v in rle_codec.toBbox(cast(Any, rle))]
