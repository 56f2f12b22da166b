"""The edges of a mask as polygons whose corners are corners of pixels: filled even-odd, they are the mask again."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from monolayer.coco.rle import Mask
from monolayer.compiled import compiled

STEPS = np.array([[1, 0], [0, 1], [-1, 0], [0, -1]])  # xy of right, down, left, up


def rings(mask: Mask, x: int = 0, y: int = 0) -> list[NDArray[np.int32]]:
    """Closed polygons (N, 2) xy of a bool (h, w) mask with its upper left pixel at (x, y), the first one not repeated.

    Outer edges run clockwise on the screen, holes the other way; pixels that meet at a corner only are apart.
    """
    if not mask.any():
        return []
    corners, ends = trace(np.pad(mask, 1))
    corners += np.array([x - 1, y - 1], np.int32)
    return np.split(corners, ends[:-1])


@compiled
def trace(mask: Mask) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
    """Corners (N, 2) of all rings, one after the other, and where each ends; the mask's border must be empty."""
    height, width = mask.shape
    done = np.zeros((height, width), np.bool_)  # pixels whose upper edge has been walked along
    corners = np.empty((4 * int(mask.sum()), 2), np.int32)
    ends = np.empty(len(corners), np.int64)
    count = found = 0
    for row in range(1, height):
        for column in range(width):
            if done[row, column] or not mask[row, column] or mask[row - 1, column]:
                continue
            x, y, way = column, row, 0  # to the right along an upper edge: the mask is on the right hand
            while True:
                if way == 0:
                    if done[y, x]:
                        break
                    done[y, x] = True
                x, y = x + STEPS[way, 0], y + STEPS[way, 1]
                # the two pixels ahead of this corner, seen in the direction of the walk
                right, down = STEPS[way], STEPS[(way + 1) % 4]
                at_x, at_y = x + (right[0] + down[0] - 1) // 2, y + (right[1] + down[1] - 1) // 2
                on_right = mask[at_y, at_x]
                on_left = mask[at_y - down[1], at_x - down[0]]
                if not on_right or on_left:
                    way = (way + 1) % 4 if not on_right else (way + 3) % 4
                    corners[count, 0], corners[count, 1] = x, y
                    count += 1
            ends[found] = count
            found += 1
    return corners[:count], ends[:found]
