"""When each image of a plate was taken, in one unit for all of them: hours where these are known, else numbers.

The numbers are those that names say, or those of the frames in their files, and no ranks: a frame that is skipped
leaves a gap. Fields of a well are imaged one after the other; what is nearer than a small part of the plate's shortest
step is one moment, which has one time wherever it is told.
"""

from __future__ import annotations

import math
import statistics
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise
from typing import NamedTuple

from monolayer.files import InputError
from monolayer.params.plates import PlateReading
from monolayer.plates import layout
from monolayer.plates.about import ImageAbout
from monolayer.plates.layout import SeriesFile

Field = tuple[str, str]  # well, field
NEAR, WIDE = 0.1, 0.25  # of the shortest step: from one image of a moment to the next, from its first to its last


class Moment(NamedTuple):
    """When a frame of a field was taken, and which one it is."""

    time: float  # in the plate's unit; the same for all images of a moment
    hours: float  # as it is said; NaN where only its number is known
    plane: int  # of the frames of its file; -1: the file has this one alone
    file: SeriesFile

    @property
    def stamp(self) -> str:
        """What its name says of its time, or the number of its frame."""
        return self.file.stamp or f"t{self.plane:03d}"


class PlateTimes(NamedTuple):
    """The frames of each field in the order of time."""

    unit: str  # h or frame
    said_by: str
    fields: dict[Field, list[Moment]]


def check_times(files: Sequence[SeriesFile], abouts: dict[Field, ImageAbout | str], settings: PlateReading) -> None:
    """Make faults of the fewer series, where some say when their frames were taken and others don't.

    Hours of some wells beside numbers of others would be taken for the same growth.
    """
    if settings.frame_hours or any(one.stamp for one in files):
        return
    series = {key: about for key, about in abouts.items() if isinstance(about, ImageAbout) and about.frames > 1}
    timed = [key for key, about in series.items() if about.hours(1) is not None]
    usual = 2 * len(timed) >= len(series)
    said = ("says the times of its frames, where most don't", "does not say the times of its frames, where most do")
    for key in series:
        if (key in timed) != usual:
            abouts[key] = f"it {said[usual]}; give it a plate of its own, or all of them plate_settings.frame_hours"


def times_of(
    files: Sequence[SeriesFile], abouts: Mapping[Field, ImageAbout], settings: PlateReading, name: str
) -> PlateTimes:
    """When all frames were taken; `abouts` says what files hold, of each field."""
    step, stamps = settings.frame_hours, [one.stamp for one in files]
    fields = defaultdict[Field, list[tuple[float, int, SeriesFile]]](list)
    if any(stamps):
        hours = layout.hours(stamps, name)
        if hours and step:
            said = f"{name}: file names tell hours, and plate_settings.frame_hours ({step:g}) would tell others"
            raise InputError(f"{said}; set it to null, or leave what is no hour out of plate_settings.pattern's time")
        numbers = hours or layout.numbers(stamps, name)
        for one in files:
            fields[one.well, one.field].append((numbers[one.stamp] * (step or 1), -1, one))
        in_hours = bool(hours or step)
        said_by = "file names" if hours or not step else "file names and plate_settings.frame_hours"
    else:
        in_hours = bool(step) or any(about.hours(1) is not None for about in abouts.values())
        said_by = "plate_settings.frame_hours" if step else "the files" if in_hours else "nowhere: growth is per frame"
        for one in files:
            about = abouts[one.well, one.field]
            for plane in range(about.frames):
                time = plane * step if step else about.hours(plane) or 0.0 if in_hours else float(plane)
                fields[one.well, one.field].append((time, plane, one))
    for key, own in fields.items():
        _check_order(own, key, name)
    shared = _shared({key: [time for time, _, _ in own] for key, own in fields.items()})
    found = {
        key: [
            Moment(moment, time if in_hours else math.nan, plane, one)
            for (time, plane, one), moment in zip(own, shared[key], strict=True)
        ]
        for key, own in fields.items()
    }
    return PlateTimes("h" if in_hours else "frame", said_by, found)


def _check_order(own: list[tuple[float, int, SeriesFile]], key: Field, name: str) -> None:
    """Sort the frames of a field by time, of which no two are of one."""
    own.sort(key=lambda one: one[0])
    for (time, _, one), (after, _, other) in pairwise(own):
        if time == after:
            both = f"{one.file} and {other.file} are both well {key[0]}, field {key[1]}, time {time:g}"
            raise InputError(f"{name}: {both}; take one away")


def _shared(times: Mapping[Field, Sequence[float]]) -> dict[Field, list[float]]:
    """The same times, those of one moment made one: over the plate, or where that is scanned all the time, a well."""
    if (moments := _moments(times.values())) is not None:
        return {key: [moments[time] for time in own] for key, own in times.items()}
    found: dict[Field, list[float]] = {}
    wells = defaultdict[str, dict[Field, Sequence[float]]](dict)
    for key, own in times.items():
        wells[key[0]][key] = own
    for fields in wells.values():
        of_well = _moments(fields.values()) or {}
        found |= {key: [of_well.get(time, time) for time in own] for key, own in fields.items()}
    return found


def _moments(fields: Iterable[Sequence[float]]) -> dict[float, float] | None:
    """The moment of each time; None where times follow each other so closely that nobody knows where one ends.

    A moment is narrower than the shortest step, so that it has a field once.

    >>> _moments([[0.0, 1.0, 3.0], [0.01, 1.02]])
    {0.0: 0.0, 0.01: 0.0, 1.0: 1.0, 1.02: 1.0, 3.0: 3.0}
    """
    listed = list(fields)
    step = min((after - time for own in listed for time, after in pairwise(own)), default=0.0)
    groups: list[list[float]] = []
    for time in sorted({time for own in listed for time in own}):
        if groups and time - groups[-1][-1] <= NEAR * step:
            groups[-1].append(time)
        else:
            groups.append([time])
    if any(group[-1] - group[0] > WIDE * step for group in groups):
        return None
    return {time: statistics.median_low(group) for group in groups for time in group}
