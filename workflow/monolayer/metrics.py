"""Numbers of a run from its matches: AP, recall, F1, accuracy, counts, each for one or many weightings of the images.

A weighting (I,) says how often each image counts: ones for the value itself, a bootstrap draw for its uncertainty,
so that a value and its interval come from the same lines of code.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from monolayer import kernels
from monolayer.kernels import FALSE, TRUE, Events, Floats, Ints
from monolayer.matching import IOUS, RECALLS, Matches, in_threads, spans


@dataclass(frozen=True)
class Evidence:
    """All that the metrics of a run are computed from, for I images."""

    masks: Matches
    boxes: Matches
    pixels: Ints  # (I, 3) true and predicted, predicted only, true only; at the score threshold
    threshold: float
    max_dets: tuple[int, int, int]
    threads: int


def events(matches: Matches, area: int, chosen: Ints, category: int) -> Events:
    """Predictions of the chosen images and one category by falling score, those of equal score by image."""
    place = np.full(matches.positives.shape[2], -1)
    place[chosen] = np.arange(len(chosen))
    here = np.flatnonzero((place[matches.image] >= 0) & (matches.category == category))
    here = here[np.argsort(-matches.score[here], kind="stable")]
    state = matches.state[area][:, here]
    threshold, position = np.nonzero(state != FALSE)
    first = np.searchsorted(threshold, np.arange(len(IOUS) + 1))
    true = state[threshold, position] == TRUE
    return Events(place[matches.image[here]].astype(np.int32), first, position.astype(np.int32), true)


def precision(matches: Matches, area: int, chosen: Ints, weights: Ints, threads: int) -> Floats:
    """COCO's interpolated precision (B, T, R), the mean over categories that have true cells; nan where none has."""
    curves = []
    for category in range(matches.positives.shape[1]):
        ranked = events(matches, area, chosen, category)
        positives = np.ascontiguousarray(matches.positives[area, category, chosen])

        def work(span: tuple[int, int], ranked: Events = ranked, positives: Ints = positives) -> Floats:
            return np.asarray(kernels.interpolated_precision(ranked, positives, weights[slice(*span)], RECALLS))

        curves.append(np.concatenate(in_threads(work, spans(len(weights)), threads)))
    return _nanmean(np.array(curves))


def recall(matches: Matches, area: int, cap: int, chosen: Ints, weights: Ints) -> Floats:
    """Recall (B, T) of the best `cap` predictions of each image, the mean over categories that have true cells."""
    categories = matches.positives.shape[1]
    found = counts(matches, TRUE, area, matches.rank < cap)[:, :, chosen]
    positives = matches.positives[area][:, chosen]
    with np.errstate(invalid="ignore", divide="ignore"):
        rates = [(weights @ found[:, c].T) / (weights @ positives[c])[:, None] for c in range(categories)]
    return _nanmean(np.array(rates))


def counts(matches: Matches, state: int, area: int, kept: NDArray[np.bool_]) -> Ints:
    """Kept predictions in this state (T, C, I), by IoU threshold, category and image."""
    _, categories, images = matches.positives.shape
    unit = matches.category * images + matches.image
    rows = [np.bincount(unit[kept & (row == state)], minlength=categories * images) for row in matches.state[area]]
    return np.array(rows).reshape(len(rows), categories, images)


def best_threshold(matches: Matches) -> float:
    """The score threshold of the best instance F1 at IoU 0.5, the highest of equals; 0 where no prediction is true."""
    order = np.argsort(-matches.score, kind="stable")
    state, score = matches.state[0, 0, order], matches.score[order]
    true, false = np.cumsum(state == TRUE), np.cumsum(state == FALSE)
    f1 = 2 * true / np.maximum(true + false + matches.positives[0].sum(), 1)
    last = np.r_[score[1:] != score[:-1], True][: len(score)]  # a threshold takes all of equal score
    f1 = np.where(last, f1, -1)
    return float(score[np.argmax(f1)]) if len(f1) and f1.max() > 0 else 0.0


def average_precision(name: str, curves: Floats) -> dict[str, Floats]:
    """AP over IoU .50:.05:.95, at .50 and at .75, each (B,), of precision curves (B, T, R)."""
    by_iou = curves.mean(axis=2)
    return {f"{name}_ap": by_iou.mean(axis=1), f"{name}_ap50": by_iou[:, 0], f"{name}_ap75": by_iou[:, 5]}


def detection(evidence: Evidence, area: int, chosen: Ints, weights: Ints) -> dict[str, Floats]:
    """F1, precision and recall (B,) of the cells above the score threshold, in one range of areas."""
    true, false, missed = (weights @ column[:, chosen].T for column in outcomes(evidence, area))
    f1 = _ratio(2 * true, 2 * true + false + missed)
    return {
        "f1_50": f1[:, 0],
        "f1": f1.mean(axis=1),
        "precision": _ratio(true, true + false)[:, 0],
        "recall": _ratio(true, true + missed)[:, 0],
    }


