"""Tracks as the Cell Tracking Challenge has them: masks that bear the number of a track, and a table of tracks.

https://celltrackingchallenge.net: a track has no gap there, so one that has is written as parts, each the parent of
the next; where cells overlap, each pixel is of one of them.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from monolayer.coco.labels import label_tiff
from monolayer.compiled import Flags, Ints
from monolayer.files import write_bytes


class TrackParts(NamedTuple):
    """Tracks without gaps: the number of each cell's, 0 where no pixel of it is seen, and a row for each part."""

    label: Ints  # (N,)
    table: Ints  # (K, 4): number, first frame, last frame, number of the parent or 0


def parts_of(frame_of: Ints, track: Ints, parent: Ints, seen: Flags) -> TrackParts:
    """The parts of these tracks of cells in the order of their frames."""
    label, table = np.zeros(len(track), np.int64), list[list[int]]()
    latest: dict[int, int] = {}  # of each track, the number of its last part so far
    for cell in np.flatnonzero(seen).tolist():
        own, frame = int(track[cell]), int(frame_of[cell])
        number = latest.get(own, 0)
        if not number or table[number - 1][2] != frame - 1:
            table.append([len(table) + 1, frame, frame, number or latest.get(int(parent[cell]), 0)])
            number = latest[own] = len(table)
        table[number - 1][2] = frame
        label[cell] = number
    return TrackParts(label, np.array(table, np.int64).reshape(-1, 4))


Frames = Iterator[tuple[NDArray[np.int32], Ints]]


def write(folder: Path, parts: TrackParts, masks: Frames, frames: int, true: bool) -> None:
    """Write a folder of results (or truth) from each frame's label image and the cells that its values stand for.

    `masks` gives (labels, cells): the value v of the label image is the cell cells[v - 1] of `parts`.
    """
    stem, table = ("man_track", "man_track.txt") if true else ("mask", "res_track.txt")
    digits = max(3, len(str(frames - 1)))
    for frame, (labels, cells) in enumerate(masks):
        numbers = np.r_[0, parts.label[cells]].astype(np.int32)
        write_bytes(folder / f"{stem}{frame:0{digits}d}.tif", label_tiff([numbers[labels]], None))
    write_bytes(folder / table, "".join(f"{' '.join(map(str, row))}\n" for row in parts.table.tolist()).encode())
