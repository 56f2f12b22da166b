"""Cells mended by the frames beside theirs: one that vanishes for some frames, and two that are one until they part.

What vanishes is what a link bridges. There, in this order: a cell that was found with too low a score counts; a cell
that covers two that were and will be is parted between them; else the mask of the nearer frame takes its place.
"""

from __future__ import annotations

import logging
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from itertools import chain
from pathlib import Path
from typing import Any, NamedTuple, cast

import numpy as np
from numpy.typing import NDArray

from monolayer.coco.io import IMAGE, stream, write_results
from monolayer.coco.label_folder import label_records
from monolayer.coco.reader import read
from monolayer.coco.records import Image, Result, Rle
from monolayer.coco.rle import Mask, Placed, box_xywh, rles_from_crops
from monolayer.coco.table import images_of, read_results
from monolayer.compiled import Ints
from monolayer.measurement.growth import first_date, moment
from monolayer.measurement.measure import CellSource, instances
from monolayer.params.steps import LinkParams
from monolayer.tracking.linking import Followed, follow
from monolayer.tracking.timelapse import Moments, Timelapse, timelapses

logger = logging.getLogger(__name__)
MOST = 0.5  # of a mask: so much of what is expected has to be found, covered, left after a parting, or free
SCORES = ("score", "mask_score")
Cells = list[tuple[float, Rle]]  # of an image: score and mask


class FrameCells(NamedTuple):
    """The cells of an image, best first: score and mask, the record of each, and its place in the results' file."""

    cells: Cells
    records: list[dict[str, Any]]
    places: list[int]


def mend(truth: Path, cells: CellSource, params: LinkParams, output: Path) -> Counter[str]:
    """Write these results again, those of time-lapses mended; only cells from the source's score up count as found.

    Every record that is not mended is written as it is. Returns how many cells were raised, parted, put in.
    """
    images, records, found = read_cells(truth, cells)
    changed, added, done = dict[int, dict[str, Any]](), list[dict[str, Any]](), Counter[str]()
    for lapse in timelapses(images, moments(images)):
        own = [found[image["id"]] for image in lapse.images]
        for frame in mended_frames(lapse, own, cells.score_min, params):
            changed |= frame.changed
            added += frame.added
            done += frame.done
    kept = (changed.get(place, record) for place, record in enumerate(records))
    write_results(output, (cast(Result, record) for record in chain(kept, added)))
    logger.info("%d cells raised, %d parted, %d put in", done["raised"], done["parted"], done["put in"])
    return done


def read_cells(truth: Path, cells: CellSource) -> tuple[list[Image], list[dict[str, Any]], dict[int, FrameCells]]:
    """The images of the truth, all records of the results in their order, and by image the cells that have a pixel."""
    assert cells.results is not None
    listed = read(truth, keep=True)
    images = images_of(listed)
    table = read_results(cells.results, images)
    folder = cells.results.is_dir()
    names = images.ids, images.names, images.sizes
    records = list(label_records(cells.results, *names) if folder else stream(cells.results))
    found = {number: FrameCells([], [], []) for number in listed.frames}
    for row in np.lexsort((table.place, -table.mask_score, table.image)).tolist():
        if table.pixels[row]:
            place, image = int(table.place[row]), table.image[row]
            own = found[images.ids[image]]
            own.cells.append((float(table.mask_score[row]), table.rle(row, images.sizes[image])))
            own.records.append(records[place])
            own.places.append(place)
    frames = listed.frames.values()
    return [cast(Image, one.record | {name: getattr(one, name) for name in IMAGE}) for one in frames], records, found


def moments(images: Sequence[Image]) -> Moments:
    """When each image was taken, as its time stamp alone says it."""
    first = first_date(image.get("timestamp") for image in images)
    return {image["id"]: moment(image.get("timestamp"), None, first) for image in images}


class Missing(NamedTuple):
    """A cell that should be in a frame: the mask of its nearer neighbour in time, moved there, and that one's record.

    scores: of both neighbours the lower, as a record has them; rank: what cells are ordered by.
    """

    crop: Placed
    like: dict[str, Any]
    scores: dict[str, float]
    rank: float


class Seen(NamedTuple):
    """The cells of a time-lapse that count, numbered over all frames, and how they are linked."""

    crops: list[Placed]
    ranks: list[float]
    records: list[dict[str, Any]]
    frame: Ints
    first: Ints  # number of each frame's first cell
    followed: Followed


