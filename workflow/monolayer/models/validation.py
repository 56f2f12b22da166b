"""Scores of a network on val while it trains, by the evaluator that scores the finished run."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from monolayer.coco.instances import Instances
from monolayer.coco.io import write_results
from monolayer.coco.records import CELL, Truth
from monolayer.coco.table import read_results, read_truth
from monolayer.data.dataset import Sample
from monolayer.evaluation import matching, metrics
from monolayer.evaluation.cocoeval import FALSE, TRUE
from monolayer.evaluation.matching import PROTOCOLS
from monolayer.files import write_json

Find = Callable[[Sequence[NDArray[np.uint8]]], list[Instances]]


def validation_scores(val: Sequence[Sample], find: Find, batch: int) -> dict[str, float]:
    """Mask AP with LIVECell's constants, and precision and recall at the score threshold of the best F1."""
    with tempfile.TemporaryDirectory() as folder:
        truth, results = Path(folder) / "truth.json", Path(folder) / "results.json.gz"
        annotations = [annotation for sample in val for annotation in sample.annotations]
        images = [sample.image for sample in val]
        write_json(truth, Truth(images=images, annotations=annotations, categories=[CELL]))
        write_results(results, _results(val, find, batch))
        listed, true = read_truth(truth)
        pred = read_results(results, listed)
    setting = matching.setting(true, pred, listed, PROTOCOLS["livecell"], 1)
    pairs, _ = matching.mask_pairs(true, pred, setting)
    matches = matching.match_masks(true, pred, pairs, setting)
    curves = metrics.precision_curve(matches, 0, np.arange(len(listed)))  # (T, R)
    kept = matches.score >= metrics.best_threshold(matches)
    tp, fp = (int((matches.state[0, 0, kept] == state).sum()) for state in (TRUE, FALSE))
    return {
        "val_mask_ap": float(curves.mean()),
        "val_mask_ap50": float(curves[0].mean()),
        "val_precision": tp / max(1, tp + fp),
        "val_recall": tp / max(1, int(matches.positives[0].sum())),
    }


def _results(val: Sequence[Sample], find: Find, batch: int) -> Any:
    for start in range(0, len(val), batch):
        part = val[start : start + batch]
        for sample, instances in zip(part, find([sample.pixels() for sample in part]), strict=True):
            yield from instances.results(sample.image["id"])
