"""Numbers for people: rows of a table with intervals and best marks, the documents' rows, how a number is written."""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any, cast

import numpy as np
import pandas as pd

from monolayer.evaluation.definitions import DEFINITIONS, Definition, definition
from monolayer.reporting.study import Study, read_table

TEMPLATES = Path(__file__).with_name("templates")
NO_SCORES = ("run", "cell_line", "images", "cells", "protocol", "score_threshold", "threshold_from", "capped_images")
NO_PAIRS = pd.DataFrame(columns=["run_a", "run_b", "metric", "real"])
BETTER = {"afnr": "lower", "box_afnr": "lower", "count_mae": "lower", "count_bias": "zero"}  # others: higher
DIGITS = 3  # of scores; two values are as good as each other when they read the same


@dataclass(frozen=True)
class TableColumn:
    """A column of scores: what stands above it, which way is better, and the name of its definition."""

    name: str
    heading: str
    better: str
    about: str


@dataclass(frozen=True)
class Cell:
    """A score with its 95 % interval where it has one; NaN where there is none."""

    value: float
    low: float
    high: float
    best: bool
    tied: bool  # no real difference from the best


def columns(names: Iterable[str]) -> list[TableColumn]:
    """The columns among these that hold scores, intervals aside."""
    found = []
    for name in names:
        about = definition(name)
        if about is None or about is DEFINITIONS["low_high"] or name in NO_SCORES:
            continue
        key = next(key for key, known in DEFINITIONS.items() if known is about)
        words = [word.upper() if word in ("ap", "ar") else word for word in name.split("_")]
        heading = about.title if key == name else " ".join([words[0].capitalize(), *words[1:]])
        found.append(TableColumn(name, heading, BETTER.get(name, "higher"), key))
    return found


def definitions(names: Iterable[str]) -> dict[str, Definition]:
    return {name: DEFINITIONS[name] for name in dict.fromkeys(names)}


def rows(
    table: pd.DataFrame, columns: Sequence[TableColumn], pairs: pd.DataFrame, untaught: Collection[str] = ()
) -> list[dict[str, Any]]:
    """Rows of runs with a cell for each column; the best and what is as good are marked where there is a choice.

    Runs that are `untaught` have no score.
    """
    scores = [name for column in columns for name in (column.name, f"{column.name}_low", f"{column.name}_high")]
    table = table.astype({name: float for name in scores if name in table})
    table.loc[table["run"].isin(list(untaught)), [name for name in scores if name in table]] = math.nan
    by_column = [_cells(table, column, pairs[pairs["metric"] == column.name]) for column in columns]
    return [{"run": run, "cells": cells} for run, *cells in zip(table["run"], *by_column, strict=True)]


def _cells(table: pd.DataFrame, column: TableColumn, pairs: pd.DataFrame) -> list[Cell]:
    def values(name: str) -> list[float]:
        return table[name].tolist() if name in table else [math.nan] * len(table)

    shown = [round(value, DIGITS) for value in values(column.name)]
    known = [value for value in shown if not math.isnan(value)]
    key: Any = {"higher": operator.neg, "lower": float, "zero": abs}[column.better]
    best = min(map(key, known), default=math.nan)
    marks = [key(value) == best and len(known) > 1 for value in shown]
    leaders = {run for run, mark in zip(table["run"], marks, strict=True) if mark}
    same = pairs[pairs["real"] == "false"]
    pairs_of = {frozenset(pair) for pair in zip(same["run_a"], same["run_b"], strict=True)}
    tied = [
        not mark and any({run, leader} in pairs_of for leader in leaders)
        for run, mark in zip(table["run"], marks, strict=True)
    ]
    ends = (values(f"{column.name}_{end}") for end in ("low", "high"))
    return [Cell(*cell) for cell in zip(values(column.name), *ends, marks, tied, strict=True)]


@dataclass(frozen=True)
class Difference:
    """A row's score less a column's, with the 95 % interval; real where that leaves out 0."""

    value: float
    low: float
    high: float
    real: bool


def differences(
    pairs: pd.DataFrame, runs: Sequence[str], metric: str, cell_line: str = "all"
) -> dict[str, list[Difference | None]]:
    """For each run its difference from each run; None from itself, and where there is none."""
    found: dict[tuple[str, str], Difference] = {}
    chosen = pairs[(pairs["metric"] == metric) & (pairs["cell_line"] == cell_line)]
    for row in chosen.to_dict("records"):
        value, low, high, real = row["difference"], row["low"], row["high"], row["real"] == "true"
        found[row["run_a"], row["run_b"]] = Difference(value, low, high, real)
        found[row["run_b"], row["run_a"]] = Difference(-value, -high, -low, real)
    return {a: [found.get((a, b)) for b in runs] for a in runs}


def gains(study: Study, extension: str, metrics: Sequence[str]) -> list[dict[str, Any]]:
    """For each run with the extension that has a twin without it, and each cell line: the twin's score and the gain."""
    rows: dict[str, dict[str, Any]] = study.params.used.get("runs", {})
    found = []
    for run in (run for run in study.runs if rows.get(run, {}).get("extension") == extension):
        twins = [other for other in study.runs if rows.get(other) == rows[run] | {"extension": None}]
        for twin, line in product(twins[:1], dict.fromkeys(study.table["cell_line"])):
            cells = []
            for metric in metrics:
                [gain, _] = differences(study.pairs, [twin, run], metric, line)[run]
                of_twin = study.table[(study.table["run"] == twin) & (study.table["cell_line"] == line)]
                cells.append((float(of_twin[metric].iloc[0]), gain))
            found.append({"run": run, "twin": twin, "line": line, "cells": cells})
    return found


