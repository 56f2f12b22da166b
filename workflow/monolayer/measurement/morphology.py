"""Size, shape and brightness of cells, from their pixels alone: columns of numbers, one row per cell.

As scikit-image's regionprops defines them (tests hold them to it), but all cells of an image at once: a service
measures faster than it segments. Masks may overlap, so there is no label image in between.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from monolayer.coco.moments import Packed, ellipses
from monolayer.compiled import Floats, Ints, compiled

Columns = dict[str, NDArray[Any]]

FAR = 1 << 40  # beyond any pixel
HUGE = 1e150  # of grey values whose squares and sums are beyond what a float holds


def shapes(cells: Packed) -> Columns:
    """Area, position, moments and outline of each cell, in px and degrees."""
    area, x, y, major, minor, turn = ellipses(cells.cell, cells.x, cells.y)
    perimeter, hull, feret = outline_measures(cells.y, cells.x, cells.first)
    with np.errstate(divide="ignore", invalid="ignore"):
        circularity = np.minimum(4 * math.pi * area / perimeter**2, 1)  # cells of up to 3x3 px would exceed it
        eccentricity = np.where(major > 0, np.sqrt(1 - minor / major), 0.0)
    angle = -np.degrees(turn)  # y points down; people count angles the other way round
    return {
        "centroid_x_px": x,
        "centroid_y_px": y,
        "area_px2": area,
        "perimeter_px": perimeter,
        "feret_px": feret,
        "major_axis_px": 4 * np.sqrt(major),
        "minor_axis_px": 4 * np.sqrt(minor),
        "eccentricity": eccentricity,
        "solidity": area / hull,
        "circularity": circularity,
        "orientation_deg": np.where(angle <= -90, angle + 180, angle) + 0.0,  # no -0
    }


def intensities(cells: Packed, pixels: NDArray[Any]) -> Columns:
    """Brightness of each cell in the grey values of the image (H, W)."""
    values = pixels[cells.y, cells.x]
    if (unit := float(np.abs(values).max(initial=0))) > HUGE:
        return {name: unit * column for name, column in _brightness(cells, values / unit).items()}
    return _brightness(cells, values)


def _brightness(cells: Packed, values: NDArray[Any]) -> Columns:
    first, last = cells.first[:-1], cells.first[1:]
    mean = _means(values, cells)
    middle = np.lexsort((values, cells.cell))
    low, high = values[middle[(first + last - 1) // 2]], values[middle[(first + last) // 2]]
    return {
        "intensity_mean": mean,
        "intensity_std": np.sqrt(_means((values - mean[cells.cell]) ** 2, cells)),
        "intensity_min": np.minimum.reduceat(values, first).astype(np.float64) if len(first) else mean,
        "intensity_median": (low.astype(np.float64) + high) / 2,
        "intensity_max": np.maximum.reduceat(values, first).astype(np.float64) if len(first) else mean,
    }


def _means(values: NDArray[Any], cells: Packed) -> Floats:
    """The mean of a value of each pixel over each cell."""
    return np.asarray(np.bincount(cells.cell, values, len(cells.first) - 1) / np.diff(cells.first), np.float64)


@compiled
def outline_measures(ys: Ints, xs: Ints, first: Ints) -> tuple[Floats, Floats, Floats]:
    """Perimeter (px), pixels of the convex hull and largest Feret diameter (px) of each cell."""
    count = len(first) - 1
    perimeter, hull, feret = np.zeros(count), np.zeros(count), np.zeros(count)
    for cell in range(count):
        y, x = ys[first[cell] : first[cell + 1]], xs[first[cell] : first[cell + 1]]
        top, left = y.min(), x.min()
        height, width = int(y.max() - top) + 1, int(x.max() - left) + 1
        mask = np.zeros((height + 2, width + 2), np.uint8)
        for at in range(len(y)):
            mask[y[at] - top + 1, x[at] - left + 1] = 1
        perimeter[cell] = outline_length(mask)
        hull[cell], feret[cell] = hull_measures(mask)
    return perimeter, hull, feret


@compiled
def outline_length(mask: NDArray[np.uint8]) -> float:
    """Perimeter in px of a mask with an empty border of 1 px, holes' too: Crofton's formula with four directions.

    A line meets the outline as often as mask and background change along it; scikit-image's perimeter_crofton. What
    counts border pixels instead is too short for cells of a few px (CellProfiler: circularity 3.1 of 2x2 px).
    """
    height, width = mask.shape
    straight = slanting = 0
    for y in range(height - 1):
        for x in range(width - 1):
            one, right, below, across = mask[y, x], mask[y, x + 1], mask[y + 1, x], mask[y + 1, x + 1]
            straight += (one ^ right) + (one ^ below)
            slanting += (one ^ across) + (right ^ below)
    return math.pi / 8 * (straight + slanting / math.sqrt(2))


@compiled
def hull_measures(mask: NDArray[np.uint8]) -> tuple[float, float]:
    """Pixels whose centre the convex hull holds, and the hull's largest diameter in px.

    The hull is that of the middles of the pixels' edges, as scikit-image's convex_hull_image has it. Coordinates are
    doubled so that they are whole: on each level (half row) the leftmost and the rightmost point matter.
    """
    height, width = mask.shape
    left, right = np.full(2 * height + 1, FAR), np.full(2 * height + 1, -FAR)
    for y in range(height):
        for x in range(width):
            if mask[y, x]:
                left[2 * y], right[2 * y] = min(left[2 * y], 2 * x - 1), max(right[2 * y], 2 * x + 1)
                for level in (2 * y - 1, 2 * y + 1):
                    left[level], right[level] = min(left[level], 2 * x), max(right[level], 2 * x)
    on_left, on_right = chain(left), chain(-right)
    pixels = 0.0
    for y in range(height):
        if on_left[0, 1] <= 2 * y <= on_left[-1, 1]:
            low, high = along(on_left, 2 * y), -along(on_right, 2 * y)
            pixels += math.floor(high / 2 + 1e-9) - math.ceil(low / 2 - 1e-9) + 1
    on_right[:, 0] *= -1
    corners = np.concatenate((on_left, on_right))
    longest = 0
    for i in range(len(corners)):
        for j in range(i):
            across, down = corners[i, 0] - corners[j, 0], corners[i, 1] - corners[j, 1]
            longest = max(longest, across * across + down * down)
    return pixels, math.sqrt(longest) / 2


@compiled
def chain(least: Ints) -> Ints:
    """The corners (N, 2) xy of the convex line left of the points (least[y], y); FAR where there is none."""
    corners, count = np.empty((len(least), 2), np.int64), 0
    for y in range(len(least)):
        x = least[y]
        if x == FAR:
            continue
        while count > 1:
            ax, ay = corners[count - 2]
            bx, by = corners[count - 1]
            if (bx - ax) * (y - ay) - (x - ax) * (by - ay) < 0:
                break
            count -= 1
        corners[count, 0], corners[count, 1] = x, y
        count += 1
    return corners[:count].copy()


@compiled
def along(corners: Ints, y: int) -> float:
    """x of a line of corners at the height y, which it reaches."""
    for at in range(1, len(corners)):
        if corners[at, 1] >= y:
            ax, ay = corners[at - 1]
            bx, by = corners[at]
            return float(ax + (bx - ax) * (y - ay) / (by - ay))
    return float(corners[0, 0])
