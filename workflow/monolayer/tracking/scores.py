"""Tracks against true ones: the measures of the Cell Tracking Challenge, by py-ctcmetrics, and divisions found.

Matula et al. 2015, doi:10.1371/journal.pone.0144959; Ulman et al. 2017, doi:10.1038/nmeth.4473. A true cell is found by
what covers more than half of it.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from monolayer.compiled import Floats, Ints
from monolayer.tracking.ctc import TrackParts


class FrameMatch(NamedTuple):
    """The true cells of a frame and what was found for them, by number in the frame, from 1 on."""

    true: Ints  # the pairs
    pred: Ints
    iou: Floats


class Scored(NamedTuple):
    """One side of a comparison: its parts, and the numbers in `parts` of each frame's cells."""

    parts: TrackParts
    cells: list[Ints]

    def labels(self) -> list[list[int]]:
        """The parts that each frame shows, in rising order: py-ctcmetrics looks them up as sorted."""
        return [sorted(self.parts.label[cells][self.parts.label[cells] > 0].tolist()) for cells in self.cells]


def match(true: NDArray[np.int32], pred: NDArray[np.int32]) -> FrameMatch:
    """Pairs of the cells of two label images (H, W): what covers more than half of a true cell."""
    width = int(pred.max(initial=0)) + 1
    keys, counts = np.unique(true.astype(np.int64) * width + pred, return_counts=True)
    one, other = np.divmod(keys, width)
    area_true, area_pred = np.bincount(true.ravel()), np.bincount(pred.ravel())
    pairs = (one > 0) & (other > 0) & (2 * counts > area_true[one])
    one, other, shared = one[pairs], other[pairs], counts[pairs]
    return FrameMatch(one, other, shared / (area_true[one] + area_pred[other] - shared))


def scores(true: Scored, pred: Scored, matches: list[FrameMatch], tolerance: int) -> dict[str, Any]:
    """The columns of the table `scores` of one time-lapse, NaN where truth has nothing that a score is of."""
    from ctc_metrics.metrics import bc, cca, ct, det, raw_division_metrics, seg, tf, tra
    from ctc_metrics.utils.representations import count_acyclic_graph_correction_operations

    ref, res = true.parts.table, pred.parts.table
    in_ref, in_res = true.labels(), pred.labels()
    by_ref = [true.parts.label[cells[m.true - 1]].tolist() for cells, m in zip(true.cells, matches, strict=True)]
    by_res = [pred.parts.label[cells[m.pred - 1]].tolist() for cells, m in zip(pred.cells, matches, strict=True)]
    counted = {"true_cells": sum(map(len, in_ref)), "true_tracks": len(ref), "true_divisions": divisions(ref)}
    if not counted["true_cells"]:
        return counted | dict.fromkeys(MEASURES, math.nan) | {"division_tp": 0, "division_fp": 0, "division_fn": 0}
    if not len(res):
        missed = counted["true_divisions"]
        found = dict.fromkeys(MEASURES, 0.0) | {"branching": 0.0 if missed else math.nan, "cell_cycle": math.nan}
        return counted | found | {"division_tp": 0, "division_fp": 0, "division_fn": missed}
    graph = count_acyclic_graph_correction_operations(ref, res, in_ref, in_res, by_ref, by_res)
    tp, fp, fn = raw_division_metrics(res, ref, by_ref, by_res, tolerance)
    cycle = cca(res, ref)
    return counted | {
        "seg": float(seg(in_ref, [m.iou.tolist() for m in matches])),
        "det": float(det(**graph)),
        "tra": float(tra(**graph)[0]),
        "complete_tracks": float(ct(res, ref, in_ref, by_ref, by_res)),
        "track_fractions": float(tf(ref, in_ref, by_ref, by_res)),
        "branching": math.nan if (branching := bc(tp, fp, fn)) is None else float(branching),
        "cell_cycle": math.nan if cycle is None else float(cycle),
        "division_tp": int(tp),
        "division_fp": int(fp),
        "division_fn": int(fn),
    }


MEASURES = ("seg", "det", "tra", "complete_tracks", "track_fractions", "branching", "cell_cycle")


def divisions(table: Ints) -> int:
    """TrackParts with two daughters or more."""
    _, counts = np.unique(table[table[:, 3] > 0, 3], return_counts=True)
    return int((counts > 1).sum())
