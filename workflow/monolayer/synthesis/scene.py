"""An image taken apart into slow illumination and what differs from it, and its background without the cells."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple, cast

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from monolayer.coco.labels import paint
from monolayer.coco.rle import Mask, Placed
from monolayer.compiled import compiled

Float = NDArray[np.float32]

DOWN = 8  # px: illumination is slow, its filter runs on means of 8x8 px
RING = 4  # px around a piece of texture that must continue what is there


class Scene(NamedTuple):
    """An image's parts. residual is image - illumination; free marks what is neither a cell nor the halo of one."""

    residual: Float  # (H, W)
    illumination: Float  # (H, W)
    free: Mask  # (H, W)
    owner: NDArray[np.int32]  # (H, W) label image of the cells
    halo: Float  # (margin,) mean residual at each distance from a cell, in steps of 1 px


class Texture(NamedTuple):
    """A scene's free background as squares to cover other places with."""

    residual: Float  # (H, W)
    free: Mask  # (H, W)
    corners: NDArray[np.int64]  # (K, 2) y, x of the upper left corner of each square's ring
    unrest: float  # mean square of the residual in them; infinite if they are not all free
    size: int  # px, without the ring


@compiled
def distance(mask: Mask, reach: float) -> Float:
    """Distance in px to the nearest True, at most `reach`: chamfer 3x3, within 4 % (Borgefors 1986)."""
    height, width = mask.shape
    straight, diagonal = np.float32(0.95509), np.float32(1.36930)
    out = np.full((height + 2, width + 2), np.float32(reach))
    for y in range(1, height + 1):
        for x in range(1, width + 1):
            if mask[y - 1, x - 1]:
                out[y, x] = 0
            else:
                near = min(out[y - 1, x] + straight, out[y, x - 1] + straight)
                near = min(near, out[y - 1, x - 1] + diagonal, out[y - 1, x + 1] + diagonal)
                out[y, x] = min(out[y, x], near)
    for y in range(height, 0, -1):
        for x in range(width, 0, -1):
            near = min(out[y + 1, x] + straight, out[y, x + 1] + straight)
            near = min(near, out[y + 1, x + 1] + diagonal, out[y + 1, x - 1] + diagonal)
            out[y, x] = min(out[y, x], near)
    return out[1:-1, 1:-1]


# ---- background ----------------------------------------------------------------------------------


def halo_end(images: Sequence[tuple[NDArray[np.uint8], Sequence[Placed]]], low: int, high: int) -> int:
    """The distance in px, from `low` to `high`, at which the mean halo has fallen below 1/20 of its height.

    Heights are differences from the background at `high` px and more, or the farthest there is.
    """
    total, count = np.zeros(high + 1), np.zeros(high + 1)
    for image, cells in images:
        away = distance(paint(cells, *image.shape) > 0, high).astype(np.int64)
        level = np.median(image[away >= min(high, float(np.percentile(away, 99)))])
        total += np.bincount(away.ravel(), image.ravel() - level, high + 1)
        count += np.bincount(away.ravel(), minlength=high + 1)
    height = np.abs(total / np.maximum(count, 1))[1:]
    seen = np.flatnonzero(height > height.max() / 20)
    return int(np.clip(seen[-1] + 2 if len(seen) else 0, low, high))


def take_apart(image: NDArray[np.uint8], cells: Sequence[Placed], margin: int, sigma: float) -> Scene:
    """Separate uint8 (H, W) into illumination and residual; `margin` px around a cell are its halo.

    Where cells leave less than 1 % of the image beyond their margins, that 1 % which is farthest from them counts as
    free; an image that is all cells has nothing free.
    """
    owner = paint(cells, *image.shape)
    away = distance(owner > 0, margin)
    free = (away >= min(margin, float(np.percentile(away, 99)))) & (owner == 0)
    level = float(np.median(image[free] if free.any() else image))
    slow = illumination(image, free, sigma, level)
    residual = image - slow
    return Scene(residual, slow, free, owner, mean_halo(residual, away, margin))


