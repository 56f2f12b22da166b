"""From a network's maps to cells: connected foreground, or watershed from the cells' markers."""

from __future__ import annotations

from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from monolayer.coco.instances import Instances
from monolayer.coco.rle import Mask
from monolayer.compiled import Ints, compiled

Float = NDArray[np.float32]
Labels = NDArray[np.int32]


class Thresholds(NamedTuple):
    """foreground: least probability of a cell's pixel. marker: least relative distance to the edge, which one cell
    reaches in one place. area: px²; what is smaller is no cell."""

    foreground: float
    marker: float
    area: float


def separate(maps: Float, thresholds: Thresholds, saddle_ratio: float) -> Labels:
    """Label image int32 (H, W) of maps (1, H, W), foreground alone, or (2, H, W), foreground and distance (or, of
    separated cells, foreground twice).

    Two markers that touch are two cells where the saddle between them is shallower than `saddle_ratio` times the
    shallower one.
    """
    foreground, marker, area = maps[0] > thresholds.foreground, thresholds.marker, thresholds.area
    if len(maps) == 1:
        return keep_large(connected(foreground), area)
    distance_map = np.rint(255 * maps[1]).astype(np.uint8)
    # of a disk, the share (1 - marker)² lies deeper than `marker`: a smaller one is noise
    least = area * (1 - marker) ** 2
    markers = keep_large(markers_of(distance_map, foreground & (maps[1] > marker), saddle_ratio, least), least)
    return keep_large(watershed(255 - distance_map, markers, foreground), area)


def connected(mask: Mask) -> Labels:
    """Parts that hang together by their pixels' sides: int32 (H, W), numbered in reading order."""
    return np.asarray(cv2.connectedComponents(mask.view(np.uint8), connectivity=4)[1], np.int32)


def keep_large(labels: Labels, area: float) -> Labels:
    """The labels of at least `area` px², numbered without gaps."""
    large = np.bincount(labels.ravel()) >= area
    large[0] = False
    numbers: Labels = (np.cumsum(large) * large).astype(np.int32)
    return numbers[labels]


@compiled
def markers_of(distance_map: NDArray[np.uint8], mask: Mask, saddle_ratio: float, least: float) -> Labels:
    """Connected parts of the mask, cut at their saddles: int32 (H, W), numbered in reading order.

    Pixels join from the deepest to the shallowest; where two parts of at least `least` px meet, they stay apart if that
    saddle is shallower than `saddle_ratio` times the shallower one's deepest (persistence: Chazal et al., J. ACM 2013).
    """
    height, width = distance_map.shape
    distances, inside = distance_map.ravel(), mask.ravel()
    starts = np.zeros(257, np.int64)
    for pixel in range(height * width):
        if inside[pixel]:
            starts[256 - distances[pixel]] += 1
    starts = np.cumsum(starts)
    order = np.empty(starts[256], np.int64)
    for pixel in range(height * width):
        if inside[pixel]:
            level = 255 - distances[pixel]
            order[starts[level]] = pixel
            starts[level] += 1
    above, size = np.full(height * width, -1), np.ones(height * width, np.int64)
    peak = distances.astype(np.int64)
    for pixel in order:
        above[pixel] = pixel
        y, x = divmod(pixel, width)
        for step, exists in ((-width, y > 0), (-1, x > 0), (1, x < width - 1), (width, y < height - 1)):
            if not exists or above[pixel + step] < 0:
                continue
            high, low = _root(above, pixel), _root(above, pixel + step)
            if peak[high] < peak[low]:
                high, low = low, high
            meets = high != low
            apart = min(size[high], size[low]) >= least and distances[pixel] < saddle_ratio * peak[low]
            if meets and not apart:
                above[low] = high
                size[high] += size[low]
    labels, number = np.zeros(height * width, np.int32), np.zeros(height * width, np.int32)
    count = 0
    for pixel in range(height * width):
        if above[pixel] >= 0:
            root = _root(above, pixel)
            if number[root] == 0:
                count += 1
                number[root] = count
            labels[pixel] = number[root]
    return labels.reshape(height, width)


