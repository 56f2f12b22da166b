"""Segment images as a microscope writes them: every complete file once, into growing tables and a growth curve."""

from __future__ import annotations

import fcntl
import json
import logging
import math
import re
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from monolayer.data.images import eight_bit
from monolayer.data.plane import ANY, ImagePlane
from monolayer.data.reading import read_frames
from monolayer.files import InputError, free_memory, write_csv
from monolayer.measurement import dictionary
from monolayer.measurement.growth import date_of, moment
from monolayer.models.pipeline import Check, unchecked
from monolayer.models.predictor import check_room, check_size
from monolayer.service import answers
from monolayer.service.batcher import UnwantedError
from monolayer.service.growth_chart import draw_growth
from monolayer.service.journal import Tables, WatchedFile
from monolayer.service.settling import Looks
from monolayer.service.size import announced_pixels
from monolayer.service.state import ServedModel

logger = logging.getLogger(__name__)
LARGEST = 4 << 30  # bytes of a file
TRIES = 3  # of a file at which the process ended
AHEAD_S = 60
TIMES = {
    "pattern": "the group `time` of --pattern",
    "dates": "the date that the group `time` of --pattern finds",
    "frames": "the number of a page in its file",
    "files": "when each file was written",
}


@dataclass(frozen=True)
class Watching:
    """What is watched and how; `pattern` finds the groups line, well and time in a file's path, those that it has."""

    folder: Path
    output: Path
    model: ServedModel
    pattern: re.Pattern[str] | None
    pixel_size_um: float | None
    frame_hours: float | None
    settle_s: float
    which: ImagePlane = ANY

    @property
    def settings(self) -> dict[str, Any]:
        """All that the numbers hang on: tables hold numbers of one kind."""
        model = self.model
        return {
            **{"model": model.name, "digest": model.digest, "dtype": model.dtype, "tta": model.tta},
            **{"score_min": model.score_min, "pixel_size_um": self.pixel_size_um, "frame_hours": self.frame_hours},
            **{"pattern": self.pattern.pattern if self.pattern else None},
            **{name: number for name, number in self.which._asdict().items() if number is not None},
            **({"diameter": model.diameter} if model.diameter is not None else {}),
        }


@dataclass
class WatchedLooks(Looks):
    """Looks at a folder, and what was told of it."""

    ahead: bool = False  # a file from the future was spoken of


def watch(what: Watching, stop: Callable[[], bool], every_s: float) -> None:
    """Segment what is and what comes until `stop()`; raises InputError where another process watches for `output`."""
    if not what.folder.is_dir():
        raise InputError(f"{what.folder} is no folder; give the one that the microscope writes to")
    what.output.mkdir(parents=True, exist_ok=True)
    with _alone(what.output):
        tables = Tables.open(what.output, what.settings)
        write_csv(what.output / "dictionary.csv", dictionary.rows())
        looks, drawn = WatchedLooks(), (-1, -1)

        def check() -> None:
            if stop():
                raise UnwantedError

        while not stop():
            for path in settled(what, tables, looks):
                if stop():
                    break
                _take(what, tables, path, looks, check)
            if tables.state != drawn:
                draw_growth(tables, what.output)
                drawn = tables.state
            time.sleep(every_s)


