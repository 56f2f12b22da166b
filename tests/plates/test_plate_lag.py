"""Lag of a culture: found where cells wait before they divide, and not where they don't."""

from __future__ import annotations

import math

import numpy as np
import pytest
from monolayer.compiled import Floats, Ints
from monolayer.plates import growth
from monolayer.plates.lag import fit_growth

TIMES: Floats = np.linspace(0, 76, 20)
ALONE: Ints = np.zeros(20, np.int64)


def grown(rate: float, lag: float, start: float = 60) -> Floats:
    return np.asarray(start * np.exp(rate * np.maximum(TIMES - lag, 0)))


def test_an_exact_lag_is_found() -> None:
    two = np.repeat([0, 1], 20)
    found = fit_growth(np.tile(TIMES, 2) + 7, np.r_[grown(0.03, 24), grown(0.03, 24, 200)], two)
    assert found is not None
    assert found.lag is not None
    assert found.lag.time == pytest.approx(24, abs=2)
    assert found.lag.low <= 24 <= found.lag.high
    assert found.fit.rate == pytest.approx(0.03, rel=0.05)
    assert found.fit.starts == pytest.approx([60, 200], rel=0.05)


@pytest.mark.parametrize("rate", [0.03, 0.0, -0.01])
def test_growth_from_the_start_has_none(rate: float) -> None:
    rng = np.random.default_rng(1)
    lags = 0
    for _ in range(50):
        found = fit_growth(TIMES, rng.poisson(grown(rate, 0)).astype(np.float64), ALONE)
        assert found is not None
        lags += found.lag is not None
    assert lags <= 5, "one in ten at most is taken for a lag by chance"


def test_intervals_hold_the_truth_as_often_as_they_say() -> None:
    rng = np.random.default_rng(0)
    lags, rates, runs = 0, 0, 100
    for _ in range(runs):
        found = fit_growth(TIMES, rng.poisson(grown(0.03, 24)).astype(np.float64), ALONE)
        assert found is not None
        assert found.lag is not None, "24 of 76 h are no chance"
        lags += found.lag.low <= 24 <= found.lag.high
        rates += found.fit.low <= 0.03 <= found.fit.high
    assert lags >= 0.88 * runs
    assert rates >= 0.9 * runs


def test_few_times_have_growth_from_the_start() -> None:
    found = fit_growth(TIMES[:4], np.array([10.0, 10, 20, 40]), ALONE[:4])
    assert found is not None
    assert found.lag is None
    assert fit_growth(TIMES[:2], np.array([10.0, 20]), ALONE[:2]) is None


def test_wells_tell_their_lag() -> None:
    rows = [
        {
            **{"well": well, "field": "1", "time": float(time), "frame": n, "flags": ""},
            **{"cells": round(count), "confluence": 0.1, "expected_f1": math.nan, "expected_f1_low": math.nan},
        }
        for well, lag in (("A1", 24), ("A2", 0))
        for n, (time, count) in enumerate(zip(TIMES, grown(0.03, lag, 500), strict=True))
    ]
    late, early = growth.wells(rows, growth.curves(rows, "h"), {})
    assert late["lag_time"] == pytest.approx(24, abs=2)
    assert np.isnan(early["lag_time"])
    assert late["rate_per_time"] == pytest.approx(early["rate_per_time"], rel=0.05)


def test_a_well_without_a_cell_tells_no_growth() -> None:
    images = [
        {"well": "A1", "field": "1", "time": float(hour), "frame": hour, "cells": 0, "confluence": 0.0}
        | {"expected_f1": math.nan, "expected_f1_low": math.nan, "flags": "empty"}
        for hour in range(5)
    ]
    [row] = growth.wells(images, growth.curves(images, "h"), {})
    assert (row["first_cells_per_image"], row["last_cells_per_image"]) == (0, 0)
    assert math.isnan(row["rate_per_time"])
    assert math.isnan(row["lag_time"])
