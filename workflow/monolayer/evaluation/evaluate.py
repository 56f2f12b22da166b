"""Results against truth, and runs against each other: the files around metrics.py."""

from __future__ import annotations

import hashlib
import itertools
import json
import logging
import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from monolayer.coco.table import CellTable, Images, read_results, read_truth
from monolayer.compiled import Floats, Ints
from monolayer.evaluation import bootstrap, breakdown, matching, metrics
from monolayer.evaluation.bootstrap import Drawn
from monolayer.evaluation.definitions import SHOWN, prefixes
from monolayer.evaluation.matching import PROTOCOLS
from monolayer.evaluation.metrics import Evidence
from monolayer.files import InputError, atomic_write, few, read_json, write_csv, write_json
from monolayer.params.steps import EvaluateParams

Row = dict[str, Any]
Files = tuple[Path, Path]  # truth, results

DIGITS = 10  # beyond these, machines differ in the order of their sums
HEAD = ("protocol", "score_threshold", "threshold_from")
HEADLINE = ("mask_ap", "mask_ap50", "box_ap", "afnr", "f1_50", "mean_accuracy", "pixel_f1")
PAIR_COLUMNS = ("run_a", "run_b", "cell_line", "metric", "difference", "low", "high", "p", "real")
log = logging.getLogger(__name__)


class Draws(NamedTuple):
    """On which test set a run was scored, the draws of each score (1 + B,), and what they draw of each line."""

    on: str
    values: dict[str, Floats]
    drawn: dict[str, Drawn]


# ---- one run -----------------------------------------------------------------------------------------


def evaluate(test: Files, val: Files | None, params: EvaluateParams, output: Path, threads: int) -> Row:
    """Score the results of test at the score threshold of val; write `output` and its tables, return the scores."""
    threshold = None if val is None else choose_threshold(val, params, threads)
    log.info("reading %s", test[1])
    images, true = read_truth(test[0])
    pred = read_results(test[1], images)
    log.info("%d images, %d true cells, %d predictions", len(images), int((~true.crowd).sum()), len(pred))
    evidence = gather((images, true, pred), params, threshold, threads)
    if len(capped := evidence.masks.capped):
        log.warning(
            "AP and AR count the %d best predictions of an image (protocol %s), and %d of %d images have more, e.g. "
            "%s; all other scores count every prediction",
            *(evidence.masks.cap, params.protocol, len(capped), len(images), images.names[capped[0]]),
        )
    run, by_line = output.name.removesuffix(".json"), groups(images)
    of_line = drawn(images, params)
    numbers, values = score(evidence, images, params, of_line)
    scores = plain({"run": run} | head(evidence, params, threshold, pred) | numbers)
    tables = {
        "images": image_rows(evidence, images),
        "curves": breakdown.curves(evidence, by_line),
        "strata": breakdown.strata(evidence, by_line),
        "errors": breakdown.errors(evidence, by_line),
    }
    for name, rows in tables.items():
        write_csv(output.with_name(f"{run}.{name}.csv"), [plain(row) for row in rows])
    write_draws(output.with_name(f"{run}.bootstrap.npz"), Draws(test_set(true, images, params), values, of_line))
    write_json(output.with_name(f"{run}.headline.json"), {name: scores[name] for name in HEADLINE}, indent=1)
    write_json(output, scores, indent=1)
    return scores


def choose_threshold(val: Files, params: EvaluateParams, threads: int) -> float:
    """The score threshold of the best instance F1 on these images."""
    log.info("choosing the score threshold on %s", val[1])
    images, true = read_truth(val[0])
    pred = read_results(val[1], images)
    setting = matching.setting(true, pred, images, PROTOCOLS[params.protocol], threads)
    setting = replace(setting, ranges=[matching.ANY_AREA])
    pairs, _ = matching.mask_pairs(true, pred, setting)
    return metrics.best_threshold(matching.match_masks(true, pred, pairs, setting))


