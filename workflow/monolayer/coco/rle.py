"""Truth and results in and out (COCO JSON, RLE masks), and the forms a mask takes: polygon, RLE, crop, label image.

Format: https://cocodataset.org/#format-data and #format-results. Boxes are xywh in files and xyxy in memory.
"""

from __future__ import annotations

import errno
import gzip
import itertools
import json
import os
import re
import shutil
import zlib
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any, Literal, NotRequired, TypedDict, cast

import numpy as np
from numpy.typing import NDArray
from pycocotools import mask as rle_codec

Mask = NDArray[np.bool_]

CHUNK = 1 << 20  # characters read at a time
BLANK = re.compile(r"\s*")


class InputError(ValueError):
    """Input that can't be used; the text names the thing, the value and the cure."""


class Rle(TypedDict):
    """A mask as COCO's compressed run lengths: size is [height, width], runs go down the columns."""

    size: list[int]
    counts: str


class Image(TypedDict):
    """One frame. `well` (well, field or region) is never split; `split` is null unless the source fixes it.

    content is a hash of the pixels: two images with the same are one picture.
    """

    id: int
    file_name: str
    width: int
    height: int
    cell_line: str
    well: str
    timestamp: str | None
    split: str | None
    content: NotRequired[str]


class Annotation(TypedDict):
    """One true cell; bbox is xywh in px, area in px²."""

    id: int
    image_id: int
    category_id: int
    segmentation: Rle
    bbox: list[float]
    area: float
    iscrowd: int


class Category(TypedDict):
    id: int
    name: str


class Finding(TypedDict):
    """Something wrong with a dataset: what it means (and what was done), how often, up to 20 examples."""

    kind: str
    severity: Literal["stop", "warn"]
    meaning: str
    count: int
    examples: list[str]


class Truth(TypedDict):
    """findings is what `download` saw and `audit` hands on."""

    images: list[Image]
    annotations: list[Annotation]
    categories: list[Category]
    findings: NotRequired[list[Finding]]


class Result(TypedDict):
    """One predicted cell. `bbox` (xywh) is the detector's box, which may differ from the mask's extent."""

    image_id: int
    category_id: int
    segmentation: Rle
    bbox: list[float]
    score: float
    mask_score: NotRequired[float]
    file_name: NotRequired[str]


CELL = Category(id=1, name="cell")


# ---- files ---------------------------------------------------------------------------------------


@contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """Give a temporary name beside `path` and rename it once the block has ended well: no half-written file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        yield partial
        partial.replace(path)
    except RuntimeError as error:  # torch's writer does not tell why it could not write
        if shutil.disk_usage(path.parent).free < CHUNK:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path)) from error
        raise
    finally:
        partial.unlink(missing_ok=True)


def write_json(path: Path, data: Any, indent: int | None = None) -> None:
    with whole_file(path) as partial:
        partial.write_text(json.dumps(data, indent=indent, ensure_ascii=False, allow_nan=False) + "\n")


def read_truth(path: Path) -> Truth:
    """Read truth that this pipeline wrote."""
    try:
        return cast(Truth, json.loads(path.read_text()))
    except (OSError, json.JSONDecodeError) as error:
        raise InputError(f"{path} is not readable as COCO truth ({error}); make it again") from error


def write_results(path: Path, results: Iterable[Result]) -> int:
    """Stream results to JSON, gzipped if so named, one a line, the same bytes every time; return their number."""
    count = 0
    # level 6: a tenth larger than 9 and five times as fast; no name and no date inside
    with (
        whole_file(path) as partial,
        partial.open("wb") as raw,
        gzip.GzipFile(filename="", mode="wb", fileobj=raw, mtime=0, compresslevel=6)
        if path.suffix == ".gz"
        else nullcontext(raw) as file,
    ):
        file.write(b"[")
        for count, result in enumerate(results, start=1):
            file.write(b"\n" if count == 1 else b",\n")
            file.write(json.dumps(result, allow_nan=False, separators=(",", ":")).encode())
        file.write(b"\n]\n")
    return count


def read_results(path: Path) -> list[Result]:
    """Read COCO results, gzipped or plain."""
    return list(cast(Iterator[Result], stream(path)))


def stream(path: Path) -> Iterator[dict[str, Any]]:
    """The records of a JSON array, gzipped or plain, one at a time: memory does not grow with the file."""
    number, text, at, size = 0, "", 0, CHUNK
    decode, awaited = json.JSONDecoder().raw_decode, "["
    try:
        with path.open("rb") as probe:
            packed = probe.read(2) == b"\x1f\x8b"
        with gzip.open(path, "rt", encoding="utf-8") if packed else path.open(encoding="utf-8") as file:
            while True:
                at = cast(re.Match[str], BLANK.match(text, at)).end()
                if at == len(text):
                    text, at = file.read(CHUNK), 0
                    if not text:
                        raise EOFError(f"it ends after record {number}")
                elif awaited == "record":
                    try:
                        record, at = decode(text, at)
                    except json.JSONDecodeError:
                        more = file.read(size)
                        if not more:
                            raise
                        text, at, size = text[at:] + more, 0, 2 * size
                        continue
                    number, size, awaited = number + 1, CHUNK, ",]"
                    yield record
                elif text[at] == "]" and (awaited == ",]" or (number == 0 and awaited == "first")):
                    return
                elif awaited == "first":
                    awaited = "record"
                elif text[at] in awaited:
                    awaited, at = "first" if text[at] == "[" else "record", at + 1
                else:
                    raise ValueError(f"{text[at]!r} stands after record {number} where {awaited!r} is expected")
    except (OSError, EOFError, zlib.error, ValueError) as error:
        raise InputError(f"{path} is not readable as COCO results ({error}); make it again") from error


# ---- masks ---------------------------------------------------------------------------------------


def rle_from_crop(crop: Mask, x: int, y: int, height: int, width: int) -> Rle:
    """RLE of a mask of which only a box is at hand: bool (h, w), its upper left pixel at (x, y) of the image.

    Works on the crop's runs alone, so that its cost does not grow with the image.
    """
    h, w = crop.shape
    if x < 0 or y < 0 or x + w > width or y + h > height:
        raise InputError(f"a mask of {w}x{h} px at ({x}, {y}) leaves its image of {width}x{height} px")
    padded = np.zeros((w, h + 1), np.int8)  # columns as rows; the spare cell ends the last run of each
    padded[:, :h] = crop.T
    steps = np.diff(padded.ravel(), prepend=np.int8(0))
    starts, ends = np.flatnonzero(steps == 1), np.flatnonzero(steps == -1)
    starts = (starts // (h + 1) + x) * height + starts % (h + 1) + y
    ends = (ends // (h + 1) + x) * height + ends % (h + 1) + y
    if h == height and len(starts):  # a run may go on over the foot of a column
        joined = starts[1:] == ends[:-1]
        starts, ends = starts[np.r_[True, ~joined]], ends[np.r_[~joined, True]]
    edges = np.empty(2 * len(starts) + 2, np.int64)
    edges[0], edges[-1] = 0, height * width
    edges[1:-1:2], edges[2:-1:2] = starts, ends
    counts = np.diff(edges)
    if counts[-1] == 0:  # as pycocotools: no empty last run
        counts = counts[:-1]
    rle = rle_codec.frPyObjects({"size": [height, width], "counts": counts.tolist()}, height, width)
    return Rle(size=[height, width], counts=rle["counts"].decode())


def crop_from_rle(rle: Rle) -> tuple[Mask, int, int]:
    """The mask cut to its box, bool (h, w), and the box's upper left corner (x, y); (0, 0) px for an empty mask.

    Fills the box's columns from the runs: pycocotools decodes the whole image for each cell, ten times as long.
    """
    x, y, w, h = (int(v) for v in rle_codec.toBbox(cast(Any, rle)))
    height = rle["size"][0]
    edges = run_edges(rle["counts"]) - x * height
    steps = np.zeros(max(w * height, int(edges[-1])) + 1, np.int8)
    np.add.at(steps, edges[0:-1:2], 1)  # an edge may come twice: runs of no pixels are allowed
    np.subtract.at(steps, edges[1::2], 1)
    columns = np.cumsum(steps[: w * height], dtype=np.int8).reshape(w, height)
    return columns[:, y : y + h].T.astype(bool), x, y


def run_edges(counts: str) -> NDArray[np.int64]:
    """Where background and mask alternate, in px down the columns, from COCO's compressed counts.

    A count is its groups of 5 bits, lowest first, the last with its sign in bit 4 and the others with bit 5 set;
    from the fourth on it is the difference from the last but one.
    """
    chars = np.frombuffer(counts.encode(), np.uint8).astype(np.int64) - 48
    last = np.flatnonzero(chars & 32 == 0)
    first = np.r_[0, last[:-1] + 1]
    place = np.arange(len(chars)) - np.repeat(first, last - first + 1)
    numbers = np.add.reduceat((chars & 31) << 5 * place, first)
    numbers[chars[last] & 16 > 0] -= 1 << 5 * (place[last] + 1)[chars[last] & 16 > 0]
    numbers[1::2] = np.cumsum(numbers[1::2])
    numbers[2::2] = np.cumsum(numbers[2::2])
    return np.cumsum(numbers)


def rle_from_mask(mask: Mask) -> Rle:
    """RLE of a bool (H, W) mask."""
    rle = rle_codec.encode(np.asfortranarray(mask, dtype=np.uint8))
    return Rle(size=[mask.shape[0], mask.shape[1]], counts=rle["counts"].decode())


def rle_from_polygons(polygons: list[list[float]], height: int, width: int) -> Rle:
    """RLE of the union of polygons [x0, y0, x1, y1, ...], rasterised as COCO does."""
    rle = rle_codec.merge(rle_codec.frPyObjects(polygons, height, width))
    return Rle(size=[height, width], counts=rle["counts"].decode())


def mask_from_rle(rle: Rle) -> Mask:
    return np.asarray(rle_codec.decode(cast(Any, rle)), dtype=np.bool_)


def area(rle: Rle) -> int:
    return int(rle_codec.area(cast(Any, rle)))


def box_xywh(rle: Rle) -> list[float]:
    return [float(v) for v in rle_codec.toBbox(cast(Any, rle))]


def label_image(rles: Iterable[Rle], height: int, width: int) -> NDArray[np.int32]:
    """int32 (H, W), 0 is background, the n-th mask is n; where masks overlap the smaller one is seen."""
    return paint([crop_from_rle(rle) for rle in rles], height, width)


def paint(crops: Sequence[tuple[Mask, int, int]], height: int, width: int) -> NDArray[np.int32]:
    """As `label_image`, of masks cut to their boxes: bool (h, w) and the box's upper left corner (x, y)."""
    labels = np.zeros((height, width), np.int32)
    for index in sorted(range(len(crops)), key=lambda i: -int(crops[i][0].sum())):
        crop, x, y = crops[index]
        labels[y : y + crop.shape[0], x : x + crop.shape[1]][crop] = index + 1
    return labels


