"""A part of an image: images that are too large for the memory are cut into fields, and read one by one."""

from __future__ import annotations

from itertools import pairwise
from typing import NamedTuple


class Region(NamedTuple):
    """Where a part of an image begins, and its size, in px; a height of 0 is the whole image."""

    top: int = 0
    left: int = 0
    height: int = 0
    width: int = 0

    @property
    def place(self) -> tuple[slice, slice]:
        """Its rows and columns."""
        if not self.height:
            return slice(None), slice(None)
        return slice(self.top, self.top + self.height), slice(self.left, self.left + self.width)


WHOLE = Region()


def tiles(height: int, width: int, side: int) -> list[Region]:
    """An image cut into as few parts of about one size as will do, none with a side above `side`.

    >>> tiles(100, 250, 100)
    [Region(top=0, left=0, height=100, width=83), Region(top=0, left=83, height=100, width=84), \
Region(top=0, left=167, height=100, width=83)]
    """
    rows, columns = _edges(height, side), _edges(width, side)
    return [
        Region(top, left, bottom - top, right - left)
        for top, bottom in pairwise(rows)
        for left, right in pairwise(columns)
    ]


def _edges(length: int, side: int) -> list[int]:
    count = -(-length // side)
    return [round(length * n / count) for n in range(count + 1)]