def gather(
    cells: tuple[Images, CellTable, CellTable], params: EvaluateParams, threshold: float | None, threads: int
) -> Evidence:
    """Match masks and boxes, count pixels and errors at a score threshold; None: at the best of these images."""
    images, true, pred = cells
    setting = matching.setting(true, pred, images, PROTOCOLS[params.protocol], threads)
    sizes = breakdown.size_ranges(true)
    pairs, shared = matching.mask_pairs(true, pred, setting)
    masks = matching.match_masks(true, pred, pairs, replace(setting, ranges=setting.ranges + sizes))
    threshold = metrics.best_threshold(masks) if threshold is None else threshold
    kinds = breakdown.error_kinds(true, pred, (pairs, shared), masks, threshold)
    box_area = pred.boxes_xywh[:, 2] * pred.boxes_xywh[:, 3]
    boxes = matching.match(true, matching.box_pairs(true, pred, setting), pred.score, box_area, setting)
    pixels = matching.count_pixels(true, pred, pred.mask_score >= threshold, images, threads)
    log.info("matched %d pairs of masks that touch; score threshold %g", len(shared), threshold)
    return Evidence(
        masks=masks,
        boxes=boxes,
        pixels=pixels[:, :3],
        annotated=pixels[:, 3],
        errors=breakdown.count_errors(true, pred, kinds, len(images)),
        size_ranges=sizes,
        threshold=threshold,
        max_dets=setting.protocol.max_dets,
        threads=threads,
    )


def head(evidence: Evidence, params: EvaluateParams, threshold: float | None, pred: CellTable) -> Row:
    """What the numbers go by."""
    origin = "test (optimistic)" if threshold is None else "val"
    if len(pred) and np.ptp(pred.mask_score) == 0:
        log.info("all predictions have one score: AP is that of a single point, not of a curve")
        origin = "one score for all" if threshold is None else origin
    return params.model_dump() | {"score_threshold": evidence.threshold, "threshold_from": origin}


def groups(images: Images) -> dict[str, Ints]:
    """Indices of all images, then of each cell line's."""
    indices = {"all": np.arange(len(images))}
    for line in sorted(set(images.lines) - {""}):
        if line == "all":
            raise InputError("a cell line is called all, which is the name of the row over all lines; rename the line")
        indices[line] = np.array([i for i, name in enumerate(images.lines) if name == line])
    return indices


def units(images: Images, params: EvaluateParams) -> list[str]:
    """What the bootstrap draws whole: the name of each image's well, or the image itself."""
    if params.resample == "image":
        first: dict[str, int] = {}  # a file that is listed twice, with two annotators' cells, is one image
        return [str(first.setdefault(name, number)) for name, number in zip(images.names, images.ids, strict=True)]
    if lacking := [name for name, well in zip(images.names, images.wells, strict=True) if not well]:
        said = f"wells are to be drawn, and the truth gives none to {len(lacking)} of {len(images)} images"
        raise InputError(f"{said} ({few(lacking, 3)}); give each a `well`, or draw images (resample: image)")
    return [f"{line}/{well}" for line, well in zip(images.lines, images.wells, strict=True)]


def drawn(images: Images, params: EvaluateParams) -> dict[str, Drawn]:
    """What the bootstrap draws of all images, and of those of each line."""
    of = units(images, params)
    return {
        line: bootstrap.drawn([images.lines[i] for i in chosen], [of[i] for i in chosen])
        for line, chosen in groups(images).items()
    }


def score(
    evidence: Evidence, images: Images, params: EvaluateParams, of_line: dict[str, Drawn]
) -> tuple[Row, dict[str, Floats]]:
    """Flat scores, `line/metric` for a cell line, with intervals; and the draws of each, the value itself first."""
    weights = bootstrap.draws(images.lines, units(images, params), params.n_resamples, params.seed)
    weights = np.vstack([np.ones((1, len(images)), np.int64), weights])
    scores: Row = {}
    capped = evidence.masks.capped
    draws: dict[str, Floats] = {}
    for group, chosen in groups(images).items():
        prefix = "" if group == "all" else f"{group}/"
        numbers = metrics.headline(evidence, chosen, weights[:, chosen])
        uncertain = of_line[group].units > 0
        scores |= {f"{prefix}images": len(chosen), f"{prefix}cells": int(evidence.masks.positives[0][:, chosen].sum())}
        for name, values in numbers.items():
            low, high = bootstrap.interval(values[1:]) if uncertain else (math.nan, math.nan)
            scores |= {f"{prefix}{name}": values[0], f"{prefix}{name}_low": low, f"{prefix}{name}_high": high}
            if uncertain:
                draws[f"{prefix}{name}"] = values
        scores |= {f"{prefix}{name}": value for name, value in metrics.details(evidence, chosen).items()}
        if len(capped):
            scores[f"{prefix}capped_images"] = int(np.isin(chosen, capped).sum())
        log.info("%s: %d images, mask AP %.4f", group, len(chosen), numbers["mask_ap"][0])
    return scores, draws


def image_rows(evidence: Evidence, images: Images) -> list[Row]:
    columns = metrics.by_image(evidence)
    if len(evidence.masks.capped):
        capped = np.isin(np.arange(len(images)), evidence.masks.capped)
        columns["capped"] = np.where(capped, "true", "false")
    return [
        {"image_id": images.ids[i], "file_name": images.names[i], "cell_line": images.lines[i]}
        | {name: column[i].item() for name, column in columns.items()}
        for i in range(len(images))
    ]


