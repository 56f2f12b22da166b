"""What a shard has found so far, image by image on disk, and the Parquet files that it becomes once all are done."""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from monolayer.files import InputError, atomic_write
from monolayer.measurement.files import GROUP, arrow
from monolayer.plates import dictionary

PARTS = "parts"  # folder of a plate
CELLS, IMAGES, JOURNAL = ".cells.parquet", ".images.parquet", ".journal"


@dataclass
class PartJournal:
    """A line of JSON on what all depends on; then for each image a line about it, and its cells as an Arrow stream."""

    file: IO[bytes]
    done: dict[int, tuple[list[int], int]]  # by image: the state of its file, where its line begins

    def has(self, number: int, state: list[int]) -> bool:
        return number in self.done and self.done[number][0] == state

    def add(self, number: int, state: list[int], row: Mapping[str, Any], cells: Any) -> None:
        """Note an image, down to the disk."""
        import pyarrow as pa

        sink = pa.BufferOutputStream()
        with pa.ipc.new_stream(sink, cells.schema) as stream:
            stream.write_table(cells)
        content = sink.getvalue().to_pybytes()
        place = self.file.seek(0, os.SEEK_END)
        line = {"image": number, "state": state, "row": row, "bytes": len(content)}
        self.file.write(json.dumps(line).encode() + b"\n" + content)
        self.file.flush()
        os.fsync(self.file.fileno())
        self.done[number] = state, place

    def records(self, numbers: Iterable[int]) -> Iterator[tuple[dict[str, Any], Any]]:
        """The row and the cells of images."""
        import pyarrow as pa

        for number in numbers:
            self.file.seek(self.done[number][1])
            line = json.loads(self.file.readline())
            yield line["row"], pa.ipc.open_stream(self.file.read(line["bytes"])).read_all()


@contextmanager
def part_journal(part: Path, depends: Mapping[str, Any]) -> Iterator[PartJournal]:
    """The journal of a part, with what an earlier job left in it; it goes once the block has ended well."""
    path = part.with_name(f"{part.name}{JOURNAL}")
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a+b") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise InputError(f"{part} is being written by another job; let it end first") from None
        head = json.dumps(depends, sort_keys=True).encode() + b"\n"
        file.seek(0)
        found, end = dict[int, tuple[list[int], int]](), 0
        if file.readline() == head:
            size, end = os.fstat(file.fileno()).st_size, file.tell()
            while (line := file.readline()).endswith(b"\n"):
                about = json.loads(line)
                if file.tell() + about["bytes"] > size:  # cut short by a crash
                    break
                found[about["image"]] = about["state"], end
                end = file.seek(about["bytes"], os.SEEK_CUR)
        file.truncate(end)
        if not end:
            file.write(head)
            file.flush()
        yield PartJournal(file, found)
    path.unlink()


def write_part(part: Path, journal: PartJournal, numbers: Iterable[int]) -> None:
    """Write the Parquet files of these images: their cells, and a row for each."""
    rows = list[dict[str, Any]]()
    with growing_parquet("cells", part.with_name(f"{part.name}{CELLS}")) as append:
        for row, cells in journal.records(numbers):
            rows.append(row)
            append(cells)
    with growing_parquet("images", part.with_name(f"{part.name}{IMAGES}")) as append:
        append(table_of("images", rows))


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
