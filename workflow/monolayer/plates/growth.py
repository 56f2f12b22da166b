"""Growth of a plate: a curve and a fit for each well, and conditions compared with the well as the unit."""

from __future__ import annotations

import csv
import math
import unicodedata
from collections import defaultdict
from collections.abc import Mapping, Sequence
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np

from monolayer.compiled import Floats
from monolayer.files import InputError
from monolayer.measurement.growth import CONFIDENCE
from monolayer.plates.lag import fit_growth
from monolayer.plates.layout import well_key

Row = Mapping[str, Any]
RATES = ("rate_per_time", "rate_low_per_time", "rate_high_per_time")
TIMES = ("doubling_time", "doubling_time_low", "doubling_time_high")
LAGS = ("lag_time", "lag_time_low", "lag_time_high")
CHANCES = ("p", "p_holm")
NONE = math.nan


def read_conditions(path: Path | None, wells: Sequence[str]) -> dict[str, str]:
    """What a plate map says of each well: its row without the well, as `dose 3, drug X`."""
    if path is None:
        return {}
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            table = csv.DictReader(file)
            rows = list(table)
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"{path} is not readable as a plate map ({error}); save it as CSV in UTF-8") from error
    names = list(table.fieldnames or [])
    if other := next((sign for sign in ";\t" if len(names) == 1 and sign in names[0]), None):
        raise InputError(f"{path} has {other!r} between its columns; save it with commas")
    if not rows or "well" not in names or len(names) < 2:
        raise InputError(f"{path} is no plate map; it needs a column well and at least one other, as dose")
    if twice := next((name for name in names if names.count(name) > 1), None):
        raise InputError(f"{path} has two columns {twice!r}; name each otherwise")
    found: dict[str, str] = {}
    known = {unicodedata.normalize("NFC", well): well for well in wells}  # macOS writes ä as two characters
    for number, row in enumerate(rows, start=2):
        if not any(row.values()):
            continue  # as spreadsheets leave them below a table
        if None in row:
            said = f"{path}, line {number}: it has more values than the {len(names)} columns"
            raise InputError(f'{said}; put one that has a comma in quotes, as "3,5"')
        well = (row.pop("well") or "").strip()
        if (own := known.get(unicodedata.normalize("NFC", well))) is None:
            raise InputError(
                f"{path}, line {number}: the plate has no well {well!r}; it has {', '.join(wells[:5])}, ..."
            )
        if own in found:
            raise InputError(f"{path}, line {number}: well {well} stands there twice; take one line away")
        found[own] = ", ".join(f"{name} {(value or '').strip()}" for name, value in row.items() if value)
    return found


def curves(images: Sequence[Row], unit: str) -> list[dict[str, Any]]:
    """A row for each well and time, which is in hours or numbers of frames: means over its fields."""
    groups: dict[tuple[str, float], list[Row]] = defaultdict(list)
    for image in images:
        groups[image["well"], image["time"]].append(image)
    return [
        {
            "well": well,
            "time": time,
            "time_unit": unit,
            "images": len(own),
            "cells_per_image": sum(image["cells"] for image in own) / len(own),
            "cells_per_image_low": sum(true_cells(image)[0] for image in own) / len(own),
            "cells_per_image_high": sum(true_cells(image)[1] for image in own) / len(own),
            "confluence": sum(image["confluence"] for image in own) / len(own),
            "expected_f1": mean_known([image["expected_f1"] for image in own]),
            "flagged": sum(bool(image["flags"]) for image in own),
        }
        for (well, time), own in sorted(groups.items(), key=lambda item: (well_key(item[0][0]), item[0][1]))
    ]


def true_cells(image: Row) -> tuple[float, float]:
    """Between which counts the truth of an image lies, unless its F1 is below the interval of the expected one.

    F1 is 2 TP / (found + true), and TP is at most the smaller of both: it bounds their ratio, and says no more.
    """
    f1 = image["expected_f1_low"]
    ratio = math.inf if f1 == 0 else (2 - f1) / f1
    return image["cells"] / ratio, image["cells"] * ratio


def mean_known(values: Sequence[float]) -> float:
    """The mean of those that are no NaN; NaN where all are."""
    known = [value for value in values if not math.isnan(value)]
    return sum(known) / len(known) if known else NONE


