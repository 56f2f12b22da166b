"""The eight ways to mirror and turn an image (the dihedral group of the square): a cell has no up.

A way from 0 to 7 is `way` % 4 quarter turns, counter-clockwise, of the image, or of its mirror image from 4 on.
"""

from __future__ import annotations

from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

Number = TypeVar("Number", bound=np.generic)


def turn(plane: NDArray[Number], way: int) -> NDArray[Number]:
    """(..., H, W) mirrored left to right if `way` is 4 or more, then turned."""
    return np.ascontiguousarray(np.rot90(plane[..., ::-1] if way >= 4 else plane, way % 4, (-2, -1)))


def turn_back(plane: NDArray[Number], way: int) -> NDArray[Number]:
    """What `turn` was given."""
    straight: NDArray[Any] = np.rot90(plane, -(way % 4), (-2, -1))
    return np.ascontiguousarray(straight[..., ::-1] if way >= 4 else straight)


def turn_box(box_xywh: tuple[int, int, int, int], size: tuple[int, int], way: int) -> tuple[int, int, int, int]:
    """Where a box of an image of that size (height, width) lies after `turn`."""
    x, y, w, h = box_xywh
    height, width = size
    x = width - x - w if way >= 4 else x
    for _ in range(way % 4):
        x, y, w, h, height, width = y, width - x - w, h, w, width, height
    return x, y, w, h
