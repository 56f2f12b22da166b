"""A mask as COCO's run lengths, and what it is made of and becomes: polygons, a plane, a crop.

Boxes are xywh in files and xyxy in memory.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray
from pycocotools import mask as rle_codec

from monolayer.coco.records import CELL, Annotation, Rle
from monolayer.files import InputError

Ints = NDArray[np.int64]
Mask = NDArray[np.bool_]
Placed = tuple[Mask, int, int]  # a mask cut to a box and the box's upper left corner (x, y) in the image


def rles_from_crops(crops: Sequence[Placed], height: int, width: int) -> list[Rle]:
    """RLEs of masks of which only boxes are at hand, all in one go; the cost does not grow with the image."""
    from monolayer.coco.rle_kernels import encode_crops

    if not crops:
        return []
    boxes = np.array([(x, y, *crop.shape[::-1]) for crop, x, y in crops], np.int32)
    outside = (boxes[:, :2] < 0).any(1) | (boxes[:, :2] + boxes[:, 2:] > [width, height]).any(1)
    if outside.any():
        x, y, w, h = boxes[outside.argmax()].tolist()
        raise InputError(f"a mask of {w}x{h} px at ({x}, {y}) leaves its image of {width}x{height} px")
    text, ends = encode_crops(np.concatenate([crop.ravel() for crop, _, _ in crops]), boxes, height, width)
    every = text.tobytes().decode()
    return [Rle(size=[height, width], counts=every[start:end]) for start, end in pairwise([0, *ends.tolist()])]


def decoded(rle: Rle) -> tuple[Ints, NDArray[np.int32], int]:
    """The bounds (2,) of the runs, the runs (R, 2) in px down the columns, and the fault of the counts, 0 for none."""
    from monolayer.coco.rle_kernels import decode_runs

    text = np.frombuffer(rle["counts"].encode(), np.uint8)
    first, runs, fault = decode_runs(text, np.array([len(text)]), np.array([rle["size"]]))
    return first, runs, int(fault[0])


def crop_from_rle(rle: Rle) -> Placed:
    """The mask cut to its box; (0, 0) px for an empty mask.

    pycocotools decodes the whole image for each cell, which takes ten times as long.
    """
    from monolayer.coco.rle_kernels import measure_runs, unroll

    first, runs, fault = decoded(rle)
    if fault:
        raise InputError(f"the counts of an RLE of size {rle['size']} are damaged; encode the mask again")
    _, extents = measure_runs(runs, first, np.array(rle["size"][:1]))
    x, y, right, bottom = extents[0].tolist()
    return unroll(runs, (x, y, right, bottom), rle["size"][0]), x, y


def annotation(number: int, image_id: int, rle: Rle) -> Annotation:
    """A true cell with the box and the area of its mask."""
    return Annotation(
        id=number,
        image_id=image_id,
        category_id=CELL["id"],
        segmentation=rle,
        bbox=box_xywh(rle),
        area=float(rle_area(rle)),
        iscrowd=0,
    )


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
