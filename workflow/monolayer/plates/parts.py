"""What shards have found, image by image on disk, for as long as it stays true: a kill or a new plan costs little.

A shard's journal becomes its part once all of its images are done. An image is known by its place on the plate and the
state of its file, so that shards of another size, and plates with more images or fewer, take it from any part.
"""

from __future__ import annotations

import fcntl
import json
import os
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, NamedTuple

from monolayer.files import InputError, atomic_write, write_json
from monolayer.measurement.files import GROUP, arrow
from monolayer.plates import dictionary

PARTS, PART, JOURNAL, ABOUT = "parts", ".part", ".journal", ".json"


Place = tuple[str, int]  # of a label image: its field, and its frame


class NotedImage(NamedTuple):
    """Where an image's record lies, and how many cells it has."""

    path: Path
    place: int
    cells: int


@dataclass
class PartJournal:
    """A line of JSON on what all depends on; then for each image a line about it, and its cells as an Arrow stream."""

    path: Path
    file: IO[bytes]
    head: bytes
    noted: dict[str, NotedImage]

    def add(self, key: str, row: Mapping[str, Any], cells: Any) -> None:
        """Note an image, down to the disk."""
        import pyarrow as pa

        sink = pa.BufferOutputStream()
        with pa.ipc.new_stream(sink, cells.schema, options=pa.ipc.IpcWriteOptions(compression="zstd")) as stream:
            stream.write_table(cells)
        content = sink.getvalue().to_pybytes()
        place = self.file.seek(0, os.SEEK_END)
        line = {"key": key, "row": row, "bytes": len(content)}
        self.file.write(json.dumps(line).encode() + b"\n" + content)
        self.file.flush()
        os.fsync(self.file.fileno())
        self.noted[key] = NotedImage(self.path, place, row["cells"])

    def finish(self, keys: Sequence[str]) -> None:
        """Write the part, which has the records of these images in this order, and what is in it beside it."""
        about = self.path.with_suffix(ABOUT)
        about.unlink(missing_ok=True)
        with atomic_write(self.path.with_suffix(PART)) as partial, partial.open("wb") as part:
            part.write(self.head)
            for key in keys:
                noted = self.noted[key]
                with noted.path.open("rb") as file:
                    file.seek(noted.place)
                    line = file.readline()
                    part.write(line + file.read(json.loads(line)["bytes"]))
        cells = sum(self.noted[key].cells for key in keys)
        write_json(about, {"images": len(keys), "cells": cells, "fields": _fields(keys)})


@contextmanager
def part_journal(
    folder: Path, shard: str, depends: Mapping[str, Any], places: Collection[Place]
) -> Iterator[PartJournal]:
    """The journal of a shard of images whose labels lie at `places`, with all that is noted of them in it and in parts.

    It goes once the block has ended well. What other settings have found at these places goes first: its label images
    are about to be written over, and it would seem to be true of the new ones once the settings are changed back.
    """
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{shard}{JOURNAL}"
    head = json.dumps(depends, sort_keys=True).encode() + b"\n"
    with path.open("a+b") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise InputError(f"{path} is being written by another job; let it end first") from None
        noted = dict[str, NotedImage]()
        for part in _others(folder, path, {labels for labels, _ in places}):
            with suppress(FileNotFoundError), part.open("rb") as other:  # another shard may take it away
                if (its := other.readline()) != head:
                    _forget(part, other, its, places)
                elif part.suffix == PART:
                    noted |= _index(other, part, head)[0]
        own, end = _index(file, path, head)
        file.truncate(end)
        if not end:
            file.write(head)
            file.flush()
        yield PartJournal(path, file, head, _certain(noted | own))
    path.unlink()


def _others(folder: Path, own: Path, fields: Collection[str]) -> list[Path]:
    """All parts and the other shards' journals that may have images of these fields."""
    parts = [part for part in sorted(folder.glob(f"*{PART}")) if _may_have(part, fields)]
    return [*parts, *(path for path in sorted(folder.glob(f"*{JOURNAL}")) if path != own)]


def _forget(path: Path, file: IO[bytes], head: bytes, places: Collection[Place]) -> None:
    """Take away a part or journal, if it has an image at one of these places."""
    if all(_place(key) not in places for key in _index(file, path, head)[0]):
        return
    try:
        fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        raise InputError(f"{path} is being written by a job with other settings; let it end first") from None
    if os.fstat(file.fileno()).st_ino != path.stat().st_ino:
        return  # its own job has made it anew meanwhile
    if path.suffix == PART:
        path.with_suffix(ABOUT).unlink(missing_ok=True)  # by which Snakemake knows that it is made
    path.unlink(missing_ok=True)