def wells(images: Sequence[Row], points: Sequence[Row], conditions: Mapping[str, str]) -> list[dict[str, Any]]:
    """A row for each well: first and last values, and the fit of its counts: exponential, maybe after a lag.

    ASSUME: fields of a well grow at one rate, each from its own start; a rate is of counts, as the table says.
    """
    of_well: dict[str, list[Row]] = defaultdict(list)
    for image in images:
        of_well[image["well"]].append(image)
    by_well: dict[str, list[Row]] = defaultdict(list)
    for point in points:
        by_well[point["well"]].append(point)
    rows = []
    for well, own in by_well.items():
        mine = of_well[well]
        fields = sorted({image["field"] for image in mine})
        time = np.array([image["time"] for image in mine], np.float64)
        counts = np.array([image["cells"] for image in mine], np.float64)
        groups = np.array([fields.index(image["field"]) for image in mine])
        rows.append(
            {
                "well": well,
                "condition": conditions.get(well, ""),
                "images": len(mine),
                "fields": len(fields),
                "times": len(own),
                "time_unit": own[0]["time_unit"],
                "first_cells_per_image": own[0]["cells_per_image"],
                "last_cells_per_image": own[-1]["cells_per_image"],
                "first_confluence": own[0]["confluence"],
                "last_confluence": own[-1]["confluence"],
                **_rates(time, counts, groups),
                "expected_f1": mean_known([image["expected_f1"] for image in mine]),
                "flagged": sum(point["flagged"] for point in own),
            }
        )
    return rows


def _rates(time: Floats, counts: Floats, groups: Any) -> dict[str, float]:
    fields = int(groups.max()) + 1
    kept = np.isin(groups, np.flatnonzero(np.bincount(groups, counts) > 0))  # a field without a cell tells no rate
    groups = np.unique(groups[kept], return_inverse=True)[1]
    growth = fit_growth(time[kept], counts[kept], groups)
    if growth is None:
        return dict.fromkeys(("start_cells_per_image", *LAGS, *RATES, *TIMES), NONE)
    found, lags = growth.fit, growth.lag or (NONE,) * 3
    values = (float(found.starts.sum()) / fields, *lags, found.rate, found.low, found.high, *found.doubling)
    return dict(zip(("start_cells_per_image", *LAGS, *RATES, *TIMES), values, strict=True))


def _by_condition(rows: Sequence[Row]) -> dict[str, Floats]:
    groups: dict[str, list[float]] = defaultdict(list)
    for row in rows:
        if row["condition"] and not math.isnan(row["rate_per_time"]):
            groups[row["condition"]].append(row["rate_per_time"])
    return {name: np.array(rates) for name, rates in groups.items()}


def conditions(rows: Sequence[Row]) -> list[dict[str, Any]]:
    """The mean growth rate of each condition's wells, with an interval over wells."""
    from scipy import stats

    found = []
    for name, rates in _by_condition(rows).items():
        mean, reach = float(rates.mean()), NONE
        if len(rates) > 1:
            reach = float(stats.t.ppf((1 + CONFIDENCE) / 2, len(rates) - 1) * rates.std(ddof=1) / math.sqrt(len(rates)))
        found.append(
            {
                "condition": name,
                "wells": len(rates),
                "time_unit": rows[0]["time_unit"],
                **dict(zip(RATES, (mean, mean - reach, mean + reach), strict=True)),
                "doubling_time": math.log(2) / mean if mean > 0 else NONE,
            }
        )
    return found


def comparisons(rows: Sequence[Row]) -> list[dict[str, Any]]:
    """All pairs of conditions with two wells or more each, by Welch's test."""
    from scipy import stats

    groups = {name: rates for name, rates in _by_condition(rows).items() if len(rates) > 1}
    found = []
    for a, b in combinations(groups, 2):
        test = stats.ttest_ind(groups[b], groups[a], equal_var=False)
        low, high = test.confidence_interval(CONFIDENCE)
        row = {"condition_a": a, "condition_b": b, "rate_difference_per_time": groups[b].mean() - groups[a].mean()}
        found.append(row | {"low_per_time": float(low), "high_per_time": float(high), "p": float(test.pvalue)})
    return [row | {"p_holm": p} for row, p in zip(found, _holm([row["p"] for row in found]), strict=True)]


def _holm(values: Sequence[float]) -> list[float]:
    """Holm's step-down correction; NaN, of conditions whose wells are all alike, stays."""
    order, largest = [n for n in np.argsort(values, kind="stable") if not math.isnan(values[n])], 0.0
    corrected = [NONE] * len(values)
    for rank, index in enumerate(order):
        largest = max(largest, min(1.0, (len(order) - rank) * values[index]))
        corrected[index] = largest
    return corrected
