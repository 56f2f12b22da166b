"""Division times: Kaplan-Meier by hand, and what cannot be said."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from monolayer.tracking.divisions import division_rows, survival
from monolayer.tracking.lineage import Lineage, WellCells, track_rows
from monolayer.tracking.timelapse import Timelapse


def test_the_estimate_by_hand() -> None:
    """Ages 2, 4 and 6 divide; one is lost at 3, two at 7: 5/6 of six, then 3/4 of four, then 2/3 of three."""
    curve = survival([2, 4, 6], [3, 7, 7])
    assert curve is not None
    assert curve.age.tolist() == [0, 2, 4, 6]
    np.testing.assert_allclose(curve.share, [1, 5 / 6, 5 / 6 * 3 / 4, 5 / 6 * 3 / 4 * 2 / 3])
    assert (curve.low <= curve.share).all()
    assert (curve.high >= curve.share).all()
    assert curve.median()[0] == 6
    assert curve.median()[2] == math.inf


def test_all_divide_or_none() -> None:
    every = survival([3, 3, 3], [])
    assert every is not None
    assert every.share.tolist() == [1, 0]
    assert every.median() == (3, 3, math.inf)
    late = survival([3, 3], [2])
    assert late is not None
    assert late.high.tolist() == [1, 1]
    assert survival([], [4, 5]) is None


def test_three_that_divided_do_not_say_that_all_do() -> None:
    """As survfit of R has it (conf.type log-log), whose interval of the median is open too: its end was 6."""
    curve = survival([2, 4, 6], [])
    assert curve is not None
    np.testing.assert_allclose(curve.low, [1, 0.0541, 0.00896, 0], atol=5e-5)
    np.testing.assert_allclose(curve.high, [1, 0.945, 0.774, 0.774], atol=5e-4)
    assert curve.median() == (4, 2, math.inf)


def row(well: str, parent: int | None, lifetime: float, censored: bool) -> dict[str, Any]:
    return {
        "cell_line": "disk",
        "well": well,
        "time_unit": "h",
        "parent": parent,
        "lifetime": lifetime,
        "censored": censored,
    }


def test_only_cells_whose_birth_was_seen_count() -> None:
    tracks = [row("A1", 1, 8, False), row("A1", None, 2, True), row("B2", 3, 9, True)]
    rows = division_rows(tracks)
    assert [(r["well"], r["born"], r["divided"], r["time"]) for r in rows] == [
        ("A1", 1, 1, 0),
        ("A1", 1, 1, 8),
        ("B2", 1, 0, 0),
        ("all", 2, 1, 0),
        ("all", 2, 1, 8),
    ]
    assert rows[-1]["undivided"] == 0.5
    assert division_rows([]) == []


def test_ages_of_as_many_frames_are_one_age() -> None:
    """Every 20 minutes a frame, whose times tables have as 0.333333 and 0.666667 h: differences of these differ."""
    born, age = np.array([1, 2, 3, 4, 5, 6]), np.array([2, 2, 2, 2, 3, 2])
    divides = np.array([True, False, True, False, True, False])
    first = np.r_[np.zeros(6, np.int64), born, (born + age)[divides], (born + age)[divides]]
    last = np.r_[born - 1, born + age - divides, np.full(6, 9)]
    parent = np.r_[np.zeros(6, np.int64), np.arange(1, 7), np.tile(np.flatnonzero(divides) + 7, 2)]
    spans = [(track, frame) for track in range(18) for frame in range(first[track], last[track] + 1)]
    track, frame = np.array(sorted(spans, key=lambda one: one[1])).T
    times = np.round(np.arange(10) / 3, 6)
    zeros = np.zeros(len(frame))
    cells = WellCells(frame, times[frame], zeros, zeros, zeros + 9, zeros > 0)
    lapse = Timelapse("disk", "disk", "A1", [], list(range(10)), times.tolist(), "h")
    rows = track_rows(lapse, cells, Lineage(track + 1, parent[track], track * 0), None)
    of_six = [one | {"parent": one["parent"]} for one in rows if 7 <= one["track"] <= 12]
    found = division_rows(of_six)
    assert [(one["time"], round(one["undivided"], 6)) for one in found] == [(0, 1), (0.66667, 0.666667), (1, 0)]
    assert len({one["division_time"] for one in of_six if not one["censored"]}) == 2