def _place(key: str) -> Place:
    labels, frame = json.loads(key)[:2]
    return labels, frame


def _fields(keys: Iterable[str]) -> list[str]:
    """The fields of these images, by where their labels lie."""
    return list(dict.fromkeys(str(json.loads(key)[0]) for key in keys))


def _may_have(part: Path, fields: Collection[str]) -> bool:
    """Whether a part is to be looked through; else each shard would read all others, which costs their square."""
    try:
        return not set(json.loads(part.with_suffix(ABOUT).read_bytes())["fields"]).isdisjoint(fields)
    except (OSError, ValueError, KeyError, TypeError):  # a kill came between, or it is of an earlier version
        return True


def _certain(noted: Mapping[str, NotedImage]) -> dict[str, NotedImage]:
    """Those that are alone at their place: of two states of a file nobody knows which one the label image shows."""
    states = Counter(map(_place, noted))
    return {key: one for key, one in noted.items() if states[_place(key)] == 1}


def _index(file: IO[bytes], path: Path, head: bytes) -> tuple[dict[str, NotedImage], int]:
    """The records of a file with this head, and where the last whole one ends: a crash may cut one short."""
    found = dict[str, NotedImage]()
    file.seek(0)
    if file.readline() != head:
        return found, 0
    size, end = os.fstat(file.fileno()).st_size, file.tell()
    while (line := file.readline()).endswith(b"\n"):
        about = json.loads(line)
        if file.tell() + about["bytes"] > size:
            break
        found[about["key"]] = NotedImage(path, end, about["row"]["cells"])
        end = file.seek(about["bytes"], os.SEEK_CUR)
    return found, end


def records(folder: Path, shard: str) -> Iterator[tuple[str, dict[str, Any], Any]]:
    """Key, row and cells of each image of a part."""
    import pyarrow as pa

    with _opened(folder, shard) as file:
        while line := file.readline():
            about = json.loads(line)
            yield about["key"], about["row"], pa.ipc.open_stream(file.read(about["bytes"])).read_all()


def rows(folder: Path, shard: str) -> Iterator[dict[str, Any]]:
    """The row of each image of a part."""
    with _opened(folder, shard) as file:
        while line := file.readline():
            about = json.loads(line)
            file.seek(about["bytes"], os.SEEK_CUR)
            yield about["row"]


@contextmanager
def _opened(folder: Path, shard: str) -> Iterator[IO[bytes]]:
    """A part, after its first line."""
    path = folder / f"{shard}{PART}"
    try:
        with path.open("rb") as file:
            file.readline()
            yield file
    except (OSError, ValueError) as error:
        raise InputError(
            f"{path} is not readable ({error}); remove {folder}, and the plate is segmented again"
        ) from error


@contextmanager
def growing_parquet(table: str, path: Path) -> Iterator[Any]:
    """A function that appends Arrow tables to a file, in groups of rows whatever the tables' sizes."""
    import pyarrow as pa
    from pyarrow import parquet

    schema = dictionary.schema(table)
    pending, rows = [schema.empty_table()], 0
    with atomic_write(path) as partial, parquet.ParquetWriter(partial, schema, compression="zstd") as writer:

        def append(more: Any) -> None:
            nonlocal rows
            pending.append(more.cast(schema))
            rows += more.num_rows
            while rows >= GROUP:
                whole = pa.concat_tables(pending).combine_chunks()
                writer.write_table(whole.slice(0, GROUP))
                pending[:], rows = [whole.slice(GROUP)], rows - GROUP

        yield append
        writer.write_table(pa.concat_tables(pending).combine_chunks())


def table_of(table: str, rows: Iterable[Mapping[str, Any]]) -> Any:
    """Rows as an Arrow table; numbers that are None or NaN become empty."""
    listed, columns = list(rows), dictionary.TABLES[table]
    empty = {"number": float("nan"), "text": ""}
    values = {
        name: [empty.get(about.type) if (value := row.get(name)) is None else value for row in listed]
        for name, about in columns.items()
    }
    return arrow(columns, values).cast(dictionary.schema(table))
