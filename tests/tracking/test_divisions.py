"""Division times: Kaplan-Meier by hand, and what cannot be said."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from monolayer.tracking.divisions import division_rows, survival


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
    assert every.median() == (3, 3, 3)
    assert survival([], [4, 5]) is None


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
