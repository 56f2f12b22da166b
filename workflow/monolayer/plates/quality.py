"""What can be said of an image without truth: numbers of each, and words for what lies outside the limits."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from monolayer.backends.manifest import CellDiameters
from monolayer.coco.instances import Instances
from monolayer.compiled import Floats
from monolayer.params.plates import QualityLimits

BLOCKS = 8  # along each side
SCALES = (1, 2, 8)  # px


def measures(pixels: NDArray[Any], areas: Floats) -> dict[str, float]:
    """Sharpness, evenness of light and saturation of an image (H, W) in its own grey values; the size of its cells."""
    values = _ranged(pixels)
    low, middle, high = np.percentile(_block_medians(values), (5, 50, 95))
    return {
        "sharpness": _sharpness(values),
        "light_range": float((high - low) / middle) if middle > 0 else math.nan,
        "saturated": float((pixels == pixels.max()).mean()),
        "median_diameter_px": float(2 * np.sqrt(np.median(areas) / math.pi)) if len(areas) else math.nan,
    }


def _ranged(pixels: NDArray[Any]) -> NDArray[np.float32]:
    """Grey values as float32; floats over a power of two, so that none of any size overflows: ratios stay the same."""
    if pixels.dtype.kind != "f":
        return pixels.astype(np.float32)
    _, exponent = np.frexp(np.abs(pixels).max())
    return np.asarray(np.ldexp(pixels, -exponent), np.float32)


def certainty(kept: Instances, found: Instances) -> dict[str, float]:
    """How sure the network is of the cells of an image that are kept, and whether views of it lead to the same.

    `doubt` is 1 less the mean score, by area, of all that it found, cells of too low a score too: an image whose cells
    it misses has those beside a few good ones.
    """
    areas = [int(mask.sum()) for mask in found.masks]
    return {
        "mean_score": float(kept.ranking.mean(dtype=np.float64)) if len(kept.ranking) else math.nan,
        "doubt": 1 - float(np.average(found.ranking, weights=areas)) if any(areas) else math.nan,
        "disagreement": getattr(found, "disagreement", math.nan),
    }


def _sharpness(values: NDArray[np.float32]) -> float:
    """Variance of what is 1 to 2 px fine over that of 2 to 8 px: the camera's noise, finer yet, counts little."""
    fine, middle, coarse = (cv2.GaussianBlur(values, (0, 0), sigma) for sigma in SCALES)
    whole = float((middle - coarse).var(dtype=np.float64))
    return float((fine - middle).var(dtype=np.float64)) / whole if whole else 0.0


def _block_medians(values: NDArray[np.float32]) -> Floats:
    rows = np.array_split(values, min(BLOCKS, len(values)))
    return np.array([np.median(part) for row in rows for part in np.array_split(row, min(BLOCKS, row.shape[1]), 1)])


def usual_sharpness(values: Iterable[float]) -> float:
    """What focus is judged by: the median over a plate's images."""
    return float(np.median(np.fromiter(values, np.float64)))


def flags(
    image: Mapping[str, Any], usual: float, limits: QualityLimits, known: CellDiameters | None, factor: float
) -> str:
    """The words of an image; `usual` is the plate's sharpness.

    `factor` is how much larger the network sees the cells than the images have them.
    """
    size = image["median_diameter_px"]
    size = math.nan if size is None else size * factor
    light = math.nan if image["light_range"] is None else image["light_range"]
    found = {
        "empty": image["cells"] == 0,
        "out_of_focus": image["sharpness"] < limits.focus * usual,
        "uneven_light": light > limits.light,
        "saturated": image["saturated"] > limits.saturated,
        "not_stored": image["not_stored"] > 0,
        "dense": image["confluence"] > limits.confluence,
        "other_size": known is not None and (size < known.low or size > known.high),
        "unlike": image["distance"] > limits.distance or image.get("beyond", False),
        "low_f1": image["expected_f1"] < limits.expected_f1,
    }
    return " ".join(word for word, holds in found.items() if holds)
