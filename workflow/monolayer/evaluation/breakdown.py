"""Where a run fails: by cell density and cell size, along thresholds, and by kind of error."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from monolayer.coco.table import CellTable
from monolayer.compiled import Floats, Ints
from monolayer.evaluation import metrics
from monolayer.evaluation.cocoeval import FALSE, IGNORED, TRUE
from monolayer.evaluation.matching import ANY_AREA, IOUS, RECALLS, Matches
from monolayer.evaluation.metrics import Evidence, ratio
from monolayer.evaluation.pairs import Pairs

Row = dict[str, Any]

QUARTILES = (0.25, 0.5, 0.75)
MOST = 0.5  # of a cell's pixels: it lies mostly within the other
SCORES: Floats = np.arange(101) / 100
LOOSE = 0.1  # IoU from which an outline is loose and not just beside the cell
KINDS = ("missed", "merged", "split", "loose", "duplicate", "spurious")
COLUMNS = ("mask_ap", "mask_ap50", "afnr", "f1_50", "precision", "recall", "mean_accuracy", "pixel_f1", "count_bias")


def size_ranges(true: CellTable) -> list[tuple[float, float]]:
    """Quartiles of the true cells' areas; the edges lie just above, so that no cell, of half px² too, is in two."""
    areas = true.area[~true.crowd]
    edges = np.unique(np.nextafter(np.quantile(areas, QUARTILES), np.inf)) if len(areas) else np.zeros(0)
    edges = edges[edges < areas.max(initial=0)]
    return list(zip([0.0, *edges.tolist()], [*edges.tolist(), ANY_AREA[1]], strict=True))


def strata(evidence: Evidence, groups: dict[str, Ints]) -> list[Row]:
    """Scores of each group by quartile of its images' density and of all true cells' size."""
    rows: list[Row] = []
    cells = evidence.masks.positives[0].sum(axis=0)
    density = cells / np.maximum(evidence.annotated, 1) * 1e6
    edges = np.unique(np.quantile(density, QUARTILES))
    edges = edges[edges < density.max()]  # images that are all alike make one bin
    place = np.searchsorted(edges, density, side="left")  # an edge belongs to the bin below, as with sizes
    bounds = [float(density.min()), *edges.tolist(), float(density.max())]
    for group, chosen in groups.items():
        for index in range(len(edges) + 1):
            part = chosen[place[chosen] == index]
            if len(part):
                once = np.ones((1, len(part)), np.int64)
                scores = {name: value[0] for name, value in metrics.headline(evidence, part, once).items()}
                limits = (bounds[index], bounds[index + 1])
                rows.append(_stratum(group, ("density", index, limits), (len(part), int(cells[part].sum())), scores))
        for index, (low, high) in enumerate(evidence.size_ranges):
            count = int(evidence.masks.positives[4 + index][:, chosen].sum())
            if count:
                scores = _by_size(evidence, 4 + index, chosen)
                limits = (low, np.nan if high == ANY_AREA[1] else high)  # open upwards
                rows.append(_stratum(group, ("size", index, limits), (len(chosen), count), scores))
    return rows


def _stratum(
    group: str, where: tuple[str, int, tuple[float, float]], counts: tuple[int, int], scores: dict[str, Any]
) -> Row:
    stratum, index, (low, high) = where
    row: Row = {"cell_line": group, "stratum": stratum, "bin": index + 1, "low": low, "high": high}
    return row | {"images": counts[0], "cells": counts[1]} | {name: scores.get(name, np.nan) for name in COLUMNS}


def _by_size(evidence: Evidence, area: int, chosen: Ints) -> dict[str, Any]:
    """What can be said of cells of one size; a prediction of another size is no error here, as in COCO."""
    once = np.ones((1, len(chosen)), np.int64)
    by_iou = metrics.precision_curve(evidence.masks, area, chosen).mean(axis=1)
    true = evidence.masks.counts(TRUE, area, evidence.masks.rank < evidence.masks.cap)
    recalls = metrics.recall((true, evidence.masks.positives[area]), chosen, once)[0]
    scores = {name: value[0] for name, value in metrics.detection(evidence, area, chosen, once).items()}
    return scores | {"mask_ap": by_iou.mean(), "mask_ap50": by_iou[0], "afnr": 1 - recalls.mean()}


def curves(evidence: Evidence, groups: dict[str, Ints]) -> list[Row]:
    """Points (cell_line, curve, x, y): F1 by IoU and by score threshold, precision by recall at IoU .50 and .75."""
    rows: list[Row] = []
    for group, chosen in groups.items():
        true, false, missed = (column[:, chosen].sum(axis=1) for column in evidence.tp_fp_fn[0])
        precision = metrics.precision_curve(evidence.masks, 0, chosen)
        lines = {
            "f1_by_iou": (IOUS, metrics.f1(true, false, missed)),
            "f1_by_score": (SCORES, f1_by_score(evidence.masks, chosen, SCORES)),
            "precision_by_recall_50": (RECALLS, precision[0]),
            "precision_by_recall_75": (RECALLS, precision[5]),
        }
        for curve, points in lines.items():
            rows += [{"cell_line": group, "curve": curve, "x": x, "y": y} for x, y in zip(*points, strict=True)]
    return rows


