"""Linking 100 frames of 500 cells on one core, beside laptrack's own `predict` of the same cells: the same links.

    python tests/benchmarks/tracking.py [--frames 100] [--cells 500] [--repeats 3]

CPU seconds, the best of the repeats, so that other work on the machine does not count. Cells wander, divide and are
missed as in a plate: about 2 % a frame are not found, and three divide every second frame.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from typing import TypeVar

import numpy as np
from laptrack import LapTrack
from monolayer.compiled import Floats
from monolayer.tracking.drift import drifts
from monolayer.tracking.linking import Reach, link

DIAMETER = 14.0
Result = TypeVar("Result")


def wandering(cells: int, frames: int) -> list[Floats]:
    """Places (N, 2) xy of the cells of each frame, at the density of a crowded well."""
    rng = np.random.default_rng(0)
    side = 1.6 * DIAMETER * cells**0.5
    places, found = rng.random((cells, 2)) * side, []
    for frame in range(frames):
        places = places + rng.normal(0, DIAMETER / 7, places.shape)
        found.append(places[rng.random(len(places)) > 0.02])
        if frame % 2:
            mothers = rng.integers(len(places), size=3)
            places = np.r_[places, places[mothers] + rng.normal(0, DIAMETER / 3, (3, 2))]
    return found


def best(work: Callable[[], Result], repeats: int) -> tuple[float, Result]:
    times, result = [], work()  # loads and warms up
    for _ in range(repeats):
        started = time.process_time()
        result = work()
        times.append(time.process_time() - started)
    return min(times), result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--frames", type=int, default=100)
    parser.add_argument("--cells", type=int, default=500)
    parser.add_argument("--repeats", type=int, default=3)
    args = parser.parse_args()
    frames = wandering(args.cells, args.frames)
    areas = [np.ones(len(frame)) for frame in frames]
    reach = Reach(1.5 * DIAMETER, 1.5 * DIAMETER, 2, 1.2 * DIAMETER, float("inf"))
    plain = LapTrack(  # type: ignore[call-arg]
        cutoff=reach.move**2,
        gap_closing_cutoff=reach.gap_move**2,
        gap_closing_max_frame_count=reach.gap_frames + 1,
        splitting_cutoff=reach.division**2,
        segment_start_cost=reach.alone,
        segment_end_cost=reach.alone,
        no_splitting_cost=reach.alone,
        no_merging_cost=reach.alone,
    )
    ours, links = best(lambda: link(frames, areas, reach), args.repeats)
    theirs, graph = best(lambda: plain.predict(frames), args.repeats)
    drift, _ = best(lambda: drifts(frames, DIAMETER, 5 * DIAMETER), args.repeats)
    first = np.cumsum([0, *map(len, frames)])
    same = {(int(first[a] + i), int(first[b] + j)) for (a, i), (b, j) in graph.edges}
    assert same == set(zip(links.before.tolist(), links.after.tolist(), strict=True)), "other links"
    cells = sum(map(len, frames))
    print(f"{args.frames} frames, {cells} cells, {len(links.before)} links, the same ones")
    print(f"monolayer {ours:.2f} s, and {drift:.2f} s for the drift; laptrack {theirs:.2f} s: {theirs / ours:.1f} x")


if __name__ == "__main__":
    main()
