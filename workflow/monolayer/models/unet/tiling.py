"""Images of any size through a fully convolutional network: overlapping tiles, blended, in batches."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from itertools import groupby, islice
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from monolayer.models.dihedral import turn, turn_back

Float = NDArray[np.float32]


class Tiles(NamedTuple):
    """Largest side and least overlap of neighbours in px, and what positions and lengths are multiples of.

    That is the network's stride, so that its pooling sees the same pairs of pixels in each tile.
    """

    side: int
    overlap: int
    stride: int


class Axis(NamedTuple):
    """One axis of an image: its length with padding, where its tiles begin, their length, the weights of each."""

    padded: int
    starts: list[int]
    side: int
    weights: list[Float]

    def total(self) -> Float:
        """Sum of the weights at each pixel."""
        total = np.zeros(self.padded, np.float32)
        for start, weights in zip(self.starts, self.weights, strict=True):
            total[start : start + self.side] += weights
        return total


def axis(length: int, tiles: Tiles) -> Axis:
    """Cut one axis into as few tiles as will do, all of one length that is no more than they need.

    Weights rise linearly over the overlap from an edge that lies within the image, and never are 0.
    """

    def up(value: float) -> int:
        """The next multiple of the stride."""
        return -int(-value // tiles.stride) * tiles.stride

    padded, overlap = up(length), up(tiles.overlap)
    count = max(1, math.ceil((padded - overlap) / max(tiles.stride, tiles.side - overlap)))
    side = up((padded + (count - 1) * overlap) / count)
    starts = [up((padded - side) * i / max(1, count - 1)) for i in range(count)]
    rise = np.minimum(1, np.arange(1, side + 1, dtype=np.float32) / (overlap + 1))
    flat = np.ones(side, np.float32)
    weights = [(flat if i == 0 else rise) * (flat if i == count - 1 else rise[::-1]) for i in range(count)]
    return Axis(padded, starts, side, weights)


class _Canvas:
    """One image and the weighted sum of the network's outputs for its tiles.

    What is lacking to a multiple of the stride is the image mirrored at its edge: a flat strip there would be taken for
    a cell, or would hide one.
    """

    def __init__(self, image: Float, tiles: Tiles) -> None:
        self.shape = image.shape
        self.rows, self.columns = (axis(length, tiles) for length in image.shape)
        height, width = image.shape
        lacking = (0, self.rows.padded - height), (0, self.columns.padded - width)
        self.image = np.pad(image, lacking, mode="reflect")
        self.sum: Float | None = None

    def window(self, row: int, column: int) -> tuple[slice, slice]:
        y, x = self.rows.starts[row], self.columns.starts[column]
        return slice(y, y + self.rows.side), slice(x, x + self.columns.side)

    def add(self, row: int, column: int, maps: Float) -> None:
        if self.sum is None:
            self.sum = np.zeros((len(maps), *self.image.shape), np.float32)
        weight = np.outer(self.rows.weights[row], self.columns.weights[column])
        self.sum[:, *self.window(row, column)] += maps * weight

    def mean(self) -> Float:
        assert self.sum is not None
        self.sum /= np.outer(self.rows.total(), self.columns.total())
        return self.sum[:, : self.shape[0], : self.shape[1]]


def blend_tta(
    images: Sequence[Float], forward: Callable[[Float], Float], tiles: Tiles, batch: int, tta: int
) -> list[Float]:
    """As `blend`, the mean over the first so many of the eight ways to turn and mirror each image: a cell has no up."""
    total = blend(images, forward, tiles, batch)
    for way in range(1, tta):
        turned = blend([turn(image, way) for image in images], forward, tiles, batch)
        total = [maps + turn_back(one, way) for maps, one in zip(total, turned, strict=True)]
    return [maps / np.float32(tta) for maps in total]


def blend(images: Sequence[Float], forward: Callable[[Float], Float], tiles: Tiles, batch: int) -> list[Float]:
    """float32 (C, H, W) of each float32 (H, W); `forward` maps tiles (B, 1, h, w) to (B, C, h, w)."""
    canvases = [_Canvas(image, tiles) for image in images]
    every = ((one, *at) for one in canvases for at in np.ndindex(len(one.rows.starts), len(one.columns.starts)))
    for _, alike in groupby(every, lambda tile: (tile[0].rows.side, tile[0].columns.side)):
        while some := list(islice(alike, batch)):
            given = np.stack([canvas.image[canvas.window(row, column)] for canvas, row, column in some])
            for (canvas, row, column), maps in zip(some, forward(given[:, None]), strict=True):
                canvas.add(row, column, maps)
    return [canvas.mean() for canvas in canvases]
