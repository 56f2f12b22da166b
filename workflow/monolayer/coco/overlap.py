"""How the masks of one image overlap, on their run lengths; time and memory grow with cells, not with cells x image."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, cast

import numpy as np
from pycocotools import mask as rle_codec

from monolayer.coco.records import Rle
from monolayer.coco.rle import rle_area
from monolayer.compiled import Flags

LYING = 0.5  # of a mask in regions that nobody annotated, from which on it counts neither way


def overlapping_pairs(rles: Sequence[Rle], iou_min: float) -> Iterator[tuple[int, int, float]]:
    """(i, j, IoU) of masks of one image, i < j, whose IoU exceeds `iou_min`.

    IoU > t means intersection > t/(1+t) of the summed areas; only pairs whose boxes overlap that much are compared.
    """
    if not rles:
        return
    x, y, w, h = np.asarray(rle_codec.toBbox(cast(Any, rles)), np.float64).T
    # one by one: given a list, pycocotools 2.0.11 counts in uint8
    areas = np.array([rle_area(rle) for rle in rles], np.float64)
    for i in range(len(rles) - 1):
        width = np.minimum(x[i] + w[i], x[i + 1 :] + w[i + 1 :]) - np.maximum(x[i], x[i + 1 :])
        height = np.minimum(y[i] + h[i], y[i + 1 :] + h[i + 1 :]) - np.maximum(y[i], y[i + 1 :])
        both = np.maximum(width, 0) * np.maximum(height, 0)
        near = (i + 1 + np.flatnonzero(both > iou_min / (1 + iou_min) * (areas[i] + areas[i + 1 :]))).tolist()
        if near:
            ious = rle_codec.iou(cast(Any, [rles[j] for j in near]), cast(Any, [rles[i]]), [0])[:, 0]
            yield from ((i, j, float(iou)) for j, iou in zip(near, ious, strict=True) if iou > iou_min)


def lying_in(rles: Sequence[Rle], regions: Sequence[Rle]) -> Flags:
    """Which masks (N,) of an image lie in these regions, by half of their own pixels or more, as COCO's crowds have it.

    What is found there counts neither way, unless it is a true cell, which goes first.
    """
    if not rles or not regions:
        return np.zeros(len(rles), np.bool_)
    region = rle_codec.merge(cast(Any, list(regions)))
    return np.asarray(rle_codec.iou(cast(Any, list(rles)), cast(Any, [region]), [1])[:, 0] >= LYING)


def confluence(rles: Sequence[Rle], height: int, width: int, regions: Sequence[Rle] = ()) -> float:
    """The fraction of an image of that size that the masks cover together, but for what only these regions cover."""
    cells, either = (_covered(part) for part in (rles, [*rles, *regions]))
    return cells / max(height * width - (either - cells), 1)


def _covered(rles: Sequence[Rle]) -> int:
    return rle_area(cast(Rle, rle_codec.merge(cast(Any, rles)))) if rles else 0
