"""Which predicted cell is which true cell: COCO's greedy matching at every IoU threshold and range of areas."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from monolayer.coco.table import CellTable, Images
from monolayer.compiled import Floats, Ints
from monolayer.evaluation import cocoeval
from monolayer.evaluation import pairs as loops
from monolayer.evaluation.cocoeval import IgnoreFlags
from monolayer.evaluation.pairs import Boxes, Pairs, Units
from monolayer.files import InputError

IOUS: Floats = np.linspace(0.5, 0.95, 10)
RECALLS: Floats = np.linspace(0.0, 1.0, 101)
ANY_AREA = (0.0, 1e10)


@dataclass(frozen=True)
class Protocol:
    """The constants of a published evaluation: predictions of an image that count, and edges of cell area in px²."""

    name: str
    max_dets: tuple[int, int, int]
    small_below: int
    large_from: int
    by_category: bool
    source: str

    @property
    def area_ranges(self) -> list[tuple[float, float]]:
        """All, small, medium, large; both ends belong to a range, as in pycocotools."""
        low, high = float(self.small_below), float(self.large_from)
        return [ANY_AREA, (0.0, low), (low, high), (high, ANY_AREA[1])]

    def __str__(self) -> str:
        """The constants in one line."""
        caps, small, large = "/".join(map(str, self.max_dets)), self.small_below, self.large_from
        kind = "the mean over categories" if self.by_category else "all categories as one"
        return (
            f"protocol {self.name} ({self.source}): IoU .50:.05:.95, 101 recalls, {caps} predictions an image, "
            f"area edges {small} and {large} px², {kind}"
        )


PROTOCOLS = {
    "livecell": Protocol(
        name="livecell",
        max_dets=(100, 500, 2000),
        small_below=18**2,
        large_from=31**2,
        by_category=False,
        source="sartorius-research/LIVECell, code/coco_evaluation.py",
    ),
    "coco": Protocol(
        name="coco",
        max_dets=(1, 10, 100),
        small_below=32**2,
        large_from=96**2,
        by_category=True,
        source="pycocotools 2.0.11, cocoeval.py",
    ),
}


@dataclass(frozen=True)
class Matches:
    """All predictions by falling score; of equal score by image, category and place in the file.

    Columns of equal length K. Pycocotools orders them so. AP and AR count those whose rank is below the cap; the better
    ones are matched first, so that their states are the same with and without the others.
    """

    cell: Ints  # index into the predicted cells
    image: Ints
    category: Ints  # 0 … C - 1; one category where the protocol ignores them
    score: Floats
    rank: Ints  # within its image and category, 0 is the best
    state: NDArray[np.uint8]  # (A, T, K), ranking's FALSE, TRUE or IGNORED at each area range and IoU threshold
    partner: NDArray[np.int32]  # (K,) the true cell taken at IoU 0.5 among all areas, or -1
    positives: Ints  # (A, C, I) true cells that count
    cap: int

    @property
    def capped(self) -> Ints:
        """Indices of the images that have more predictions than AP and AR count."""
        return np.unique(self.image[self.rank >= self.cap])

    def counts(self, state: int, area: int, kept: NDArray[np.bool_]) -> Ints:
        """Kept predictions in this state (T, C, I), by IoU threshold, category and image."""
        _, categories, images = self.positives.shape
        unit = self.category * images + self.image
        counts = cocoeval.count_states(self.state[area], unit, kept, state, categories * images)
        return np.asarray(counts).reshape(-1, categories, images)


@dataclass(frozen=True)
class Setting:
    """What matching goes by; a unit is an image, or its cells of one category where the protocol tells them apart."""

    protocol: Protocol
    ranges: list[tuple[float, float]]  # of cell area, all first
    images: int
    categories: Ints  # (C,)
    units: Units  # image by image, category by category
    threads: int


def setting(true: CellTable, pred: CellTable, images: Images, protocol: Protocol, threads: int) -> Setting:
    """Units of these cells and the protocol's area ranges."""
    categories = np.unique(np.r_[true.category, images.categories].astype(np.int64))
    unknown = np.setdiff1d(pred.category, categories)
    if not protocol.by_category:
        categories = np.zeros(1, np.int64)
    elif len(unknown):
        raise InputError(
            f"predictions have the category_id {unknown[0]}, the truth has {', '.join(map(str, categories))}; "
            "number them alike, or take the protocol livecell, which ignores categories"
        )

    def offsets(cells: CellTable) -> Ints:
        place = np.searchsorted(categories, cells.category) if protocol.by_category else 0
        unit = cells.image * len(categories) + place
        return np.searchsorted(unit, np.arange(len(images) * len(categories) + 1)).astype(np.int64)

    return Setting(
        protocol, protocol.area_ranges, len(images), categories, Units(offsets(pred), offsets(true)), threads
    )


def in_threads(work: Callable[[Any], Any], parts: Iterable[Any], threads: int) -> list[Any]:
    """Results of `work` in the order of the parts, whatever the number of threads."""
    with ThreadPoolExecutor(threads) as pool:
        return list(pool.map(work, parts))


def spans(count: int, most: int = 64) -> list[tuple[int, int]]:
    """At most that many spans of about equal length, which cover 0 … count."""
    edges = np.linspace(0, count, min(count, most) + 1).astype(int)
    return [(int(a), int(b)) for a, b in itertools.pairwise(edges)]


