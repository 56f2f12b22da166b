"""What a long prediction has found so far, image by image on disk: a kill costs the images under way, no others."""

from __future__ import annotations

import errno
import fcntl
import json
import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import IO, Any, cast

from monolayer.coco.records import Result
from monolayer.files import InputError


@dataclass
class Journal:
    """Lines of JSON: what the results depend on, then for each image its name, the state of its file and its cells.

    A line ends with the sums of the files that were written of its image, by path: what has another sum by now is not
    ours. known are all images that it names; done says where the lines of those are whose results would be the same
    today; wrote are the sums that each file had, whatever the settings, the newest last.
    """

    file: IO[bytes]
    head: bytes
    known: set[str]
    done: dict[str, tuple[list[int], int]]
    wrote: dict[str, list[str]]
    end: int  # of what can be gone on with

    def begin(self) -> None:
        """Cut off what is of other settings, or what a crash left of a line."""
        self.file.truncate(self.end)
        self.known = set(self.done)
        if not self.end:
            self._write(self.head)
            if self.wrote:
                self._write(_line("", [], [], self.wrote))

    def has(self, name: str, state: list[int]) -> bool:
        return name in self.done and self.done[name][0] == state

    def add(self, name: str, state: list[int], results: Iterable[Result], files: Mapping[Path, bytes]) -> None:
        """Note an image and what its files will hold, down to the disk."""
        sums = {str(path.resolve()): [sha256(content).hexdigest()] for path, content in files.items()}
        place = self.file.seek(0, os.SEEK_END)
        self._write(_line(name, state, list(results), sums))
        self.done[name] = state, place
        _extend(self.wrote, sums)

    def is_own(self, path: Path) -> bool:
        """Whether a file is as a call for the same output wrote it."""
        sums = self.wrote.get(str(path.resolve()))
        return sums is not None and sha256(path.read_bytes()).hexdigest() in sums

    def is_outdated(self, path: Path) -> bool:
        """Whether it is so, but not of the last call: a kill came before that could write it."""
        sums = self.wrote.get(str(path.resolve()))
        return sums is not None and sha256(path.read_bytes()).hexdigest() in set(sums) - {sums[-1]}

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


def _line(*entry: object) -> bytes:
    return json.dumps(entry, separators=(",", ":")).encode() + b"\n"


def _extend(wrote: dict[str, list[str]], sums: Mapping[str, list[str]]) -> None:
    for path, more in sums.items():
        wrote.setdefault(path, []).extend(more)


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
        found, wrote = dict[str, tuple[list[int], int]](), dict[str, list[str]]()
        while (line := file.readline()).endswith(b"\n"):
            name, state, _, *sums = json.loads(line)  # a version before wrote none
            found[name], end = (state, end), file.tell()
            _extend(wrote, *sums or ({},))
        found.pop("", None)
        journal = Journal(file, head, set(found), found if same else {}, wrote, end if same else 0)
        ended = False
        try:
            yield journal
            ended = True
        finally:
            if ended or not (journal.done or journal.known or journal.wrote):
                path.unlink()
