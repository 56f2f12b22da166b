"""Compiled loops of the finders: which of overlapping boxes stay, and masks within their boxes."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from monolayer.evaluation.pairs import compiled

Float = NDArray[np.float32]
Ints = NDArray[np.int64]


@compiled
def suppress(boxes: Float, scores: Float, iou_max: float) -> Ints:
    """Indices of the boxes xyxy (N, 4) that stay, best first: those that overlap no better one by more than iou_max.

    Equal to torchvision.ops.nms, ties and all. Boxes are sorted by their left edge besides, so that only those within
    a width of each other are compared.
    """
    area = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
    order = np.argsort(-scores, kind="mergesort")
    along = np.argsort(boxes[:, 0], kind="mergesort")
    left = boxes[along, 0]
    widest = np.float32(0)
    for box in range(len(boxes)):
        widest = max(widest, boxes[box, 2] - boxes[box, 0])
    rank = np.empty(len(boxes), np.int64)
    for place in range(len(boxes)):
        rank[order[place]] = place
    gone, kept, count = np.zeros(len(boxes), np.bool_), np.empty(len(boxes), np.int64), 0
    for place in range(len(boxes)):
        one = order[place]
        if gone[one]:
            continue
        kept[count] = one
        count += 1
        x0, y0, x1, y1 = boxes[one]
        near = np.searchsorted(left, x0 - widest - 1)  # a pixel for what rounding takes
        while near < len(boxes) and left[near] < x1:
            other = along[near]
            near += 1
            if gone[other] or rank[other] <= place:
                continue
            width = min(x1, boxes[other, 2]) - max(x0, boxes[other, 0])
            height = min(y1, boxes[other, 3]) - max(y0, boxes[other, 1])
            if width > 0 and height > 0:
                shared = width * height
                gone[other] = shared / (area[one] + area[other] - shared) > iou_max
    return kept[:count]


@compiled
def fill(
    coefficients: Float, protos: Float, corners: NDArray[np.int32], begin: NDArray[np.int64], zoom: float
) -> NDArray[np.bool_]:
    """Where the bilinear combination of prototypes (h, w, C) is positive, box after box, the rows of each in turn.

    zoom: prototype px of one native px.
    """
    height, width, channels = protos.shape
    size = 0
    for x0, y0, x1, y1 in corners:
        size += (x1 - x0) * (y1 - y0)
    filled = np.zeros(size, np.bool_)
    for cell in range(len(corners)):
        x0, y0, x1, y1 = corners[cell]
        left, upper = _before(x0, zoom, width)[0], _before(y0, zoom, height)[0]
        columns, rows = _before(x1 - 1, zoom, width)[0] + 2 - left, _before(y1 - 1, zoom, height)[0] + 2 - upper
        logits = np.empty((rows, columns), np.float32)
        for row in range(rows):
            for column in range(columns):
                place = protos[upper + row, left + column]
                total = np.float32(0)
                for channel in range(channels):
                    total += coefficients[cell, channel] * place[channel]
                logits[row, column] = total
        at = begin[cell]
        for y in range(y0, y1):
            row, down = _before(y, zoom, height)
            for x in range(x0, x1):
                column, right = _before(x, zoom, width)
                above, below = logits[row - upper, column - left :], logits[row - upper + 1, column - left :]
                over = above[0] * (1 - right) + above[1] * right
                under = below[0] * (1 - right) + below[1] * right
                filled[at] = over * (1 - down) + under * down > 0
                at += 1
    return filled


@compiled
def _before(pixel: int, zoom: float, length: int) -> tuple[int, float]:
    """The prototype px before a native px's centre, and the weight of the next."""
    centre = (pixel + 0.5) * zoom - 0.5
    before = min(max(int(np.floor(centre)), 0), length - 2)
    return before, np.float32(min(max(centre - before, 0.0), 1.0))
