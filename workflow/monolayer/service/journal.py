"""What `watch` has done: growing tables, and the journal that is the truth about them.

done.jsonl: a line with the settings, then one for each file with where its rows lie in the tables. What a crash leaves
in them beyond that is cut off at the next start, so that no file is done twice and none is lost. A file that changed
gets new rows; the old ones are left out of new tables, which take the place of the tables once the journal says so.
"""

from __future__ import annotations

import csv
import hashlib
import io
import json
import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from monolayer.files import InputError, sync_folder, write_bytes
from monolayer.measurement import dictionary, files
from monolayer.service import answers

JOURNAL, TABLES = "done.jsonl", ("cells", "images")
OURS = (*(f"{table}.csv" for table in TABLES), "dictionary.csv", "growth.csv", "growth.svg")
COPY = 1 << 20  # bytes at a time


class WatchedFile(NamedTuple):
    """A file by its path in the folder; `mtime_ns` is when it was written."""

    name: str
    content: bytes
    mtime_ns: int

    @property
    def sha256(self) -> str:
        return hashlib.sha256(self.content).hexdigest()

    @property
    def state(self) -> tuple[int, int]:
        return len(self.content), self.mtime_ns


@dataclass
class Tables:
    """cells.csv and images.csv, what is in them, and the files that are done."""

    folder: Path
    settings: dict[str, Any]
    done: dict[str, dict[str, Any]]  # by file, as the journal's lines
    rows: list[dict[str, Any]]  # of images.csv
    generation: int
    origin: float | None  # seconds since 1970 from which times are counted, where files tell them

    @classmethod
    def open(cls, folder: Path, settings: dict[str, Any]) -> Tables:
        """Begin in an empty folder, or go on where the journal ends; with the same settings only."""
        journal = folder / JOURNAL
        if not journal.exists():
            if foreign := next((folder / name for name in OURS if (folder / name).exists()), None):
                raise InputError(f"{foreign} is there, and no {journal} that tells whose it is; give an empty folder")
            write_bytes(journal, _lines([{"settings": settings, "generation": 0, "origin": None}]))
        text = journal.read_bytes()
        text = text[: text.rfind(b"\n") + 1]
        try:
            head, *entries = [json.loads(line) for line in text.splitlines()]
            before, generation, origin = head["settings"], head["generation"], head["origin"]
        except (ValueError, KeyError, TypeError) as error:
            raise InputError(f"{journal} is no journal of this version ({error}); give an empty folder") from error
        for name in sorted(before.keys() | settings.keys()):
            if before.get(name) != settings.get(name):
                told = f"was measured with {name} {before.get(name)}, not {settings.get(name)}"
                raise InputError(f"{folder} {told}: two measures in one table; give it again, or an empty folder")
        os.truncate(journal, len(text))
        tables = cls(folder, settings, {}, [], generation, origin)
        for entry in entries:
            tables._note(entry)
        tables._mend(entries)
        with (folder / "images.csv").open(encoding="utf-8", newline="") as file:
            tables.rows = [_typed(row) for row in csv.DictReader(file)]
        if len(entries) > len(tables.done):
            tables._leave_out_old_rows()
        return tables

    @property
    def times(self) -> list[str]:
        """Where the times of the files come from that are done; more than one where a file got its second page."""
        return sorted({entry["time_from"] for entry in self.done.values()})

    @property
    def state(self) -> tuple[int, int]:
        """Changes with every change of the rows."""
        return self.generation, len(self.rows)

    @property
    def next_id(self) -> int:
        return max((row["image_id"] for row in self.rows), default=0) + 1

    def _note(self, entry: dict[str, Any]) -> None:
        self.done.pop(entry["file"], None)
        self.done[entry["file"]] = entry
        if self.origin is None:
            self.origin = entry["origin"]

    def _mend(self, entries: list[dict[str, Any]]) -> None:
        """Finish an exchange of tables that a crash broke, and cut off what no line of the journal speaks of."""
        for table in TABLES:
            path, ready = self.folder / f"{table}.csv", self._staged(table, self.generation)
            if ready.exists():
                ready.replace(path)
            for old in self.folder.glob(f".{table}.csv.*"):
                old.unlink()
            length = max((entry[table][1] for entry in entries), default=0)
            if length == 0:
                write_bytes(path, _header(table))
            elif not path.exists() or path.stat().st_size < length:
                said = f"{path} is shorter than {self.folder / JOURNAL} says"
                raise InputError(f"{said}; restore it, or start with an empty folder")
            else:
                os.truncate(path, length)
        sync_folder(self.folder)

    def _staged(self, table: str, generation: int) -> Path:
        return self.folder / f".{table}.csv.{generation}"

    def append(self, done: WatchedFile, found: list[answers.SegmentedFrame], time_from: str, origin: float) -> None:
        """Add a file's rows, then note that it is done: a crash in between leaves it to do."""
        entry: dict[str, Any] = {
            **{"file": done.name, "sha256": done.sha256, "size": len(done.content), "mtime_ns": done.mtime_ns},
            **{"time_from": time_from, "origin": origin},
        }
        rows = {key: [one.row[key] for one in found] for key in found[0].row}
        for table, values in (("cells", answers.cell_table(found)), ("images", rows)):
            text = files.csv_bytes(table, values)
            entry[table] = _add(self.folder / f"{table}.csv", text[text.index(b"\n") + 1 :])
        _add(self.folder / JOURNAL, _lines([entry]))
        replaced = done.name in self.done
        self._note(entry)
        self.rows += [_typed(row) for row in csv.DictReader(io.StringIO(text.decode()))]  # as a restart reads them
        if replaced:
            self._leave_out_old_rows()

    def _leave_out_old_rows(self) -> None:
        """Write the tables without rows that no line of the journal's last ones speaks of."""
        generation, entries = self.generation + 1, [dict(entry) for entry in self.done.values()]
        for table in TABLES:
            with (self.folder / f"{table}.csv").open("rb") as old, self._staged(table, generation).open("wb") as new:
                new.write(_header(table))
                for entry in entries:
                    start = new.tell()
                    for part in _range(old, *entry[table]):
                        new.write(part)
                    entry[table] = [start, new.tell()]
                new.flush()
                os.fsync(new.fileno())
        head = {"settings": self.settings, "generation": generation, "origin": self.origin}
        write_bytes(self.folder / JOURNAL, _lines([head, *entries]))
        for table in TABLES:
            self._staged(table, generation).replace(self.folder / f"{table}.csv")
        sync_folder(self.folder)
        self.generation, self.done = generation, {entry["file"]: entry for entry in entries}
        with (self.folder / "images.csv").open(encoding="utf-8", newline="") as file:
            self.rows = [_typed(row) for row in csv.DictReader(file)]


