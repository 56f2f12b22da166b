"""What a long prediction has found so far, image by image on disk: a kill costs the images under way, no others."""

from __future__ import annotations

import errno
import fcntl
import json
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, cast

from monolayer.coco.records import Result
from monolayer.files import InputError


@dataclass
class Journal:
    """Lines of JSON: what the results depend on, then for each image its name, the state of its file and its cells.

    known are all images that it names; done says where the lines of those are whose results would be the same today.
    """

    file: IO[bytes]
    head: bytes
    known: set[str]
    done: dict[str, tuple[list[int], int]]
    end: int  # of what can be gone on with

    def begin(self) -> None:
        """Cut off what is of other settings, or what a crash left of a line."""
        self.file.truncate(self.end)
        self.known = set(self.done)
        if not self.end:
            self._write(self.head)

    def has(self, name: str, state: list[int]) -> bool:
        return name in self.done and self.done[name][0] == state

    def add(self, name: str, state: list[int], results: Iterable[Result]) -> None:
        """Note an image, down to the disk."""
        place = self.file.seek(0, os.SEEK_END)
        self._write(json.dumps([name, state, list(results)], separators=(",", ":")).encode() + b"\n")
        self.done[name] = state, place

    def results(self, numbers: dict[int, str]) -> Iterator[Result]:
        """The cells of images, under their numbers."""
        for number, name in numbers.items():
            self.file.seek(self.done[name][1])
            for result in json.loads(self.file.readline())[2]:
                yield cast(Result, {"file_name": name} | result | {"image_id": number})

    def _write(self, line: bytes) -> None:
        self.file.write(line)
        self.file.flush()
        os.fsync(self.file.fileno())


@contextmanager
def journal_of(output: Path, depends: dict[str, Any]) -> Iterator[Journal]:
    """The journal beside `output`, with what an earlier call left in it; it goes once all has ended well."""
    if output.is_dir():
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(output))
    path = output.with_name(f"{output.name}.journal")
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a+b") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise InputError(f"{output} is being written by another `monolayer predict`; let it end first") from None
        head = json.dumps(depends, sort_keys=True).encode() + b"\n"
        file.seek(0)
        same, end = file.readline() == head, file.tell()
        found: dict[str, tuple[list[int], int]] = {}
        while (line := file.readline()).endswith(b"\n"):
            name, state, _ = json.loads(line)
            found[name], end = (state, end), file.tell()
        journal = Journal(file, head, set(found), found if same else {}, end if same else 0)
        ended = False
        try:
            yield journal
            ended = True
        finally:
            if ended or not (journal.done or journal.known):
                path.unlink()