def error_rows(errors: Mapping[str, pd.DataFrame]) -> list[dict[str, Any]]:
    """Numbers of lost cells and wrong predictions by kind, a row for each run and cell line."""
    return [
        {
            "run": run,
            "line": line,
            "lost": dict(zip(rows["kind"], rows["lost_cells"], strict=True)),
            "wrong": dict(zip(rows["kind"], rows["wrong_predictions"], strict=True)),
        }
        for run, table in errors.items()
        for line, rows in table.groupby("cell_line", sort=False)
    ]


def references(lines: Sequence[str]) -> pd.DataFrame:
    """The rows of the poster, the article and LIVECell for these cell lines, however they are spelled."""
    table = read_table(TEMPLATES / "reference.csv", ["source", "run", "cell_line", "note"])
    return table[table["cell_line"].str.casefold().isin([line.casefold() for line in lines])]


def notes(references: pd.DataFrame) -> list[tuple[str, str]]:
    """What has to be said of the documents' rows: source and note, each pair once."""
    return list(dict.fromkeys(zip(references["source"], references["note"], strict=True)))


def reference_rows(references: pd.DataFrame, line: str, columns: Sequence[TableColumn]) -> list[dict[str, Any]]:
    """The documents' rows of a cell line, each with the number of its note."""
    numbers = {note: number for number, note in enumerate(notes(references), start=1)}
    chosen = references[references["cell_line"].str.casefold() == line.casefold()]
    chosen = chosen.reindex(columns=[*chosen.columns, *sorted({c.name for c in columns} - set(chosen.columns))])
    return [
        {**row, "source": source.split(":")[0], "note": numbers[source, note]}
        for row, source, note in zip(rows(chosen, columns, NO_PAIRS), chosen["source"], chosen["note"], strict=True)
    ]


def counts(line: str, cells: Mapping[str, Sequence[int]], diameters: Mapping[str, Sequence[float]]) -> dict[str, Any]:
    """Images and cells of a line in each split, and the median and range of its cells' number and size."""
    per_image = np.concatenate([np.asarray(values, float) for values in cells.values()])
    sizes = np.concatenate([np.asarray(values, float) for values in diameters.values()])
    return {
        "line": line,
        "splits": {split: (len(values), sum(values)) for split, values in cells.items()},
        "per_image": _quantiles(per_image),
        "diameter": _quantiles(sizes),
    }


def _quantiles(values: np.ndarray[Any, Any]) -> tuple[float, float, float] | None:
    """5 %, median, 95 %."""
    return cast(Any, tuple(float(q) for q in np.quantile(values, [0.05, 0.5, 0.95]))) if len(values) else None


@dataclass(frozen=True)
class Grid:
    """A table of whatever records hold: a column for each key of any of them, None where a record lacks it."""

    columns: list[str]
    rows: list[list[Any]]
    numeric: set[str]


def grid(records: Iterable[Mapping[str, Any]]) -> Grid:
    """Rows of records; the keys of nested records are joined by blanks, lists written out."""

    def text(value: Any) -> Any:
        return ", ".join(map(str, value)) if isinstance(value, list) else value

    flat = [{name.replace("_", " "): text(value) for name, value in flattened(record, " ")} for record in records]
    columns = list(dict.fromkeys(key for row in flat for key in row))
    numeric = {c for c in columns if all(type(row.get(c, 0)) in (int, float) for row in flat)}
    return Grid(columns, [[row.get(column) for column in columns] for row in flat], numeric)


def flattened(record: Mapping[str, Any], joint: str, path: str = "") -> Iterator[tuple[str, Any]]:
    """The values of a record and of those in it, each with its keys joined."""
    for key, value in record.items():
        if isinstance(value, Mapping):
            yield from flattened(value, joint, f"{path}{key}{joint}")
        else:
            yield f"{path}{key}", value


def score(value: float) -> str:
    return "" if math.isnan(value) else f"{round(value, DIGITS) + 0.0:.{DIGITS}f}"  # no -0


def signed(value: float) -> str:
    return f"{round(value, DIGITS) + 0.0:+.{DIGITS}f}".replace("-", "−")


def interval(low: float, high: float) -> str:
    """`.412–.447`, empty where there is none."""
    if math.isnan(low) or math.isnan(high):
        return ""
    return "–".join(score(end).replace("0.", ".", 1) if abs(end) < 1 else score(end) for end in (low, high))


def count(value: float) -> str:
    return f"{value:,.0f}"


def short(value: float) -> str:
    """A measure: one decimal where the number is small, and never 0 for what is not; a dash where there is none."""
    if math.isnan(value):
        return "–"
    rounded = round(value, 1)
    if value and not rounded:
        return f"{value:.1g}"
    return count(value) if rounded >= 100 or rounded == round(rounded) else f"{rounded:.1f}"


def measured(value: float) -> str:
    """A measured quantity: three significant digits; ∞, and a dash where there is none."""
    if math.isnan(value):
        return "–"
    return "∞" if math.isinf(value) else f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def share(value: float) -> str:
    """A part as signed per cent."""
    return "–" if math.isnan(value) else f"{round(100 * value, 1) + 0.0:+.1f} %".replace("-", "−")


def number(value: float) -> str:
    """Whatever a record holds: whole numbers whole, as large ones are, others to four significant digits."""
    return f"{value:,}" if isinstance(value, int) else f"{value:,.0f}" if abs(value) >= 1e4 else f"{value:.4g}"


def duration(seconds: float) -> str:
    """`1 h 02 min`, `3 min 20 s`, `12.3 s`."""
    if seconds < 60:
        return f"{seconds:.3g} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest:02d} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60:02d} min"


FILTERS: dict[str, Callable[..., str]] = {
    write.__name__: write for write in (score, signed, interval, count, short, measured, share, number, duration)
}
