"""Compiled loops over ranked predictions: greedy matching, and precision at fixed recalls.

Exact counterparts of pycocotools 2.0.11 (cocoeval.py: evaluateImg, accumulate), for pairs of cells that overlap and
for many weightings of the images at a time.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from monolayer.compiled import Flags, Floats, Ints, compiled
from monolayer.evaluation.pairs import Pairs

FALSE, TRUE, IGNORED = 0, 1, 2  # states of a prediction; ignored: on a crowd, or outside the area range
TINY = float(np.spacing(1.0))  # pycocotools adds it to what it divides by


class IgnoreFlags(NamedTuple):
    """Who counts: true cells that do not (M,), those among them that are crowds (M,), predictions out of range (N,)."""

    ignored: Flags
    crowd: Flags
    outside: Flags


@compiled
def match(
    order: Ints, pairs: Pairs, flags: IgnoreFlags, thresholds: Floats
) -> tuple[NDArray[np.uint8], NDArray[np.int32]]:
    """Match greedily: each prediction of `order` takes the free true cell that it overlaps most, the last among equals.

    One that counts goes before any that does not; a crowd is never used up. Gives states (T, K) of the K predictions
    and partners (T, K), the true cell taken or -1.
    """
    states = np.zeros((len(thresholds), len(order)), np.uint8)
    partners = np.empty((len(thresholds), len(order)), np.int32)
    taken = np.full(len(flags.crowd), -1, np.int16)  # the last threshold at which a true cell was taken
    for t in range(len(thresholds)):
        floor = min(thresholds[t], 1 - 1e-10)
        for k in range(len(order)):
            best, best_iou, best_ignored = -1, floor, True
            for p in range(pairs.first[order[k]], pairs.first[order[k] + 1]):
                true, iou = pairs.true[p], pairs.iou[p]
                if iou < floor or (taken[true] == t and not flags.crowd[true]):
                    continue
                ignored = flags.ignored[true]
                if best < 0 or (best_ignored and not ignored) or (best_ignored == ignored and iou >= best_iou):
                    best, best_iou, best_ignored = true, iou, ignored
            partners[t, k] = best
            if best >= 0:
                taken[best] = t
                states[t, k] = IGNORED if best_ignored else TRUE
            else:
                states[t, k] = IGNORED if flags.outside[order[k]] else FALSE
    return states, partners


@compiled
def count_states(state: NDArray[np.uint8], unit: Ints, kept: Flags, which: int, units: int) -> Ints:
    """How many of the kept predictions of each unit are in this state, (T, units)."""
    counts = np.zeros((len(state), units), np.int64)
    for t in range(len(state)):
        for k in range(len(unit)):
            counts[t, unit[k]] += kept[k] and state[t, k] == which
    return counts


class Events(NamedTuple):
    """Predictions by falling score: image (N,); bit t of the rest (N,) is their state at IoU threshold t.

    A peak is a true prediction before a false one: at others, precision has not yet stopped rising.
    """

    image: NDArray[np.int32]
    true: NDArray[np.uint16]
    peak: NDArray[np.uint16]
    ignored: NDArray[np.uint16]


@compiled
def events_of(state: NDArray[np.uint8], order: Ints, image: NDArray[np.int32]) -> Events:
    """The predictions `order` (n,) of K, whose images are given (n,), with their states (T, K)."""
    bits = np.zeros((3, len(order)), np.uint16)
    true, peak, ignored = bits[0], bits[1], bits[2]
    for t in range(len(state)):
        bit, rising = np.uint16(1 << t), False  # rising: the next one that counts is true
        for k in range(len(order) - 1, -1, -1):
            now = state[t, order[k]]
            if now == TRUE:
                true[k] |= bit
                if not rising:
                    peak[k] |= bit
            elif now == IGNORED:
                ignored[k] |= bit
            if now != IGNORED:
                rising = now == TRUE
    return Events(image, true, peak, ignored)


@compiled
def interpolated_precision(events: Events, positives: Ints, weights: Ints, thresholds: int, recalls: Floats) -> Floats:
    """Precision (B, T, R) at fixed recalls, of each draw (B, I) of images; nan where a draw has no true cell.

    The highest precision among all prefixes whose recall is at least the one asked for, as COCO does. An image drawn
    twice counts as two copies of it, each prediction beside its copy. The draws go side by side through the vector
    registers, best about 64 at a time.
    """
    curves = np.zeros((len(weights), thresholds, len(recalls)))
    need, empty = np.empty((len(weights), len(recalls))), np.empty(len(weights), np.bool_)
    for lane in range(len(weights)):
        total = np.int64(0)
        for image in range(len(positives)):
            total += positives[image] * weights[lane, image]
        for point in range(len(recalls)):
            need[lane, point] = needed(recalls[point], int(total))
        empty[lane] = total == 0
    table = np.empty((len(positives), len(weights)))  # by image: a row is what the registers take
    table[:] = weights.T
    sweep(events, table, need, curves)
    curves[empty] = np.nan
    return curves


@compiled
def needed(recall: float, total: int) -> int:
    """The fewest of `total` true cells whose share, as a float, reaches this recall."""
    count = np.int64(np.ceil(recall * total))
    while count > 0 and (count - 1) / total >= recall:
        count -= 1
    while count < total and count / total < recall:
        count += 1
    return count


class Sweep(NamedTuple):
    """Where B draws are at T thresholds: what counts so far, the best precision, and the next recall to settle."""

    seen: Floats  # (B,)
    true: Floats  # (T, B), as the rest
    ignored: Floats
    best_true: Floats
    best_seen: Floats
    point: Ints
    need: Floats


@compiled
def sweep(events: Events, table: Floats, need: Floats, curves: Floats) -> None:
    """Fill curves (B, T, R) of B draws, given how often each image counts in them, table (I, B).

    need (B, R) is the number of true predictions that reach each recall. Goes from the lowest score upwards, so that
    the best precision so far is what the recalls about to be left get. Counts are floats, exact up to 2**53, and
    fractions are compared by their products.
    """
    lanes, thresholds, _ = curves.shape
    now = start(events, table, need, thresholds)
    for k in range(len(events.image) - 1, -1, -1):
        image = events.image[k]
        if events.true[k] or events.ignored[k]:
            for t in range(thresholds):
                if (events.peak[k] >> t) & 1:
                    settle(now, t, need, curves)
                    improve(now, t)
                if (events.true[k] >> t) & 1:
                    for lane in range(lanes):
                        now.true[t, lane] -= table[image, lane]
                elif (events.ignored[k] >> t) & 1:
                    for lane in range(lanes):
                        now.ignored[t, lane] -= table[image, lane]
        for lane in range(lanes):
            now.seen[lane] -= table[image, lane]
    now.true[:] = -1.0
    for t in range(thresholds):
        settle(now, t, need, curves)


@compiled
def settle(now: Sweep, t: int, need: Floats, curves: Floats) -> None:
    """Give the recalls that are reached no longer the best precision found above them."""
    left = False
    for lane in range(len(now.seen)):
        left |= now.true[t, lane] < now.need[t, lane]
    if not left:
        return
    for lane in range(len(now.seen)):
        while now.true[t, lane] < now.need[t, lane]:
            at = now.point[t, lane]
            curves[lane, t, at] = now.best_true[t, lane] / (now.best_seen[t, lane] + TINY)
            now.point[t, lane] = at - 1
            now.need[t, lane] = need[lane, at - 1] if at > 0 else -1.0


@compiled
def improve(now: Sweep, t: int) -> None:
    """Keep the precision of this place where it is the best so far."""
    for lane in range(len(now.seen)):
        counted = now.seen[lane] - now.ignored[t, lane]
        better = now.true[t, lane] * now.best_seen[t, lane] > now.best_true[t, lane] * counted
        now.best_true[t, lane] = now.true[t, lane] if better else now.best_true[t, lane]
        now.best_seen[t, lane] = counted if better else now.best_seen[t, lane]


@compiled
def start(events: Events, table: Floats, need: Floats, thresholds: int) -> Sweep:
    """All predictions seen, and no recall settled but those that are never reached, whose precision is 0."""
    seen, true, ignored = totals(events, table, thresholds)
    point, current = np.empty(true.shape, np.int64), np.empty(true.shape)
    for t in range(thresholds):
        for lane in range(len(seen)):
            point[t, lane] = np.searchsorted(need[lane], true[t, lane], side="right") - 1
            current[t, lane] = need[lane, point[t, lane]]
    return Sweep(seen, true, ignored, np.zeros(true.shape), np.ones(true.shape), point, current)


@compiled
def totals(events: Events, table: Floats, thresholds: int) -> tuple[Floats, Floats, Floats]:
    """All predictions (B,), the true ones (T, B) and the ignored ones (T, B) of draws table (I, B)."""
    images, lanes = table.shape
    counts = np.zeros((images, 1 + 2 * thresholds), np.int64)
    for k in range(len(events.image)):
        row = counts[events.image[k]]
        row[0] += 1
        for t in range(thresholds):
            row[1 + t] += (events.true[k] >> t) & 1
            row[1 + thresholds + t] += (events.ignored[k] >> t) & 1
    sums = np.zeros((1 + 2 * thresholds, lanes))
    for image in range(images):
        for column in range(1 + 2 * thresholds):
            for lane in range(lanes):
                sums[column, lane] += counts[image, column] * table[image, lane]
    return sums[0].copy(), sums[1 : thresholds + 1].copy(), sums[thresholds + 1 :].copy()
