"""Growth: times out of time stamps, and doubling times out of counts."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from monolayer.files import InputError
from monolayer.measurement.growth import first_date, fit, growth, moment, untimed


@pytest.mark.parametrize(
    ("timestamp", "hours", "found"),
    [
        ("02d16h00m", None, (64.0, math.nan)),
        ("00d00h30m", None, (0.5, math.nan)),
        ("t007", None, (math.nan, 7.0)),
        ("t007", 0.5, (3.5, 7.0)),
        ("12", 2.0, (24.0, 12.0)),
        ("", 2.0, (math.nan, math.nan)),
        ("day two", 2.0, (math.nan, math.nan)),
        (None, 2.0, (math.nan, math.nan)),
        ("20210318", 2.0, (math.nan, math.nan)),  # days, which no frames are counted by
    ],
)
def test_time_stamps(timestamp: str | None, hours: float | None, found: tuple[float, float]) -> None:
    assert moment(timestamp, hours) == pytest.approx(found, nan_ok=True)


def test_dates_are_hours_from_the_first() -> None:
    stamps = ["2021y03m19d_00h30m", "2021y03m18d_12h00m", None, "t3"]
    first = first_date(stamps)
    assert [moment(stamp, None, first)[0] for stamp in stamps] == pytest.approx(
        [12.5, 0, math.nan, math.nan], nan_ok=True
    )
    assert math.isnan(moment(stamps[0], None)[0])
    assert first_date(["t3", None]) is None


@given(st.floats(-0.2, 0.3), st.floats(1, 500), st.floats(1, 500))
def test_an_exponential_is_found_exactly(rate: float, one: float, other: float) -> None:
    time = np.tile(np.arange(12.0), 2)
    groups = np.repeat([0, 1], 12)
    found = fit(time + 5, np.array([one, other])[groups] * np.exp(rate * time), groups)
    assert found is not None
    assert found.rate == pytest.approx(rate, abs=1e-6)
    assert found.starts == pytest.approx([one, other], rel=1e-5)
    assert found.low <= found.rate + 1e-9
    assert found.high >= found.rate - 1e-9


def test_the_interval_holds_the_truth_as_often_as_it_says() -> None:
    rng = np.random.default_rng(0)
    time, held = np.arange(20.0), 0
    for _ in range(400):
        found = fit(time, rng.poisson(20 * np.exp(0.05 * time)).astype(float), np.zeros(20, np.int64))
        assert found is not None
        held += found.low <= 0.05 <= found.high
    assert 0.92 <= held / 400 <= 0.98


def test_the_doubling_time_and_its_open_end() -> None:
    time = np.arange(10.0)
    doubling = fit(time, 3 * 2 ** (time / 4), np.zeros(10, np.int64))
    assert doubling is not None
    assert doubling.doubling[0] == pytest.approx(4)
    noise = np.array([5.0, 9, 4, 8, 6, 7, 5, 9, 6, 8])
    uncertain = fit(time, noise, np.zeros(10, np.int64))
    assert uncertain is not None
    assert uncertain.doubling[2] == math.inf
    shrinking = fit(time, 100 * 0.5**time, np.zeros(10, np.int64))
    assert shrinking is not None
    assert all(math.isnan(value) for value in shrinking.doubling)


def test_zeros_need_no_exception() -> None:
    counts = np.array([0.0, 1, 0, 1, 2, 2, 4, 5, 8, 12])
    found = fit(np.arange(10.0), counts, np.zeros(10, np.int64))
    assert found is not None
    assert 0.2 < found.rate < 0.6


@pytest.mark.parametrize(
    ("time", "values"),
    [
        ([0, 1], [1, 2]),
        ([0, 0, 1, 1], [1, 2, 3, 4]),
        ([0, 1, 2, 3], [0, 0, 0, 0]),
        ([0, 1, 2, 3], [5, 0, 0, 0]),
        ([0, 1, 2, 3], [0, 0, 0, 5]),  # had a doubling time of 1.3 minutes, within a billionth
        ([0, 24, 48, 72], [0, 0, 0, 5]),  # and of 40 minutes
        ([], []),
    ],
)
def test_what_can_not_be_fitted_is_none(time: list[float], values: list[float]) -> None:
    assert fit(np.array(time, float), np.array(values, float), np.zeros(len(time), np.int64)) is None


def test_wells_of_one_time_each_tell_no_rate_together() -> None:
    """Each has a start of its own: nothing says what of their differences is growth."""
    time, groups = np.repeat([0.0, 24.0, 48.0], 2), np.repeat([0, 1, 2], 2)
    counts = np.array([10.0, 12, 21, 19, 40, 44])
    assert fit(time, counts, groups) is None
    known = fit(np.r_[time, 0, 24], np.r_[counts, 100, 110], np.r_[groups, 3, 3])
    assert known is not None
    assert known.rate == pytest.approx(math.log(1.1) / 24)


def images(well: str, counts: list[float], hours: bool) -> list[dict[str, Any]]:
    return [
        {
            "cell_line": "X",
            "well": well,
            "time_h": t / 2 if hours else math.nan,
            "frame": t,
            "cells": c,
            "confluence": 0.1,
        }
        for t, c in enumerate(counts)
    ]


def test_a_row_for_each_well_and_one_for_all() -> None:
    counts = [2.0 ** (t / 5) for t in range(9)]
    rows = growth(images("A1", counts, True) + images("A2", [3 * c for c in counts], True))
    assert [(row["well"], row["quantity"]) for row in rows] == [
        (well, quantity) for quantity in ("cells", "confluence") for well in ("A1", "A2", "all")
    ]
    assert rows[2]["doubling_time"] == pytest.approx(2.5)
    assert rows[2]["time_unit"] == "h"
    assert math.isnan(rows[2]["start"])
    assert rows[1]["start"] == pytest.approx(3)


def test_frames_where_hours_are_not_known() -> None:
    rows = growth(images("A1", [2.0 ** (t / 5) for t in range(9)], False))
    assert rows[0]["time_unit"] == "frame"
    assert rows[0]["doubling_time"] == pytest.approx(5)
    assert growth([]) == []


def test_images_without_a_time_are_left_out_alone() -> None:
    """They were all of a line's growth before; of two units the one that more images have is told."""
    known = images("A1", [2.0 ** (t / 5) for t in range(9)], True)
    unknown = {"time_h": math.nan, "frame": math.nan}
    mixed = [one | {"file_name": f"{n}.png"} for n, one in enumerate([*known, known[0] | unknown])]
    assert growth(mixed) == growth(known) != []
    assert untimed(mixed) == ["9.png"]
    in_hours = [one | {"frame": math.nan} for one in mixed[:3]]
    in_frames = [one | {"time_h": math.nan} for one in mixed[3:9]]
    assert growth(in_hours + in_frames)[0]["time_unit"] == "frame"
    assert untimed(in_hours + in_frames) == ["0.png", "1.png", "2.png"]
    assert untimed([]) == []


def test_a_well_that_is_called_as_the_row_over_all_is_refused() -> None:
    """Its own row was that of all wells."""
    counts = [2.0 ** (t / 5) for t in range(9)]
    assert [row["well"] for row in growth(images("all", counts, True))] == ["all", "all"]
    with pytest.raises(InputError, match="a well is called all"):
        growth(images("A1", counts, True) + images("all", counts, True))
