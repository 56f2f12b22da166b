"""Which image of a list a path means, whatever its number and suffix; which names of classes are no cell's."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Sequence
from pathlib import PurePosixPath
from unicodedata import normalize


def without_ome(name: str) -> str:
    """a.tif for a.ome.tif."""
    return re.sub(r"\.ome(\.\w+)$", r"\1", name, flags=re.IGNORECASE)


def is_ignored(name: object) -> bool:
    """Whether a class, label or category is that of a region that nobody annotated.

    >>> [is_ignored(name) for name in ("ignore", "Ignore*", "__ignore__", "ignored 2", "cell", None)]
    [True, True, True, True, False, False]
    """
    return _plain(name).startswith("ignore")


def is_background(name: object) -> bool:
    """Whether it is that of no cell at all, as labelme's _background_."""
    return _plain(name) == "background"


def _plain(name: object) -> str:
    return name.strip(" _*").lower() if isinstance(name, str) else ""


class Names:
    """Paths of images. A path means the one that is equal, or else equal but for the suffix, or else ends alike; where
    none is, the same without the .ome of .ome.tif.

    >>> names = Names(["plate1/B1.png", "plate2/B1.png", "c.ome.tif"])
    >>> [names.find(name) for name in ("plate2/B1.png", "plate1/B1.tif", "plates/c.jpg", "B1.png", "plate3/B1.png")]
    [[1], [0], [2], [0, 1], []]
    """

    def __init__(self, names: Sequence[str]) -> None:
        self._parts = [self.parts(name) for name in names]
        self._exact: dict[str, list[int]] = defaultdict(list)
        self._whole: dict[tuple[str, ...], list[int]] = defaultdict(list)
        self._base: dict[str, list[int]] = defaultdict(list)
        for index, (name, parts) in enumerate(zip(names, self._parts, strict=True)):
            self._exact[name].append(index)
            self._whole[parts].append(index)
            self._base[parts[-1]].append(index)
        bare = [without_ome(name) for name in names]
        self._without_ome = Names(bare) if bare != list(names) else None

    @staticmethod
    def parts(name: str) -> tuple[str, ...]:
        """Folders and stem."""
        path = PurePosixPath(normalize("NFC", name.replace("\\", "/")))
        return path.with_suffix("").parts if path.name else (name,)

    def find(self, name: str) -> list[int]:
        """Indices of the images that the path can mean: one, unless nothing tells several apart."""
        parts = self.parts(name)
        found = self._exact.get(name) or self._whole.get(parts) or self._ends_alike(parts)
        if found:
            return found
        bare = without_ome(name)
        if self._without_ome is not None:
            return self._without_ome.find(bare)
        return self.find(bare) if bare != name else []

    def _ends_alike(self, parts: tuple[str, ...]) -> list[int]:
        """Those of which one path is the end of the other, as where one of them was written from another folder."""

        def alike(other: tuple[str, ...]) -> bool:
            common = min(len(parts), len(other))
            return parts[-common:] == other[-common:]

        return [index for index in self._base.get(parts[-1], []) if alike(self._parts[index])]
