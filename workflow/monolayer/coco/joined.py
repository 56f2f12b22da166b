"""Which image of the truth a result belongs to: by its file's name where it has one, else by its number."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any

from monolayer.coco.names import Names

log = logging.getLogger(__name__)


class Joined:
    """Images by the names and numbers that results give; what could be several images, or none, is a ValueError."""

    def __init__(self, ids: Sequence[int], names: Sequence[str]) -> None:
        self._ids, self._names, self._paths = ids, names, Names(names)
        self._index = {number: index for index, number in enumerate(ids)}
        self._known: dict[tuple[Any, Any], int] = {}
        self._named: bool | None = None
        self._image_of: dict[Any, int] = {}
        self._number_of: dict[int, Any] = {}

    def index(self, record: dict[str, Any]) -> int:
        """The index of a result's image."""
        key = record.get("file_name"), record.get("image_id")
        if isinstance(key[1], list | dict) or isinstance(key[0], list | dict):
            raise ValueError(f"file_name or image_id is {str(key)[:60]}; a name is a text, a number whole")
        if key not in self._known:
            self._known[key] = self._resolve(*key)
        return self._known[key]

    def _resolve(self, name: Any, number: Any) -> int:
        if self._named is not None and self._named != (name is not None):
            raise ValueError("some records have a file_name and some have none; give it to all or to none")
        self._named = name is not None
        if name is not None:
            return self._agreeing(self._by_name(name, number), number)
        if number is None:
            raise KeyError("image_id")
        if isinstance(number, bool | str) or number not in self._index:
            cure = "compare with the truth that it was predicted for"
            raise ValueError(f"image_id {number!r} is not in the truth; {cure}{self._hint(number)}")
        return self._index[number]

    def _by_name(self, name: Any, number: Any) -> int:
        found = self._paths.find(name) if isinstance(name, str) else []
        if not found:
            raise ValueError(f"file_name {name!r} is no image of the truth; give the truth that lists it")
        if len({self._names[index] for index in found}) == 1:  # a file listed twice
            found = [index for index in found if self._ids[index] == number] or found
        if len(found) > 1:
            shown = " or ".join(f"{self._names[index]} (id {self._ids[index]})" for index in found[:3])
            raise ValueError(f"file_name {name!r} can be {shown} of the truth; give the path that the truth gives")
        return found[0]

    def _agreeing(self, index: int, number: Any) -> int:
        """Refuse numbers that contradict the names."""
        if number is not None:
            other = self._image_of.setdefault(number, index)
            if other != index:
                names = f"{self._names[other]} and for {self._names[index]}"
                raise ValueError(f"image_id {number} stands for {names}; give each image a number of its own, or none")
            first = self._number_of.setdefault(index, number)
            if first != number:
                raise ValueError(f"{self._names[index]} has the image_ids {first} and {number}; give it one, or none")
        return index

    def _hint(self, number: Any) -> str:
        stems = {Names.parts(name)[-1]: name for name in self._names}
        stems |= {str(int(stem)): name for stem, name in stems.items() if stem.isdecimal()}
        if str(number) in stems:
            return (
                f" (it reads like the name {stems[str(number)]}: put names into file_name, which goes before image_id)"
            )
        low, high = min(self._ids), max(self._ids)
        if number in (low - 1, high + 1) and high - low == len(self._ids) - 1:
            return f" (its ids go from {low} to {high}: are those of the results shifted by one?)"
        return ""

    def warn(self) -> None:
        """Say what numbers without names may hide: they can be read in two ways."""
        stems = [Names.parts(name)[-1] for name in self._names]
        if self._named or not self._known or not all(stem.isdecimal() for stem in stems):
            return
        meant = {int(stem): index for index, stem in enumerate(stems)}
        used = [number for _, number in self._known]
        if any(meant.get(number) != self._index[number] for number in used) and meant.keys() >= set(used):
            log.warning(
                "the image_ids of the results fit both the ids of the truth and the numbers in its file names, which "
                "are others; read as ids: where names are meant, put them into file_name"
            )
