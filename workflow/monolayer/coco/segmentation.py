"""A segmentation in any of COCO's forms (polygons, compressed or plain run lengths) as compressed counts.

A mask that can't be read is an InputError; one that is none is noted as a finding. Run lengths are checked for their
form alone: what they add up to is found for many masks at a time (table.py), and told for one here.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, cast

import numpy as np
from pycocotools import mask as rle_codec

from monolayer.coco.findings import Findings
from monolayer.coco.reader import kind_of
from monolayer.coco.rle import rle_from_polygons, run_edges
from monolayer.files import InputError

# Numbers of COCO's compressed counts: 5 bits a character, which is of P-o if more follow and of 0-O if none do.
# 7 characters hold any run of an image. (pycocotools decodes damaged counts beyond the end of its memory.)
COMPRESSED = re.compile("(?:[P-o]{0,6}[0-O])+")
NORMALISED = 8  # px: where an image is larger, polygons between 0 and 1 are not in px

Size = Sequence[int]  # height, width


def ready(segmentation: Any, size: list[int]) -> str | None:
    """Compressed counts where they are given so, which is mostly the case and soon seen; else None."""
    if type(segmentation) is dict and segmentation.get("size") == size:
        counts = segmentation.get("counts")
        return counts if type(counts) is str else None
    return None


def counts_of(segmentation: Any, size: Size, where: str, findings: Findings) -> str | None:
    """The compressed counts, or None (and a finding) where there is no mask to have."""
    if segmentation is None or segmentation == []:
        findings.add("no_mask", f"{where}: no segmentation")
        return None
    if isinstance(segmentation, dict):
        return _from_runs(segmentation, size)
    if not isinstance(segmentation, list):
        raise InputError(
            f"segmentation is {kind_of(segmentation)}, not polygons or RLE; write it as COCO's format does"
        )
    polygons = [part for part in map(_polygon, segmentation) if len(part) >= 6]
    if not polygons:
        findings.add("no_mask", f"{where}: no polygon of three points or more")
        return None
    if not _check_extent(polygons, size, where, findings):
        findings.add("outside_image", where)
        return None
    return rle_from_polygons(polygons, *size)["counts"]


def _polygon(part: Any) -> list[float]:
    if isinstance(part, int | float) and not isinstance(part, bool):
        raise InputError("segmentation is a flat list; it must be a list of polygons, [[x0, y0, x1, y1, ...]]")
    if not isinstance(part, list) or not set(map(type, part)) <= {int, float}:
        raise InputError(f"a polygon is {str(part)[:60]!r}; it must be a list of numbers, [x0, y0, x1, y1, ...]")
    if len(part) % 2:
        raise InputError(f"a polygon has {len(part)} numbers; an x or a y is missing")
    if not all(-1e9 < value < 1e9 for value in part):
        raise InputError("a polygon has coordinates that are NaN or infinite; export it again")
    return part


def _check_extent(polygons: list[list[float]], size: Size, where: str, findings: Findings) -> bool:
    """Note polygons that leave the image; refuse what is so far out that it must be another unit or image.

    False where they can't be in px: they lie between 0 and 1.
    """
    height, width = size
    right, foot = (max(max(polygon[axis::2]) for polygon in polygons) for axis in (0, 1))
    out = max(0.0, -min(map(min, polygons)), right - width, foot - height)
    if out > 2 * max(width, height):  # rasterising takes memory by length
        raise InputError(
            f"a polygon reaches {out:g} px out of its image of {width}x{height} px; "
            "are its coordinates those of another image or size?"
        )
    if out > 1:
        findings.add("clipped", f"{where}: by {out:.1f} px")
    return max(right, foot) > 1 or min(size) <= NORMALISED


def _from_runs(segmentation: dict[str, Any], size: Size) -> str:
    if "counts" not in segmentation:
        raise InputError("it has no counts; COCO's format asks for it")
    given, counts = segmentation.get("size"), segmentation["counts"]
    if given != list(size):
        raise InputError(
            f"its RLE is of size {str(given)[:60]}, the image is {list(size)} (height, width); "
            "encode the mask at native image size"
        )
    if isinstance(counts, str):
        return counts
    if not isinstance(counts, list) or not set(map(type, counts)) <= {int}:
        raise InputError(f"the counts of its RLE are {kind_of(counts)}, not a text or a list of whole numbers")
    pixels = size[0] * size[1]
    _check_sum(np.array([max(-1, min(run, pixels + 1)) for run in counts], np.int64), pixels)
    return str(rle_codec.frPyObjects(cast(Any, {"size": list(size), "counts": counts}), *size)["counts"].decode())


def fault_of(counts: str, size: Size) -> str:
    """What is wrong with compressed counts that don't decode, of an image of this size."""
    try:
        if COMPRESSED.fullmatch(counts):
            _check_sum(np.diff(run_edges(counts), prepend=0), size[0] * size[1])
    except InputError as error:
        return str(error)
    return "the counts of its RLE are no compressed run lengths; encode the mask again"


def _check_sum(runs: Any, pixels: int) -> None:
    if (runs < 0).any() or runs.sum() != pixels:
        raise InputError(
            f"the runs of its RLE add up to {runs.sum()} px, the image has {pixels}; "
            "the counts are damaged, encode the mask again"
        )
