"""Compiled loops over the masks of a YOLO: prototypes combined within boxes."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from monolayer.compiled import compiled
from monolayer.models.unet.tiling import Float


@compiled
def fill(
    coefficients: Float, protos: Float, corners: NDArray[np.int32], begin: NDArray[np.int64], zoom: tuple[float, float]
) -> NDArray[np.bool_]:
    """Where the bilinear combination of prototypes (h, w, C) is positive, box after box, the rows of each in turn.

    zoom: prototype px of one native px, down and across.
    """
    height, width, channels = protos.shape
    zoom_y, zoom_x = zoom
    size = 0
    for x0, y0, x1, y1 in corners:
        size += (x1 - x0) * (y1 - y0)
    filled = np.zeros(size, np.bool_)
    for cell in range(len(corners)):
        x0, y0, x1, y1 = corners[cell]
        left, upper = _before(x0, zoom_x, width)[0], _before(y0, zoom_y, height)[0]
        columns, rows = _before(x1 - 1, zoom_x, width)[0] + 2 - left, _before(y1 - 1, zoom_y, height)[0] + 2 - upper
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
            row, down = _before(y, zoom_y, height)
            for x in range(x0, x1):
                column, right = _before(x, zoom_x, width)
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
