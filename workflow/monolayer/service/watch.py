"""Segment images as a microscope writes them: every complete file once, into growing tables and a growth curve.

done.jsonl is the truth about what is done: a line for each file with how long the tables were after it. What a crash
leaves in them beyond that is cut off at the next start, so that no file is done twice and none is lost.
"""

from __future__ import annotations

import csv
import fcntl
import hashlib
import io
import json
import logging
import math
import os
import re
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from monolayer.data.images import eight_bit
from monolayer.files import InputError, write_bytes, write_csv
from monolayer.measurement import dictionary, files
from monolayer.measurement.growth import growth
from monolayer.models.pipeline import unchecked
from monolayer.service import answers
from monolayer.service.state import ServedModel
from monolayer.service.uploads import Limits, frames

logger = logging.getLogger(__name__)
SUFFIXES = (".png", ".jpg", ".jpeg", ".tif", ".tiff")
LIMITS = Limits(bytes=4 << 30, pixels=1 << 30, frames=10_000)  # of files that are the user's own
TABLES = ("cells", "images")


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


def watch(what: Watching, stop: Callable[[], bool], every_s: float) -> None:
    """Segment what is and what comes until `stop()`; raises InputError where another process watches for `output`."""
    if not what.folder.is_dir():
        raise InputError(f"{what.folder} is no folder; give the one that the microscope writes to")
    what.output.mkdir(parents=True, exist_ok=True)
    with _alone(what.output):
        tables = Tables.open(what.output)
        write_csv(what.output / "dictionary.csv", dictionary.rows())
        seen: dict[str, tuple[int, int]] = {}
        faulty: dict[str, tuple[int, int]] = {}
        drawn = -1
        while not stop():
            for path in settled(what, tables, seen, faulty):
                if stop():
                    break
                _take(what, tables, path, faulty)
            if len(tables.rows) != drawn:
                draw_growth(tables, what.output)
                drawn = len(tables.rows)
            time.sleep(every_s)