def _lines(entries: Iterable[dict[str, Any]]) -> bytes:
    return b"".join(json.dumps(entry).encode() + b"\n" for entry in entries)


def _header(table: str) -> bytes:
    return (",".join(dictionary.TABLES[table]) + "\n").encode()


def _range(file: Any, start: int, end: int) -> Iterator[bytes]:
    file.seek(start)
    while start < end:
        part = file.read(min(COPY, end - start))
        start += len(part)
        yield part


def _add(path: Path, content: bytes) -> list[int]:
    """Append to a file, down to the disk; return where it lies. What could not be written is taken off again."""
    with path.open("ab", buffering=0) as file:  # a buffer would be written again when a failed file is closed
        start, rest = file.tell(), memoryview(content)
        try:
            while rest:
                rest = rest[file.write(rest) :]
            os.fsync(file.fileno())
        except OSError:
            with suppress(OSError):
                os.ftruncate(file.fileno(), start)
            raise
        return [start, file.tell()]


def _typed(row: dict[str, str]) -> dict[str, Any]:
    """A row of images.csv with its numbers."""
    types: dict[str, Callable[[str], Any]] = {"whole": int, "text": str, "number": lambda v: float(v or "nan")}
    return {name: types[column.type](row[name]) for name, column in dictionary.TABLES["images"].items()}
