"""The ellipse with the second moments of a cell, the one definition of its axes; pixels count as points."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from monolayer.coco.rle import Placed
from monolayer.compiled import Floats, Ints


class Packed(NamedTuple):
    """Cells as one list of pixels: those of cell i are first[i]:first[i + 1]; each has at least one."""

    y: Ints
    x: Ints
    first: Ints

    @property
    def cell(self) -> Ints:
        return np.repeat(np.arange(len(self.first) - 1), np.diff(self.first))


class Ellipses(NamedTuple):
    """As scikit-image's regionprops has them, of N cells."""

    area: Floats  # px² of the cell
    x: Floats  # px, the centroid
    y: Floats
    major: Floats  # px², variance along the longer axis, which is 4 times its root long
    minor: Floats
    angle: Floats  # radians, of the longer axis, from x towards y


def pack(crops: Sequence[Placed]) -> Packed:
    """The pixels of the cells; a cell without a pixel is refused by `Instances.results`, and here."""
    ys, xs = [np.zeros(0, np.int64)], [np.zeros(0, np.int64)]
    for mask, x, y in crops:
        rows, columns = np.nonzero(mask)
        ys.append(rows + y)
        xs.append(columns + x)
    sizes = [len(rows) for rows in ys]
    if 0 in sizes[1:]:
        raise ValueError(f"cell {sizes[1:].index(0) + 1} has no pixel; leave it out")
    return Packed(np.concatenate(ys), np.concatenate(xs), np.cumsum(sizes))


def ellipses(cell: Ints, x: Ints, y: Ints) -> Ellipses:
    """Of cells 0, 1, ... from the cell and the place of each pixel."""
    area = np.bincount(cell).astype(np.float64)

    def mean(values: Floats | Ints) -> Floats:
        return np.asarray(np.bincount(cell, values, len(area)) / area, np.float64)

    centre_x, centre_y = mean(x), mean(y)
    dx, dy = x - centre_x[cell], y - centre_y[cell]
    xx, yy, xy = mean(dx * dx), mean(dy * dy), mean(dx * dy)
    middle, half = (xx + yy) / 2, np.hypot((xx - yy) / 2, xy)
    angle = np.arctan2(2 * xy, xx - yy) / 2
    return Ellipses(area, centre_x, centre_y, middle + half, np.maximum(middle - half, 0), angle)