@contextmanager
def _alone(output: Path) -> Iterator[None]:
    with (output / "lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise InputError(f"{output} belongs to another `monolayer watch` that runs; stop it first") from None
        yield


def settled(
    what: Watching, tables: Tables, seen: dict[str, tuple[int, int]], faulty: dict[str, tuple[int, int]]
) -> list[Path]:
    """Images that are new, have not changed since the last look and for `settle_s`, the oldest first."""
    found, now = [], time.time()
    for path in what.folder.rglob("*"):
        name = path.relative_to(what.folder).as_posix()
        if path.suffix.lower() not in SUFFIXES or path.name.startswith(".") or name in tables.done:
            continue
        try:
            status = path.stat()
        except FileNotFoundError:  # renamed since
            continue
        state = (status.st_size, status.st_mtime_ns)
        still = seen.get(name) == state
        seen[name] = state
        if still and now - status.st_mtime >= what.settle_s and faulty.get(name) != state and status.st_size:
            found.append((status.st_mtime_ns, path))
    return [path for _, path in sorted(found)]


def _take(what: Watching, tables: Tables, path: Path, faulty: dict[str, tuple[int, int]]) -> None:
    """Segment one file; a file that can't be read is reported, and tried again once it changes."""
    name = path.relative_to(what.folder).as_posix()
    status = path.stat()
    try:
        file = File(name, path.read_bytes(), status.st_mtime)
        segmented_frames = segmented(what, file, tables)
    except (InputError, OSError) as error:
        faulty[name] = (status.st_size, status.st_mtime_ns)
        logger.warning("%s is left out until it changes: %s", name, error)
        return
    tables.append(file, segmented_frames)
    logger.info("%s: %s cells", name, ", ".join(str(one.row["cells"]) for one in segmented_frames))


class File(NamedTuple):
    """A file by its path in the folder; `taken` is when it was written, in seconds since 1970."""

    name: str
    content: bytes
    taken: float


def segmented(what: Watching, file: File, tables: Tables) -> list[answers.SegmentedFrame]:
    """The frames of a file with their cells."""
    named = what.pattern.search(file.name) if what.pattern else None
    if what.pattern and named is None:
        raise InputError(f"the pattern {what.pattern.pattern} does not match; correct it")
    groups = {key: value or "" for key, value in (named.groupdict() if named else {}).items()}
    line = groups.get("line", "")
    done: list[answers.SegmentedFrame] = []
    pages = frames(file.content, file.name, LIMITS)
    for index, own in enumerate(pages):
        image = eight_bit(own, file.name, what.model.percentiles)
        (found,) = what.model.segment([image], line or None, unchecked)
        found = answers.from_score(found, what.model.score_min)
        record = answers.record_of(file.name, index, image, line)
        record["id"] += len(tables.rows)
        record["well"] = groups.get("well", Path(file.name).parent.as_posix())
        record["timestamp"] = groups.get("time", record["timestamp"])
        near, hours = what.model.neighbours, what.frame_hours
        done.append(answers.frame(record, (own, image), found, what.pixel_size_um, near, hours=hours))
        if "time" not in groups and len(pages) == 1:
            done[-1].row["time_h"] = (file.taken - tables.began(file.taken)) / 3600
    return done


@dataclass
class Tables:
    """cells.csv and images.csv, what is in them, and the files that are done."""

    folder: Path
    done: dict[str, dict[str, Any]]
    rows: list[dict[str, Any]]  # of images.csv

    @classmethod
    def open(cls, folder: Path) -> Tables:
        """Make the tables, or cut off what was not finished."""
        journal = folder / "done.jsonl"
        text = journal.read_bytes() if journal.exists() else b""
        text = text[: text.rfind(b"\n") + 1]
        entries = [json.loads(line) for line in text.splitlines()]
        write_bytes(journal, text)
        for table in TABLES:
            header = (",".join(dictionary.TABLES[table]) + "\n").encode()
            path, length = folder / f"{table}.csv", entries[-1][table] if entries else 0
            if length == 0:
                path.write_bytes(header)
            elif not path.exists() or path.stat().st_size < length:
                raise InputError(f"{path} is shorter than {journal} says; restore it, or start with an empty folder")
            else:
                os.truncate(path, length)
        with (folder / "images.csv").open(encoding="utf-8", newline="") as file:
            rows = [_typed(row) for row in csv.DictReader(file)]
        return cls(folder, {entry["file"]: entry for entry in entries}, rows)

    def began(self, taken: float) -> float:
        """When the first file was written (seconds since 1970)."""
        return min((entry["taken"] for entry in self.done.values()), default=taken)

    def append(self, done: File, segmented: list[answers.SegmentedFrame]) -> None:
        """Add a file's rows, then note that it is done: a crash in between leaves it to do."""
        digest = hashlib.sha256(done.content).hexdigest()
        entry: dict[str, Any] = {"file": done.name, "sha256": digest, "taken": done.taken}
        rows = {key: [one.row[key] for one in segmented] for key in segmented[0].row}
        for table, values in (("cells", answers.cell_table(segmented)), ("images", rows)):
            text = files.csv_bytes(table, values)
            entry[table] = _add(self.folder / f"{table}.csv", text[text.index(b"\n") + 1 :])
        _add(self.folder / "done.jsonl", json.dumps(entry).encode() + b"\n")
        self.done[done.name] = entry
        self.rows += [_typed(row) for row in csv.DictReader(io.StringIO(text.decode()))]  # as a restart reads them


def _add(path: Path, content: bytes) -> int:
    """Append to a file, down to the disk; return its length."""
    with path.open("ab") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
        return file.tell()


def _typed(row: dict[str, str]) -> dict[str, Any]:
    """A row of images.csv with its numbers."""
    types: dict[str, Callable[[str], Any]] = {"whole": int, "text": str, "number": lambda v: float(v or "nan")}
    return {name: types[column.type](row[name]) for name, column in dictionary.TABLES["images"].items()}


def draw_growth(tables: Tables, output: Path) -> None:
    """Write growth.csv and growth.svg of all images so far."""
    fits = growth(tables.rows)
    columns = {name: [fit[name] for fit in fits] for name in dictionary.TABLES["growth"]}
    write_bytes(output / "growth.csv", files.csv_bytes("growth", columns))
    write_bytes(output / "growth.svg", _chart(tables.rows, fits))


def _chart(rows: list[dict[str, Any]], fits: list[dict[str, Any]]) -> bytes:
    """SVG: cells per image over time with the fitted curves, a colour for each line and well."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 4), layout="constrained")
    axes = figure.add_subplot()
    for index, fit in enumerate(fit for fit in fits if fit["quantity"] == "cells" and fit["well"] != "all"):
        column = "time_h" if fit["time_unit"] == "h" else "frame"
        own = [row for row in rows if (row["cell_line"], row["well"]) == (fit["cell_line"], fit["well"])]
        label = " ".join(part for part in (fit["cell_line"], fit["well"]) if part not in ("", "."))
        if not math.isnan(fit["doubling_time"]):
            label += f" doubles in {fit['doubling_time']:.3g} {fit['time_unit']}"
        axes.plot([row[column] for row in own], [row["cells"] for row in own], "o", color=f"C{index}", label=label)
        time = np.linspace(fit["start_time"], fit["end_time"], 60)
        axes.plot(time, fit["start"] * np.exp(fit["rate_per_time"] * (time - fit["start_time"])), color=f"C{index}")
        axes.set_xlabel("h" if fit["time_unit"] == "h" else "frame")
    axes.set_ylabel("cells per image")
    axes.set_ylim(0)
    if axes.get_legend_handles_labels()[0]:
        axes.legend()
    buffer = io.BytesIO()
    figure.savefig(buffer, format="svg", metadata={"Date": None})
    return buffer.getvalue()
