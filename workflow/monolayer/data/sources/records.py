"""COCO files as the world writes them, checked record by record: keys, types, ids, references, names.

What is wrong here leaves no way to go on: an InputError that names file, record, value and cure.
Format: https://cocodataset.org/#format-data
"""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, TextIO

from monolayer.coco.stream import JsonFile, NoJsonError
from monolayer.files import InputError

KEYS = ("images", "annotations", "categories")


@dataclass(frozen=True)
class ListedImage:
    """An image record as the file gives it: file_name is a path relative to the folder of images."""

    id: int
    file_name: str
    height: int
    width: int


@dataclass(frozen=True)
class Records:
    """One COCO file whose ids and references hold. lines: the names of the categories in each annotated image."""

    name: str
    open: Callable[[], TextIO]
    frames: dict[int, ListedImage]
    lines: dict[int, set[str]]

    def annotations(self) -> Iterator[dict[str, Any]]:
        """The annotation records, read anew and one at a time."""
        with self.open() as file:
            for key, values in JsonFile(file).members():
                if isinstance(values, Iterator):
                    yield from values if key == "annotations" else ()
                    deque(values, maxlen=0)


def read(path: Path, name: str | None = None) -> Records:
    """Read and check a COCO file; errors call it `name`, or by its path."""
    name = name or str(path)
    try:
        return check(lambda: path.open(encoding="utf-8-sig"), name)
    except OSError as error:
        raise InputError(f"{name} can't be read ({error.strerror}); check the path") from None


def check(open_file: Callable[[], TextIO], name: str) -> Records:
    """Read and check a file; it is opened again for its annotations."""
    frames: dict[int, ListedImage] = {}
    categories: dict[int, str] = {}
    first: dict[tuple[int, int], str] = {}  # image and category: the first annotation of both
    seen = set()
    try:
        with open_file() as file:
            for key, index, record in _entries(JsonFile(file), name):
                seen.add(key)
                if index is None:
                    continue
                if key == "categories":
                    where = f"{name}: category {index}"
                    categories[_integer(record, "id", where)] = _text(record, "name", where)
                elif key == "images":
                    _add(frames, _frame(record, f"{name}: image {index}"), name)
                else:
                    where = f"{name}: annotation {index} (id {_integer(record, 'id', f'{name}: annotation {index}')})"
                    first.setdefault(_references(record, where), where)
    except (NoJsonError, UnicodeDecodeError, RecursionError) as error:
        raise InputError(f"{name} is not JSON ({error}); is it cut short? export it again") from None
    for key in KEYS:
        if key not in seen:
            raise InputError(f"{name} has no '{key}'; a COCO file has {', '.join(KEYS)}")
    if not frames:
        raise InputError(f"{name} lists no images")
    if not first:
        raise InputError(f"{name} lists no annotations; there is nothing to learn from")
    return Records(name, open_file, frames, _lines(first, frames, categories))


# ---- structure -----------------------------------------------------------------------------------


def _entries(file: JsonFile, name: str) -> Iterator[tuple[str, int | None, dict[str, Any]]]:
    """Key, index and record of every entry of the three lists; index None where a list begins."""
    if file.next() not in ("{", ""):
        raise InputError(f"{name} holds {kind_of(file.value())}, not an object with {', '.join(KEYS)}")
    for key, values in file.members():
        if key in KEYS:
            if not isinstance(values, Iterator):
                raise InputError(f"{name}: '{key}' is {kind_of(values)}, not a list")
            yield key, None, {}
            for index, record in enumerate(values):
                if not isinstance(record, dict):
                    raise InputError(f"{name}: entry {index} of '{key}' is {kind_of(record)}, not an object")
                yield key, index, record
        elif isinstance(values, Iterator):
            deque(values, maxlen=0)


def _references(record: dict[str, Any], where: str) -> tuple[int, int]:
    """Image and category of an annotation."""
    if record.get("iscrowd", 0) not in (0, 1):
        raise InputError(f"{where}: iscrowd is {record['iscrowd']!r}; it must be 0 or 1")
    return _integer(record, "image_id", where), _integer(record, "category_id", where)


def _add(frames: dict[int, ListedImage], frame: ListedImage, name: str) -> None:
    if frame.id in frames:
        raise InputError(
            f"{name}: image id {frame.id} is used twice ({frames[frame.id].file_name}, {frame.file_name}); "
            "its annotations could belong to either, so give each image an id of its own"
        )
    frames[frame.id] = frame


def _lines(
    first: dict[tuple[int, int], str], frames: dict[int, ListedImage], categories: dict[int, str]
) -> dict[int, set[str]]:
    """The categories of each image; references that lead nowhere are refused."""
    lines: dict[int, set[str]] = defaultdict(set)
    for (image, category), where in first.items():
        if image not in frames:
            raise InputError(f"{where}: image_id {image} is no id of 'images'; add the image or drop the record")
        if category not in categories:
            known = ", ".join(f"{key} {value}" for key, value in list(categories.items())[:10]) or "there are none"
            raise InputError(f"{where}: category_id {category} is no id of 'categories' ({known}); add the category")
        lines[image].add(categories[category])
    return lines


def kind_of(value: Any) -> str:
    """What a JSON value is, with its article."""
    names = {
        dict: "an object",
        list: "a list",
        str: "a text",
        bool: "a truth value",
        int: "a number",
        float: "a number",
    }
    return names.get(type(value), "null")


def _integer(record: dict[str, Any], key: str, where: str) -> int:
    if key not in record:
        raise InputError(f"{where} has no '{key}'")
    if type(record[key]) is not int:
        raise InputError(f"{where}: {key} is {record[key]!r}, {kind_of(record[key])}; it must be a whole number")
    return int(record[key])


def _text(record: dict[str, Any], key: str, where: str) -> str:
    if key not in record:
        raise InputError(f"{where} has no '{key}'")
    if not isinstance(record[key], str) or not record[key].strip():
        raise InputError(f"{where}: {key} is {record[key]!r}; it must be a text that is not empty")
    return str(record[key])


def _frame(record: dict[str, Any], where: str) -> ListedImage:
    name = _text(record, "file_name", where)
    path = PurePosixPath(name.replace("\\", "/"))
    if path.is_absolute() or ".." in path.parts or ":" in path.parts[0]:
        raise InputError(
            f"{where}: file_name {name!r} leads out of the folder of images; give it relative to the folder"
        )
    frame = ListedImage(
        _integer(record, "id", where), str(path), _integer(record, "height", where), _integer(record, "width", where)
    )
    if frame.height < 1 or frame.width < 1:
        raise InputError(f"{where} ({name}) is {frame.width}x{frame.height} px; give the image's width and height")
    return frame
