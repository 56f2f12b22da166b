"""What a request may cost, and the frames of the file that it sends."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from numpy.typing import NDArray

from monolayer.data.plane import ANY, ImagePlane, ReadLimits
from monolayer.data.reading import read_frames

CURE = "this service takes {limit:,}: cut it into tiles or send fewer pages"


@dataclass(frozen=True)
class Limits:
    """What one request may cost; run-time choices that change no result."""

    bytes: int = 64 << 20
    pixels: int = 64 << 20  # of all frames
    frames: int = 200
    waiting: int = 64  # requests at a time; the next one is told to come back
    seconds: float = 120.0


def frames(data: bytes, name: str, limits: Limits, which: ImagePlane = ANY) -> list[NDArray[Any]]:
    """The frames of a stranger's image file, (H, W) in its own grey values; several where it has several in time."""
    own = ReadLimits(limits.pixels, limits.pixels, limits.frames, stranger=True, cure=CURE)
    return read_frames(data, name, which, own)
