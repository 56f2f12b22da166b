"""Cells put on a background: places found, masks that are exactly what is seen, halos blended.

The cell that is placed first lies on top: a later one gives up the pixels that are taken, a bounded share of its own.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from monolayer.compiled import compiled
from monolayer.synthesis.cutouts import FAR, Cutouts
from monolayer.synthesis.scene import Float

# [a, b, c, d] leads from (y, x) about the placed cell's centroid to (ay + bx, cy + dx) about that of its cutout
Pose = NDArray[np.float64]

EDGE = 1.5  # px: how far the halo of a cell reaches over the cells beneath it, enough to leave no seam
# The share of a halo at each value of the ramp: all of it up to 3/4 of the margin, then smoothly down to nothing.
FADE = 0.5 + 0.5 * np.cos(np.pi * (4 * np.arange(FAR + 1) / FAR - 3).clip(0, 1))


class Plan(NamedTuple):
    """What to place, first on top: for each of N cells an area, T places to try, and for each P of these a pose."""

    areas: NDArray[np.float64]  # (N,) px² that are to be seen
    tries: NDArray[np.int64]  # (N, T, 2) y, x in px
    cells: NDArray[np.int64]  # (N, T / P) index into the cutouts
    poses: Pose  # (N, T / P, 4)
    gains: NDArray[np.float64]  # (N,) contrast


class Composite(NamedTuple):
    """An image and its M cells, which are 1 to M in `labels` in the order of placing."""

    pixels: NDArray[np.uint8]  # (H, W)
    labels: NDArray[np.int32]  # (H, W)
    boxes: NDArray[np.int64]  # (M, 4) left, top, right, bottom of what is seen; the last two are not in it
    placed: NDArray[np.int64]  # (M, 4) which of the plan's cells, which of its poses, y, x


class Table(NamedTuple):
    """What is being laid: as in a composite, but with room for all cells of the plan."""

    labels: NDArray[np.int32]  # (H, W)
    boxes: NDArray[np.int64]  # (N, 4)
    placed: NDArray[np.int64]  # (N, 4)


class Planes(NamedTuple):
    """What is being painted, float32 (H, W) each."""

    bodies: Float
    halos: Float  # weighted
    weights: Float  # of the halos
    under: Float  # what is left of the background


def turned(angles: NDArray[np.float64], scales: NDArray[np.float64], flips: NDArray[np.bool_]) -> Pose:
    """Poses that mirror, turn by an angle in radians and enlarge by a scale, (...) of each to (..., 4)."""
    cos, sin = np.cos(angles) / scales, np.sin(angles) / scales
    sign = np.where(flips, -1.0, 1.0)
    return np.stack([cos, -sin, sign * sin, sign * cos], axis=-1)


def compose(background: Float, illumination: Float, cutouts: Cutouts, plan: Plan, overlap: float) -> Composite:
    """Place the planned cells as far as they fit, hiding at most a share `overlap` of any, and paint them.

    background is a residual and illumination what it is a difference from, both float32 (H, W).
    """
    boxes, placed = np.zeros((2, len(plan.areas), 4), np.int64)
    table = Table(np.zeros(background.shape, np.int32), boxes, placed)
    count = settle(table, cutouts, plan, overlap)
    canvas = illumination + paint(table.labels, placed[:count], background, cutouts, plan)
    return Composite(canvas.round().clip(0, 255).astype(np.uint8), table.labels, boxes[:count], placed[:count])


@compiled
def settle(table: Table, cutouts: Cutouts, plan: Plan, overlap: float) -> int:
    """Give each cell of the plan the first place where it fits, and return how many found one.

    A cell may not find room for the area asked for, or lie half outside: what is owed is asked of those that follow.
    """
    count, owed, per_pose = 0, 0.0, plan.tries.shape[1] // plan.cells.shape[1]
    for k in range(len(plan.areas)):
        used = np.zeros(plan.cells.shape[1], np.bool_)
        seen = 0
        for turn in range(plan.cells.shape[1]):
            option = nearest_area(plan.areas[k] + owed, used, plan.cells[k], plan.poses[k], cutouts.areas)
            used[option] = True
            pixels = outline(cutouts, plan.cells[k, option], plan.poses[k, option])
            for y, x in plan.tries[k, turn * per_pose : (turn + 1) * per_pose]:
                seen = visible(table.labels, pixels, (y, x), overlap)
                if seen > 0:
                    write(table, count, pixels, (y, x))
                    table.placed[count] = np.array([k, option, y, x])
                    owed += plan.areas[k] - seen
                    count += 1
                    break
            if seen > 0:
                break
    return count


@compiled
def nearest_area(
    asked: float, used: NDArray[np.bool_], cells: NDArray[np.int64], poses: Pose, areas: NDArray[np.int64]
) -> int:
    """The unused option whose cell, enlarged as its pose says, has the area nearest to the one asked for."""
    best, best_error = 0, np.inf
    for option in range(len(cells)):
        a, b, c, d = poses[option]
        error = abs(areas[cells[option]] / abs(a * d - b * c) - asked)
        if not used[option] and error < best_error:
            best, best_error = option, error
    return best


@compiled
def reach(height: float, width: float, cy: float, cx: float, pose: Pose) -> tuple[int, int]:
    """How far (dy, dx) a box of that size, posed about its point (cy, cx), can extend from where that is put."""
    a, b, c, d = pose
    det = a * d - b * c
    far_y, far_x = 0.0, 0.0
    for y in (-cy - 1.0, height - cy):
        for x in (-cx - 1.0, width - cx):
            far_y = max(far_y, abs((d * y - b * x) / det))
            far_x = max(far_x, abs((a * x - c * y) / det))
    return int(far_y) + 1, int(far_x) + 1


@compiled
def outline(cutouts: Cutouts, cell: int, pose: Pose) -> NDArray[np.int64]:
    """The pixels (dy, dx) about its centroid that a posed cell covers: bilinear interpolation of its mask, from 1/2."""
    start, height, width, pad = cutouts.boxes[cell]
    pad -= 1  # a pixel around the mask's box is enough
    ramp = cutouts.ramp[start : start + height * width].reshape(height, width)
    mask = ramp[pad : height - pad, pad : width - pad] == 0
    height, width = mask.shape
    cy, cx = cutouts.centres[cell, 0] - pad, cutouts.centres[cell, 1] - pad
    a, b, c, d = pose
    far_y, far_x = reach(height, width, cy, cx, pose)
    pixels = np.empty(((2 * far_y + 1) * (2 * far_x + 1), 2), np.int64)
    count = 0
    for dy in range(-far_y, far_y + 1):
        for dx in range(-far_x, far_x + 1):
            y, x = a * dy + b * dx + cy, c * dy + d * dx + cx
            if 0 <= y < height - 1 and 0 <= x < width - 1:
                i, j = int(y), int(x)
                v, u = y - i, x - j
                upper = (1 - u) * mask[i, j] + u * mask[i, j + 1]
                lower = (1 - u) * mask[i + 1, j] + u * mask[i + 1, j + 1]
                if (1 - v) * upper + v * lower >= 0.5:
                    pixels[count, 0], pixels[count, 1] = dy, dx
                    count += 1
    return pixels[:count]


@compiled
def visible(labels: NDArray[np.int32], pixels: NDArray[np.int64], at: tuple[int, int], overlap: float) -> int:
    """How many pixels of a cell put at (y, x) would be seen; 0 if more than a share `overlap` would be hidden.

    A quarter of the cell must lie in the image: slivers at its edge are no cells that one could learn from.
    """
    (y, x), (height, width) = at, labels.shape
    hidden, seen = 0, 0
    for dy, dx in pixels:
        if 0 <= y + dy < height and 0 <= x + dx < width:
            if labels[y + dy, x + dx]:
                hidden += 1
                if hidden > overlap * len(pixels):
                    return 0
            else:
                seen += 1
    return seen if hidden <= overlap * (hidden + seen) and 4 * (hidden + seen) >= len(pixels) else 0


@compiled
def write(table: Table, index: int, pixels: NDArray[np.int64], at: tuple[int, int]) -> None:
    """Give a cell put at (y, x) the pixels that are not taken, and note their box."""
    labels, box = table.labels, table.boxes[index]
    (y, x), (height, width) = at, labels.shape
    box[:] = np.array([width, height, 0, 0])
    for dy, dx in pixels:
        v, u = y + dy, x + dx
        if 0 <= v < height and 0 <= u < width and labels[v, u] == 0:
            labels[v, u] = index + 1
            box[0], box[1] = min(box[0], u), min(box[1], v)
            box[2], box[3] = max(box[2], u + 1), max(box[3], v + 1)


@compiled
def paint(
    labels: NDArray[np.int32], placed: NDArray[np.int64], background: Float, cutouts: Cutouts, plan: Plan
) -> Float:
    """The residual of the image, float32 (H, W): bodies where labels say so, and halos faded into the background.

    Where halos meet, their mean is seen; the background is damped so that the noise of both together stays what it was.
    """
    zeros = np.zeros_like(background)
    planes = Planes(zeros, zeros.copy(), zeros.copy(), np.ones_like(background))
    for index in range(len(placed) - 1, -1, -1):  # from below, so that halos fall on the bodies beneath them
        paint_cell(planes, labels, (index + 1, placed[index]), cutouts, plan)
    for y in range(labels.shape[0]):
        for x in range(labels.shape[1]):
            if labels[y, x] == 0:
                planes.bodies[y, x] = planes.under[y, x] * background[y, x]
                if planes.weights[y, x] > 0:
                    planes.bodies[y, x] += planes.halos[y, x] / planes.weights[y, x]
    return planes.bodies


@compiled
def paint_cell(
    planes: Planes,
    labels: NDArray[np.int32],
    cell: tuple[int, NDArray[np.int64]],
    cutouts: Cutouts,
    plan: Plan,
) -> None:
    """Add a cell, given by its label and its row of `placed`, to the planes."""
    label, (k, option, py, px) = cell
    start, height, width, pad = cutouts.boxes[plan.cells[k, option]]
    cy, cx = cutouts.centres[plan.cells[k, option]]
    part = slice(start, start + height * width)
    signal = cutouts.signal[part].reshape(height, width)
    ramp, own = cutouts.ramp[part].reshape(height, width), cutouts.own[part].reshape(height, width)
    pose, gain = plan.poses[k, option], plan.gains[k]
    a, b, c, d = pose
    far_y, far_x = reach(height, width, cy, cx, pose)
    for ty in range(max(py - far_y, 0), min(py + far_y + 1, labels.shape[0])):
        for tx in range(max(px - far_x, 0), min(px + far_x + 1, labels.shape[1])):
            there = labels[ty, tx]
            y = a * (ty - py) + b * (tx - px) + cy
            x = c * (ty - py) + d * (tx - px) + cx
            # nothing of a cutout is nearer to its edge than the margin, so that interpolation needs no care there
            if 0 < there < label or not (1 <= y < height - 2 and 1 <= x < width - 2):
                continue
            i, j = int(y + 0.5), int(x + 0.5)
            if there == label:
                planes.bodies[ty, tx] = gain * cubic(signal, y, x)
            elif there > 0 and ramp[i, j] * pad < EDGE * FAR:
                share = 1 - ramp[i, j] * pad / (EDGE * FAR)
                planes.bodies[ty, tx] += share * (gain * cubic(signal, y, x) - planes.bodies[ty, tx])
            elif there == 0 and ramp[i, j] < FAR:
                away = bilinear(ramp, y, x)
                share = FADE[int(away)]
                known = share * own[i, j] / 255
                # the nearer cell outweighs the farther, and what is known what is made up
                weight = (known + 0.05 * share) * (1 - away / (FAR + 1)) ** 4
                planes.halos[ty, tx] += weight * share * gain * cubic(signal, y, x)
                planes.weights[ty, tx] += weight
                planes.under[ty, tx] *= np.sqrt(1 - known * known)


@compiled
def bilinear(values: NDArray[np.uint8], y: float, x: float) -> np.float32:
    i, j = int(y), int(x)
    v, u = np.float32(y - i), np.float32(x - j)
    upper, lower = np.float32(values[i, j]), np.float32(values[i + 1, j])
    upper += u * (np.float32(values[i, j + 1]) - upper)
    lower += u * (np.float32(values[i + 1, j + 1]) - lower)
    return upper + v * (lower - upper)


@compiled
def cubic(values: Float, y: float, x: float) -> np.float32:
    """Cubic convolution with a = -3/4 (Keys 1981), which keeps texture: bilinear interpolation would blur it."""
    i, j = int(y), int(x)
    rows, columns = keys(np.float32(y - i)), keys(np.float32(x - j))
    total = np.float32(0)
    for v in range(4):
        line = values[i + v - 1]
        row = columns[0] * line[j - 1] + columns[1] * line[j] + columns[2] * line[j + 1] + columns[3] * line[j + 2]
        total += rows[v] * row
    return total


@compiled
def keys(t: np.float32) -> tuple[np.float32, np.float32, np.float32, np.float32]:
    """The weights of the samples at -1, 0, 1 and 2 for a place t in [0, 1)."""
    u = np.float32(1) - t
    a, b, c = np.float32(-0.75), np.float32(1.25), np.float32(2.25)
    return a * t * u * u, (b * t - c) * t * t + np.float32(1), (b * u - c) * u * u + np.float32(1), a * u * t * t
