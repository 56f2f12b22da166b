"""Outlines to pixels: a pixel belongs to one if its centre lies in it, by the even-odd rule.

(0, 0) is the upper left corner of the upper left pixel: of corners of pixels, as `measure` writes them, that is exact.
"""

from __future__ import annotations

import cv2
import numpy as np

from monolayer.coco.rle import Placed
from monolayer.compiled import Floats
from monolayer.files import InputError

FAR = 2  # sizes of the image, by which an outline may lie outside; beyond, it is of another image or unit


def filled(rings: list[Floats], size: tuple[int, int], where: str) -> Placed:
    """The pixels whose centres lie in an odd number of rings; what leaves the image is cut off."""
    points = np.concatenate(rings) if rings else np.empty((0, 2))
    if len(points) < 3:
        raise InputError(f"{where} has {len(points)} points; an outline has three or more")
    if not np.isfinite(points).all():
        raise InputError(f"{where} has coordinates that are NaN or infinite; export it again")
    height, width = size
    if (points < -FAR * max(size)).any() or (points > (1 + FAR) * max(size)).any():
        raise InputError(f"{where} lies far out of its image of {width}x{height} px; are its coordinates in px of it?")
    x0, y0 = np.clip(np.floor(points.min(0)), 0, (width - 1, height - 1)).astype(int)
    x1, y1 = np.clip(np.ceil(points.max(0)), (x0 + 1, y0 + 1), (width, height)).astype(int)
    crossings = np.zeros((y1 - y0, x1 - x0 + 1), np.int64)
    for ring in rings:
        for (ax, ay), (bx, by) in zip(ring, np.roll(ring, -1, axis=0), strict=True):
            top, bottom = (int(np.ceil(y - 0.5)) for y in sorted((ay, by)))
            rows = np.arange(max(top, y0), min(bottom, y1))  # whose centres the edge passes
            x = ax + (rows + 0.5 - ay) * (bx - ax) / (by - ay) if len(rows) else rows
            columns = np.clip(np.ceil(x - 0.5) - x0, 0, x1 - x0).astype(int)  # the first whose centre is right of it
            np.add.at(crossings, (rows - y0, columns), 1)
    return (np.cumsum(crossings, axis=1)[:, :-1] % 2).astype(np.bool_), int(x0), int(y0)


def united(parts: list[Placed]) -> Placed:
    """One mask of several."""
    if len(parts) == 1:
        return parts[0]
    left, top = min(x for _, x, _ in parts), min(y for _, _, y in parts)
    right = max(x + mask.shape[1] for mask, x, _ in parts)
    foot = max(y + mask.shape[0] for mask, _, y in parts)
    whole = np.zeros((foot - top, right - left), np.bool_)
    for mask, x, y in parts:
        whole[y - top : y - top + mask.shape[0], x - left : x - left + mask.shape[1]] |= mask
    return whole, left, top


def of_pixels(ring: Floats) -> Placed | None:
    """The mask of an outline that steps from pixel to neighbouring pixel all around, all of them the cell's; else None.

    So OpenCV traces masks, and Cellpose saves them as ROIs: as outlines between pixels they would lose a row and a
    column. A hand leaves gaps.
    """
    steps = np.abs(ring - np.roll(ring, 1, axis=0)).max(1)
    if not len(ring) or (steps != 1).any() or (ring % 1).any():
        return None
    corner = ring.min(0)
    mask = np.zeros(np.ptp(ring, axis=0).astype(int)[::-1] + 1, np.uint8)
    cv2.fillPoly(mask, [(ring - corner).astype(np.int32)], (1,))
    return mask > 0, int(corner[0]), int(corner[1])