def rles_from_labels(labels: NDArray[Any]) -> list[Rle]:
    """One RLE for each value > 0 of a label image (H, W), in the order of the values.

    All runs are found and compressed at once: thousands of cells cost little more than one.
    """
    height, width = labels.shape
    flat = labels.ravel(order="F")
    bounds = np.r_[0, np.flatnonzero(flat[1:] != flat[:-1]) + 1, flat.size]
    values = flat[bounds[:-1]]
    runs = np.flatnonzero(values > 0)
    runs = runs[np.argsort(values[runs], kind="stable")]
    if not len(runs):
        return []
    starts, stops, values = bounds[runs], bounds[runs + 1], values[runs]
    first = np.r_[True, values[1:] != values[:-1]]
    last = np.r_[first[1:], True]
    counts = np.empty((len(runs), 3), np.int64)  # background before the run, the run, background after the last one
    counts[:, 0] = starts - np.where(first, 0, np.r_[0, stops[:-1]])
    counts[:, 1] = stops - starts
    counts[:, 2] = flat.size - stops
    wanted = np.ones(counts.shape, np.bool_)
    wanted[:, 2] = last & (counts[:, 2] > 0)  # as pycocotools: no empty last run
    ends = np.cumsum(wanted.sum(1))[last]
    texts = _compressed(counts[wanted], np.r_[0, ends[:-1]])
    return [Rle(size=[height, width], counts=text) for text in texts]


def _compressed(counts: NDArray[np.int64], first: NDArray[np.int64]) -> list[str]:
    """COCO's text for several lists of run lengths, one after the other; `first` is where each begins.

    The inverse of `_run_edges`: 5 bits a byte, the sixth says that more follow, the last byte's fifth is the sign.
    """
    place = np.arange(len(counts)) - np.repeat(first, np.diff(np.r_[first, len(counts)]))
    values = counts.copy()
    values[2:] -= np.where(place[2:] > 2, counts[:-2], 0)
    size = np.ones(len(values), np.int64)  # bytes
    for more in range(1, 7):
        size += (values >= 1 << (5 * more - 1)) | (values < -(1 << (5 * more - 1)))
    begin = np.cumsum(size) - size
    number = np.arange(size.sum()) - np.repeat(begin, size)
    bits = np.repeat(values, size) >> (5 * number) & 31
    text = (bits + np.where(number + 1 < np.repeat(size, size), 32, 0) + 48).astype(np.uint8).tobytes().decode()
    bounds = [*begin[first].tolist(), len(text)]
    return [text[start:stop] for start, stop in itertools.pairwise(bounds)]
