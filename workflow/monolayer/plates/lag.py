"""Growth after a lag: counts stay as they are until the cells divide at one rate; beside it, growth from the start.

Which of both is told is Akaike's choice, with the corrections for few values and for counts that scatter more than
Poisson's (Burnham & Anderson 2002, chapter 2): a lag is one number more, and has to earn it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np

from monolayer.compiled import Floats, Ints
from monolayer.measurement.growth import CONFIDENCE, Fit, fit

COARSE, FINE = 16, 64  # lags that are tried between the first time and the last but one


class Lag(NamedTuple):
    """How long after the first time growth begins, and its 95 % interval."""

    time: float
    low: float
    high: float


@dataclass(frozen=True)
class WellGrowth:
    """An exponential fit, from the end of the lag on where there is one."""

    fit: Fit
    lag: Lag | None


class _Tried(NamedTuple):
    lag: float
    fit: Fit
    deviance: float
    pearson: float


def fit_growth(time: Floats, values: Floats, groups: Ints) -> WellGrowth | None:
    """Growth of counts of groups 0, 1, ... at one rate, each from its own start; None where nothing can be fitted."""
    plain = _tried(0.0, time, values, groups) if len(values) else None  # a well without a cell
    if plain is None:
        return None
    moments = np.unique(time) - time.min()
    parameters = int(groups.max()) + 3  # starts, rate, lag
    freedom = len(values) - parameters
    if len(moments) < 4 or freedom < 2:
        return WellGrowth(plain.fit, None)

    def tried(steps: int) -> list[_Tried]:
        """Lags up to the last time but one: what begins later hangs on one time alone."""
        lags = np.linspace(0.0, moments[-2], steps + 1)[1:-1]
        found = [one for lag in lags if (one := _tried(float(lag), time, values, groups)) is not None]
        return [one for one in found if one.fit.rate > 0]

    best = min(tried(COARSE), key=lambda one: one.deviance, default=plain)
    spread = max(best.pearson / freedom, 1e-12)
    with_lag, without = (
        _criterion(one.deviance / spread, count, len(values))
        for one, count in ((best, parameters), (plain, parameters - 1))
    )
    if best is plain or with_lag >= without:
        return WellGrowth(plain.fit, None)
    found = tried(FINE)
    best = min(found, key=lambda one: one.deviance)
    return _with_intervals(best, [plain, *found], best.pearson / freedom, freedom)


def _tried(lag: float, time: Floats, values: Floats, groups: Ints) -> _Tried | None:
    """The fit whose growth begins `lag` after the first time."""
    since = np.maximum(time - time.min() - lag, 0.0)
    found = fit(since, values, groups)
    if found is None:
        return None
    mean = found.starts[groups] * np.exp(found.rate * (since - since.min()))
    logs = values * np.log(np.where(values > 0, values, 1.0) / mean)
    deviance = 2 * float((logs - (values - mean)).sum())
    return _Tried(lag, found, deviance, float(((values - mean) ** 2 / mean).sum()))


def _criterion(deviance: float, parameters: int, count: int) -> float:
    """QAICc of a deviance in units of the spread, which is estimated too and counts as a parameter."""
    k = parameters + 1
    return deviance + 2 * k + (2 * k * (k + 1) / (count - k - 1) if count > k + 1 else math.inf)


def _with_intervals(best: _Tried, every: list[_Tried], spread: float, freedom: int) -> WellGrowth:
    """The best fit with the lags that are as likely but for chance (profile likelihood).

    The rate's interval at a known lag grows by what the rate changes over these lags.
    """
    from scipy import stats

    every = sorted(every, key=lambda one: one.lag)
    limit = best.deviance + spread * float(stats.f.ppf(CONFIDENCE, 1, freedom))
    likely = [n for n, one in enumerate(every) if one.deviance <= limit]
    # to the next lag on either side: between the two that were tried the interval ends somewhere
    within = every[max(0, min(likely) - 1) : max(likely) + 2]
    rate, rates, lags = best.fit.rate, [one.fit.rate for one in within], [one.lag for one in within]
    low = rate - math.hypot(rate - best.fit.low, rate - min(rates))
    high = rate + math.hypot(best.fit.high - rate, max(rates) - rate)
    return WellGrowth(replace(best.fit, low=low, high=high), Lag(best.lag, min(lags), max(lags)))
