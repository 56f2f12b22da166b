"""How the stage drifts: the step from one frame to the next that most cells have in common."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from monolayer.compiled import Floats, Ints

BINS = 4  # of steps, per diameter
SHARE = 0.5  # of the cells of the smaller frame that have to agree on a step, and
LEAST = 3  # so many at least: two may do so by chance
NEAR = 0.9  # a shorter step with so large a share of the most votes is taken: a lattice of cells fits itself again


def drifts(frames: Sequence[Floats], diameter: float, reach: float) -> Floats:
    """Where each frame (N, 2) xy lies, (T, 2) px from the first; steps are of at most `reach` px."""
    at = np.zeros((len(frames), 2))
    last: Floats | None = None
    for number, frame in enumerate(frames):
        at[number] = at[number - 1] if number else 0
        if last is not None and len(frame) and reach > 0:
            at[number] += step(last, frame, diameter, reach)
        if len(frame):
            last = frame
    return at


def step(before: Floats, after: Floats, diameter: float, reach: float) -> Floats:
    """The step (2,) px that most pairs of cells of two frames have in common; 0 where too few agree."""
    from scipy import ndimage
    from scipy.spatial import cKDTree

    found = cKDTree(before).sparse_distance_matrix(cKDTree(after), reach, output_type="ndarray")
    moves = after[found["j"]] - before[found["i"]]
    side = diameter / BINS
    half = int(np.ceil(reach / side))
    edges = (np.arange(2 * half + 2) - half - 0.5) * side
    votes, _, _ = np.histogram2d(moves[:, 0], moves[:, 1], (edges, edges))
    votes = ndimage.uniform_filter(votes, 3, mode="constant") * 9
    good = np.argwhere(votes >= NEAR * votes.max()) - half
    best = good[np.argmin((good**2).sum(1))]
    best = best + _rise(votes, best + half)
    near = moves[(np.abs(moves - best * side) <= 1.5 * side).all(1)]
    if len(near) < max(LEAST, SHARE * min(len(before), len(after))):
        return np.zeros(2)
    return np.asarray(np.median(near, axis=0), np.float64)


def _rise(votes: Floats, at: Ints) -> Ints:
    """From a bin on the edge of a peak to the top beside it."""
    rows, columns = (slice(max(0, centre - 1), centre + 2) for centre in at)
    window = votes[rows, columns]
    top = np.unravel_index(int(window.argmax()), window.shape)
    return np.array([rows.start + top[0], columns.start + top[1]]) - at