def outcomes(evidence: Evidence, area: int = 0) -> tuple[Ints, Ints, Ints]:
    """True and false positives and missed cells above the score threshold, each (T, I)."""
    matches, kept = evidence.masks, evidence.masks.score >= evidence.threshold
    true, false = (counts(matches, state, area, kept).sum(axis=1) for state in (TRUE, FALSE))
    return true, false, matches.positives[area].sum(axis=0) - true


def by_image(evidence: Evidence) -> dict[str, Floats]:
    """Values (I,) of single images; nan where an image has neither true nor predicted cells."""
    true, false, missed = outcomes(evidence)
    accuracy = _ratio(true, true + false + missed)
    both, pred_only, true_only = evidence.pixels.T
    return {
        "cells_true": (true + missed)[0].astype(float),
        "cells_pred": (true + false)[0].astype(float),
        "tp": true[0].astype(float),
        "fp": false[0].astype(float),
        "fn": missed[0].astype(float),
        "f1_50": _ratio(2 * true, 2 * true + false + missed)[0],
        "accuracy_50": accuracy[0],
        "mean_accuracy": accuracy.mean(axis=0),
        "pixel_f1": _ratio(2 * both, 2 * both + pred_only + true_only),
    }


def image_means(evidence: Evidence, chosen: Ints, weights: Ints) -> dict[str, Floats]:
    """Means over images (B,), the pixel F1 of all pixels, and the error of the number of cells."""
    values = {name: column[chosen] for name, column in by_image(evidence).items()}
    both, pred_only, true_only = (weights @ evidence.pixels[chosen]).T
    cells, error = values["cells_true"], values["cells_pred"] - values["cells_true"]
    spread = cells[None] - _weighted(cells, weights)[:, None]
    return {
        "pixel_f1": _ratio(2 * both, 2 * both + pred_only + true_only),
        "pixel_f1_images": _weighted(values["pixel_f1"], weights),
        "mean_accuracy": _weighted(values["mean_accuracy"], weights),
        "accuracy_50": _weighted(values["accuracy_50"], weights),
        "count_bias": _weighted(error, weights),
        "count_mae": _weighted(np.abs(error), weights),
        "count_r2": 1 - _ratio((weights * error**2).sum(axis=1), (weights * spread**2).sum(axis=1)),
    }


def headline(evidence: Evidence, chosen: Ints, weights: Ints) -> dict[str, Floats]:
    """The numbers that get an interval, each (B,) for weights (B, I) of the chosen images."""
    found: dict[str, Floats] = {}
    for name, matches in (("mask", evidence.masks), ("box", evidence.boxes)):
        found |= average_precision(name, precision(matches, 0, chosen, weights, evidence.threads))
    cap = evidence.max_dets[-1]
    found["afnr"] = 1 - recall(evidence.masks, 0, cap, chosen, weights).mean(axis=1)
    found["box_afnr"] = 1 - recall(evidence.boxes, 0, cap, chosen, weights).mean(axis=1)
    return found | detection(evidence, 0, chosen, weights) | image_means(evidence, chosen, weights)


def details(evidence: Evidence, chosen: Ints) -> dict[str, float]:
    """AP by area, and AR by number of predictions and by area, for masks and boxes."""
    found: dict[str, float] = {}
    once = np.ones((1, len(chosen)), np.int64)
    sizes = {"small": 1, "medium": 2, "large": 3}
    for name, matches in (("mask", evidence.masks), ("box", evidence.boxes)):
        for size, area in sizes.items():
            found[f"{name}_ap_{size}"] = float(precision(matches, area, chosen, once, 1).mean())
        for cap in evidence.max_dets:
            found[f"{name}_ar_{cap}"] = float(recall(matches, 0, cap, chosen, once).mean())
        for size, area in sizes.items():
            found[f"{name}_ar_{size}"] = float(recall(matches, area, evidence.max_dets[-1], chosen, once).mean())
    return found


def _ratio(part: NDArray[Any], whole: NDArray[Any]) -> Floats:
    """part / whole; nan where there is no whole."""
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray(np.where(whole > 0, part / whole, np.nan))


def _weighted(values: Floats, weights: Ints) -> Floats:
    """Weighted mean (B,) of the values (I,) that are known."""
    known = ~np.isnan(values)
    return _ratio((weights * np.where(known, values, 0)).sum(axis=1), weights @ known)


def _nanmean(values: Floats) -> Floats:
    """Mean along the first axis of what is not nan; nan where nothing is left."""
    known = ~np.isnan(values)
    with np.errstate(invalid="ignore"):
        return np.asarray(np.where(known, values, 0).sum(axis=0) / known.sum(axis=0))
