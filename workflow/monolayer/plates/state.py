"""In what state the files of a plate are, without reading them: by their size and the time of their last change."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Iterator
from pathlib import Path

State = tuple[int, int]  # size, and when it changed, in ns
MISSING = (-1, -1)  # as a chunk of zeros that an OME-Zarr leaves out
HASH = 12  # bytes


def plate_digest(path: Path) -> str:
    """A short text that changes whenever a file of a plate comes, goes or changes: Snakemake sees its folder alone.

    Of a set that is given by one of its files, those beside it count too. Sums of hashes need no order, and no memory.
    """
    files = _below(path) if path.is_dir() else _beside(path)
    total = sum(int.from_bytes(_short(name, state)) for name, state in files)
    return f"{total % (1 << 8 * HASH):0{2 * HASH}x}"


def _below(path: Path) -> Iterator[tuple[str, State]]:
    """Relative path and state of each file in a folder; what can't be looked into is the plan's to refuse."""
    folders = [""]
    while folders:
        within = folders.pop()
        try:
            with os.scandir(path / within) as entries:
                for entry in entries:
                    name = f"{within}{entry.name}"
                    if entry.is_dir(follow_symlinks=False):
                        folders.append(f"{name}/")
                    else:
                        yield name, _state(entry)
        except OSError:
            yield within, MISSING


def _beside(path: Path) -> Iterator[tuple[str, State]]:
    from monolayer.plates.companion import set_of

    described = set_of(path)
    for one in [path] if described is None else described.parent.iterdir():
        yield one.name, _state(one)


def _short(name: str, state: State) -> bytes:
    return hashlib.blake2b(repr((name, state)).encode("utf-8", "surrogateescape"), digest_size=HASH).digest()


def _state(file: os.DirEntry[str] | Path) -> State:
    try:
        status = file.stat()
    except OSError:  # it went meanwhile, or is a link to nothing
        return MISSING
    return status.st_size, status.st_mtime_ns


def state_of_many(files: Iterable[Path]) -> list[int]:
    """A number for the sizes and times of many files in their order, of which some may be missing."""
    found = hashlib.blake2b(digest_size=6)
    for file in files:
        found.update(_short(file.name, _state(file)))
    return [int.from_bytes(found.digest())]
