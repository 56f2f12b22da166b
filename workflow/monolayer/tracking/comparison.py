"""The scores of several runs' tracks in one table, with intervals by drawing wells, and which differences are real."""

from __future__ import annotations

import itertools
import logging
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from monolayer.compiled import Flags, Floats, Ints
from monolayer.evaluation import bootstrap
from monolayer.evaluation.bootstrap import Drawn
from monolayer.files import InputError, write_csv
from monolayer.params.steps import TrackScoresParams
from monolayer.tracking.dictionary import SCORE
from monolayer.tracking.scores import MEASURES

logger = logging.getLogger(__name__)
KEYS = ["cell_line", "well", "timelapse"]
COUNTS = ("true_cells", "true_tracks", "true_divisions")
SCORES = (*MEASURES, "division_f1")
COLUMNS = ("run", "tracker", "cell_line", "timelapses", *COUNTS)
PAIRS = ("run_a", "run_b", "cell_line", "metric", "difference", "low", "high", "p", "real")
DIGITS = 10

Draws = dict[tuple[str, str], tuple[Floats, Drawn]]  # of a line's score: the value itself first, and what is drawn


def compare(folders: Sequence[Path], params: TrackScoresParams, output: Path) -> None:
    """Write a row for each run and cell line, and beside it, as .pairs.csv, a row for each pair of runs and score."""
    names = [folder.name for folder in folders]
    if len(set(names)) < len(names):
        raise InputError(f"two folders are of the same run (of {', '.join(names)}); compare each run once")
    tables = {name: read(folder / "scores.parquet") for name, folder in zip(names, folders, strict=True)}
    scored = {name: table for name, table in tables.items() if len(table)}
    logger.info("%d of %d runs have tracks that truth can score", len(scored), len(tables))
    rows, draws = list[dict[str, Any]](), dict[str, Draws]()
    for name, table in scored.items():
        made, draws[name] = run_rows(name, table, params)
        rows += made
    write_csv(output, rows, [*COLUMNS, *(f"{score}{end}" for score in SCORES for end in ("", "_low", "_high"))])
    pairs = list[dict[str, Any]]()
    for a, b in itertools.combinations(scored, 2):
        if on_same(scored[a], scored[b]):
            pairs += pair_rows((a, draws[a]), (b, draws[b]))
        else:
            logger.warning("%s and %s were scored on other time-lapses: no differences between them", a, b)
    write_csv(output.with_suffix(".pairs.csv"), pairs, PAIRS)


def on_same(a: pd.DataFrame, b: pd.DataFrame) -> bool:
    """Whether two tables of scores are of the same time-lapses and truth, so that draws can be paired."""
    return a[[*KEYS, *COUNTS]].to_dict("records") == b[[*KEYS, *COUNTS]].to_dict("records")


def read(path: Path) -> pd.DataFrame:
    try:
        return pd.read_parquet(path, columns=list(SCORE))
    except (OSError, ValueError) as error:
        raise InputError(f"{path} is not readable as scores of tracks ({error}); track the run again") from error


def run_rows(run: str, table: pd.DataFrame, params: TrackScoresParams) -> tuple[list[dict[str, Any]], Draws]:
    """The rows of a run, over all lines and for each; and the draws of each score, the value itself first."""
    lines = table["cell_line"].tolist()
    wells = (table["cell_line"] + "/" + table["well"]).tolist()
    weights = bootstrap.draws(lines, wells, params.n_resamples, params.seed)
    weights = np.vstack([np.ones((1, len(table)), np.int64), weights])
    rows, draws = list[dict[str, Any]](), Draws()
    for line in ("all", *sorted(set(lines))):
        chosen = np.array([line in ("all", own) for own in lines])
        row: dict[str, Any] = {"run": run, "tracker": table["tracker"].iloc[0], "cell_line": line}
        row |= {"timelapses": int(chosen.sum())} | {name: int(table.loc[chosen, name].sum()) for name in COUNTS}
        for name, values in pooled(table[chosen], weights[:, chosen]).items():
            own = np.flatnonzero(chosen & told(table, name))
            drawn = bootstrap.drawn(*([of[i] for i in own] for of in (lines, wells)))
            uncertain = drawn.units > 0
            low, high = bootstrap.interval(values[1:]) if uncertain else (math.nan, math.nan)
            ends = {"": values[0], "_low": low, "_high": high}
            row |= {f"{name}{end}": None if math.isnan(v) else round(float(v), DIGITS) for end, v in ends.items()}
            if uncertain:
                draws[line, name] = values, drawn
        rows.append(row)
    return rows, draws


def told(table: pd.DataFrame, name: str) -> Flags:
    """Which time-lapses (N,) say something of a score: those without divisions say nothing of how these are found."""
    counts = table[["division_tp", "division_fp", "division_fn"]].sum(axis=1)
    return np.asarray(table[name].notna() if name in MEASURES else counts > 0, np.bool_)


def pooled(table: pd.DataFrame, weights: Ints) -> dict[str, Floats]:
    """Each score in each draw (B,): the mean over time-lapses, as the challenge has it; divisions are counted up."""
    found = {}
    for name in MEASURES:
        values = table[name].to_numpy(np.float64)
        known = ~np.isnan(values)
        sums, counts = weights[:, known] @ values[known], weights[:, known].sum(1)
        found[name] = np.divide(sums, counts, out=np.full(len(weights), np.nan), where=counts > 0)
    tp, fp, fn = (weights @ table[f"division_{kind}"].to_numpy(np.int64) for kind in ("tp", "fp", "fn"))
    whole = 2 * tp + fp + fn
    found["division_f1"] = np.divide(2.0 * tp, whole, out=np.full(len(weights), np.nan), where=tp + fn > 0)
    return found


def pair_rows(a: tuple[str, Draws], b: tuple[str, Draws]) -> list[dict[str, Any]]:
    """Differences a - b of two runs, each draw of the same wells."""
    (run_a, draws_a), (run_b, draws_b) = a, b
    rows = []
    for line, name in (key for key in draws_a if key in draws_b):
        (values, drawn), (others, also) = draws_a[line, name], draws_b[line, name]
        found = bootstrap.difference(values - others, min(drawn, also))  # of fewer wells that say something
        if not math.isnan(found.value):
            numbers = (round(number, DIGITS) for number in found[:3])
            cells = (run_a, run_b, line, name, *numbers, found.p, str(found.real).lower())
            rows.append(dict(zip(PAIRS, cells, strict=True)))
    return rows