@contextmanager
def _alone(output: Path) -> Iterator[None]:
    with (output / "lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise InputError(f"{output} belongs to another `monolayer watch` that runs; stop it first") from None
        yield


def settled(what: Watching, tables: Tables, looks: Looks) -> list[Path]:
    """Images that are new or changed and have settled, the oldest first."""
    found = looks.settled(what.folder, what.settle_s, lambda name: _done(tables, name))
    return [path for _, path in sorted((one.state[1], one.path) for one in found)]


def _done(tables: Tables, name: str) -> tuple[int, int] | None:
    """Size and time of a file when it was done."""
    entry = tables.done.get(name)
    return (entry["size"], entry["mtime_ns"]) if entry else None


def _take(what: Watching, tables: Tables, path: Path, looks: WatchedLooks, check: Check) -> None:
    """Segment one file; a file that can't be used is reported, and tried again once it changes."""
    name = path.relative_to(what.folder).as_posix()
    file = None
    try:
        file = _read(path, name)
        if name in tables.done and tables.done[name]["sha256"] == file.sha256:
            tables.done[name] |= {"size": file.state[0], "mtime_ns": file.mtime_ns}
            return
    except FileNotFoundError:
        logger.info("%s was moved away", _shown(name))
        return
    except (InputError, OSError, MemoryError) as error:
        _set_aside(name, looks, error)
        return
    try:
        with _tried(what.output, file):
            found = segmented(what, file, tables, check)
    except UnwantedError:  # told to stop: the next start does it
        return
    except (InputError, MemoryError) as error:
        _set_aside(name, looks, error)
        return
    stamp = found[0].record["timestamp"]
    time_from = _time_from(what, stamp, len(found))
    _say_times(tables, file, time_from, looks)
    tables.append(file, found, time_from, _origin(tables, file, date_of(stamp)))
    logger.info("%s: %s cells", name, ", ".join(str(one.row["cells"]) for one in found))


def _set_aside(name: str, looks: WatchedLooks, error: Exception) -> None:
    looks.faulty[name] = looks.seen[name][0]
    said = "it does not fit into memory; cut it into tiles" if isinstance(error, MemoryError) else error
    logger.warning("%s is left out until it changes: %s", _shown(name), said)


def _say_times(tables: Tables, file: WatchedFile, time_from: str, looks: WatchedLooks) -> None:
    if file.name in tables.done:
        logger.warning("%s has changed: its rows are replaced", file.name)
    if tables.origin is None:
        logger.info("times come from %s", TIMES[time_from])
    ahead = file.mtime_ns / 1e9 - time.time()
    if ahead > AHEAD_S and time_from == "files" and not looks.ahead:
        looks.ahead = True
        logger.warning("%s was written %.0f s from now: its clock is ahead of this machine's", file.name, ahead)


def _shown(name: str) -> str:
    """A name that is no UTF-8 as it can be shown."""
    return name.encode("utf-8", "backslashreplace").decode()


def _read(path: Path, name: str) -> WatchedFile:
    """All of a file that fits into the limits and into memory."""
    status = path.stat()
    if status.st_size > min(LARGEST, _free_memory()):
        raise InputError(f"it has {status.st_size:,} bytes, which is too much; save it in parts")
    content = path.read_bytes()
    if len(content) != status.st_size:
        raise InputError("it changes while it is read")
    return WatchedFile(name, content, status.st_mtime_ns)


def _free_memory() -> int:
    return free_memory()


@contextmanager
def _tried(output: Path, file: WatchedFile) -> Iterator[None]:
    """Refuse a file at which the process ended again and again, as it does where the memory is full."""
    mark, now = output / ".trying", {"file": file.name, "sha256": file.sha256}
    try:
        before = json.loads(mark.read_text())
    except (OSError, ValueError):
        before = {}
    tries = before.pop("tries", 0)
    if before == now and tries >= TRIES:
        raise InputError(f"the process ended {tries} times at it; is it larger than the memory? cut it into tiles")
    mark.write_text(json.dumps(now | {"tries": tries + 1 if before == now else 1}))
    try:
        yield
    finally:
        mark.unlink()


def segmented(
    what: Watching, file: WatchedFile, tables: Tables, check: Check = unchecked
) -> list[answers.SegmentedFrame]:
    """The frames of a file with their cells; `check` may end the work between its steps."""
    if file.name != _shown(file.name):
        raise InputError("its name is no UTF-8; rename it")
    named = what.pattern.search(file.name) if what.pattern else None
    if what.pattern and named is None:
        raise InputError(f"the pattern {what.pattern.pattern} does not match; correct it")
    groups = {key: value or "" for key, value in (named.groupdict() if named else {}).items()}
    line = groups.get("line", "")
    check_room("it", announced_pixels(file.content, 1), what.model.enlarged, _free_memory())
    done: list[answers.SegmentedFrame] = []
    pages = read_frames(file.content, file.name, what.which)
    time_from = _time_from(what, groups.get("time"), len(pages))
    if "time" in groups:
        _check_time(groups["time"], len(pages), what.frame_hours)
    if file.name not in tables.done and tables.times and time_from not in tables.times:
        told = f"its time would come from {TIMES[time_from]}, that of the others from {TIMES[tables.times[0]]}"
        raise InputError(f"{told}; give it a folder of its own, or times by --pattern")
    origin = _origin(tables, file, date_of(groups.get("time")))
    first = datetime.fromtimestamp(origin, UTC).replace(tzinfo=None) if time_from == "dates" else None
    for index, own in enumerate(pages):
        image = eight_bit(own, file.name, what.model.percentiles)
        check_size("it", image, what.model.stride)
        (found,) = what.model.segment([image], line or None, check)
        found = answers.from_score(found, what.model.score_min)
        record = answers.record_of(file.name, index, image, line)
        record["id"] = tables.next_id + index
        record["well"] = groups.get("well", Path(file.name).parent.as_posix())
        record["timestamp"] = groups.get("time", record["timestamp"])
        near, hours = what.model.neighbours, what.frame_hours
        done.append(answers.frame(record, (own, image), found, what.pixel_size_um, near, hours=hours, first=first))
        if time_from == "files":
            done[-1].row["time_h"] = (file.mtime_ns / 1e9 - origin) / 3600
    return done


def _check_time(text: str, pages: int, frame_hours: float | None) -> None:
    """Refuse a time of the pattern that can't be read, or that would be that of several pages."""
    if all(map(math.isnan, moment(text, frame_hours, date_of(text)))):
        raise InputError(
            f"its time is {text!r}; correct the pattern so that it is as 01d06h30m or 2021y03m18d_12h00m, or a frame "
            "as t007 or 7"
        )
    if pages > 1:
        told = f"it has {pages} pages, to all of which the pattern gives the time {text}"
        raise InputError(f"{told}; save them apart, or leave the group `time` out, so that pages are counted")


def _time_from(what: Watching, stamp: str | None, pages: int) -> str:
    """What tells the time of a file of so many pages; `stamp` is what the group `time` finds in its name."""
    if what.pattern and "time" in what.pattern.groupindex:
        return "pattern" if date_of(stamp) is None else "dates"
    return "files" if pages == 1 else "frames"


def _origin(tables: Tables, file: WatchedFile, date: datetime | None) -> float:
    """From when times are counted (seconds since 1970): from the first file that was done, whatever comes later.

    From when it was written, or the date in its name, which is taken as it stands, wherever the microscope's clock is.
    """
    if tables.origin is not None:
        return tables.origin
    return file.mtime_ns / 1e9 if date is None else date.replace(tzinfo=UTC).timestamp()
