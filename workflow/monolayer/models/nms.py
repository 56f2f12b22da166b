"""Which of overlapping boxes stay (non-maximum suppression), as a compiled loop."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from monolayer.compiled import Ints, compiled

Float = NDArray[np.float32]


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
