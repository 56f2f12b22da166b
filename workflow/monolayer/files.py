"""Files in and out: what is written is whole or not there, what can't be used is one clear error."""

from __future__ import annotations

import csv
import errno
import json
import os
import re
import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

FORMAT: Final = 2  # of weights.pt, checkpoints, run.json and model.json; in 1 parameters had other names
FORMULA: Final = ("=", "+", "-", "@", "\t", "\r")
PIXEL_BYTES = 70  # of memory that a pixel takes in a network and around it
FULL = 1 << 20  # bytes free, below which a disk counts as full


class InputError(ValueError):
    """Input that can't be used; the text names the thing, the value and the cure."""


def check_format(path: Path, found: object, cure: str) -> None:
    """Refuse a file that another version of this package wrote; the first ones had no number."""
    if found != FORMAT:
        raise InputError(f"{path} is of format {found or 1}, and this version reads {FORMAT}; {cure}")


@contextmanager
def atomic_write(path: Path) -> Iterator[Path]:
    """Give a temporary name beside `path` and rename it once the block has ended well: no half-written file.

    The content is on the disk before the name, and the name when this returns: a power cut leaves the old or the new.
    """
    if path.is_dir():  # known before hours of work, not after
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        yield partial
        with partial.open("rb") as file:
            os.fsync(file.fileno())
        partial.replace(path)
        sync_folder(path.parent)
    except RuntimeError as error:  # torch's writer does not tell why it could not write
        if shutil.disk_usage(path.parent).free < FULL:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path)) from error
        raise
    finally:
        partial.unlink(missing_ok=True)


def sync_folder(path: Path) -> None:
    """Bring the names in a folder to the disk."""
    number = os.open(path, os.O_RDONLY)
    try:
        os.fsync(number)
    finally:
        os.close(number)


def write_bytes(path: Path, content: bytes) -> None:
    with atomic_write(path) as partial:
        partial.write_bytes(content)


def write_json(path: Path, data: Any, indent: int | None = None) -> None:
    write_bytes(path, (json.dumps(data, indent=indent, ensure_ascii=False, allow_nan=False) + "\n").encode())


class RepeatedKeyError(ValueError):
    """A JSON object that has a key twice: Python's decoder would take the last, others the first."""


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    record = dict(pairs)
    if len(record) < len(pairs):
        keys = [key for key, _ in pairs]
        twice = next(key for key in record if keys.count(key) > 1)
        raise RepeatedKeyError(f"an object has the key {twice!r} twice")
    return record


DECODER: Final = json.JSONDecoder(object_pairs_hook=_once)  # of every JSON file


def read_json(path: Path, what: str, cure: str) -> Any:
    """What a JSON file holds; errors say `what` it should be and how to have it again."""
    try:
        return DECODER.decode(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(f"{path} is not readable as {what} ({error}); {cure}") from error


def no_formula(value: Any) -> Any:
    """A value for CSV; text that a spreadsheet would compute (a file called =HYPERLINK(...)) gets a ' before it."""
    return f"'{value}" if isinstance(value, str) and value.startswith(FORMULA) else value


def write_csv(path: Path, rows: Sequence[Mapping[str, Any]], columns: Iterable[str] | None = None) -> None:
    """Write a row for each of `rows`, under these columns or all that any of them has; what a row lacks is empty."""
    with atomic_write(path) as partial, partial.open("w", newline="", encoding="utf-8") as file:
        names = dict.fromkeys(name for row in rows for name in row) if columns is None else columns
        table = csv.DictWriter(file, list(names), lineterminator="\n")
        table.writeheader()
        table.writerows({name: no_formula(value) for name, value in row.items()} for row in rows)


@contextmanager
def whole_folder(path: Path) -> Iterator[Path]:
    """Give an empty folder beside `path` that becomes `path` once the block has ended well."""
    if path.is_file():
        raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), str(path))
    partial = path.with_name(f".{path.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    try:
        yield partial
        if path.exists():
            shutil.rmtree(path)
        partial.rename(path)
        sync_folder(path.parent)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def name_of_file(text: str) -> str:
    """A file's or folder's name for any text, as a cell line's: others for others, and none that leads out.

    >>> [name_of_file(text) for text in ("SH-SY5Y", "HeLa (p 12)", "../x", "A/B", "A%2FB", "β-cells", "..", "")]
    ['SH-SY5Y', 'HeLa (p 12)', '%2E.%2Fx', 'A%2FB', 'A%252FB', 'β-cells', '%2E.', '%']
    """
    safe = re.sub(r"^\.|[^\w .()+,=@~-]", lambda found: "".join(f"%{byte:02X}" for byte in found[0].encode()), text)
    return safe or "%"


def state_of(files: Iterable[Path]) -> list[int]:
    """Size and time of the last change of each of these files, which have to be there: what it says that one is as it
    was.
    """
    states = (file.stat() for file in files)
    return [number for state in states for number in (state.st_size, state.st_mtime_ns)]


def few(names: Sequence[object], most: int) -> str:
    """The first of these names, and that there are more, if so.

    >>> few(["a", "b", "c"], most=2), few(["a", "b"], most=2)
    ('a, b, ...', 'a, b')
    """
    return ", ".join([*map(str, names[:most]), *(["..."] if len(names) > most else [])])


def check_disk(folder: Path, needed: int, what: str) -> None:
    """Refuse to begin what would not fit on the disk of `folder`."""
    free = shutil.disk_usage(folder).free
    if needed > free:
        there = f"in {folder}, where {free / 1e9:.2f} GB are free"
        raise InputError(f"{what} needs {needed / 1e9:.2f} GB {there}; make space")


def free_memory() -> int:
    """Bytes that a process can have without swapping."""
    import psutil

    return int(psutil.virtual_memory().available)


def check_memory(pixels: int, what: str, free: int, cure: str = "cut it into tiles") -> None:
    """Refuse to begin with an image for whose cells the memory is too small."""
    if (needed := PIXEL_BYTES * pixels) > free:
        need = f"{what} has {pixels:,} pixels, which take {needed / 1e9:.1f} GB of memory"
        raise InputError(f"{need}, and {free / 1e9:.1f} are free; {cure}")
