"""Frames of one field, minutes or hours or a nudge of the stage apart: near-copies, which no split may part.

Two images of a cell line and size are compared by the highest normalised cross-correlation of their high-passed
thumbnails over all shifts. Brightness and uneven light drop out; cells that crawl or divide lower it, strangers stay
near 0. On 417 frames of a real collection, frames of one field reached 0.195 to 0.9 and strangers 0.091 at most
(docs/data.md).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import groupby
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy import fft
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from monolayer.coco.records import Image
from monolayer.data.dataset import read_image
from monolayer.progress import track

Float = NDArray[np.float32]
Complex = NDArray[np.complex64]

COARSE, COARSE_BLUR = 176, 2.0  # px: longer side and blur of the thumbnails that choose the pairs worth a closer look
CANDIDATE = 0.57  # of the wanted correlation, with which a coarse pair is looked at closely
FINE, FINE_BLUR = 352, 4.0  # px: of the thumbnails whose correlation counts
DISTINCT = (
    3.0  # times the second peak, at least AWAY px from the first (frames of one field: 7.3 and more; strangers: 2.6)
)
AWAY = 24
LEAST_OVERLAP = 0.3  # of the frame, that a shift must leave in common
BATCH = 128  # pairs of one transform
BLOCK = 16  # images of either side of the pairs looked at closely, whose detail is held at a time


class Pair(NamedTuple):
    """Two images, by their places in the list, that show one field."""

    first: int
    second: int
    correlation: float


def near_copies(images: Sequence[Image], folder: Path, least: float, workers: int = 1) -> list[Pair]:
    """The pairs whose correlation is `least` (in (0, 1)) or more, in the order of `images`; unreadable files are
    not to be among them.

    Takes 90 kB an image of the largest cell line and 200 MB besides, and time with the square of its images.
    """
    alike: dict[tuple[str, int, int], list[int]] = defaultdict(list)
    for index, image in enumerate(images):
        alike[image["cell_line"], image["height"], image["width"]].append(index)
    found = []
    for members in alike.values():
        paths = [folder / images[index]["file_name"] for index in members]
        pairs = list(_candidates(paths, CANDIDATE * least, workers))
        for i, j, peak, second in track(_looked_at(paths, pairs, workers), len(pairs), "look closely"):
            if peak >= max(least, DISTINCT * second):
                found.append(Pair(members[i], members[j], round(peak, 4)))
    return sorted(found)


def together(pairs: Iterable[Pair]) -> list[list[Pair]]:
    """Pairs by field: those that share an image, directly or over others."""
    every = sorted(pairs)
    count = 1 + max((pair.second for pair in every), default=-1)
    linked = coo_array((np.ones(len(every)), ([p.first for p in every], [p.second for p in every])), (count, count))
    field = connected_components(linked, directed=False)[1] if every else []
    found: dict[int, list[Pair]] = defaultdict(list)
    for pair in every:
        found[field[pair.first]].append(pair)
    return list(found.values())


def _candidates(paths: Sequence[Path], least: float, workers: int) -> Iterator[tuple[int, int]]:
    """Pairs whose coarse thumbnails, faded out at the edges and taken as periodic, correlate by `least` or more."""
    if len(paths) < 2:
        return
    first = _thumbnail(paths[0], COARSE, COARSE_BLUR)
    window = np.sqrt(np.outer(np.hanning(first.shape[0] + 2)[1:-1], np.hanning(first.shape[1] + 2)[1:-1]))
    spectra: Complex = np.empty((len(paths), first.shape[0], first.shape[1] // 2 + 1), np.complex64)
    for index, path in enumerate(track(paths, len(paths), "thumbnails")):
        faded = _thumbnail(path, COARSE, COARSE_BLUR) * window.astype(np.float32)
        spectra[index] = fft.rfft2(faded / max(float(np.linalg.norm(faded)), 1e-6))
    for i in track(range(len(paths) - 1), len(paths) - 1, "compare images"):
        for start in range(i + 1, len(paths), BATCH):
            products = spectra[i].conj() * spectra[start : start + BATCH]
            peaks = fft.irfft2(products, first.shape, overwrite_x=True, workers=workers).max(axis=(1, 2))
            yield from ((i, start + int(k)) for k in np.flatnonzero(peaks >= least))


def _thumbnail(path: Path, side: int, blur: float) -> Float:
    """The high-passed image in units of its own contrast, its longer side `side` px or what it is; all 0 if blank."""
    image = read_image(path).astype(np.float32)
    gain = min(1.0, side / max(image.shape))
    small = cv2.resize(image, None, fx=gain, fy=gain, interpolation=cv2.INTER_AREA)
    detail = small - cv2.GaussianBlur(small, (0, 0), blur)
    return np.asarray(np.clip(detail / max(float(detail.std()), 1e-6), -3, 3), np.float32)  # a bright speck is no field


class Detail(NamedTuple):
    """What the correlation of a thumbnail with any other needs; the sums are 0 where too little is in common."""

    spectrum: Complex
    before: (
        Float  # 1 / root of the sum of its squares within the common part, by shift, where it stands first in a pair
    )
    after: Float  # and where second


def _looked_at(
    paths: Sequence[Path], pairs: Sequence[tuple[int, int]], workers: int
) -> Iterator[tuple[int, int, float, float]]:
    """Pairs, block by block, with the highest normalised cross-correlation of their thumbnails over all shifts that
    leave enough in common (Padfield 2012, doi:10.1109/TIP.2011.2181402, without the means, which the high-pass took),
    and the highest of those away from it: where one cell of a sparse frame lies on any other, many shifts correlate
    alike."""

    def tile(pair: tuple[int, int]) -> tuple[int, int]:
        return pair[0] // BLOCK, pair[1] // BLOCK

    details: dict[int, Detail] = {}
    with ThreadPoolExecutor(workers) as pool:
        for _, members in groupby(sorted(pairs, key=lambda pair: (tile(pair), pair)), tile):
            block = list(members)
            needed = sorted({k for pair in block for k in pair})
            details = {k: details[k] for k in needed if k in details}
            missing = [k for k in needed if k not in details]
            details.update(zip(missing, pool.map(_detail, (paths[k] for k in missing)), strict=True))
            peaks = pool.map(_peaks, (details[i] for i, _ in block), (details[j] for _, j in block))
            yield from ((*pair, *found) for pair, found in zip(block, peaks, strict=True))


def _detail(path: Path) -> Detail:
    thumbnail = _thumbnail(path, FINE, FINE_BLUR)
    shape = tuple(fft.next_fast_len(2 * side, real=True) for side in thumbnail.shape)
    frame = fft.rfft2(np.ones_like(thumbnail), shape)
    squares = fft.rfft2(thumbnail * thumbnail, shape)
    enough = fft.irfft2(frame * frame.conj(), shape) >= LEAST_OVERLAP * thumbnail.size

    def root(product: Complex) -> Float:
        return np.asarray(np.where(enough, fft.irfft2(product, shape).clip(1e-3) ** -0.5, 0), np.float32)

    return Detail(fft.rfft2(thumbnail, shape), root(squares * frame.conj()), root(frame * squares.conj()))


def _peaks(first: Detail, second: Detail) -> tuple[float, float]:
    correlations = fft.irfft2(first.spectrum * second.spectrum.conj(), first.before.shape)
    correlations *= first.before
    correlations *= second.after
    y, x = np.unravel_index(int(correlations.argmax()), correlations.shape)
    peak = float(correlations[y, x])
    near = (np.arange(-AWAY, AWAY + 1) + place for place in (y, x))
    correlations[np.ix_(*(side % length for side, length in zip(near, correlations.shape, strict=True)))] = 0
    return peak, float(correlations.max())
