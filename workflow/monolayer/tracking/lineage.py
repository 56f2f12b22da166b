"""From links to lineages: which track each cell belongs to, its mother's, its generation; and the numbers of tracks."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np

from monolayer.compiled import Flags, Floats, Ints
from monolayer.tracking.linking import Links
from monolayer.tracking.timelapse import DIGITS, Timelapse


class Lineage(NamedTuple):
    """Of each cell of a time-lapse, in the order of frames: its track, from 1 on, its mother's or 0, its generation.

    A track ends where a cell divides, and its daughters begin theirs; a gap does not end it.
    """

    track: Ints
    parent: Ints
    generation: Ints


def lineage(frame_of: Ints, links: Links) -> Lineage:
    """The lineage of cells in the order of their frames."""
    count = len(frame_of)
    before = np.full(count, -1)
    before[links.after] = links.before
    children = np.bincount(links.before, minlength=count)
    track, parent, generation = np.zeros((3, count), np.int64)
    new = 1
    for cell in range(count):
        last = before[cell]
        if last >= 0 and children[last] == 1:
            track[cell], parent[cell], generation[cell] = track[last], parent[last], generation[last]
            continue
        track[cell] = new
        new += 1
        if last >= 0:
            parent[cell], generation[cell] = track[last], generation[last] + 1
    return Lineage(track, parent, generation)


class WellCells(NamedTuple):
    """The cells of a time-lapse, in the order of frames."""

    frame: Ints  # number
    time: Floats
    x: Floats  # px, drift taken out
    y: Floats
    area: Floats  # px²
    at_edge: Flags  # of the image


def track_rows(lapse: Timelapse, cells: WellCells, found: Lineage, pixel_size_um: float | None) -> list[dict[str, Any]]:
    """A row for each track."""
    order = np.argsort(found.track, kind="stable")
    bounds = np.searchsorted(found.track[order], np.arange(1, found.track.max(initial=0) + 2))
    time_of = dict(zip(cells.frame.tolist(), cells.time.tolist(), strict=True))
    divided: dict[int, float] = {}  # when the first daughter of each mother is seen
    for cell in order[bounds[:-1]].tolist():
        mother = int(found.parent[cell])
        divided[mother] = min(divided.get(mother, math.inf), float(cells.time[cell]))
    um = math.nan if pixel_size_um is None else pixel_size_um
    rows = []
    for start, end in pairwise(bounds.tolist()):
        own = order[start:end]
        number, parent = int(found.track[own[0]]), int(found.parent[own[0]])
        divides = number in divided
        frames = cells.frame[own]
        ends = "divides" if divides else "end" if frames[-1] == lapse.frames[-1] else "lost"
        ends = "edge" if ends == "lost" and cells.at_edge[own[-1]] else ends
        until = divided[number] if divides else float(cells.time[own[-1]])
        lived = round(until - time_of[int(frames[0])], DIGITS)
        moves = _moves(cells, own)
        rows.append(
            {
                "cell_line": lapse.cell_line,
                "well": lapse.well,
                "timelapse": lapse.name,
                "track": number,
                "parent": parent or None,
                "generation": int(found.generation[own[0]]),
                "first_frame": int(frames[0]),
                "last_frame": int(frames[-1]),
                "frames": len(own),
                "missing_frames": int(frames[-1] - frames[0] + 1 - len(own)),
                "ends": ends,
                "time_unit": lapse.time_unit,
                "start_time": time_of[int(frames[0])],
                "end_time": time_of[int(frames[-1])],
                "lifetime": lived,
                "division_time": lived if divides and parent else math.nan,
                "censored": not (divides and parent),
                **moves,
                **{name.replace("_px", "_um"): value * um for name, value in moves.items()},
                **_areas(cells, own),
            }
        )
    return rows


def _moves(cells: WellCells, own: Ints) -> dict[str, float]:
    """Path, net move and mean speed of a track."""
    x, y, time = cells.x[own], cells.y[own], cells.time[own]
    path = float(np.hypot(np.diff(x), np.diff(y)).sum())
    lived = float(time[-1] - time[0])
    return {
        "path_px": path,
        "net_move_px": float(np.hypot(x[-1] - x[0], y[-1] - y[0])),
        "speed_px_per_time": path / lived if lived else math.nan,
    }


def _areas(cells: WellCells, own: Ints) -> dict[str, float]:
    """Area of a track over time: first, last, mean, and its exponential rate of growth."""
    area, time = cells.area[own], cells.time[own]
    rate = float(np.polyfit(time - time[0], np.log(area), 1)[0]) if len(own) > 2 else math.nan
    return {
        "first_area_px2": float(area[0]),
        "last_area_px2": float(area[-1]),
        "mean_area_px2": float(area.mean()),
        "area_rate_per_time": rate,
    }