# ---- runs against each other -------------------------------------------------------------------------


def compare(paths: Sequence[Path], output: Path) -> None:
    """Write a table with a row per run and cell line; in pairs.csv beside, which differences of runs are real."""
    runs = [read_scores(path) for path in paths]
    names = [run["run"] for run in runs]
    if len(set(names)) < len(names):
        raise InputError(f"two files hold the same run (of {', '.join(names)}); compare each run once")
    write_csv(output, [plain(row) for run in runs for row in run_rows(run)])
    draws = [read_draws(path.with_name(f"{name}.bootstrap.npz")) for path, name in zip(paths, names, strict=True)]
    pairs = itertools.combinations(zip(names, draws, strict=True), 2)
    differences = [plain(row) for pair in pairs for row in pair_rows(*pair)]
    write_csv(output.with_name("pairs.csv"), differences, PAIR_COLUMNS)


def read_scores(path: Path) -> Row:
    scores: Row = read_json(path, "scores", "evaluate the run again")
    for name in ("run", *HEAD):
        if not isinstance(scores, dict) or name not in scores:
            raise InputError(f"{path} has no {name}, so `monolayer evaluate` did not write it; evaluate the run again")
    return scores


def run_rows(scores: Row) -> list[Row]:
    """A run's row over all images, then one for each cell line."""
    settings = {*HEAD, "run", *EvaluateParams.model_fields}
    own = [name for name in scores if "/" not in name and name not in settings]
    return [
        {"run": scores["run"], "cell_line": line}
        | {name: scores[f"{prefix}{name}"] for name in own}
        | {name: scores[name] for name in HEAD}
        for line, prefix in prefixes(scores).items()
    ]


def pair_rows(a: tuple[str, Draws], b: tuple[str, Draws]) -> list[Row]:
    """Differences a - b of two runs, each draw on the same images."""
    (run_a, draws_a), (run_b, draws_b) = a, b
    if draws_a.on != draws_b.on:
        log.warning("%s and %s were scored on other images or draws: no differences between them", run_a, run_b)
        return []
    rows = []
    for name, values in draws_a.values.items():
        line, _, metric = name.rpartition("/")
        found = bootstrap.difference(values - draws_b.values[name], draws_a.drawn[line or "all"])
        if metric in SHOWN and not math.isnan(found.value):  # tables tell of these what is as good as the best
            cells = (*found[:4], str(found.real).lower())
            rows.append(dict(zip(PAIR_COLUMNS, (run_a, run_b, line or "all", metric, *cells), strict=True)))
    return rows


def test_set(true: CellTable, images: Images, params: EvaluateParams) -> str:
    """The same text for runs whose draws can be paired: the same images, true cells and settings."""
    cells = np.column_stack([true.image, true.category, true.crowd, true.area, true.pixels, true.boxes_xywh])
    cells = cells[np.lexsort(cells.T)]  # in whatever order a file has them
    facts = [images.ids, images.lines, units(images, params), params.model_dump()]
    return hashlib.sha256(json.dumps(facts).encode() + cells.tobytes()).hexdigest()


# ---- files -------------------------------------------------------------------------------------------


def write_draws(path: Path, draws: Draws) -> None:
    names, values = np.array(list(draws.values), np.str_), np.array(list(draws.values.values()), np.float64)
    lines, drawn = np.array(list(draws.drawn), np.str_), np.array(list(draws.drawn.values()), np.int64)
    with atomic_write(path) as partial, partial.open("wb") as file:
        np.savez(file, names=names, values=values, test_set=np.array(draws.on), lines=lines, drawn=drawn)


def read_draws(path: Path) -> Draws:
    try:
        with np.load(path) as file:
            values = dict(zip(file["names"].tolist(), file["values"], strict=True))
            drawn = {
                line: Drawn(*row) for line, row in zip(file["lines"].tolist(), file["drawn"].tolist(), strict=True)
            }
            return Draws(str(file["test_set"]), values, drawn)
    except (OSError, ValueError, KeyError) as error:
        raise InputError(f"{path} is not readable as draws ({error}); evaluate the run again") from error


def plain(row: Row) -> Row:
    """Numbers as JSON and CSV take them: rounded, null where undefined; a threshold whole, since scores equal it."""
    return {
        name: (None if math.isnan(value) else round(float(value), DIGITS) + 0.0)
        if isinstance(value, float) and name != "score_threshold"
        else value
        for name, value in row.items()
    }
