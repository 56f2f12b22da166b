"""Cells linked from frame to frame, over gaps, and to their mothers: laptrack's linear assignments, made sparse.

Which links are possible and what they cost is found with trees of near points in place of all pairs and table look-ups;
laptrack (Jaqaman et al. 2008, Nature Methods 5, 695) weighs and chooses them. Its own `predict` finds the same links.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np

from monolayer.compiled import Flags, Floats, Ints
from monolayer.params.steps import LinkParams
from monolayer.tracking.drift import drifts


class Links(NamedTuple):
    """Pairs of cells, numbered over all frames: earlier and later."""

    before: Ints
    after: Ints


class Possible(NamedTuple):
    """Links that may be chosen, by row and column of an assignment, and the squared distance of each."""

    row: Ints
    column: Ints
    cost: Floats

    def take(self, chosen: Flags) -> Possible:
        return Possible(self.row[chosen], self.column[chosen], self.cost[chosen])


class Reach(NamedTuple):
    """px: how far a cell moves from frame to frame, over a gap and from her mother; frames of a gap; largest areas."""

    move: float
    gap_move: float
    gap_frames: int
    division: float
    division_area: float

    @staticmethod
    def of(params: LinkParams, diameter: float) -> Reach:
        lengths = (params.max_move, params.gap_move, params.division_move)
        move, gap, division = (length * diameter for length in lengths)
        return Reach(move, gap, params.gap_frames, division, params.division_area)

    @property
    def alone(self) -> float:
        """The cost of no link behind a track, nor before it, nor to a daughter: more than that of any within reach.

        laptrack's own, a percentile of the links at hand, refuses the one division of a small colony for being farther
        than a gap.
        """
        return 1.05 * max(self.gap_move, self.division) ** 2


Linker = Callable[[Sequence[Floats], Sequence[Floats], Reach], Links]  # of each frame's places and areas


class Followed(NamedTuple):
    """The links of cells; where the stage was in each frame (T, 2), and each frame's places (N, 2) without that, px."""

    links: Links
    drift: Floats
    steady: list[Floats]


def follow(
    places: Sequence[Floats], areas: Sequence[Floats], params: LinkParams, linker: Linker | None = None
) -> Followed:
    """Link the cells of frames, (N, 2) xy px and (N,) px² each, by laptrack where no other linker is given."""
    every = np.concatenate(areas)
    diameter = float(np.sqrt(4 * np.median(every) / np.pi)) if len(every) else 0.0
    drift = drifts(places, diameter, params.drift * diameter)
    steady = [place - moved for place, moved in zip(places, drift, strict=True)]
    reach = Reach.of(params, diameter)
    reach = reach._replace(move=max(reach.move, params.sparse_move * spacing(steady)))
    return Followed((linker or link)(steady, areas, reach), drift, steady)


def spacing(frames: Sequence[Floats]) -> float:
    """The median distance of a cell to its nearest neighbour in the frame; 0 where there are none."""
    from scipy.spatial import cKDTree

    nearest = [cKDTree(frame).query(frame, 2)[0][:, 1] for frame in frames if len(frame) > 1]
    return float(np.median(np.concatenate(nearest))) if nearest else 0.0


def link(frames: Sequence[Floats], areas: Sequence[Floats], reach: Reach) -> Links:
    """Links of the cells of frames (N, 2) xy px; no cell has two before it, and at most two behind it."""
    points = np.concatenate(frames)
    frame_of = np.repeat(np.arange(len(frames)), [len(frame) for frame in frames])
    first = np.r_[0, np.cumsum([len(frame) for frame in frames])]
    steps = [next_frame(a, b, reach.move) for a, b in pairwise(frames)]
    nothing = np.zeros(0, np.int64)
    before = np.concatenate([nothing, *(step.before + at for step, at in zip(steps, first[:-2], strict=True))])
    after = np.concatenate([nothing, *(step.after + at for step, at in zip(steps, first[1:-1], strict=True))])
    more = segments(points, frame_of, Links(before, after), np.concatenate(areas), reach)
    return Links(np.r_[before, more.before], np.r_[after, more.after])


