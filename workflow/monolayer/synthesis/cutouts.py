"""Cells cut out of an image, each with its halo.

A cutout holds differences from the illumination around the cell, so that it fits any background.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from monolayer.coco.rle import Mask, Placed
from monolayer.compiled import compiled
from monolayer.synthesis.scene import Float, Scene, distance

FAR = 255  # the ramp's value where the halo has ended


class Cutouts(NamedTuple):
    """N cells with their halos, their pixels one after the other in flat arrays.

    signal is the residual, ramp the distance from the cell in 1/255 of the margin (0 is the cell, FAR no part of it),
    own how far the signal is this cell's rather than made up for where a neighbour lies, in 1/255.
    """

    signal: Float  # (P,)
    ramp: NDArray[np.uint8]  # (P,)
    own: NDArray[np.uint8]  # (P,)
    boxes: NDArray[np.int64]  # (N, 4) first pixel, height, width, and how much of these is margin on each side
    centres: NDArray[np.float64]  # (N, 2) the mask's centroid in the cutout, y and x
    axes: NDArray[np.float64]  # (N,) direction of the mask's longer axis, from x towards y, in radians
    areas: NDArray[np.int64]  # (N,) px²
    ids: NDArray[np.int64]  # (N,) annotation each comes from


def cut_out(scene: Scene, cells: Sequence[Placed], ids: Sequence[int], margin: int) -> Cutouts:
    """Cut these cells of a scene out, each with `margin` px around it."""
    boxes = np.full((len(cells), 4), margin, np.int64)
    boxes[:, 1:3] = np.array([mask.shape for mask, _, _ in cells]).reshape(-1, 2) + 2 * margin
    sizes = boxes[:, 1] * boxes[:, 2]
    boxes[:, 0] = np.cumsum(sizes) - sizes
    total = int(sizes.sum())
    out = Cutouts(
        signal=np.empty(total, np.float32),
        ramp=np.empty(total, np.uint8),
        own=np.empty(total, np.uint8),
        boxes=boxes,
        centres=np.empty((len(cells), 2)),
        axes=np.empty(len(cells)),
        areas=np.array([mask.sum() for mask, _, _ in cells], np.int64),
        ids=np.array(ids, np.int64),
    )
    for index, ((mask, x, y), (start, height, width, _)) in enumerate(zip(cells, boxes.tolist(), strict=True)):
        part = slice(start, start + height * width)
        shape = (height, width)
        planes = (out.signal[part].reshape(shape), out.ramp[part].reshape(shape), out.own[part].reshape(shape))
        cut(scene, mask, (y - margin, x - margin, margin), planes)
        centre_y, centre_x, out.axes[index] = pose_of(mask)
        out.centres[index] = centre_y + margin, centre_x + margin
    return out


@compiled
def pose_of(mask: Mask) -> tuple[float, float, float]:
    """A mask's centroid (y, x) and the direction of its longer axis from x towards y, in radians.

    As coco.moments has it, but in sums of whole numbers: of a round cell rounding decides, and thereby every image.
    """
    count, sum_y, sum_x, sum_yy, sum_xx, sum_xy = 0, 0.0, 0.0, 0.0, 0.0, 0.0
    for y in range(mask.shape[0]):
        for x in range(mask.shape[1]):
            if mask[y, x]:
                count += 1
                sum_y, sum_x = sum_y + y, sum_x + x
                sum_yy, sum_xx, sum_xy = sum_yy + y * y, sum_xx + x * x, sum_xy + x * y
    cy, cx = sum_y / count, sum_x / count
    yy, xx, xy = sum_yy / count - cy * cy, sum_xx / count - cx * cx, sum_xy / count - cx * cy
    return cy, cx, 0.5 * np.arctan2(2 * xy, xx - yy)


@compiled
def cut(
    scene: Scene,
    mask: Mask,
    place: tuple[int, int, int],
    planes: tuple[Float, NDArray[np.uint8], NDArray[np.uint8]],
) -> None:
    """Fill one cutout: the cell, its surroundings where it is the nearest cell, and a mean halo where it is not.

    place is the upper left corner (y, x) of the cutout, which may lie outside of the image, and the margin.
    """
    residual, _, _, owner, halo = scene
    top, left, margin = place
    signal, ramp, own = planes
    height, width = signal.shape
    mine, others = np.zeros((height, width), np.bool_), np.zeros((height, width), np.bool_)
    mine[margin : height - margin, margin : width - margin] = mask
    inside = np.zeros((height, width), np.bool_)
    for y in range(max(-top, 0), min(height, residual.shape[0] - top)):
        for x in range(max(-left, 0), min(width, residual.shape[1] - left)):
            inside[y, x] = True
            others[y, x] = owner[top + y, left + x] > 0 and not mine[y, x]
    near, far = distance(mine, margin), distance(others, 2 * margin)
    # how bright its halo is, in mean halos; as if 32 px of a mean one had been seen: a neighbour may cover nearly all
    product = square = 32 * np.mean(halo * halo) + 1e-9
    for y in range(height):
        for x in range(width):
            ramp[y, x] = 0 if mine[y, x] else max(1, int(near[y, x] / margin * FAR))
            # a pixel is all its own if no neighbour is less than 5/3 as far, and no longer half-way to one
            clear = 4 * (far[y, x] - near[y, x]) / (far[y, x] + near[y, x]) if ramp[y, x] < FAR else 0.0
            own[y, x] = int(min(max(clear, 0.0), 1.0) * 255) if inside[y, x] else 0
            if own[y, x] == 255 and not mine[y, x]:
                value = halo[int(near[y, x])]
                product += value * residual[top + y, left + x]
                square += value * value
    for y in range(height):
        for x in range(width):
            made_up = halo[min(int(near[y, x]), margin - 1)] * min(max(product / square, 0), 3)
            share = own[y, x] / 255
            signal[y, x] = (1 - share) * made_up
            if share > 0:
                signal[y, x] += share * residual[top + y, left + x]


def joined(parts: Sequence[Cutouts]) -> Cutouts:
    """All cutouts of several images in one."""
    starts = np.cumsum([0] + [len(part.signal) for part in parts[:-1]])
    steps = [np.array([start, 0, 0, 0]) for start in starts]
    moved = [part._replace(boxes=part.boxes + step) for part, step in zip(parts, steps, strict=True)]
    return Cutouts(*(np.concatenate(arrays) for arrays in zip(*moved, strict=True)))
