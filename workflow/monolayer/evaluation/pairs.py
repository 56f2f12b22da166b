"""Compiled loops over masks and boxes: run lengths, overlaps, foreground.

Exact counterparts of pycocotools 2.0.11 (maskApi.c), but sparse: only pairs of cells that share a pixel are ever looked
at. A mask is its runs [start, end) of pixels, numbered down the columns. Every loop releases the interpreter, so that
threads share the images.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from monolayer.coco.rle_kernels import RunLengths
from monolayer.compiled import Flags, Floats, Ints, compiled


class Boxes(NamedTuple):
    """Boxes (N, 4) and (M, 4) as in files, and which true ones are crowds (M,)."""

    pred_xywh: Floats
    true_xywh: Floats
    crowd: Flags


class Units(NamedTuple):
    """What is matched apart from the rest, an image (or its cells of one category): offsets (U + 1,) of its cells."""

    pred: Ints
    true: Ints


class Pairs(NamedTuple):
    """Overlaps: those of predicted cell i are at first[i]:first[i + 1], by rising true cell."""

    first: Ints
    true: NDArray[np.int32]
    iou: Floats


@compiled
def shared_pixels(one: RunLengths, i: int, other: RunLengths, j: int) -> int:
    """Pixels of the intersection of two masks."""
    shared = 0
    a, b = one.begin[i], other.begin[j]
    while a < one.end[i] and b < other.end[j]:
        start, end = max(one.runs[a, 0], other.runs[b, 0]), min(one.runs[a, 1], other.runs[b, 1])
        if end > start:
            shared += end - start
        if one.runs[a, 1] < other.runs[b, 1]:
            a += 1
        else:
            b += 1
    return shared


@compiled
def mask_pairs(
    pred: RunLengths, true: RunLengths, units: Units, unit_from: int, unit_to: int
) -> tuple[Ints, NDArray[np.int32], Ints]:
    """Pairs that share pixels: how many each prediction has, their true cells, the pixels shared."""
    counts = np.zeros(units.pred[unit_to] - units.pred[unit_from], np.int64)
    count, partner, shared = 0, np.empty(256, np.int32), np.empty(256, np.int64)
    for unit in range(unit_from, unit_to):
        for i in range(units.pred[unit], units.pred[unit + 1]):
            x0, y0, x1, y1 = pred.extents[i]
            for j in range(units.true[unit], units.true[unit + 1]):
                box = true.extents[j]
                if box[0] >= x1 or box[2] <= x0 or box[1] >= y1 or box[3] <= y0:
                    continue
                pixels = shared_pixels(pred, i, true, j)
                if pixels == 0:
                    continue
                if count == len(partner):
                    partner = np.concatenate((partner, np.empty_like(partner)))
                    shared = np.concatenate((shared, np.empty_like(shared)))
                partner[count], shared[count] = j, pixels
                count += 1
                counts[i - units.pred[unit_from]] += 1
    return counts, partner[:count].copy(), shared[:count].copy()


@compiled
def box_pairs(
    boxes: Boxes, units: Units, unit_from: int, unit_to: int, floor: float
) -> tuple[Ints, NDArray[np.int32], Floats]:
    """Pairs of boxes whose IoU reaches `floor`: how many each prediction has, their true cells, the IoU."""
    counts = np.zeros(units.pred[unit_to] - units.pred[unit_from], np.int64)
    count, partner, iou = 0, np.empty(256, np.int32), np.empty(256, np.float64)
    for unit in range(unit_from, unit_to):
        for i in range(units.pred[unit], units.pred[unit + 1]):
            x, y, w, h = boxes.pred_xywh[i]
            for j in range(units.true[unit], units.true[unit + 1]):
                other = boxes.true_xywh[j]
                width = min(x + w, other[0] + other[2]) - max(x, other[0])
                height = min(y + h, other[1] + other[3]) - max(y, other[1])
                if width <= 0 or height <= 0:
                    continue
                shared = width * height
                value = shared / (w * h if boxes.crowd[j] else w * h + other[2] * other[3] - shared)
                if value < floor:
                    continue
                if count == len(partner):
                    partner = np.concatenate((partner, np.empty_like(partner)))
                    iou = np.concatenate((iou, np.empty_like(iou)))
                partner[count], iou[count] = j, value
                count += 1
                counts[i - units.pred[unit_from]] += 1
    return counts, partner[:count].copy(), iou[:count].copy()


@compiled
def count_pixels(pred: RunLengths, true: RunLengths, crowd: Flags, kept: Flags, images: Ints) -> Ints:
    """Pixels (I, 4): true and predicted, predicted only, true only, all that count; those of crowds alone don't.

    images (I, 5): the first and last predicted cell, the first and last true cell, and the pixels of each image.
    """
    counts = np.zeros((len(images), 4), np.int64)
    plane = np.zeros(images[:, 4].max(), np.uint8)
    for image in range(len(images)):
        i_from, i_to, j_from, j_to, size = images[image]
        plane[:size] = 0
        for j in range(j_from, j_to):
            for run in range(true.begin[j], true.end[j]):
                for at in range(true.runs[run, 0], true.runs[run, 1]):
                    plane[at] |= 2 if crowd[j] else 1
        for i in range(i_from, i_to):
            if kept[i]:
                for run in range(pred.begin[i], pred.end[i]):
                    for at in range(pred.runs[run, 0], pred.runs[run, 1]):
                        plane[at] |= 4
        for at in range(size):
            counts[image, 0] += plane[at] & 5 == 5
            counts[image, 1] += plane[at] == 4
            counts[image, 2] += plane[at] & 5 == 1
            counts[image, 3] += plane[at] & 3 != 2
    return counts
