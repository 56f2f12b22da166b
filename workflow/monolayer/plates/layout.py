"""Which image of a plate is which: well, field and time, by the names of files or by what an OME-Zarr says."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from monolayer.data.reading import SUFFIXES, image_files
from monolayer.files import InputError
from monolayer.measurement.growth import date_of, is_day
from monolayer.params.plates import PlateReading

# 00d12h00m since the start, or 2021y03m18d_12h00m
STAMP = r"\d+d\d\dh\d\dm|\d{4}y\d\dm\d\dd_\d\dh\d\dm"
# an Incucyte's VESSEL_WELL_FIELD_TIME; LIVECell cuts each of its images, LINE_Phase_WELL_FIELD_TIME, into crops
KNOWN = re.compile(
    rf"(?P<vessel>.+)_(?P<well>[A-P]\d{{1,2}})_(?P<field>\d+)_(?P<time>{STAMP})(?:_(?P<crop>\d+))?(?:\.ome)?"
)
ELAPSED = re.compile(r"(?:(\d+)d)?(\d+)h(\d+)m")
NUMBER = re.compile(r"([A-Za-z_]*)(\d+)")


class SeriesFile(NamedTuple):
    """A file, or an image of an OME-Zarr, and what its name says of it; without a stamp it holds a series by itself."""

    file: str  # relative to the plate
    well: str
    field: str
    stamp: str = ""
    line: str = ""


def listed(path: Path, settings: PlateReading, only: set[str] | None = None) -> list[SeriesFile]:
    """The image files of a folder, or the one that `path` is, by well, field and time; of these alone, if given."""
    if path.is_file():
        return [SeriesFile(path.name, _stem(path.name), "1")]
    if not path.is_dir():
        raise InputError(f"plate is {path}, which does not exist; give a folder, a TIFF or an OME-Zarr")
    files, _ = image_files(path, path.rglob("*"))
    if not files:
        raise InputError(f"{path} holds no image ({', '.join(SUFFIXES)}) and is no OME-Zarr; give another folder")
    names = [name for name in files if only is None or name in only]
    found = _by_pattern(path, names, settings) if settings.pattern else _by_known_names(path, names)
    places: dict[tuple[str, ...], str] = {}
    for one in found:
        if (first := places.setdefault((one.well, one.field, one.stamp), one.file)) != one.file:
            raise InputError(
                f"{path}: {first} and {one.file} are both well {one.well}, field {one.field}, "
                f"time {one.stamp or 'unknown'}; take one away, or tell them apart by plate_settings.pattern"
            )
    return sorted(found, key=lambda one: (well_key(one.well), one.well, natural(one.field), one.file))


def _by_known_names(path: Path, names: Sequence[str]) -> list[SeriesFile]:
    found, vessels, others = list[SeriesFile](), dict[str, str](), list[str]()
    for name in names:
        match = KNOWN.fullmatch(PurePosixPath(name).stem)
        if match is None:
            others.append(name)
            continue
        vessels.setdefault(match["vessel"], name)
        line = match["vessel"].removesuffix("_Phase") if match["vessel"].endswith("_Phase") else ""
        field = f"{match['field']}.{match['crop']}" if match["crop"] else match["field"]
        found.append(SeriesFile(name, match["well"], field, match["time"], line))
    if not found:  # every file is a well of its own, with the frames that it holds
        if timed := next((name for name in names if re.search(STAMP, PurePosixPath(name).stem)), None):
            raise InputError(
                f"{path}: {timed} tells a time, and no well and field before it as VESSEL_A1_1_00d00h00m.tif does; "
                "give plate_settings.pattern, or each file would be a well by itself"
            )
        return [SeriesFile(name, _stem(name), "1") for name in names]
    if others:
        raise InputError(
            f"{path}: {others[0]} is not named as the others are (VESSEL_A1_1_00d00h00m.tif); "
            "take it away, or give plate_settings.pattern for all names"
        )
    if len(vessels) > 1:
        few = ", ".join(list(vessels.values())[:3])
        raise InputError(f"{path} holds {len(vessels)} plates or channels ({few}, ...); give each a folder of its own")
    return found


def _by_pattern(path: Path, names: Sequence[str], settings: PlateReading) -> list[SeriesFile]:
    pattern = re.compile((settings.pattern or "").removeprefix("regex:"))
    found, channels = list[SeriesFile](), defaultdict[str, list[SeriesFile]](list)
    for name in names:
        match = pattern.search(name)
        if match is None:
            raise InputError(
                f"{path}: plate_settings.pattern {pattern.pattern} does not match {name}; "
                "correct it or take the file away"
            )
        part = {key: value or "" for key, value in match.groupdict().items()}
        if not part["well"]:
            raise InputError(
                f"{path}: plate_settings.pattern finds no well in {name}; correct it or take the file away"
            )
        one = SeriesFile(name, part["well"], part.get("field") or "1", part.get("time", ""), part.get("line", ""))
        found.append(one)
        channels[part.get("channel", "")].append(one)
    if "channel" not in pattern.groupindex or (settings.channel is None and len(channels) == 1):
        return found
    return channels[_of_names(list(channels), settings.channel, path)]


def _of_names(channels: Sequence[str], asked: int | str | None, path: Path) -> str:
    """The channel that is asked for, of those in names: 1 is 01 and 001 too, where only one of these is there."""
    same = [name for name in channels if name.isdecimal() and str(asked).isdecimal() and int(name) == int(str(asked))]
    if str(asked) in channels or len(same) == 1:
        return str(asked) if str(asked) in channels else same[0]
    known, said = ", ".join(sorted(channels)), "" if asked is None else f", and plate_settings.channel is {asked}"
    raise InputError(f"{path} has the channels {known}{said}; say which one shows the cells: plate_settings.channel")


def _stem(name: str) -> str:
    return re.sub(r"(\.ome)?\.\w+$", "", name, flags=re.IGNORECASE)


def natural(text: str) -> list[tuple[int, str]]:
    """A key that sorts 2 before 10."""
    return [(int(part), "") if part.isdecimal() else (-1, part) for part in re.findall(r"\d+|\D+", text)]


def well_key(well: str) -> tuple[int, list[tuple[int, str]]]:
    """A key that sorts A1, A2, ..., B1, ..., AA1."""
    match = re.fullmatch(r"([A-Z]{1,2})(\d+)", well)
    return (len(match[1]) if match else 3, natural(well))


def hours(stamps: Sequence[str], name: str) -> dict[str, float] | None:
    """Hours of each time stamp, from the start or from the earliest date; None where stamps are numbers of frames."""
    found: dict[str, float] = {}
    dates: dict[str, datetime] = {}
    for stamp in dict.fromkeys(stamps):
        if match := ELAPSED.fullmatch(stamp):
            found[stamp] = 24.0 * int(match[1] or 0) + int(match[2]) + int(match[3]) / 60
            continue
        if (date := date_of(stamp)) is not None:
            dates[stamp] = date
        elif not NUMBER.fullmatch(stamp):
            raise InputError(
                f"{name}: the time {stamp!r} is neither 00d12h00m nor 2021y03m18d_12h00m nor a number; "
                "correct the group time of plate_settings.pattern"
            )
    if (dates and found) or 0 < len(dates) + len(found) < len(set(stamps)):
        raise InputError(f"{name} has times of several kinds; name all files in one way")
    if dates:
        first = min(dates.values())
        return {stamp: (date - first).total_seconds() / 3600 for stamp, date in dates.items()}
    return found or None


def numbers(stamps: Sequence[str], name: str) -> dict[str, float]:
    """The numbers of frames that stamps such as t007 are, of one kind: pre1 is no time of post1's series."""
    found, prefixes = dict[str, float](), dict[str, str]()
    for stamp in dict.fromkeys(stamps):
        if (match := NUMBER.fullmatch(stamp)) is None:
            continue  # hours() has refused it
        prefixes.setdefault(match[1], stamp)
        found[stamp] = float(match[2])
        if is_day(stamp):
            raise InputError(
                f"{name}: the time {stamp!r} is a date, which counts no frames; have plate_settings.pattern find the "
                "number of the frame, or name files as 2021y03m18d_12h00m"
            )
    if len(prefixes) > 1:
        few = " and ".join(repr(stamp) for stamp in list(prefixes.values())[:3])
        raise InputError(
            f"{name}: the times {few} are numbered in {len(prefixes)} ways, and nobody says how one follows the other; "
            "give each a plate of its own, or number all frames in one way"
        )
    return found