def f1_by_score(matches: Matches, chosen: Ints, thresholds: Floats) -> Floats:
    """Instance F1 at IoU 0.5 of the predictions that reach each score threshold.

    >>> from monolayer.evaluation.example import evidence
    >>> f1_by_score(evidence.masks, np.arange(1), np.array([0.9, 0.8, 0.7])).round(3).tolist()  # 2/4, 4/5, 4/6
    [0.5, 0.8, 0.667]
    """
    here = np.isin(matches.image, chosen)
    state, score = matches.state[0, 0, here], matches.score[here]
    reaching = (np.sort(score[state == which]) for which in (TRUE, FALSE))
    true, false = (len(scores) - np.searchsorted(scores, thresholds, side="left") for scores in reaching)
    return metrics.f1(true, false, matches.positives[0][:, chosen].sum() - true)


def error_kinds(
    true: CellTable, pred: CellTable, overlaps: tuple[Pairs, Ints], matches: Matches, threshold: float
) -> tuple[NDArray[np.int8], NDArray[np.int8]]:
    """Kind of error, an index into KINDS or -1 for none, of each true (M,) and each predicted cell (N,).

    Of the predictions above the threshold, matched at IoU 0.5. Of several kinds that fit, the last in the code stays.

    >>> from monolayer.evaluation.example import example
    >>> true = ["aabbcc.dddddd.eee.f.gggg..."]  # m merges a, b and c; d is split; l lies loosely on e; f is missed;
    >>> pred = ["mmmmmm.ssttuu.l.....vvxx.ww"]  # v is g, and x its duplicate; w is spurious
    >>> evidence = example(true, pred, dict.fromkeys("mstulvxw", 0.9))
    >>> dict(zip(KINDS, evidence.errors[:, :, 0].tolist()))  # true cells lost, wrong predictions
    {'missed': [1, 0], 'merged': [3, 1], 'split': [1, 3], 'loose': [1, 1], 'duplicate': [0, 1], 'spurious': [0, 1]}
    """
    kept = matches.score >= threshold
    state = np.full(len(pred), IGNORED)
    state[matches.cell[kept]] = matches.state[0, 0, kept]
    matched = np.zeros(len(true), np.bool_)
    matched[matches.partner[kept & (matches.state[0, 0] == TRUE)]] = True
    wrong, lost = state == FALSE, ~matched & ~true.crowd
    pairs, shared = overlaps
    of_pred, of_true = np.repeat(np.arange(len(pred)), np.diff(pairs.first)), pairs.true
    real = (state[of_pred] != IGNORED) & ~true.crowd[of_true]
    of_pred, of_true, shared, iou = of_pred[real], of_true[real], shared[real], pairs.iou[real]

    def any_of(flags: NDArray[np.bool_], index: NDArray[Any], count: int) -> NDArray[np.bool_]:
        return np.bincount(index[flags], minlength=count) > 0

    in_pred, in_true = shared >= MOST * true.pixels[of_true], shared >= MOST * pred.pixels[of_pred]
    merger = np.bincount(of_pred[in_pred], minlength=len(pred)) > 1
    cut = np.bincount(of_true[in_true], minlength=len(true)) > 1
    loose = (iou >= LOOSE) & wrong[of_pred] & lost[of_true]
    true_kind, pred_kind = np.full(len(true), -1, np.int8), np.full(len(pred), -1, np.int8)
    true_kind[lost] = KINDS.index("missed")
    true_kind[lost & any_of(loose, of_true, len(true))] = KINDS.index("loose")
    true_kind[lost & cut] = KINDS.index("split")
    true_kind[lost & any_of(in_pred & merger[of_pred], of_true, len(true))] = KINDS.index("merged")
    pred_kind[wrong] = KINDS.index("spurious")
    pred_kind[wrong & any_of(loose, of_pred, len(pred))] = KINDS.index("loose")
    pred_kind[wrong & any_of(in_true & cut[of_true], of_pred, len(pred))] = KINDS.index("split")
    pred_kind[wrong & any_of(iou >= IOUS[0], of_pred, len(pred))] = KINDS.index("duplicate")
    pred_kind[wrong & merger] = KINDS.index("merged")
    return true_kind, pred_kind


def errors(evidence: Evidence, groups: dict[str, Ints]) -> list[Row]:
    """How many true cells were lost and predictions wrong by each kind of error, and their shares of all cells."""
    rows: list[Row] = []
    for group, chosen in groups.items():
        true, false, missed = (int(column[0, chosen].sum()) for column in evidence.tp_fp_fn[0])
        for kind, (lost, wrong) in zip(KINDS, evidence.errors[:, :, chosen].sum(axis=2).tolist(), strict=True):
            shares = {"lost_share": float(ratio(lost, true + missed)), "wrong_share": float(ratio(wrong, true + false))}
            rows.append({"cell_line": group, "kind": kind, "lost_cells": lost, "wrong_predictions": wrong} | shares)
    return rows


def count_errors(
    true: CellTable, pred: CellTable, kinds: tuple[NDArray[np.int8], NDArray[np.int8]], images: int
) -> Ints:
    """Errors (kind, lost or wrong, I) of each image."""
    counts = np.zeros((len(KINDS), 2, images), np.int64)
    for side, (cells, kind) in enumerate(zip((true, pred), kinds, strict=True)):
        np.add.at(counts[:, side], (kind[kind >= 0], cells.image[kind >= 0]), 1)
    return counts
