"""Cells mended by the frames beside theirs: one that vanishes for some frames, and two that are one until they part.

What vanishes is what a link bridges. There, in this order: a cell that was found with too low a score counts; a cell
that covers two that were and will be is parted between them; else the mask of the nearer frame takes its place.
"""

from __future__ import annotations

import logging
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from monolayer.coco.io import write_results
from monolayer.coco.records import CELL, Image, Result, Rle
from monolayer.coco.rle import Mask, Placed, box_xywh, rles_from_crops
from monolayer.compiled import Ints
from monolayer.measurement.growth import moment
from monolayer.measurement.measure import CellSource, cells_of, instances
from monolayer.params.steps import LinkParams
from monolayer.tracking.linking import Followed, follow
from monolayer.tracking.timelapse import Moments, Timelapse, timelapses

logger = logging.getLogger(__name__)
MOST = 0.5  # of a mask: so much of what is expected has to be found, covered, left after a parting, or free
Cells = list[tuple[float, Rle]]  # of an image: score and mask


def mend(truth: Path, cells: CellSource, params: LinkParams, output: Path) -> Counter[str]:
    """Write these results again, those of time-lapses mended; only cells from the source's score up count as found.

    Returns how many cells were raised, parted, put in.
    """
    images, found = cells_of(truth, replace(cells, score_min=0.0))
    made = dict(found)
    done = Counter[str]()
    for lapse in timelapses(images, moments(images)):
        own = [found[image["id"]] for image in lapse.images]
        for image, mended in zip(lapse.images, mended_frames(lapse, own, cells.score_min, params, done), strict=True):
            made[image["id"]] = mended
    write_results(output, _results(made))
    logger.info("%d cells raised, %d parted, %d put in", done["raised"], done["parted"], done["put in"])
    return done


def moments(images: Sequence[Image]) -> Moments:
    """When each image was taken, as its time stamp alone says it."""
    return {image["id"]: moment(image.get("timestamp"), None) for image in images}


def _results(found: dict[int, Cells]) -> Iterator[Result]:
    for number, cells in found.items():
        for score, rle in cells:
            common = {"image_id": number, "category_id": CELL["id"], "segmentation": rle, "bbox": box_xywh(rle)}
            yield Result(**common, score=round(score, 5))  # type: ignore[typeddict-item]


class Missing(NamedTuple):
    """A cell that should be in a frame: the mask of its nearer neighbour in time, moved there, and its score."""

    crop: Placed
    score: float


class Seen(NamedTuple):
    """The cells of a time-lapse that count, numbered over all frames, and how they are linked."""

    crops: list[Placed]
    scores: list[float]
    frame: Ints
    first: Ints  # number of each frame's first cell
    followed: Followed


def mended_frames(
    lapse: Timelapse, frames: Sequence[Cells], least: float, params: LinkParams, done: Counter[str]
) -> Iterator[Cells]:
    """Each frame's cells, best first as they are given; `done` counts what becomes of those that were missing."""
    size = lapse.images[0]["height"], lapse.images[0]["width"]
    shown = dict(zip(lapse.frames, range(len(frames)), strict=True))
    crops: list[list[Placed]] = [[]] * (lapse.frames[-1] + 1)
    for number, cells in zip(lapse.frames, frames, strict=True):
        crops[number] = instances([cell for cell in cells if cell[0] >= least], *size).crops
    places = [np.array([centre(crop) for crop in own]).reshape(-1, 2) for own in crops]
    areas = [np.array([crop[0].sum() for crop in own], np.float64) for own in crops]
    scores = [score for number in shown for score, _ in frames[shown[number]] if score >= least]
    first = np.cumsum([0, *map(len, crops)])
    frame_of = np.repeat(np.arange(len(crops)), [len(own) for own in crops])
    seen = Seen([crop for own in crops for crop in own], scores, frame_of, first, follow(places, areas, params))
    gone = missing(seen)
    for number, at in shown.items():
        yield (
            MendedFrame(frames[at], seen, number, size).mended(gone[number], done) if gone[number] else list(frames[at])
        )


def centre(crop: Placed) -> tuple[float, float]:
    mask, x, y = crop
    rows, columns = np.nonzero(mask)
    return float(columns.mean()) + x, float(rows.mean()) + y


