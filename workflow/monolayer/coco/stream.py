"""A JSON object read member by member and its lists element by element: memory doesn't grow with the file."""

from __future__ import annotations

import gzip
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TextIO, cast

from monolayer.files import DECODER, RepeatedKeyError

BLANK = re.compile(r"[ \t\n\r]*")
CHUNK = 1 << 20  # characters
NUMBER_GOES_ON = "0123456789.eE+-"  # and so may nothing, the end of the piece


def open_json(path: Path) -> TextIO:
    """A JSON file, gzipped or plain, with or without a byte order mark."""
    with path.open("rb") as probe:
        packed = probe.read(2) == b"\x1f\x8b"
    return gzip.open(path, "rt", encoding="utf-8-sig") if packed else path.open(encoding="utf-8-sig")


class NoJsonError(ValueError):
    """The file is no JSON, or not from here on."""


class JsonFile:
    """An open file, the piece of it in memory and how far that is read."""

    def __init__(self, file: TextIO) -> None:
        self.file = file
        self.text = ""
        self.at = 0
        self.before = 0  # characters that are no longer in memory

    def next(self) -> str:
        """The next character that is not blank, not yet taken; empty at the end."""
        while True:
            found = self.text[self.at : self.at + 1]
            if found > " ":  # mostly so, and faster asked than matched
                return found
            self.at = cast(re.Match[str], BLANK.match(self.text, self.at)).end()
            if self.at < len(self.text) or not self.more(CHUNK):
                return self.text[self.at : self.at + 1]

    def more(self, size: int) -> bool:
        """Read on, and let go what is taken; False at the end of the file."""
        came = self.file.read(size)
        if came:
            self.before += self.at
            self.text, self.at = self.text[self.at :] + came, 0
        return bool(came)

    def take(self, allowed: str) -> str:
        """Take the next character, which must be one of these."""
        found = self.next()
        if not found or found not in allowed:
            raise self.fault(f"{found} stands where one of {allowed} is expected" if found else "it ends too early")
        self.at += 1
        return found

    def value(self) -> Any:
        """Take a whole value."""
        self.next()
        size = CHUNK
        while True:
            fault = None
            try:
                value, end = DECODER.raw_decode(self.text, self.at)
            except RepeatedKeyError:  # which more text would not mend
                raise
            except ValueError as error:  # JSONDecodeError, or a number of more digits than Python takes
                fault = error
            # a fault may be that the piece ends here, and so may the end of a number: only more text can tell
            if (fault or self.text[end : end + 1] in NUMBER_GOES_ON) and self.more(size):
                size *= 2
            elif fault:
                raise self.fault(getattr(fault, "msg", str(fault)), getattr(fault, "pos", self.at))
            else:
                self.at = end
                return value

    def elements(self) -> Iterator[Any]:
        """Take a list, an element at a time."""
        self.take("[")
        if self.next() == "]":
            self.take("]")
            return
        while True:
            yield self.value()
            if self.take(",]") == "]":
                return

    def members(self) -> Iterator[tuple[str, Any]]:
        """Take an object; a list comes as an iterator of its elements, to be used up before the next member."""
        self.take("{")
        known: set[str] = set()
        closed = self.next() == "}"
        self.at += closed
        while not closed:
            if self.next() != '"':
                raise self.fault("a name in quotes is expected")
            key = self.value()
            if key in known:
                raise RepeatedKeyError(f"it has the key {key!r} twice")
            known.add(key)
            self.take(":")
            yield key, self.elements() if self.next() == "[" else self.value()
            closed = self.take(",}") == "}"
        if self.next():
            raise self.fault("the object is closed, but the file goes on")

    def fault(self, what: str, at: int | None = None) -> NoJsonError:
        return NoJsonError(f"{what}: character {self.before + (self.at if at is None else at)}")