def illumination(image: NDArray[np.uint8], free: Mask, sigma: float, level: float) -> Float:
    """The slow part of the background, float32 (H, W); far from any free pixel it is `level`.

    Normalised convolution over the free pixels (Knutsson and Westin 1993).
    """
    height, width = image.shape
    rows, columns = -(-height // DOWN), -(-width // DOWN)
    padding = ((0, rows * DOWN - height), (0, columns * DOWN - width))

    def smooth(values: Float) -> Float:
        means = np.pad(values, padding).reshape(rows, DOWN, columns, DOWN).mean((1, 3), dtype=np.float32)
        return cast(Float, ndimage.gaussian_filter(means, sigma / DOWN, mode="constant"))

    weight = smooth(free.astype(np.float32))
    coarse = smooth(np.where(free, image - np.float32(level), np.float32(0))) / (weight + np.float32(1e-3))
    return _finer(_finer(coarse, height).T, width).T + np.float32(level)


def _finer(coarse: Float, size: int) -> Float:
    """Interpolate the rows of an array that was reduced by DOWN back to `size` rows."""
    at = np.clip((np.arange(size) + 0.5) / DOWN - 0.5, 0, len(coarse) - 1)
    low = at.astype(np.int64)
    part = (at - low).astype(np.float32)[:, None]
    return coarse[low] * (1 - part) + coarse[np.minimum(low + 1, len(coarse) - 1)] * part


def mean_halo(residual: Float, away: Float, margin: int) -> Float:
    """Mean residual of the pixels at each distance from a cell, in steps of 1 px up to the margin."""
    near = (away > 0) & (away < margin)
    step = away[near].astype(np.int64)
    total = np.bincount(step, residual[near], margin)
    halo = (total / np.maximum(np.bincount(step, minlength=margin), 1)).astype(np.float32)
    return np.where(np.abs(halo) < np.abs(halo).max() / 20, np.float32(0), halo)


def texture_of(scene: Scene, piece: int) -> Texture:
    """The squares of `piece` px, with a ring, that are free in a scene and calmest: a quarter of all, at least 50."""
    size = max(min(piece, *(side - 2 * RING for side in scene.free.shape)), 1)
    free = box_sums(scene.free, size + 2 * RING)
    unrest = box_sums(np.where(scene.free, scene.residual**2, np.float32(0)), size + 2 * RING) / np.maximum(free, 1)
    whole = free >= 0.98 * (size + 2 * RING) ** 2
    # whole squares first, by how calm they are; then the others, by how much is free
    order = np.lexsort((unrest.ravel(), np.where(whole, 0, -free).ravel()))
    order = order[np.argsort(~whole.ravel()[order], kind="stable")][: max(int(whole.sum()) // 4, 50)]
    corners = 3 * np.stack(np.unravel_index(order, free.shape), 1)
    calm = float(unrest.ravel()[order].mean()) if whole.sum() >= 50 else float("inf")
    return Texture(scene.residual, scene.free, corners, calm, size)


def box_sums(values: NDArray[Any], size: int) -> NDArray[np.float64]:
    """Sums over squares of `size` px whose upper left corners are 3 px apart."""
    sums = np.pad(np.cumsum(np.cumsum(values, 0, dtype=np.float64), 1), ((1, 0), (1, 0)))
    return (sums[size:, size:] - sums[:-size, size:] - sums[size:, :-size] + sums[:-size, :-size])[::3, ::3]


def background(scene: Scene, texture: Texture, rng: np.random.Generator) -> Float:
    """The residual of an image without its cells, float32 (H, W): their places are covered from `texture`.

    Of 8 of its squares, each place gets the one that goes on best with what is around it (image quilting, Efros and
    Freeman 2001, without their seam: residuals have little to show one).
    """
    canvas, known = np.where(scene.free, scene.residual, np.float32(0)), scene.free.copy()
    rows, columns = (-(-side // texture.size) for side in known.shape)
    for _ in range(4):  # what is not free in a chosen square waits for the next
        if known.all():
            return canvas
        picks = rng.integers(0, len(texture.corners), (rows, columns, 8))
        quilt(canvas, known, texture, picks)
    canvas[~known] = rng.choice(texture.residual[texture.free], int((~known).sum()))
    return canvas


@compiled
def quilt(canvas: Float, known: Mask, texture: Texture, picks: NDArray[np.int64]) -> None:
    """Cover unknown pixels of each square of the canvas from the best of its picked squares of the texture."""
    height, width = canvas.shape
    source, free, corners, _, size = texture
    for row in range(picks.shape[0]):
        for column in range(picks.shape[1]):
            top, left = row * size, column * size
            bottom, right = min(top + size, height), min(left + size, width)
            if known[top:bottom, left:right].all():
                continue
            best, best_cost = -1, np.inf
            for pick in picks[row, column]:
                # from a place on the canvas to the one in the texture
                shift = (corners[pick, 0] + RING - top, corners[pick, 1] + RING - left)
                cost = misfit(canvas, known, texture, (top, left, bottom, right), shift)
                if cost < best_cost:
                    best, best_cost = pick, cost
            if best >= 0:
                dy, dx = corners[best, 0] + RING - top, corners[best, 1] + RING - left
                for y in range(top, bottom):
                    for x in range(left, right):
                        if not known[y, x] and free[y + dy, x + dx]:
                            canvas[y, x] = source[y + dy, x + dx]
                            known[y, x] = True


@compiled
def misfit(
    canvas: Float, known: Mask, texture: Texture, box: tuple[int, int, int, int], shift: tuple[int, int]
) -> float:
    """How badly a square of the source goes on with the known pixels in and around a box; infinite if it adds none."""
    source, free, _, _, _ = texture
    (top, left, bottom, right), (dy, dx) = box, shift
    squares, compared, missing, added = 0.0, 0, 0, 0
    for y in range(max(top - RING, 0), min(bottom + RING, canvas.shape[0])):
        for x in range(max(left - RING, 0), min(right + RING, canvas.shape[1])):
            if known[y, x]:
                if free[y + dy, x + dx]:
                    squares += (canvas[y, x] - source[y + dy, x + dx]) ** 2
                    compared += 1
            elif top <= y < bottom and left <= x < right:
                missing += 1
                added += free[y + dy, x + dx]
    return (squares / (compared + 1) + 1) * (missing / added) ** 2 if added else np.inf
