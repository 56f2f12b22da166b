"""Outlines around others: a region of interest, drawn as cells are, is none of them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from monolayer.coco.rle import Placed

HELD = 0.9  # share of its area by which an outline lies in another
TWIN = 0.5  # share of the other's area up to which it is a part of it, and not the same cell drawn twice
DETECTED = ("cell", "detection")  # what QuPath finds, while annotations are drawn


def around_others(masks: Sequence[Placed], kinds: Sequence[str]) -> dict[int, list[int]]:
    """The masks that hold two or more others, of which none holds the other, with two of these.

    kinds is QuPath's type of each, empty where none is known: for an annotation, one small detection is enough.
    """
    areas = np.array([mask.sum() for mask, _, _ in masks], np.int64)
    order = np.argsort(areas, kind="stable")  # rising: regions in a region are told before it
    boxes = np.array([(x, y, x + mask.shape[1], y + mask.shape[0]) for mask, x, y in masks]).reshape(-1, 4)[order]
    (x0, y0, x1, y1), least, found = boxes.T.copy(), HELD * areas[order], dict[int, list[int]]()
    for place, index in enumerate(order.tolist()):
        width = np.minimum(x1[place], x1[:place]) - np.maximum(x0[place], x0[:place])
        height = np.minimum(y1[place], y1[:place]) - np.maximum(y0[place], y0[:place])
        near = np.flatnonzero((width > 0) & (height > 0) & (width * height >= least[:place]))
        held = list[int]()
        for other in order[near[::-1]].tolist():
            inside = HELD * areas[other]
            if other in found or shared(masks[index], masks[other]) < inside:
                continue
            if not any(shared(masks[larger], masks[other]) >= inside for larger in held):
                held.append(other)
            if len(held) == 2:
                break
        drawn = kinds[index] not in DETECTED
        part = len(held) == 1 and kinds[held[0]] in DETECTED and areas[held[0]] <= TWIN * areas[index]
        if len(held) == 2 or (drawn and part):
            found[index] = held
    return found


def shared(one: Placed, other: Placed) -> int:
    """The pixels that two masks share."""
    (a, ax, ay), (b, bx, by) = one, other
    x0, y0 = max(ax, bx), max(ay, by)
    x1, y1 = min(ax + a.shape[1], bx + b.shape[1]), min(ay + a.shape[0], by + b.shape[0])
    if x1 <= x0 or y1 <= y0:
        return 0
    return int((a[y0 - ay : y1 - ay, x0 - ax : x1 - ax] & b[y0 - by : y1 - by, x0 - bx : x1 - bx]).sum())
