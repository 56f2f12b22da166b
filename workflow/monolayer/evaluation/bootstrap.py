"""Uncertainty from the images at hand: how often each counts in a draw, intervals, and differences of two runs.

Percentile bootstrap: Efron & Tibshirani 1993, chapter 13. Images are drawn within their cell line, since a data set
fixes how many of each line it has; drawing whole wells allows for frames of one well that resemble each other.

Intervals of single values are plain percentiles, which are rather narrow where images are few. Those of differences,
from which a verdict follows, are Student's with the standard error that the draws show (ibid., chapter 12), which
allows for few images.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from monolayer.compiled import Floats, Ints

LEVEL = 0.95
FEWEST = 6  # units: fewer all improve by chance with more than 5 % (2 / 2^5), whatever an interval says


class Drawn(NamedTuple):
    """How many images, or wells, are drawn, of lines that have several; and how many of their values are free."""

    units: int
    freedom: int


class PairedDifference(NamedTuple):
    """A difference with its 95 % interval and two-sided p; real where that leaves out 0 and FEWEST units are drawn."""

    value: float
    low: float
    high: float
    p: float
    real: bool


def drawn(lines: Sequence[str], groups: Sequence[str]) -> Drawn:
    """What a draw of images of these lines and groups draws: the one group of a line counts as it is in each draw.

    >>> drawn(["A", "B", "B", "B"], ["well 1", "well 2", "well 2", "well 3"])
    Drawn(units=2, freedom=1)
    """
    counts = Counter(line for line, _ in set(zip(lines, groups, strict=True)))
    several = [count for count in counts.values() if count > 1]
    return Drawn(sum(several), sum(several) - len(several))


def draws(lines: Sequence[str], groups: Sequence[str], count: int, seed: int) -> Ints:
    """How often each of I images counts in each draw (B, I): whole groups, drawn with replacement within a line.

    >>> draws(["A", "A", "A", "B"], ["well 1", "well 1", "well 2", "well 3"], 3, seed=1)
    array([[1, 1, 1, 1],
           [0, 0, 2, 1],
           [2, 2, 0, 1]])
    """
    line_of, group_of = np.array(lines), np.array(groups)
    weights = np.empty((count, len(line_of)), np.int64)
    rng = np.random.default_rng(seed)
    for line in np.unique(line_of):
        images = np.flatnonzero(line_of == line)
        names, group = np.unique(group_of[images], return_inverse=True)
        for draw in weights:
            draw[images] = np.bincount(rng.integers(len(names), size=len(names)), minlength=len(names))[group]
    return weights


def interval(values: Floats) -> tuple[float, float]:
    """The central 95 % of the draws' values (B,); nan where no draw has one.

    >>> [round(edge, 6) for edge in interval(np.arange(201.0))]
    [5.0, 195.0]
    """
    known = values[~np.isnan(values)]
    if len(known) == 0:
        return float("nan"), float("nan")
    low, high = np.quantile(known, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return float(low), float(high)


def difference(values: Floats, of: Drawn) -> PairedDifference:
    """A difference (1 + B,), the value itself and its draws.

    With n images of L lines the draws scatter less than estimates do, by sqrt((n - L) / n).

    >>> draws = np.r_[5.0, np.linspace(-1, 11, 1001)]
    >>> [round(number, 3) for number in difference(draws, Drawn(1000, 999))[:4]]
    [5.0, -1.808, 11.808, 0.15]
    >>> [round(number, 3) for number in difference(draws, Drawn(8, 7))[:4]]
    [5.0, -3.766, 13.766, 0.219]
    """
    from scipy import stats

    value, known = float(values[0]), values[1:][~np.isnan(values[1:])]
    if len(known) == 0:
        return PairedDifference(value, math.nan, math.nan, math.nan, False)
    error = float(known.std()) * math.sqrt(of.units / of.freedom)
    reach = error * float(stats.t.isf((1 - LEVEL) / 2, of.freedom))
    low, high = value - reach, value + reach
    p = 2 * float(stats.t.sf(abs(value) / error, of.freedom)) if error > 0 else float(value == 0)
    least = 1 / (len(known) + 1)  # so many draws tell no smaller one
    return PairedDifference(value, low, high, max(p, least), of.units >= FEWEST and (low > 0 or high < 0))