@compiled
def _root(above: Ints, pixel: int) -> int:
    """The pixel that stands for the part that this one is in; the way there is halved for the next time."""
    while above[pixel] != pixel:
        above[pixel] = above[above[pixel]]
        pixel = above[pixel]
    return pixel


@compiled
def watershed(altitude: NDArray[np.uint8], labels: Labels, mask: Mask) -> Labels:
    """Grow labels, lowest altitude first, over what they reach of the mask; `labels` (H, W) is written to.

    Watershed (Meyer, 1994) with a queue for each of the 256 altitudes: skimage's cells but for ties, in a quarter of
    the time that its heap takes, because each epoch tries all thresholds on val.
    """
    height, width = labels.shape
    heights, grown, inside = altitude.ravel(), labels.ravel(), mask.ravel()
    first, last = np.full(256, -1), np.full(256, -1)
    following = np.empty(height * width, np.int64)
    for pixel in range(height * width):
        if grown[pixel] > 0:
            _queue(pixel, heights[pixel], first, last, following)
    level = 0
    while level < 256:
        pixel = first[level]
        if pixel < 0:
            level += 1
            continue
        first[level] = following[pixel]
        y, x = divmod(pixel, width)
        for step, exists in ((-width, y > 0), (-1, x > 0), (1, x < width - 1), (width, y < height - 1)):
            other = pixel + step
            if exists and inside[other] and grown[other] == 0:
                grown[other] = grown[pixel]
                _queue(other, heights[other], first, last, following)
                level = min(level, int(heights[other]))
    return grown.reshape(height, width)


@compiled
def _queue(pixel: int, level: int, first: Ints, last: Ints, following: Ints) -> None:
    """Put a pixel behind the others of its level."""
    following[pixel] = -1
    if first[level] < 0:
        first[level] = pixel
    else:
        following[last[level]] = pixel
    last[level] = pixel


def instances(maps: Float, labels: Labels) -> Instances:
    """The labelled cells, best first.

    A cell's score is the mean foreground probability of its pixels, times the root of its largest distance where that
    was learnt: a cell that the network sees from edge to middle is more surely one.
    """
    boxes, scores, deepest = regions(labels, maps[0], maps[-1], int(labels.max(initial=0)))
    if len(maps) > 1:
        scores = scores * np.sqrt(deepest)
    order = np.argsort(-scores, kind="stable")
    places = boxes[order]
    masks = [labels[y0:y1, x0:x1] == cell for cell, (x0, y0, x1, y1) in zip(order + 1, places.tolist(), strict=True)]
    height, width = labels.shape
    return Instances(height, width, masks, places[:, :2], places.astype(np.float32), scores[order])


@compiled
def regions(labels: Labels, values: Float, depths: Float, count: int) -> tuple[NDArray[np.int32], Float, Float]:
    """Of labels 1 to `count`: boxes x0 y0 x1 y1 (N, 4), means of the values and largest depths, float32 (N,)."""
    height, width = labels.shape
    boxes = np.empty((count, 4), np.int32)
    boxes[:, 0], boxes[:, 1], boxes[:, 2], boxes[:, 3] = width, height, 0, 0
    pixels, sums, deepest = np.zeros(count, np.int64), np.zeros(count), np.zeros(count, np.float32)
    for y in range(height):
        for x in range(width):
            cell = labels[y, x] - 1
            if cell >= 0:
                box = boxes[cell]
                box[0], box[1] = min(box[0], x), min(box[1], y)
                box[2], box[3] = max(box[2], x + 1), max(box[3], y + 1)
                pixels[cell] += 1
                sums[cell] += values[y, x]
                deepest[cell] = max(deepest[cell], depths[y, x])
    return boxes, (sums / np.maximum(1, pixels)).astype(np.float32), deepest
