"""Growth of cultures: when each image was taken, and exponential fits with their doubling times."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import numpy as np

from monolayer.compiled import Floats, Ints
from monolayer.files import InputError

TIME = re.compile(r"(?:(\d+)d)?(?:(\d+)h)?(?:(\d+)m)?")  # 02d16h00m, as LIVECell's file names say it
FRAME = re.compile(r"[A-Za-z_]*(\d+)")
DATE = "%Yy%mm%dd_%Hh%Mm"  # 2021y03m18d_12h00m, as an Incucyte names files
# 20210318, maybe with the time; 18032021 or 03182021
DAY = re.compile(r"(19|20)\d\d(0[1-9]|1[0-2])(0[1-9]|[12]\d|3[01])(\d{4}|\d{6})?|((0[1-9]|[12]\d|3[01]){2})(19|20)\d\d")
CONFIDENCE = 0.95
STEPS = 50  # of the fit; three or four are enough unless a culture dies out


def date_of(timestamp: str | None) -> datetime | None:
    """The date that a time stamp such as 2021y03m18d_12h00m is, if it is one."""
    try:
        return datetime.strptime(timestamp or "", DATE)
    except ValueError:
        return None


def first_date(timestamps: Iterable[str | None]) -> datetime | None:
    """The earliest date among time stamps, from which hours are counted."""
    return min((date for stamp in timestamps if (date := date_of(stamp)) is not None), default=None)


def is_day(timestamp: str) -> bool:
    """Whether the number in a time stamp is a date, which counts no frames.

    >>> [is_day(stamp) for stamp in ("20210318", "t202103181200", "18032021", "t007", "00012000")]
    [True, True, True, False, False]
    """
    match = FRAME.fullmatch(timestamp)
    return match is not None and DAY.fullmatch(match[1]) is not None


def moment(timestamp: str | None, frame_hours: float | None, first: datetime | None = None) -> tuple[float, float]:
    """(hours, frame) of a time stamp, NaN where it doesn't tell: 02d16h00m is 64 h; t007 is frame 7.

    A date is in hours since `first`, where that is given; 20210318 is a date that tells neither.
    """
    if timestamp and (match := TIME.fullmatch(timestamp)) and any(match.groups()):
        days, hours, minutes = (int(group or 0) for group in match.groups())
        return 24.0 * days + hours + minutes / 60, math.nan
    if first is not None and (date := date_of(timestamp)) is not None:
        return (date - first).total_seconds() / 3600, math.nan
    if timestamp and (match := FRAME.fullmatch(timestamp)) and not is_day(timestamp):
        frame = float(match[1])
        return frame * frame_hours if frame_hours else math.nan, frame
    return math.nan, math.nan


@dataclass(frozen=True)
class Fit:
    """value(t) = start(group) * exp(rate * (t - first time)); low and high are the rate's 95 % interval."""

    rate: float
    low: float
    high: float
    starts: Floats

    @property
    def doubling(self) -> tuple[float, float, float]:
        """Doubling time and the ends of its interval: NaN for a culture that does not grow, inf where it may not."""
        times = [math.log(2) / rate if rate > 0 else math.inf for rate in (self.rate, self.high, self.low)]
        return (times[0], times[1], times[2]) if self.rate > 0 else (math.nan,) * 3


