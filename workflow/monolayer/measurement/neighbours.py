"""How the cells of an image lie to each other: the nearest one, those that touch, how dense it is around."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from monolayer.compiled import Floats, Ints, compiled
from monolayer.measurement.morphology import Columns
from monolayer.params.steps import NeighbourParams

CHORDS = 64  # strips that a disk is cut into; its area within an image is then off by less than 0.5 %


def neighbours(centroids_xy: Floats, labels: NDArray[np.int32], params: NeighbourParams) -> Columns:
    """Relations of the cells 1, 2, ... of a label image (H, W) with these centroids (N, 2)."""
    return {
        "nearest_neighbour_px": nearest(centroids_xy),
        "touching_neighbours": touching(labels, len(centroids_xy), params.gap),
        "local_density_per_mpx": local_density(centroids_xy, labels.shape, params.radius),
    }


def nearest(centroids_xy: Floats) -> Floats:
    """Distance (px) from each centroid to the next one; NaN for a cell that is alone."""
    from scipy.spatial import cKDTree

    if len(centroids_xy) < 2:
        return np.full(len(centroids_xy), np.nan)
    distances, _ = cKDTree(centroids_xy).query(centroids_xy, k=2)
    return np.asarray(distances[:, 1], np.float64)


def local_density(centroids_xy: Floats, shape: tuple[int, ...], radius: float) -> Floats:
    """Centroids within `radius` px of each, itself included, per megapixel of that disk that lies in the image."""
    from scipy.spatial import cKDTree

    if not len(centroids_xy):
        return np.zeros(0)
    tree = cKDTree(centroids_xy)
    counts = tree.query_ball_point(centroids_xy, radius, return_length=True)
    return np.asarray(counts / disk_area(centroids_xy, shape, radius) * 1e6, np.float64)


def disk_area(centres_xy: Floats, shape: tuple[int, ...], radius: float) -> Floats:
    """Area (px²) of the part of disks around these centres (N, 2) that lies in an image of that shape (H, W)."""
    height, width = shape
    centre_x, y = centres_xy[:, :1], centres_xy[:, 1:]
    # a pixel's centre is at a whole number: the image reaches from -0.5 to its size - 0.5
    left, right = np.maximum(centre_x - radius, -0.5), np.minimum(centre_x + radius, width - 0.5)
    x = left + (right - left) * (np.arange(CHORDS) + 0.5) / CHORDS  # (N, CHORDS) middles of strips
    half = np.sqrt(np.maximum(radius**2 - (x - centre_x) ** 2, 0))
    chord = np.minimum(y + half, height - 0.5) - np.maximum(y - half, -0.5)
    return np.asarray((chord.mean(1, keepdims=True) * (right - left))[:, 0], np.float64)


def touching(labels: NDArray[np.int32], count: int, gap: int) -> Ints:
    """How many others of the cells 1 ... count come as close to each cell as `gap` px of background between them.

    ASSUME: where cells overlap, the part that the label image shows of each lies against the other.
    """
    pairs = np.unique(close_pairs(np.ascontiguousarray(labels), gap + 1, count + 1))
    ones, others = np.divmod(pairs, count + 1)
    return np.asarray(np.bincount(np.r_[ones, others], minlength=count + 1)[1:], np.int64)


@compiled
def close_pairs(labels: NDArray[np.int32], reach: int, base: int) -> Ints:
    """a * base + b for pixels of cells a < b that are at most `reach` rows and columns apart, with repeats."""
    height, width = labels.shape
    found = np.empty(1024, np.int64)
    count = 0
    last = np.int64(-1)
    for y in range(height):
        for x in range(width):
            one = labels[y, x]
            if one == 0:
                continue
            for down in range(min(reach, height - 1 - y) + 1):
                for across in range(max(-reach, -x), min(reach, width - 1 - x) + 1):
                    other = labels[y + down, x + across]
                    if other == 0 or other == one:  # noqa: PLR1714 - compiled, where tuples hold one type
                        continue
                    pair = min(one, other) * base + max(one, other)
                    if pair != last:
                        if count == len(found):
                            found = np.concatenate((found, np.empty(count, np.int64)))
                        found[count] = last = pair
                        count += 1
    return found[:count]