def mended_frames(
    lapse: Timelapse, frames: Sequence[FrameCells], least: float, params: LinkParams
) -> Iterator[MendedFrame]:
    """The frames in which cells were missing."""
    size = lapse.images[0]["height"], lapse.images[0]["width"]
    shown = dict(zip(lapse.frames, range(len(frames)), strict=True))
    crops: list[list[Placed]] = [[]] * (lapse.frames[-1] + 1)
    for number, frame in zip(lapse.frames, frames, strict=True):
        crops[number] = instances([cell for cell in frame.cells if cell[0] >= least], *size).crops
    places = [np.array([centre(crop) for crop in own]).reshape(-1, 2) for own in crops]
    areas = [np.array([crop[0].sum() for crop in own], np.float64) for own in crops]
    first = np.cumsum([0, *map(len, crops)])
    frame_of = np.repeat(np.arange(len(crops)), [len(own) for own in crops])
    counted = [zip(frame.cells, frame.records, strict=True) for frame in frames]
    known = [(cell[0], record) for own in counted for cell, record in own if cell[0] >= least]
    ranks, records = [rank for rank, _ in known], [record for _, record in known]
    every = [crop for own in crops for crop in own]
    seen = Seen(every, ranks, records, frame_of, first, follow(places, areas, params))
    for number, gone in sorted(missing(seen).items()):
        if number in shown:
            at = shown[number]
            mended = MendedFrame(lapse.images[at], frames[at], seen, number)
            mended.mend(gone)
            yield mended


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
            both = [seen.records[cell] for cell in (a, b)]
            scores = {key: min(one[key] for one in both) for key in SCORES if both[0].get(key) is not None}
            rank = min(seen.ranks[a], seen.ranks[b])
            found[number].append(Missing((mask, x + right, y + down), both[part > 0.5], scores, rank))
    return found


class MendedFrame:
    """A frame that is mended: its cells, and which of those that count is seen at each pixel, from 1 on.

    `changed` has what takes the place of records of the results, by their places there, `added` what is new.
    """

    def __init__(self, image: Image, frame: FrameCells, seen: Seen, number: int) -> None:
        self.image, self.seen, self.size = image, seen, (image["height"], image["width"])
        self.ranks, self.records, self.places = [rank for rank, _ in frame.cells], list(frame.records), frame.places
        self.start = int(seen.first[number])
        self.crops = instances(frame.cells, *self.size).crops
        count = int(seen.first[number + 1]) - self.start
        self.labels = instances(frame.cells[:count], *self.size).label_image()
        self.count = count  # of the cells that count; the others follow
        self.changed, self.added, self.done = dict[int, dict[str, Any]](), list[dict[str, Any]](), Counter[str]()

    def mend(self, gone: Sequence[Missing]) -> None:
        for one in gone:
            mask = self.placed(one.crop)
            if mask.any():
                self.done[self.raised(one, mask) or self.parted(one, mask) or self.put_in(one, mask)] += 1

    def change(self, index: int, rank: float, record: dict[str, Any]) -> None:
        """Give a cell that was found this record."""
        self.ranks[index] = rank
        self.records[index] = self.changed[self.places[index]] = record

    def record(self, like: dict[str, Any], mask: NDArray[np.bool_], scores: dict[str, float]) -> dict[str, Any]:
        """The record of a cell of this mask, of the category of another; it names the image as all records do."""
        rle = self.rle(mask)
        own = next(iter(self.records), None)
        if own is None:
            own = {"file_name": self.image["file_name"]} if "file_name" in like else {"image_id": self.image["id"]}
        named = {key: own[key] for key in ("image_id", "file_name") if key in own}
        common = {"category_id": like["category_id"], "segmentation": rle, "bbox": box_xywh(rle)}
        return named | common | scores

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
            if shared > MOST * (mask | other).sum() and self.ranks[index] < one.rank:
                record = self.records[index]
                self.change(index, one.rank, record | {key: max(record[key], one.scores[key]) for key in one.scores})
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
        rank, record = self.ranks[number - 1], self.records[number - 1]
        scores = {key: record[key] for key in SCORES if key in record}
        self.change(number - 1, rank, self.record(record, rest, scores))
        self.crops[number - 1] = (rest, 0, 0)
        self.add(own, rank, self.record(record, own, scores))
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
        self.add(free, one.rank, self.record(one.like, free, one.scores))
        return "put in"

    def add(self, mask: Mask, rank: float, record: dict[str, Any]) -> None:
        self.ranks.append(rank)
        self.added.append(record)
        self.labels[mask] = len(self.ranks)

    def rle(self, mask: NDArray[np.bool_]) -> Rle:
        return rles_from_crops([(mask, 0, 0)], *self.size)[0]