def fit(time: Floats, values: Floats, groups: Ints) -> Fit | None:
    """One exponential rate for all groups 0, 1, ..., each with its own start; None where nothing can be fitted.

    Quasi-Poisson regression with a log link (McCullagh & Nelder 1989, chapter 6): counts of 0 need no exception, and
    the spread around the curve sets the interval. ASSUME: the frames of a well scatter independently; cells that stay
    in view make the interval rather narrow.
    """
    from scipy import stats

    count = int(groups.max(initial=-1)) + 1
    freedom = len(values) - count - 1
    sums = np.bincount(groups, values, count)
    if len(np.unique(time)) < 3 or freedom < 1 or (sums <= 0).any():
        return None
    earliest, latest = np.full(count, np.inf), np.full(count, -np.inf)
    np.minimum.at(earliest, groups, time)
    np.maximum.at(latest, groups, time)
    if not (values[time > earliest[groups]].any() and values[time < latest[groups]].any()):
        return None  # all is gone after each group's first time, or there at its last alone: no rate is finite
    design = np.c_[np.eye(count)[groups], time - time.min()]
    # from a rate of 0: each group's mean
    weights = np.r_[np.log(sums / np.bincount(groups)), 0.0]
    for _ in range(STEPS):
        mean = np.exp(design @ weights)
        information = design.T @ (mean[:, None] * design)
        step = np.linalg.lstsq(information, design.T @ (values - mean), rcond=None)[0]
        weights = weights + step * min(1.0, 2 / max(np.abs(design @ step).max(), 1e-12))  # no leap of e² and more
        if np.abs(step).max() < 1e-10:
            break
    else:
        return None
    mean = np.exp(design @ weights)
    spread = ((values - mean) ** 2 / mean).sum() / freedom
    error = math.sqrt(spread * np.linalg.pinv(design.T @ (mean[:, None] * design))[-1, -1])
    reach = float(stats.t.ppf((1 + CONFIDENCE) / 2, freedom)) * error
    rate = float(weights[-1])
    return Fit(rate, rate - reach, rate + reach, np.exp(weights[:-1]))


def growth(images: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Rows of the table `growth` from rows of the table `images`: a row per line, well (and all) and quantity."""
    rows = []
    for line in sorted({image["cell_line"] for image in images}):
        of_line = [image for image in images if image["cell_line"] == line]
        unit, column, timed = _timed(of_line)
        wells = sorted({image["well"] for image in timed})
        if "all" in wells and len(wells) > 1:
            raise InputError("a well is called all, which is the name of the row over all wells; rename the well")
        for quantity in ("cells", "confluence"):
            for well in [*wells, *(["all"] if len(wells) > 1 else [])]:
                chosen = [image for image in timed if well in ("all", image["well"])]
                row = {"cell_line": line, "well": well, "quantity": quantity, "time_unit": unit}
                rows.append(row | _row(chosen, column, quantity))
    return rows


def untimed(images: Sequence[Mapping[str, Any]]) -> list[str]:
    """The files that no growth can stand on: their time isn't known, or not in their line's unit."""
    used = {
        id(image)
        for line in {image["cell_line"] for image in images}
        for image in _timed([image for image in images if image["cell_line"] == line])[2]
    }
    return [image["file_name"] for image in images if id(image) not in used]


def _timed(images: Sequence[Mapping[str, Any]]) -> tuple[str, str, list[Mapping[str, Any]]]:
    """Unit of time, its column, and the images that have it: hours, or numbers of frames where more have those."""
    hours, frames = ([one for one in images if not math.isnan(one[column])] for column in ("time_h", "frame"))
    return ("h", "time_h", hours) if len(hours) >= len(frames) and hours else ("frame", "frame", frames)


def _row(images: Sequence[Mapping[str, Any]], column: str, quantity: str) -> dict[str, Any]:
    time = np.array([image[column] for image in images])
    wells = sorted({image["well"] for image in images})
    groups = np.array([wells.index(image["well"]) for image in images])
    found = fit(time, np.array([float(image[quantity]) for image in images]), groups)
    rate, low, high = (found.rate, found.low, found.high) if found else (math.nan,) * 3
    doubling = found.doubling if found else (math.nan,) * 3
    return {
        "images": len(images),
        "times": len(np.unique(time)),
        "rate_per_time": rate,
        "rate_low_per_time": low,
        "rate_high_per_time": high,
        "doubling_time": doubling[0],
        "doubling_time_low": doubling[1],
        "doubling_time_high": doubling[2],
        "start": float(found.starts[0]) if found and len(wells) == 1 else math.nan,
        "start_time": float(time.min()),
        "end_time": float(time.max()),
    }
