"""Grey values of any depth as the 8 bits that networks see."""

from __future__ import annotations

import hashlib
from typing import Any

import numpy as np
from numpy.typing import NDArray

from monolayer.data.reading import read_frame
from monolayer.files import InputError
from monolayer.params.data import Percentiles

Pixels = NDArray[np.uint8]  # (H, W)

MIDDLE = 128  # of 8 bits: where a microscope's 8-bit images of light through cells have their ground
THROUGH = (1.25, 1.4)  # medians: up to the first contrast is that of light through cells, from the second on it is not
# what 8-bit values are multiplied by in files of 16, 14, 12 and 10 bits and of floats
INTEGER_STEPS, FLOAT_STEPS = (257, 256, 64, 16, 4, 1), (1 / 255, 1 / 256, 1.0)
EVEN = 0.001  # steps: how far from a multiple a float may be


def grey(data: bytes, name: str, percentiles: Percentiles | None) -> Pixels:
    """8-bit grey pixels, uint8 (H, W), of the image file `data`; errors call it `name`.

    8-bit values stay what they are. Deeper images are scaled by their own percentiles; null: they are an error.
    """
    pixels = read_frame(data, name)
    return pixels if pixels.dtype == np.uint8 else _stretched(pixels, name, percentiles, natural=False)


def eight_bit(pixels: NDArray[Any], name: str, percentiles: Percentiles | None) -> Pixels:
    """Grey pixels (H, W) of any type as uint8; the depth of a file decides nothing.

    An image of 8 bits in a deeper file is that image. Others are stretched from percentile to percentile, but not where
    their contrast is small beside their median, and one grey value never becomes several: what is faint noise in an
    8-bit image would be cells here.
    """
    return pixels if pixels.dtype == np.uint8 else _stretched(pixels, name, percentiles, natural=True)


def _stretched(pixels: NDArray[Any], name: str, percentiles: Percentiles | None, natural: bool) -> Pixels:
    if percentiles is None:
        raise InputError(
            f"{name} holds {pixels.dtype} pixels, and nothing says which of them become 0 and 255: "
            "this source has 8-bit images only; predict takes --percentiles LOW HIGH"
        )
    if not np.isfinite(pixels).all():
        raise InputError(f"{name} has pixels that are NaN or infinite; export it again without them")
    if (same := _in_steps(pixels)) is not None:
        return same
    low, median, high = np.percentile(pixels, (percentiles.low, 50, percentiles.high))
    if natural:
        least = max(_natural(high - low, median), 255.0 if pixels.dtype.kind in "ui" else 0.0)
        low = min(low, max(median - least * MIDDLE / 255, high - least))
        high = max(high, low + least)
    return scale(pixels, low, high)


def _natural(contrast: float, median: float) -> float:
    """The range that becomes 0 to 255, where light comes through the cells: it puts the median at MIDDLE.

    Where they shine themselves on a dark ground, the contrast is much larger than the median.
    """
    if median <= 0:
        return 0.0
    return float(np.interp(contrast, np.multiply(THROUGH, median), (255 / MIDDLE * median, contrast)))


def _in_steps(pixels: NDArray[Any]) -> Pixels | None:
    """The 8-bit image that a deeper one holds, its grey values all multiples 0 to 255 of a usual step."""
    low, high = pixels.min(), pixels.max()
    if low < 0 or low == high:
        return None
    for step in INTEGER_STEPS if pixels.dtype.kind in "ui" else FLOAT_STEPS:
        if high > 255.5 * step:
            continue
        steps = np.rint(pixels / step)
        if (np.abs(pixels - steps * step) <= EVEN * step).all():
            return steps.astype(np.uint8)
    return None


def fingerprint(pixels: Pixels) -> str:
    """A hash of size and pixels: images with the same are one picture."""
    return hashlib.sha256(str(pixels.shape).encode() + pixels.tobytes()).hexdigest()[:32]


def scale(pixels: NDArray[Any], low: float, high: float) -> Pixels:
    """Map [low, high] to 0..255 and clip; all 0 where low is high (one grey value only)."""
    if high <= low:
        return np.zeros(pixels.shape, np.uint8)
    return np.rint((pixels.astype(np.float64) - low).clip(0, high - low) * (255 / (high - low))).astype(np.uint8)
