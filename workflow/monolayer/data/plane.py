"""Which plane of an image file is meant and what reading it may cost; what the file leaves open is asked for."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from monolayer.files import InputError

COLOURS = ("red", "green", "blue")
TIME = "TIQ"  # I and Q are pages of a TIFF that says nothing of its axes: frames, as the manual says
ASKED = {"C": ("channel", "channel"), "Z": ("z", "plane along z")}


class NotAnImageError(InputError):
    """The bytes are no PNG, JPEG or TIFF."""


class TooLargeError(InputError):
    """More pixels or frames than the reader takes."""


ZRule = Literal["max", "focus"]  # of planes along z: the brightest of each pixel; the one with most detail


class ImagePlane(NamedTuple):
    """The channel and the plane along z that are meant, counted from 1, or a rule; None where a file has one only."""

    channel: int | None = None
    z: int | ZRule | None = None


class ReadLimits(NamedTuple):
    """What one file may cost, known from its header: pixels of a frame, and of all planes; and the cure of more.

    A stranger's TIFF may only be compressed in ways that can't write more than its header says.
    """

    frame: int = 1 << 28
    pixels: int = 1 << 30
    frames: int = 10_000
    stranger: bool = False
    cure: str = "at most {limit:,} are read: cut it into tiles"

    def check(self, name: str, frame: int, pixels: int) -> None:
        """Refuse frames of so many pixels, and so many pixels of all planes."""
        for count, limit in ((frame, self.frame), (pixels, self.pixels)):
            if count > limit:
                raise TooLargeError(f"{name} has {count:,} pixels; {self.cure.format(limit=limit)}")


ANY, OWN = ImagePlane(), ReadLimits()  # OWN are a user's own files


def frames_of(
    pixels: NDArray[Any], axes: str, which: ImagePlane, name: str, channels: Sequence[str] = ()
) -> list[NDArray[Any]]:
    """The frames (H, W) or (H, W, 3) along time of an array with these axes; S are the samples of a colour."""
    if "S" in axes and which.channel is not None:
        if "C" in axes:
            raise InputError(f"{name} has channels of several colours; save the one to segment as grey")
        axes, channels = axes.replace("S", "C"), COLOURS
    for axis in ASKED:
        unnamed = [known for known in "IQ" if axes.count(known) == 1]
        if axis not in axes and getattr(which, ASKED[axis][0]) is not None and len(unnamed) == 1:
            axes = axes.replace(unnamed[0], axis)  # who asks for one knows what the pages are
        if axis == "Z" and isinstance(which.z, str):
            continue
        count = pixels.shape[axes.index(axis)] if axis in axes else 1
        index = _asked(axis, count, which, name, channels if axis == "C" else ())
        if axis in axes:
            pixels, axes = pixels.take(index, axes.index(axis)), axes.replace(axis, "")
    planes = ["Z"] if "Z" in axes else []  # those of a rule: else one is taken
    series = [axis for axis in axes if axis not in ["Y", "X", "S", *planes]]
    if len(series) > 1 or not set(series) <= set(TIME):
        found = ", ".join(f"{pixels.shape[axes.index(axis)]} along {axis}" for axis in series)
        raise InputError(f"{name} has axes of which nobody knows which are time ({found}); save its frames one by one")
    order = [*series, *planes, "Y", "X", *("S" if "S" in axes else "")]
    pixels = pixels.transpose([axes.index(axis) for axis in order])
    frames = list(pixels) if series else [pixels]
    return [projected(frame, which.z) for frame in frames] if planes else frames


def projected(planes: NDArray[Any], rule: int | ZRule | None) -> NDArray[Any]:
    """One plane of (Z, H, W, ...) by a rule."""
    if rule == "max":
        return np.asarray(planes.max(0))
    return np.asarray(planes[int(np.argmax([detail(plane) for plane in planes]))])


def detail(pixels: NDArray[Any]) -> float:
    """The mean square of the Laplacian: how much of the finest detail an image has; out of focus it has little."""
    values = pixels.astype(np.float32)
    middle = values[1:-1, 1:-1]
    laplacian = values[:-2, 1:-1] + values[2:, 1:-1] + values[1:-1, :-2] + values[1:-1, 2:] - 4 * middle
    return float(np.square(laplacian, dtype=np.float32).mean(dtype=np.float64)) if laplacian.size else 0.0


def _asked(axis: str, count: int, which: ImagePlane, name: str, names: Sequence[str]) -> int:
    """The index of the channel or plane that is meant."""
    option, what = ASKED[axis]
    number: int | None = getattr(which, option)
    if number is None and count == 1:
        return 0
    if number is not None and number <= count:
        return number - 1
    known = f" ({', '.join(f'{n} {text}' for n, text in enumerate(names, 1))})" if 1 < count == len(names) else ""
    has = f"{name} has {count} {what}{'s' if count > 1 and axis == 'C' else ''}{known}"
    if axis == "Z" and count > 1:
        has = f"{name} has {count} planes along z"
    if number is not None:
        raise InputError(f"{has}, and {option} is {number}; {f'give 1 to {count}' if count > 1 else 'leave it out'}")
    time = "; if they are frames in time, let the file say so (ImageJ: Image > Properties)" if axis == "Z" else ""
    raise InputError(f"{has}; say which one shows the cells: {option} (--{option} N){time}")


def one(frames: Sequence[NDArray[Any]], name: str) -> NDArray[Any]:
    """The frame of a file that has one."""
    if len(frames) > 1:
        shape = f"TYX ({len(frames)}, {frames[0].shape[0]}, {frames[0].shape[1]})"
        raise InputError(
            f"{name} holds {len(frames)} pages ({shape}), not one frame; save each frame as a file of its own and list "
            "it in the annotations, if there are any; `watch` and the service take series"
        )
    return np.asarray(frames[0])
