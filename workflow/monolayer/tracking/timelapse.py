"""The time-lapses among images: those of one well and field in the order of time, each with the number of its frame."""

from __future__ import annotations

import logging
import math
import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import PurePosixPath
from typing import NamedTuple

import numpy as np

from monolayer.coco.records import Image
from monolayer.compiled import Floats, Ints
from monolayer.files import InputError, few

logger = logging.getLogger(__name__)
SHOWN = 5  # images that a warning names
DIGITS = 5  # decimals of a time between two images: of two times of six, the differences of equal ones are not equal


class Timelapse(NamedTuple):
    """Images of one well and field; where one is missing, the number of a frame is too."""

    name: str  # of its files
    cell_line: str
    well: str
    images: list[Image]
    frames: list[int]  # of the images, from 0 on
    times: list[float]
    time_unit: str  # h, or frame where hours are not known


Moments = Mapping[int, tuple[float, float]]  # of each image: hours and number of the frame, NaN where not known


def timelapses(images: Sequence[Image], moments: Moments) -> list[Timelapse]:
    """All time-lapses of two frames or more; images without a time, or alone, belong to none."""
    by_well: dict[tuple[str, str, str], list[Image]] = defaultdict(list)
    timed = [image for image in images if not all(map(math.isnan, moments[image["id"]]))]
    for image, name in zip(timed, field_names(timed), strict=True):
        by_well[*_culture(image), name].append(image)
    found = [lapse for key, group in by_well.items() if (lapse := _in_order(key, group, moments))]
    names = [lapse.name for lapse in found]
    if twice := next((name for name in names if names.count(name) > 1), None):
        raise InputError(
            f"two wells have file names that begin with {twice}; give them names of their own, or a `well` each"
        )
    used = {image["id"] for lapse in found for image in lapse.images}
    left = [image["file_name"] for image in images if image["id"] not in used]
    logger.info("%d time-lapses of %d images", len(found), len(used))
    if left and found:
        logger.warning("%d images belong to no time-lapse, and have no tracks: %s", len(left), few(left, SHOWN))
    return found


def field_names(images: Sequence[Image]) -> list[str]:
    """Each image's file name without its time stamp: what all images of one field have in common.

    Where the stamp's text stands in a name more than once, as that of exp_t1_spot1, the place is the one that joins the
    image to most others of its culture: what is left of a name that is cut elsewhere still holds the time.

    >>> image = {"cell_line": "", "well": ""}
    >>> field_names([{**image, "file_name": f"exp_t{n}_spot1.png", "timestamp": f"t{n}"} for n in (1, 2)])
    ['exp_spot1', 'exp_spot1']
    """
    possible = [_cut(image) for image in images]
    times: dict[tuple[str, str, str], set[str]] = defaultdict(set)
    for image, names in zip(images, possible, strict=True):
        for name in names:
            times[*_culture(image), name].add(image.get("timestamp") or "")
    return [
        max(names, key=lambda name: len(times[*_culture(image), name]))
        for image, names in zip(images, possible, strict=True)
    ]


def _culture(image: Image) -> tuple[str, str]:
    return image.get("cell_line") or "", image.get("well") or ""


def _cut(image: Image) -> list[str]:
    """An image's file name without its time stamp, cut at each place where that stands, the last first."""
    stem, stamp = PurePosixPath(image["file_name"]).stem, image.get("timestamp") or ""
    places = [place for place in range(len(stem)) if stem.startswith(stamp, place)] if stamp else []
    cut = [stem[:place].rstrip("_-. ") + stem[place + len(stamp) :] for place in reversed(places)]
    return [re.sub(r"[^\w.-]", "_", name) or "field" for name in cut or ["_".join(_culture(image))]]


def _in_order(key: tuple[str, str, str], images: list[Image], moments: Moments) -> Timelapse | None:
    line, well, name = key
    both = np.array([moments[image["id"]] for image in images])
    unit = "frame" if np.isnan(both[:, 0]).any() else "h"
    time = both[:, 1 if unit == "frame" else 0]
    if np.isnan(time).any():
        raise InputError(f"{name} has time stamps of two kinds, hours and frames; say all its times in one way")
    # a file that is listed twice, with two annotators' cells, is one frame
    times, first = np.unique(time, return_index=True)
    if len(times) < len(images):
        logger.warning("%s: %d images of a time that another has are left out", name, len(images) - len(times))
    if len(times) < 2:
        return None
    chosen = [images[index] for index in first]
    sizes = {(image["height"], image["width"]) for image in chosen}
    if len(sizes) > 1:
        raise InputError(f"the images of {name} are of {len(sizes)} sizes, {sorted(sizes)}; a time-lapse has one")
    return Timelapse(name, line, well, chosen, numbered(times).tolist(), times.tolist(), unit)


def numbered(times: Floats) -> Ints:
    """Numbers of frames from 0 on, of rising times: the commonest interval is one frame, and longer ones are more."""
    steps = np.diff(times)
    values, counts = np.unique(np.round(steps, DIGITS), return_counts=True)
    usual = values[counts.argmax()]  # the shortest of the commonest
    return np.asarray(np.r_[0, np.cumsum(np.maximum(1, np.round(steps / usual)))], np.int64)
