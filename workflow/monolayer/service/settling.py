"""Files that somebody may still be writing into a folder: they count once nothing has changed for a while."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from monolayer.data.reading import image_files

ZEROS, PATIENCE = 4096, 30  # a file that ends in so many zeros may be a copy under way: it waits so many times as long
FileState = tuple[int, int]  # bytes, and when they were written in ns


class SettledFile(NamedTuple):
    """A file by its name below the folder, and the state that it settled in."""

    name: str
    path: Path
    state: FileState


@dataclass
class Looks:
    """What looks at a folder found: each file's state and since when, and the state in which it can't be used."""

    seen: dict[str, tuple[FileState, float]] = field(default_factory=dict)
    faulty: dict[str, FileState] = field(default_factory=dict)

    def settled(
        self, folder: Path, settle_s: float, done: Callable[[str], FileState | None] = lambda _: None
    ) -> Iterator[SettledFile]:
        """Images below the folder that have not changed for `settle_s` seconds by this machine's clock, are not done
        in that state, and can be used as far as is known."""
        now = time.monotonic()
        for place, _, names in os.walk(folder):  # a folder that goes away meanwhile is no fault
            for name, path in image_files(folder, (Path(place, name) for name in names))[0].items():
                try:
                    status = path.stat()
                except OSError:  # moved away since
                    continue
                state = status.st_size, status.st_mtime_ns
                before, since = self.seen.get(name, (None, now))
                since = since if before == state else now
                self.seen[name] = state, since
                waited = now - since
                known = state in (self.faulty.get(name), done(name))
                if before != state or not status.st_size or known or waited < settle_s:
                    continue
                if waited >= PATIENCE * settle_s or not _ends_in_zeros(path, status.st_size):
                    yield SettledFile(name, path, state)


def _ends_in_zeros(path: Path, size: int) -> bool:
    """Whether a file may be a copy under way whose room was taken beforehand."""
    try:
        with path.open("rb") as file:
            file.seek(max(0, size - ZEROS))
            return file.read(ZEROS) == bytes(ZEROS)
    except OSError:  # what reads it all will say so
        return False