def missing(seen: Seen) -> dict[int, list[Missing]]:
    """By frame the cells that a link passes over."""
    found: dict[int, list[Missing]] = defaultdict(list)
    steady = np.concatenate(seen.followed.steady)
    links = seen.followed.links
    for a, b in zip(links.before.tolist(), links.after.tolist(), strict=True):
        start, end = int(seen.frame[a]), int(seen.frame[b])
        for number in range(start + 1, end):
            part = (number - start) / (end - start)
            place = (1 - part) * steady[a] + part * steady[b] + seen.followed.drift[number]
            mask, x, y = seen.crops[a if part <= 0.5 else b]
            right, down = np.rint(place - centre((mask, x, y))).astype(int).tolist()
            found[number].append(Missing((mask, x + right, y + down), min(seen.scores[a], seen.scores[b])))
    return found


class MendedFrame:
    """A frame that is mended: its cells, and which of those that count is seen at each pixel, from 1 on."""

    def __init__(self, cells: Cells, seen: Seen, number: int, size: tuple[int, int]) -> None:
        self.cells, self.seen, self.size = list(cells), seen, size
        self.start = int(seen.first[number])
        self.crops = instances(cells, *size).crops
        count = int(seen.first[number + 1]) - self.start
        self.labels = instances(cells[:count], *size).label_image()
        self.count = count  # of the cells that count; the others follow

    def mended(self, gone: Sequence[Missing], done: Counter[str]) -> Cells:
        for one in gone:
            mask = self.placed(one.crop)
            if not mask.any():
                continue
            how = self.raised(one, mask) or self.parted(one, mask) or self.put_in(one, mask)
            done[how] += 1
        return self.cells

    def placed(self, crop: Placed) -> Mask:
        """The mask in the image, what lies outside cut off."""
        mask, x, y = crop
        whole = np.zeros(self.size, bool)
        height, width = self.size
        top, left = max(0, y), max(0, x)
        part = mask[top - y : max(0, height - y), left - x : max(0, width - x)]
        whole[top : top + part.shape[0], left : left + part.shape[1]] = part
        return whole

    def raised(self, one: Missing, mask: Mask) -> str:
        """Give a cell of too low a score that of its neighbours in time."""
        height, width = one.crop[0].shape
        for index in range(self.count, len(self.crops)):
            found, x, y = self.crops[index]
            right, down = x - one.crop[1], y - one.crop[2]
            if not (-found.shape[1] < right < width and -found.shape[0] < down < height):
                continue  # their boxes lie apart
            other = self.placed((found, x, y))
            shared = int((mask & other).sum())
            if shared > MOST * (mask | other).sum() and self.cells[index][0] < one.score:
                self.cells[index] = (one.score, self.cells[index][1])
                self.labels[other & (self.labels == 0)] = index + 1
                return "raised"
        return ""

    def parted(self, one: Missing, mask: Mask) -> str:
        """Part the cell that covers this one and has another of its own before or behind it."""
        from scipy.ndimage import distance_transform_edt

        numbers, counts = np.unique(self.labels[mask], return_counts=True)
        number = int(numbers[counts.argmax()])
        if not 0 < number <= self.count or counts.max() <= MOST * mask.sum():
            return ""
        links, cell = self.seen.followed.links, self.start + number - 1
        others = [*links.before[links.after == cell].tolist(), *links.after[links.before == cell].tolist()]
        if not others:
            return ""
        other = self.placed(self.moved(others[0], cell))
        both = self.placed(self.crops[number - 1])
        nearer = distance_transform_edt(~mask) - distance_transform_edt(mask) < (
            distance_transform_edt(~other) - distance_transform_edt(other)
        )
        own, rest = both & nearer, both & ~nearer
        if own.sum() <= MOST * mask.sum() or rest.sum() <= MOST * other.sum() or not other.any():
            return ""
        score = self.cells[number - 1][0]
        self.cells[number - 1] = (score, self.rle(rest))
        self.crops[number - 1] = (rest, 0, 0)
        self.add(own, score)
        return "parted"

    def moved(self, other: int, cell: int) -> Placed:
        """The mask of another frame's cell, taken along with the stage."""
        mask, x, y = self.seen.crops[other]
        drift = self.seen.followed.drift
        step = drift[self.seen.frame[cell]] - drift[self.seen.frame[other]]
        right, down = np.rint(step).astype(int).tolist()
        return mask, x + right, y + down

    def put_in(self, one: Missing, mask: Mask) -> str:
        free = mask & (self.labels == 0)
        if free.sum() <= MOST * mask.sum():
            return "covered"
        self.add(free, one.score)
        return "put in"

    def add(self, mask: Mask, score: float) -> None:
        self.cells.append((score, self.rle(mask)))
        self.labels[mask] = len(self.cells)

    def rle(self, mask: NDArray[np.bool_]) -> Rle:
        return rles_from_crops([(mask, 0, 0)], *self.size)[0]