def mask_pairs(true: CellTable, pred: CellTable, of: Setting) -> tuple[Pairs, Ints]:
    """All pairs of masks that share a pixel, and the pixels that they share."""
    counts, partner, shared = _joined(lambda span: loops.mask_pairs(pred.masks, true.masks, of.units, *span), of)
    whole = np.repeat(pred.pixels, counts)
    union = np.where(true.crowd[partner], whole, whole + true.pixels[partner] - shared)
    return Pairs(np.r_[0, np.cumsum(counts)], partner, shared / union), shared


def box_pairs(true: CellTable, pred: CellTable, of: Setting) -> Pairs:
    """All pairs of boxes whose IoU reaches the lowest threshold."""
    boxes = Boxes(pred.boxes_xywh, true.boxes_xywh, true.crowd)
    counts, partner, iou = _joined(lambda span: loops.box_pairs(boxes, of.units, span[0], span[1], IOUS[0]), of)
    return Pairs(np.r_[0, np.cumsum(counts)], partner, iou)


def _joined(work: Callable[[Any], Any], of: Setting) -> list[NDArray[Any]]:
    """The columns that `work` gives for spans of the units, one after another."""
    parts = in_threads(work, spans(len(of.units.true) - 1), of.threads)
    return [np.concatenate(column) for column in zip(*parts, strict=True)]


def match(true: CellTable, pairs: Pairs, score: Floats, area: Floats, of: Setting) -> Matches:
    """Match the predicted cells, which have these scores (N,) and areas (N,), at every threshold and area range."""
    unit = np.repeat(np.arange(len(of.units.pred) - 1), np.diff(of.units.pred))
    order = np.lexsort((-score, unit))
    rank = np.arange(len(order)) - of.units.pred[unit]
    unit = unit[order]
    first = of.units.pred
    state = np.zeros((len(of.ranges), len(IOUS), len(order)), np.uint8)
    partner = np.full(len(order), -1, np.int32)
    flags = [
        IgnoreFlags(true.crowd | (true.area < low) | (true.area > high), true.crowd, (area < low) | (area > high))
        for low, high in of.ranges
    ]

    def work(part: tuple[int, tuple[int, int]]) -> None:
        a, (begin, end) = part
        span = slice(first[begin], first[end])
        state[a, :, span], partners = cocoeval.match(order[span], pairs, flags[a], IOUS)
        if a == 0:
            partner[span] = partners[0]

    in_threads(work, [(a, span) for a in range(len(of.ranges)) for span in spans(len(first) - 1)], of.threads)
    true_unit = np.repeat(np.arange(len(of.units.true) - 1), np.diff(of.units.true))
    shape = (of.images, len(of.categories))
    positives = [np.bincount(true_unit[~j.ignored], minlength=len(first) - 1).reshape(shape).T for j in flags]
    image, category = np.divmod(unit, len(of.categories))
    falling = np.argsort(-score[order], kind="stable")
    return Matches(
        cell=order[falling],
        image=image[falling],
        category=category[falling],
        score=score[order][falling],
        rank=rank[falling],
        state=state[:, :, falling],
        partner=partner[falling],
        positives=np.array(positives),
        cap=of.protocol.max_dets[-1],
    )


def match_masks(true: CellTable, pred: CellTable, pairs: Pairs, of: Setting) -> Matches:
    """Matches of masks, whose area is their pixels', ranked by the masks' scores."""
    return match(true, pairs, pred.mask_score, pred.pixels.astype(np.float64), of)


def match_labels(true: NDArray[np.int32], pred: NDArray[np.int32], ious: Floats) -> tuple[int, int, int]:
    """True and false positives and missed cells of two label images, summed over IoU thresholds of at least 0.5.

    The special case of cells that overlap no others of their image: none has two partners, so nothing is ranked.
    U-Nets search their thresholds with it in every epoch, which would take twice as long by run lengths where an
    image of 520x704 px has 1,000 cells (12 ms for 6 ms), and as long where it has 300.

    >>> two, moved = np.array([[1, 1, 0, 2, 2]], np.int32), np.array([[1, 1, 1, 0, 2]], np.int32)
    >>> match_labels(two, moved, np.array([0.5]))  # IoU 2/3 and 1/2, which is not above 0.5
    (1, 1, 1)
    """
    count = int(pred.max()) + 1
    shared = np.bincount(true.ravel().astype(np.int64) * count + pred.ravel())
    touching = np.flatnonzero(shared)
    t, p = np.divmod(touching, count)
    union = np.bincount(true.ravel())[t] + np.bincount(pred.ravel())[p] - shared[touching]
    iou = (shared[touching] / union)[(t > 0) & (p > 0)]
    tp = int((iou[:, None] > ious).sum())
    return tp, len(ious) * (count - 1) - tp, len(ious) * int(true.max()) - tp


def count_pixels(true: CellTable, pred: CellTable, kept: NDArray[np.bool_], images: Images, threads: int) -> Ints:
    """Pixels (I, 4) of each image's foreground: true and predicted, predicted only, true only; and all that count."""
    bounds = np.arange(len(images) + 1)
    pred_of, true_of = np.searchsorted(pred.image, bounds), np.searchsorted(true.image, bounds)
    sizes = np.array([height * width for height, width in images.sizes])
    table = np.c_[pred_of[:-1], pred_of[1:], true_of[:-1], true_of[1:], sizes].astype(np.int64)

    def work(span: tuple[int, int]) -> Ints:
        return np.asarray(loops.count_pixels(pred.masks, true.masks, true.crowd, kept, table[slice(*span)]))

    return np.concatenate(in_threads(work, spans(len(images)), threads))
