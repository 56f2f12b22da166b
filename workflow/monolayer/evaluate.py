"""Results against truth, and runs against each other: the files around metrics.py."""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from monolayer import bootstrap, matching, metrics
from monolayer.cells import Cells, Images, read_results, read_truth
from monolayer.coco import InputError, whole_file, write_json
from monolayer.kernels import Floats, Ints
from monolayer.matching import PROTOCOLS, Matches, Setting
from monolayer.metrics import Evidence
from monolayer.params import EvaluateParams

Row = dict[str, Any]
DIGITS = 10  # beyond these, machines differ in the order of their sums


def evaluate(
    test: tuple[Path, Path], val: tuple[Path, Path] | None, params: EvaluateParams, output: Path, threads: int
) -> None:
    """Score the results (truth, results) of test at the score threshold of val; write `output` and its tables."""
    threshold = None if val is None else choose_threshold(*val, params, threads)
    images, true = read_truth(test[0])
    pred = read_results(test[1], images)
    setting = matching.setting(true, pred, len(images), PROTOCOLS[params.protocol], threads)
    evidence = gather(images, true, pred, setting, threshold)
    origin = "test (optimistic)" if val is None else "val"
    run = output.name.removesuffix(".json")
    head: Row = {
        "run": run,
        "protocol": params.protocol,
        "score_threshold": evidence.threshold,
        "threshold_from": origin,
    }
    scores, draws = score(evidence, images, params)
    write_json(output, _plain(head | scores), indent=1)
    write_table(output.with_name(f"{run}.images.csv"), image_rows(evidence, images))
    with whole_file(output.with_name(f"{run}.bootstrap.npz")) as partial, partial.open("wb") as file:
        np.savez_compressed(file, **draws)  # type: ignore[arg-type]


def choose_threshold(truth: Path, results: Path, params: EvaluateParams, threads: int) -> float:
    """The score threshold of the best instance F1 on these images."""
    images, true = read_truth(truth)
    pred = read_results(results, images)
    setting = matching.setting(true, pred, len(images), PROTOCOLS[params.protocol], threads)
    return metrics.best_threshold(match_masks(true, pred, setting))


def match_masks(true: Cells, pred: Cells, setting: Setting) -> Matches:
    pairs, _ = matching.mask_pairs(true, pred, setting)
    return matching.match(true, pairs, pred.mask_score, pred.pixels.astype(np.float64), setting)


def gather(images: Images, true: Cells, pred: Cells, setting: Setting, threshold: float | None) -> Evidence:
    """Match masks and boxes, and count pixels at the threshold; without one, at the best of these images."""
    masks = match_masks(true, pred, setting)
    box_area = pred.boxes_xywh[:, 2] * pred.boxes_xywh[:, 3]
    boxes = matching.match(true, matching.box_pairs(true, pred, setting), pred.score, box_area, setting)
    threshold = metrics.best_threshold(masks) if threshold is None else threshold
    pixels = matching.count_pixels(true, pred, pred.mask_score >= threshold, images, setting.threads)
    return Evidence(masks, boxes, pixels, threshold, setting.protocol.max_dets, setting.threads)


def groups(images: Images) -> dict[str, Ints]:
    """Indices of all images, then of each cell line's."""
    found = {"all": np.arange(len(images))}
    for line in sorted(set(images.lines) - {""}):
        if line == "all":
            raise InputError("a cell line is called all, which is the name of the row over all lines; rename the line")
        found[line] = np.array([i for i, name in enumerate(images.lines) if name == line])
    return found


def score(evidence: Evidence, images: Images, params: EvaluateParams) -> tuple[Row, dict[str, Floats]]:
    """Flat scores, `line/metric` for a cell line, with their intervals; and the draws that those came from."""
    units = [f"{line}/{well}" for line, well in zip(images.lines, images.wells, strict=True)]
    units = units if params.resample == "well" else list(map(str, images.ids))
    weights = bootstrap.draws(images.lines, units, params.draws, params.seed)
    scores: Row = {}
    kept: dict[str, Floats] = {}
    for group, chosen in groups(images).items():
        prefix = "" if group == "all" else f"{group}/"
        found = metrics.headline(evidence, chosen, np.vstack([np.ones((1, len(chosen)), np.int64), weights[:, chosen]]))
        uncertain = len({units[i] for i in chosen}) > len({images.lines[i] for i in chosen})  # a line with two to draw
        scores |= {f"{prefix}images": len(chosen), f"{prefix}cells": int(evidence.masks.positives[0][:, chosen].sum())}
        for name, values in found.items():
            low, high = bootstrap.interval(values[1:]) if uncertain else (math.nan, math.nan)
            scores |= {f"{prefix}{name}": values[0], f"{prefix}{name}_low": low, f"{prefix}{name}_high": high}
            kept[f"{prefix}{name}"] = values
        scores |= {f"{prefix}{name}": value for name, value in metrics.details(evidence, chosen).items()}
    return scores, kept


def image_rows(evidence: Evidence, images: Images) -> list[Row]:
    columns = metrics.by_image(evidence)
    counts = {"cells_true", "cells_pred", "tp", "fp", "fn"}
    return [
        {"image_id": images.ids[i], "file_name": images.names[i], "cell_line": images.lines[i]}
        | {name: int(column[i]) if name in counts else column[i] for name, column in columns.items()}
        for i in range(len(images))
    ]


def _plain(row: Row) -> Row:
    """Numbers as JSON and CSV take them: rounded, null where undefined."""
    return {
        name: None if isinstance(value, float) and math.isnan(value) else _rounded(value) for name, value in row.items()
    }


def _rounded(value: Any) -> Any:
    return round(float(value), DIGITS) + 0.0 if isinstance(value, float) else value


def write_table(path: Path, rows: Sequence[Row]) -> None:
    """Write rows of equal keys as CSV; undefined numbers are empty."""
    with whole_file(path) as partial, partial.open("w", newline="") as file:
        table = csv.DictWriter(file, list(rows[0]), lineterminator="\n")
        table.writeheader()
        table.writerows(_plain(row) for row in rows)


def compare(paths: Sequence[Path], output: Path) -> None:
    """Write one table of the scores of several runs, a row per run and cell line."""
    rows: list[Row] = []
    for path in paths:
        rows += run_rows(json.loads(path.read_text()))
    write_table(output, rows)


def run_rows(scores: Row) -> list[Row]:
    """A run's row over all images, then one for each cell line."""
    plain = {name: value for name, value in scores.items() if "/" not in name}
    shared = {name: plain.pop(name) for name in ("protocol", "score_threshold", "threshold_from")}
    rows = [{"run": plain.pop("run"), "cell_line": "all"} | plain | shared]
    lines = dict.fromkeys(name.rsplit("/", 1)[0] for name in scores if "/" in name)
    for line in lines:
        rows.append(
            {"run": scores["run"], "cell_line": line} | {name: scores[f"{line}/{name}"] for name in plain} | shared
        )
    return rows