def within(a: Floats, b: Floats, reach: float) -> Possible:
    """All pairs of points of (N, 2) and (M, 2) that are nearer than `reach`, row by row."""
    from scipy.spatial import cKDTree

    if not len(a) or not len(b) or reach <= 0:
        return Possible(np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros(0))
    found = cKDTree(a).sparse_distance_matrix(cKDTree(b), reach * (1 + 1e-9), output_type="ndarray")
    row, column = found["i"].astype(np.int64), found["j"].astype(np.int64)
    order = np.lexsort((column, row))
    row, column = row[order], column[order]
    cost = ((a[row] - b[column]) ** 2).sum(1)
    near = cost < reach**2
    return Possible(row[near], column[near], cost[near])


def next_frame(a: Floats, b: Floats, reach: float) -> Links:
    """Links of the cells of two frames that follow each other, numbered within each."""
    from laptrack._cost_matrix import build_frame_cost_matrix
    from laptrack._optimization import lap_optimization

    possible = within(a, b, reach)
    if not len(possible.row):
        return Links(possible.row, possible.column)
    costs = build_frame_cost_matrix(sparse(possible, (len(a), len(b))), track_start_cost=None, track_end_cost=None)
    chosen, _ = lap_optimization(costs)
    chosen = np.asarray(chosen[: len(a)], np.int64)
    linked = np.flatnonzero(chosen < len(b))
    return Links(linked, chosen[linked])


def sparse(possible: Possible, shape: tuple[int, int], kind: type[np.floating] = np.float64) -> Any:
    from laptrack._coo_matrix_builder import coo_matrix_builder

    return coo_matrix_builder(shape, row=possible.row, col=possible.column, data=possible.cost, dtype=kind)


def segments(points: Floats, frame_of: Ints, links: Links, areas: Floats, reach: Reach) -> Links:
    """Links of the ends of unbroken tracks: to where another begins, and to daughters that begin beside a cell."""
    from laptrack._cost_matrix import build_segment_cost_matrix
    from laptrack._optimization import lap_optimization

    starts = np.setdiff1d(np.arange(len(points)), links.after)
    ends = _ends(starts, links, len(points))
    gaps = within(points[ends], points[starts], reach.gap_move)
    away = frame_of[starts[gaps.column]] - frame_of[ends[gaps.row]]
    gaps = gaps.take((away >= 1) & (away <= reach.gap_frames + 1))
    births = _births(points, frame_of, starts, reach.division)
    births = _of_fitting_areas(births, starts, links, areas, reach.division_area)
    mothers, column = np.unique(births.column, return_inverse=True)
    count = len(starts)
    costs = build_segment_cost_matrix(
        sparse(gaps, (count, count), np.float32),
        sparse(births._replace(column=column), (count, len(mothers)), np.float32),
        sparse(Possible(column[:0], column[:0], births.cost[:0]), (count, 0), np.float32),
        *(reach.alone,) * 4,
    )
    if costs is None:
        return Links(starts[:0], starts[:0])
    right, down = (np.asarray(chosen[:count], np.int64) for chosen in lap_optimization(costs))
    bridged = np.flatnonzero(right < count)
    born = np.flatnonzero((down >= count) & (down < count + len(mothers)))
    before = np.r_[ends[bridged], mothers[down[born] - count]]
    return Links(before, np.r_[starts[right[bridged]], starts[born]])


def _ends(starts: Ints, links: Links, count: int) -> Ints:
    """The last cell of the unbroken track that begins with each of `starts`."""
    following = np.full(count, -1)
    following[links.before] = links.after
    ends = starts.copy()
    while (on := following[ends] >= 0).any():
        ends[on] = following[ends[on]]
    return ends


def _births(points: Floats, frame_of: Ints, starts: Ints, reach: float) -> Possible:
    """Links from each start (row) to the cells of the frame before it (column, numbered over all frames)."""
    parts = [Possible(np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros(0))]
    for frame in np.unique(frame_of[starts]):
        own, others = np.flatnonzero(frame_of[starts] == frame), np.flatnonzero(frame_of == frame - 1)
        near = within(points[starts[own]], points[others], reach)
        parts.append(Possible(own[near.row], others[near.column], near.cost))
    rows, columns, costs = zip(*parts, strict=True)
    return Possible(np.concatenate(rows), np.concatenate(columns), np.concatenate(costs))


def _of_fitting_areas(births: Possible, starts: Ints, links: Links, areas: Floats, largest: float) -> Possible:
    """Those births whose two daughters are together at most `largest` times as large as the mother."""
    sister = np.full(len(areas), -1)
    sister[links.before] = links.after
    other = sister[births.column]
    both = areas[starts[births.row]] + np.where(other >= 0, areas[other], 0.0)
    return births.take((both <= largest * areas[births.column]) | (other < 0))
