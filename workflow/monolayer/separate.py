"""From what a network says of each pixel to cells: connected foreground, or watershed from the cells' cores."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from skimage.segmentation import watershed

from monolayer.models import Instances

Float = NDArray[np.float32]
Labels = NDArray[np.int32]


class Thresholds(NamedTuple):
    """foreground: least probability of a cell's pixel. core: least relative distance to the edge, which one cell
    reaches in one place. area: px²; what is smaller is no cell."""

    foreground: float
    core: float
    area: float


def separate(maps: Float, thresholds: Thresholds) -> Labels:
    """Label image int32 (H, W) of maps (1, H, W), foreground alone, or (2, H, W), foreground and distance."""
    foreground = maps[0] > thresholds.foreground
    if len(maps) == 1:
        labels, count = ndimage.label(foreground)
    else:
        cores, count = ndimage.label(foreground & (maps[1] > thresholds.core))
        labels = watershed(-maps[1], cores, mask=foreground)  # type: ignore[no-untyped-call]
    large = np.bincount(labels.ravel(), minlength=count + 1) >= max(1, thresholds.area)
    large[0] = False
    numbers: Labels = np.cumsum(large, dtype=np.int32) * large
    return numbers[labels]


def instances(maps: Float, labels: Labels) -> Instances:
    """The labelled cells, best first; a cell's score is the mean foreground probability of its pixels."""
    height, width = labels.shape
    scores = label_means(maps[0], labels)
    order = np.argsort(-scores, kind="stable")
    boxes = ndimage.find_objects(labels)
    boxes = [boxes[i] for i in order]
    corners = np.array([(x.start, y.start, x.stop, y.stop) for y, x in boxes], np.int32).reshape(-1, 4)
    masks = [labels[box] == i + 1 for box, i in zip(boxes, order, strict=True)]
    return Instances(height, width, masks, corners[:, :2], corners.astype(np.float32), scores[order])


def label_means(values: Float, labels: Labels) -> Float:
    """Mean of the values over each label 1, 2, ...: float32 (N,)."""
    sums = np.bincount(labels.ravel(), values.ravel())
    return (sums / np.maximum(1, np.bincount(labels.ravel())))[1:].astype(np.float32)


def matches(true: Labels, pred: Labels) -> tuple[int, int, int]:
    """tp, fp, fn at IoU > 0.5, where each cell has at most one partner."""
    pairs = np.bincount(true.ravel().astype(np.int64) * (pred.max() + 1) + pred.ravel(), minlength=1)
    shared = np.zeros((true.max() + 1) * (pred.max() + 1), np.int64)
    shared[: len(pairs)] = pairs
    shared = shared.reshape(true.max() + 1, pred.max() + 1)
    union = shared.sum(0)[None] + shared.sum(1)[:, None] - shared
    tp = int((2 * shared > union)[1:, 1:].sum())
    return tp, int(pred.max()) - tp, int(true.max()) - tp
