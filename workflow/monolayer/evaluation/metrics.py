"""Numbers of a run from its matches: AP, recall, F1, accuracy, counts, each for one or many weightings of the images.

A weighting (I,) says how often each image counts: ones for the value itself, a bootstrap draw for its uncertainty,
so that a value and its interval come from the same lines of code.

The examples are of one image with three true cells and three predictions: d is a, with IoU 1; e is b, with IoU 0.5;
f is none, and c is missed.

    a a a a b b b b . . . c c
    d d d d e e . . f f f . .
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from hashlib import blake2b
from typing import Any

import numpy as np
from numpy.typing import NDArray

from monolayer.compiled import Floats, Ints
from monolayer.evaluation import cocoeval
from monolayer.evaluation.cocoeval import FALSE, TRUE
from monolayer.evaluation.matching import IOUS, RECALLS, Matches, in_threads, spans

SIZES = {"small": 1, "medium": 2, "large": 3}  # the protocol's ranges of areas after the first, all
SIDE_BY_SIDE = 64  # draws of the bootstrap that go through the registers at a time


@dataclass(frozen=True, eq=False)
class Evidence:
    """All that the metrics of a run are computed from, for I images."""

    masks: Matches
    boxes: Matches
    pixels: Ints  # (I, 3) true and predicted, predicted only, true only; at the score threshold, as the errors
    annotated: Ints  # (I,) pixels, without those of crowds alone
    errors: Ints  # (kind, lost or wrong, I)
    size_ranges: list[tuple[float, float]]  # ranges of areas after the protocol's four
    threshold: float
    max_dets: tuple[int, int, int]
    threads: int

    @cached_property
    def tp_fp_fn(self) -> list[tuple[Ints, Ints, Ints]]:
        """For each range of areas: true and false positives and missed cells above the score threshold, (T, I)."""
        kept, tallies = self.masks.score >= self.threshold, []
        for area, positives in enumerate(self.masks.positives):
            true, false = (self.masks.counts(state, area, kept).sum(axis=1) for state in (TRUE, FALSE))
            tallies.append((true, false, positives.sum(axis=0) - true))
        return tallies

    @cached_property
    def recalls(self) -> dict[str, tuple[Ints, Ints]]:
        """True predictions (T, C, I) and true cells (C, I) for each way to report recall, as mask_ar_small."""
        tallies, last = {}, self.max_dets[-1]
        ways = {str(cap): (0, cap) for cap in self.max_dets} | {size: (area, last) for size, area in SIZES.items()}
        for name, matches in (("mask", self.masks), ("box", self.boxes)):
            for way, (area, cap) in ways.items():
                true = matches.counts(TRUE, area, matches.rank < cap)
                tallies[f"{name}_ar_{way}"] = true, matches.positives[area]
        return tallies


def precision_curve(matches: Matches, area: int, chosen: Ints) -> Floats:
    """COCO's interpolated precision (T, R), the mean over categories that have true cells; nan where none has.

    Its mean is AP, that of its first row AP50. At IoU 0.5 two of three cells are found before anything false: precision
    is 1 at the 67 recalls up to 2/3, and 0 beyond; at each other IoU at the 34 recalls up to 1/3.

    >>> from monolayer.evaluation.example import evidence
    >>> curve = precision_curve(evidence.masks, 0, np.arange(1))
    >>> round(float(curve[0].mean()), 5), round(float(curve.mean()), 5)  # 67 / 101 and (67 + 9 · 34) / 1010
    (0.66337, 0.36931)
    """
    once = np.ones((1, len(chosen)), np.int64)
    return _over_categories(matches, area, chosen, lambda curves: curves(once)[0])


def mean_precision(matches: Matches, area: int, chosen: Ints, weights: Ints, threads: int) -> Floats:
    """The mean over recalls (B, T) of that precision, for weights (B, I) of the chosen images: AP at each IoU.

    >>> from monolayer.evaluation.example import evidence
    >>> mean_precision(evidence.masks, 0, np.arange(1), np.array([[1], [5]]), threads=1)[:, :2].round(3).tolist()
    [[0.663, 0.337], [0.663, 0.337]]
    """
    seen: dict[bytes, int] = {}  # draws of few images repeat; those of many are too large for more than their digests
    repeats = [seen.setdefault(blake2b(draw.tobytes()).digest(), len(seen)) for draw in weights]
    which: Ints = np.array(repeats, np.int64)
    first = np.unique(which, return_index=True)[1]
    parts = [slice(*span) for span in spans(len(first), most=-(-len(first) // SIDE_BY_SIDE))]

    def means(curves: Callable[[Ints], Floats]) -> Floats:
        return np.concatenate(in_threads(lambda part: curves(weights[first[part]]).mean(axis=2), parts, threads))

    return _over_categories(matches, area, chosen, means)[which]


def _over_categories(matches: Matches, area: int, chosen: Ints, work: Callable[[Any], Floats]) -> Floats:
    """Mean of what `work` makes of the curves (B, T, R) of each category as a function of weights (B, I)."""
    means = []
    place = np.full(matches.positives.shape[2], -1, np.int32)
    place[chosen] = np.arange(len(chosen))
    image, counted = place[matches.image], matches.rank < matches.cap
    for category, positives in enumerate(np.ascontiguousarray(matches.positives[area][:, chosen])):
        here = np.flatnonzero((image >= 0) & (matches.category == category) & counted)
        ranked = cocoeval.events_of(matches.state[area], here, image[here])

        def curves(weights: Ints, ranked: cocoeval.Events = ranked, positives: Ints = positives) -> Floats:
            weights = np.ascontiguousarray(weights)
            return np.asarray(cocoeval.interpolated_precision(ranked, positives, weights, len(IOUS), RECALLS))

        means.append(work(curves))
    return _nanmean(np.array(means))


def recall(tally: tuple[Ints, Ints], chosen: Ints, weights: Ints) -> Floats:
    """Recall (B, T) of a tally of Evidence.recalls, the mean over categories that have true cells.

    Its mean over T is AR, and 1 - AR of masks up to the protocol's cap is AFNR: here 1 - (2/3 + 9 · 1/3) / 10.

    >>> from monolayer.evaluation.example import evidence
    >>> found = recall(evidence.recalls["mask_ar_2000"], np.arange(1), np.array([[1]]))
    >>> round(1 - float(found.mean()), 4)
    0.6333
    """
    pairs = zip(tally[0].transpose(1, 0, 2), tally[1], strict=True)
    rates = [ratio(weights @ true[:, chosen].T, (weights @ positives[chosen])[:, None]) for true, positives in pairs]
    return _nanmean(np.array(rates))


def best_threshold(matches: Matches) -> float:
    """The score threshold of the best instance F1 at IoU 0.5, the highest of equals; 0 where no prediction is true.

    >>> from monolayer.evaluation.example import evidence
    >>> best_threshold(evidence.masks)  # F1 is 1/2 from 0.9 up, 4/5 from 0.8 up, 2/3 from 0.7 up
    0.8
    """
    state, score = matches.state[0, 0], matches.score
    true, false = np.cumsum(state == TRUE), np.cumsum(state == FALSE)
    f1 = 2 * true / np.maximum(true + false + matches.positives[0].sum(), 1)
    last = np.r_[score[1:] != score[:-1], True][: len(score)]  # a threshold takes all of equal score
    f1 = np.where(last, f1, -1)
    return float(score[np.argmax(f1)]) if len(f1) and f1.max() > 0 else 0.0


def detection(evidence: Evidence, area: int, chosen: Ints, weights: Ints) -> dict[str, Floats]:
    """F1, precision and recall (B,) of the cells above the score threshold, in one range of areas.

    >>> from monolayer.evaluation.example import evidence
    >>> scores = detection(evidence, 0, np.arange(1), np.array([[1]]))
    >>> {name: round(float(value[0]), 3) for name, value in scores.items()}
    {'f1_50': 0.667, 'f1': 0.367, 'precision': 0.667, 'recall': 0.667}
    """
    true, false, missed = (weights @ column[:, chosen].T for column in evidence.tp_fp_fn[area])
    by_iou = f1(true, false, missed)
    return {
        "f1_50": by_iou[:, 0],
        "f1": by_iou.mean(axis=1),
        "precision": ratio(true, true + false)[:, 0],
        "recall": ratio(true, true + missed)[:, 0],
    }


def by_image(evidence: Evidence) -> dict[str, NDArray[Any]]:
    """Values (I,) of single images; nan where an image has neither true nor predicted cells.

    Accuracy is TP / (TP + FP + FN), 2/4 at IoU 0.5 and 1/5 at the nine others; pixel F1 is 12 / (12 + 3 + 4).

    >>> from monolayer.evaluation.example import evidence
    >>> values = by_image(evidence)
    >>> [round(values[name].item(), 3) for name in ("tp", "accuracy_50", "mean_accuracy", "pixel_f1")]
    [2, 0.5, 0.23, 0.632]
    """
    true, false, missed = evidence.tp_fp_fn[0]
    accuracy = ratio(true, true + false + missed)
    return {
        "cells_true": (true + missed)[0],
        "cells_pred": (true + false)[0],
        "tp": true[0],
        "fp": false[0],
        "fn": missed[0],
        "f1_50": f1(true, false, missed)[0],
        "accuracy_50": accuracy[0],
        "mean_accuracy": accuracy.mean(axis=0),
        "pixel_f1": f1(*evidence.pixels.T),
    }


def image_means(evidence: Evidence, chosen: Ints, weights: Ints) -> dict[str, Floats]:
    """Means over images (B,), the pixel F1 of all pixels, and the error of the number of cells.

    >>> from monolayer.evaluation.example import example
    >>> evidence = example(["aaa.bbb.", "c......."], ["ddd.....", "eff....."], {"d": 0.9, "e": 0.9, "f": 0.8})
    >>> means = image_means(evidence, np.arange(2), np.array([[1, 1]]))  # 2 and 1 true cells, 1 and 2 predicted
    >>> {name: float(means[f"count_{name}"][0]) for name in ("bias", "mae", "r2")}  # R² = 1 - (1 + 1) / (1/4 + 1/4)
    {'bias': 0.0, 'mae': 1.0, 'r2': -3.0}
    >>> round(float(means["pixel_f1"][0]), 3), round(float(means["pixel_f1_images"][0]), 3)  # 8/13; of 6/9 and 2/4
    (0.615, 0.583)
    """
    values = {name: column[chosen] for name, column in by_image(evidence).items()}
    cells, error = values["cells_true"], values["cells_pred"] - values["cells_true"]
    spread = cells[None] - _weighted(cells, weights)[:, None]
    return {
        "pixel_f1": f1(*(weights @ evidence.pixels[chosen]).T),
        "pixel_f1_images": _weighted(values["pixel_f1"], weights),
        "mean_accuracy": _weighted(values["mean_accuracy"], weights),
        "accuracy_50": _weighted(values["accuracy_50"], weights),
        "count_bias": _weighted(error, weights),
        "count_mae": _weighted(np.abs(error), weights),
        "count_r2": 1 - ratio((weights * error**2).sum(axis=1), (weights * spread**2).sum(axis=1)),
    }


def headline(evidence: Evidence, chosen: Ints, weights: Ints) -> dict[str, Floats]:
    """The numbers that get an interval, each (B,) for weights (B, I) of the chosen images.

    >>> from monolayer.evaluation.example import evidence
    >>> scores = headline(evidence, np.arange(1), np.array([[1]]))
    >>> [round(float(scores[name][0]), 3) for name in ("mask_ap", "mask_ap50", "mask_ap75", "afnr")]
    [0.369, 0.663, 0.337, 0.633]
    """
    scores: dict[str, Floats] = {}
    for name, matches in (("mask", evidence.masks), ("box", evidence.boxes)):
        ap = mean_precision(matches, 0, chosen, weights, evidence.threads)
        scores |= {f"{name}_ap": ap.mean(axis=1), f"{name}_ap50": ap[:, 0], f"{name}_ap75": ap[:, 5]}
    for name, kind in (("afnr", "mask"), ("box_afnr", "box")):
        tally = evidence.recalls[f"{kind}_ar_{evidence.max_dets[-1]}"]
        scores[name] = 1 - recall(tally, chosen, weights).mean(axis=1)
    return scores | detection(evidence, 0, chosen, weights) | image_means(evidence, chosen, weights)


def details(evidence: Evidence, chosen: Ints) -> dict[str, float]:
    """AP by area, and AR by number of predictions and by area, for masks and boxes.

    >>> from monolayer.evaluation.example import evidence
    >>> values = details(evidence, np.arange(1))
    >>> round(values["mask_ap_small"], 3), round(values["mask_ar_100"], 3), values["mask_ap_large"]
    (0.369, 0.367, nan)
    """
    once = np.ones((1, len(chosen)), np.int64)
    values = {
        f"{name}_ap_{size}": float(precision_curve(matches, area, chosen).mean())
        for name, matches in (("mask", evidence.masks), ("box", evidence.boxes))
        for size, area in SIZES.items()
    }
    return values | {way: float(recall(tally, chosen, once).mean()) for way, tally in evidence.recalls.items()}


def ratio(part: Any, whole: Any) -> Floats:
    """part / whole; nan where there is no whole.

    >>> ratio([1, 0], [2, 0]).tolist()
    [0.5, nan]
    """
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray(np.where(np.greater(whole, 0), np.divide(part, whole), np.nan))


def f1(true: Ints, false: Ints, missed: Ints) -> Floats:
    """2 TP / (2 TP + FP + FN), the harmonic mean of precision and recall: of cells instance F1, of pixels their Dice.

    >>> float(f1(np.array(3), np.array(1), np.array(1)))
    0.75
    """
    return ratio(2 * true, 2 * true + false + missed)


def _weighted(values: Floats, weights: Ints) -> Floats:
    """Weighted mean (B,) of the values (I,) that are known."""
    known = ~np.isnan(values)
    return ratio((weights * np.where(known, values, 0)).sum(axis=1), weights @ known)


def _nanmean(values: Floats) -> Floats:
    """Mean along the first axis of what is not nan; nan where nothing is left."""
    known = ~np.isnan(values)
    with np.errstate(invalid="ignore"):
        return np.asarray(np.where(known, values, 0).sum(axis=0) / known.sum(axis=0))
