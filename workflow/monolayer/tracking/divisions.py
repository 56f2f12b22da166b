"""How long cells take to divide: the share of cells not yet divided by their age, of those whose birth was seen.

Kaplan & Meier 1958, by scipy; a cell that is lost, or whose time-lapse ends before, is censored. ASSUME: being lost
says nothing of when a cell would have divided.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from monolayer.compiled import Floats

LEVEL = 0.95


class Survival(NamedTuple):
    """The share of cells that have not divided at each age, with its 95 % interval."""

    age: Floats
    share: Floats
    low: Floats
    high: Floats

    def median(self) -> tuple[float, float, float]:
        """The age at which half of the cells have divided, and its interval; inf where so many have not."""

        def first(shares: Floats) -> float:
            below = np.flatnonzero(shares <= 0.5)
            return float(self.age[below[0]]) if len(below) else math.inf

        return first(self.share), first(self.low), first(self.high)


def survival(divided: Sequence[float], censored: Sequence[float]) -> Survival | None:
    """The curve of cells that divided at these ages, and of others that had not by theirs; None without a division."""
    from scipy.stats import CensoredData, ecdf

    if not len(divided):
        return None
    curve = ecdf(CensoredData(uncensored=divided, right=censored)).sf
    with np.errstate(divide="ignore", invalid="ignore"), warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # said below
        low, high = (end.probabilities for end in curve.confidence_interval(LEVEL, method="log-log"))
    share = curve.probabilities
    # the formula has no interval where none or all have divided: of these few, others might not have by then, up to as
    # many as the step before allows
    low, high = np.where(np.isnan(low), share, low), np.where(share == 1, 1.0, high)
    high = np.where(np.isnan(high), np.r_[1.0, high[:-1]], high)
    at = np.isin(curve.quantiles, divided)
    columns = (values[at] for values in (curve.quantiles, share, low, high))
    return Survival(*(np.r_[start, values] for start, values in zip((0, 1, 1, 1), columns, strict=True)))


def division_rows(tracks: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Rows of the table `divisions`: a curve for each well of a line, and for all of them where there are several."""
    rows = []
    for line, unit in sorted({(row["cell_line"], row["time_unit"]) for row in tracks}):
        born = [row for row in tracks if (row["cell_line"], row["time_unit"]) == (line, unit) and row["parent"]]
        wells = sorted({row["well"] for row in born})
        for well in [*wells, *(["all"] if len(wells) > 1 else [])]:
            chosen = [row for row in born if well in ("all", row["well"])]
            divided = [row["lifetime"] for row in chosen if not row["censored"]]
            curve = survival(divided, [row["lifetime"] for row in chosen if row["censored"]])
            common = {"cell_line": line, "well": well, "time_unit": unit, "born": len(chosen), "divided": len(divided)}
            names = ("time", "undivided", "undivided_low", "undivided_high")
            points = zip(*curve, strict=True) if curve else [(0.0, 1.0, 1.0, 1.0)]
            rows += [common | dict(zip(names, map(float, point), strict=True)) for point in points]
    return rows
