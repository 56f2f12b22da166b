"""Cells linked in all frames at once: the cheapest set of links of the whole time-lapse, as an integer program.

By motile (Malin-Mayer & Funke, https://github.com/funkelab/motile) and the solver SCIP. What may be linked, and what it
costs, is as in `linking`, where laptrack chooses frame by frame.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from itertools import combinations
from typing import Any, NamedTuple

import numpy as np

from monolayer.compiled import Floats
from monolayer.files import InputError
from monolayer.tracking.linking import Links, Reach, within

KEPT = 3.0  # what a cell is worth, in costs of a track's end: more than its being alone costs, so that none is left out
Edge = tuple[int, int]


class Candidate(NamedTuple):
    """A link that may be chosen: distance in px, and whether a frame lies in between."""

    distance: float
    gap: bool


def link(frames: Sequence[Floats], areas: Sequence[Floats], reach: Reach) -> Links:
    """Links of the cells of frames (N, 2) xy px; no cell has two before it, and at most two behind it."""
    try:
        from motile import Solver, TrackGraph, constraints, costs, variables
    except ImportError as error:
        cure = "install it (pip install 'monolayer[motile]', uv sync --group motile), or take laptrack"
        raise InputError(f"track.tracker is motile, which is not here ({error}); {cure}") from error
    found = candidates(frames, reach)
    if not found:
        return Links(np.zeros(0, np.int64), np.zeros(0, np.int64))
    graph = TrackGraph()
    for cell, frame in enumerate(np.repeat(np.arange(len(frames)), [len(frame) for frame in frames]).tolist()):
        graph.add_node(cell, {"t": frame})
    for edge, candidate in found.items():
        graph.add_edge(edge, {"cost": candidate.distance**2 / reach.alone})
    solver = Solver(graph)
    solver.add_cost(costs.NodeSelectedCost(constant=-KEPT))
    solver.add_cost(costs.NodeAppearCost(constant=1.0))
    solver.add_cost(costs.NodeDisappearCost(constant=1.0))
    solver.add_cost(costs.EdgeSelectedCost(attribute="cost"))
    solver.add_constraint(constraints.MaxParents(1))
    solver.add_constraint(constraints.MaxChildren(2))
    chosen = solver.get_variables(variables.EdgeSelected)
    for constraint in daughters(found, np.concatenate(areas), reach, chosen):
        solver.constraints.add(constraint)
    solution = solver.solve(num_threads=1)
    picked = sorted(edge for edge in found if solution[int(chosen[edge].index or 0)] > 0.5)
    links = np.array(picked, np.int64).reshape(-1, 2)
    return Links(links[:, 0], links[:, 1])


def candidates(frames: Sequence[Floats], reach: Reach) -> dict[Edge, Candidate]:
    """The links within reach, of cells numbered over all frames."""
    first = np.cumsum([0, *map(len, frames)])
    found = dict[Edge, Candidate]()
    for away in range(1, reach.gap_frames + 2):
        far = max(reach.move, reach.gap_move, reach.division) if away == 1 else reach.gap_move
        for before in range(len(frames) - away):
            near = within(frames[before], frames[before + away], far)
            starts, ends = (near.row + first[before]).tolist(), (near.column + first[before + away]).tolist()
            for start, end, distance in zip(starts, ends, np.sqrt(near.cost).tolist(), strict=True):
                found[start, end] = Candidate(distance, away > 1)
    return found


def daughters(found: dict[Edge, Candidate], areas: Floats, reach: Reach, chosen: Any) -> Iterator[Any]:
    """Constraints: two links of a cell are to daughters, near and small enough; a link that is too far has a sister."""
    alone = max(reach.move, reach.gap_move)
    of_mother: dict[int, list[Edge]] = defaultdict(list)
    for edge in found:
        of_mother[edge[0]].append(edge)

    def may_be(a: Edge, b: Edge) -> bool:
        near, far = sorted((found[a].distance, found[b].distance))
        fits = areas[a[1]] + areas[b[1]] <= reach.division_area * areas[a[0]]
        return bool(near < alone and far < reach.division and fits and not (found[a].gap or found[b].gap))

    for edges in of_mother.values():
        pairs = {pair: may_be(*pair) for pair in combinations(edges, 2)}
        if len(edges) > 1 and not any(pairs.values()):
            yield sum((chosen[edge] for edge in edges[1:]), chosen[edges[0]]) <= 1
        else:
            yield from (chosen[a] + chosen[b] <= 1 for (a, b), may in pairs.items() if not may)
        for edge in (edge for edge in edges if not found[edge].gap and found[edge].distance >= alone):
            sisters = [other for pair, may in pairs.items() if may and edge in pair for other in pair if other != edge]
            left = [chosen[edge] - chosen[other] if n == 0 else -chosen[other] for n, other in enumerate(sisters)]
            yield sum(left[1:], left[0]) <= 0 if sisters else chosen[edge] <= 0
