"""Compiled loops over run lengths: decode, measure, encode.

Exact counterparts of pycocotools 2.0.11 (maskApi.c). Every loop releases the interpreter.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from monolayer.coco.rle import Mask
from monolayer.compiled import Flags, Ints, compiled

BAD_TEXT, NEGATIVE_RUN, WRONG_SUM = 1, 2, 3  # faults of an RLE


class RunLengths(NamedTuple):
    """RunLengths as runs (R, 2); those of mask i are runs[begin[i]:end[i]]; extents (N, 4) are its box x0 y0 x1 y1."""

    runs: NDArray[np.int32]
    begin: Ints
    end: Ints
    extents: NDArray[np.int32]


@compiled
def decode_runs(text: NDArray[np.uint8], last: Ints, sizes: Ints) -> tuple[Ints, NDArray[np.int32], NDArray[np.uint8]]:
    """First run (N + 1,) of each mask, runs (R, 2) and fault (N,) from COCO's compressed counts.

    The counts of mask i end before text[last[i]]; sizes (N, 2) is height, width of its image.
    """
    first = np.zeros(len(last) + 1, np.int64)
    begin = 0
    for cell in range(len(last)):
        counts = 0
        for at in range(begin, last[cell]):
            counts += 1 - (((np.int64(text[at]) - 48) >> 5) & 1)
        begin = last[cell]
        first[cell + 1] = first[cell] + counts // 2
    runs, fault = np.zeros((first[-1], 2), np.int32), np.zeros(len(last), np.uint8)
    for cell in range(len(last)):
        begin = last[cell - 1] if cell else 0
        fault[cell] = decode_one(text[begin : last[cell]], sizes[cell, 0] * sizes[cell, 1], runs[first[cell] :])
    return first, runs, fault


@compiled
def decode_one(text: NDArray[np.uint8], pixels: int, runs: NDArray[np.int32]) -> int:
    """Fill the runs of one mask of an image with so many pixels; return its fault, 0 for none."""
    at, before, current, number, position = 0, 0, 0, 0, 0
    while at < len(text):
        value, shift, more = 0, 0, True
        while more:
            char = np.int64(text[at]) - 48 if at < len(text) else np.int64(-1)
            if char < 0 or char > 63 or shift > 55:
                return BAD_TEXT
            more = (char & 32) != 0
            value |= (char & 31) << shift
            shift += 5
            at += 1
            if not more and (char & 16):
                value |= -1 << shift
        if number > 2:  # counts from the fourth on are differences from the last but one
            value += before
        before, current = current, value
        if value < 0:
            return NEGATIVE_RUN
        if position + value > pixels:
            return WRONG_SUM
        if number % 2 == 1:
            runs[number // 2, 0], runs[number // 2, 1] = position, position + value
        position += value
        number += 1
    return 0 if position == pixels else WRONG_SUM


@compiled
def measure_runs(runs: NDArray[np.int32], first: Ints, heights: Ints) -> tuple[Ints, NDArray[np.int32]]:
    """Pixels (N,) and extents (N, 4), x0 y0 x1 y1 with x1, y1 outside; an empty mask has the extent 0 0 0 0."""
    pixels, extents = np.zeros(len(heights), np.int64), np.zeros((len(heights), 4), np.int32)
    for cell in range(len(heights)):
        height = heights[cell]
        x0, y0, x1, y1 = np.int64(2**31 - 1), height, np.int64(-1), np.int64(-1)
        for run in range(first[cell], first[cell + 1]):
            start, end = np.int64(runs[run, 0]), np.int64(runs[run, 1])
            if start == end:
                continue
            pixels[cell] += end - start
            left, right = start // height, (end - 1) // height
            x0, x1 = min(x0, left), max(x1, right)
            if left == right:
                y0, y1 = min(y0, start - left * height), max(y1, end - 1 - right * height)
            else:
                y0, y1 = 0, height - 1
        if x1 >= 0:
            extents[cell, 0], extents[cell, 1], extents[cell, 2], extents[cell, 3] = x0, y0, x1 + 1, y1 + 1
    return pixels, extents


@compiled
def encode_crops(pixels: Flags, boxes: NDArray[np.int32], height: int, width: int) -> tuple[NDArray[np.uint8], Ints]:
    """COCO's compressed counts of masks of which only a box is at hand: their text, and where each ends.

    pixels holds the boxes' rows, one box after the other; boxes (N, 4) are x y width height within the image.
    """
    most = 0
    for cell in range(len(boxes)):
        most += 2 + 2 * boxes[cell, 2] * ((boxes[cell, 3] + 1) // 2)  # counts at most: every second pixel of a column
    text, ends = np.empty(7 * most, np.uint8), np.zeros(len(boxes), np.int64)
    begin, at = 0, 0
    for cell in range(len(boxes)):
        x, y, w, h = boxes[cell]
        edge, inside, number, before, last = 0, False, 0, 0, 0
        for column in range(w):
            top = (x + column) * height + y
            goes_on = h == height and column < w - 1  # a run may, over the foot of a column
            for row in range(h + 1):
                seen = pixels[begin + row * w + column] if row < h else inside and goes_on
                if seen != inside:
                    count = top + row - edge
                    at = _write_count(text, at, count - before if number > 2 else count)
                    edge, inside, number, before, last = top + row, seen, number + 1, last, count
        if edge < height * width:
            count = height * width - edge
            at = _write_count(text, at, count - before if number > 2 else count)
        begin += w * h
        ends[cell] = at
    return text[:at], ends


@compiled
def _write_count(text: NDArray[np.uint8], at: int, value: int) -> int:
    """Put a number into the text, 5 bits a byte, the sixth says that more follow; return where the next one goes."""
    more = True
    while more:
        bits = value & 31
        value >>= 5
        more = value != (-1 if bits & 16 else 0)
        text[at] = bits + (32 if more else 0) + 48
        at += 1
    return at


@compiled
def unroll(runs: NDArray[np.int32], box: tuple[int, int, int, int], height: int) -> Mask:
    """The mask with these runs, cut to its box (left, top, right, bottom), in an image that is so high."""
    left, top, right, bottom = box
    mask = np.zeros((bottom - top, right - left), np.bool_)
    for start, stop in runs:
        for pixel in range(start, stop):
            mask[pixel % height - top, pixel // height - left] = True
    return mask
