"""Uncertainty from the images at hand: how often each counts in a draw, intervals, and differences of two runs.

Percentile bootstrap: Efron & Tibshirani 1993, chapter 13. Images are drawn within their cell line, since a data set
fixes how many of each line it has; drawing whole wells allows for frames of one well that resemble each other.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from monolayer.compiled import Floats, Ints

LEVEL = 0.95


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


def p_value(differences: Floats) -> float:
    """Two-sided p of no difference: twice the smaller share of draws at or beyond 0, one added to each count.

    >>> p_value(np.r_[-np.ones(4), np.ones(95)])  # 2 · (4 + 1) / (99 + 1)
    0.1
    """
    known = differences[~np.isnan(differences)]
    tail = min((known <= 0).sum(), (known >= 0).sum())
    return float(min(1.0, 2 * (tail + 1) / (len(known) + 1)))
