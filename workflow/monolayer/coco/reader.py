"""The one reader of COCO files as the world writes them, checked record by record: keys, types, ids, references, names.

What leaves no way to go on is an InputError that names file, record, value and cure. What docs/inputs.md says of truth
is said here, for every entry point. Format: https://cocodataset.org/#format-data
"""

from __future__ import annotations

import gc
import zlib
from collections import Counter, deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any, TextIO

from monolayer.coco.names import is_background, is_ignored
from monolayer.coco.records import CELL
from monolayer.coco.stream import JsonFile, NoJsonError, open_json
from monolayer.files import DECODER, InputError, RepeatedKeyError

LARGEST = 2**63
TEXTS = ("cell_line", "well", "timestamp")  # which this pipeline adds, and others may give as numbers
KEYS = ("images", "annotations", "categories")


@dataclass(frozen=True)
class ListedImage:
    """An image record as the file gives it: file_name is a path relative to the folder of images."""

    id: int
    file_name: str
    height: int
    width: int
    record: dict[str, Any] = field(repr=False, compare=False)

    def text(self, key: str) -> str:
        """What this pipeline adds, as cell_line; empty where other tools wrote the file."""
        return str(self.record.get(key) or "")


@dataclass(frozen=True)
class Records:
    """One COCO file whose ids and references hold. lines: the names of the categories in each annotated image, and how
    many cells are of each.

    categories is empty where the file has none: then all cells are of one kind. regions are those named `ignore`, with
    the category that they are ignored in, the only other one. `annotations` gives the records, one at a time.
    """

    name: str
    frames: dict[int, ListedImage]
    categories: dict[int, str]
    lines: dict[int, Counter[str]]
    regions: dict[int, int]
    annotations: Callable[[], Iterator[dict[str, Any]]]

    def category(self, record: dict[str, Any]) -> int:
        """The category of an annotation, the only one where it names none; of a region, that of the cells."""
        number = self.named(record)
        return self.regions.get(number, number)

    def named(self, record: dict[str, Any]) -> int:
        """The category that it names."""
        given = record.get("category_id")
        return int(next(iter(self.categories), CELL["id"]) if given is None else given)


def read(path: Path, name: str | None = None, *, keep: bool = False, folder: bool = True) -> Records:
    """Read and check a COCO file, plain or gzipped; errors call it `name`, or by its path.

    Its annotations are read again from the file, so that memory does not grow with it, or kept. Unless images are not
    needed, their paths must lie in a folder.
    """
    name = name or str(path)
    try:
        return check(lambda: open_json(path), name, keep=keep, folder=folder)
    except (OSError, EOFError, zlib.error) as error:
        raise InputError(
            f"{name} can't be read ({getattr(error, 'strerror', None) or error}); check the path"
        ) from None


def check(open_file: Callable[[], TextIO], name: str, *, keep: bool = False, folder: bool = True) -> Records:
    """Read and check a file; it is opened again for its annotations, if they are not kept."""
    frames: dict[int, ListedImage] = {}
    categories: dict[int, str] = {}
    first: dict[tuple[int, int | None], str] = {}  # image and category: the first annotation of both
    seen, kept, counts = set(), list[dict[str, Any]](), Counter[tuple[int, int | None]]()
    with open_file() as file, _as_json(name):
        for key, index, record in _entries(_members(file, keep, name), name):
            seen.add(key)
            if index is None:
                continue
            if key == "categories":
                where = f"{name}: category {index}"
                categories[_integer(record, "id", where)] = _text(record, "name", where)
            elif key == "images":
                _add(frames, _frame(record, f"{name}: image {index}", folder), name)
            else:
                pair = _references(record, index, name)
                counts[pair] += 1
                if pair not in first:
                    first[pair] = _shown(record, index, name)
                if keep:
                    kept.append(record)
    for key in KEYS[:2]:
        if key not in seen:
            raise InputError(f"{name} has no '{key}'; a COCO file has {', '.join(KEYS)}")
    if not frames:
        raise InputError(f"{name} lists no images")
    again = (lambda: iter(kept)) if keep else (lambda: _annotations(open_file, name))
    check_references(first, frames, categories)
    cells = [key for key, category in categories.items() if not (is_ignored(category) or is_background(category))]
    regions = {key: key if len(cells) != 1 else cells[0] for key, word in categories.items() if is_ignored(word)}
    return Records(name, frames, categories, _lines(counts, categories, cells), regions, again)


@contextmanager
def _as_json(name: str) -> Iterator[None]:
    try:
        yield
    except RepeatedKeyError as error:
        raise InputError(f"{name}: {error}, and either may be meant; keep one of them") from None
    except (NoJsonError, UnicodeDecodeError, RecursionError) as error:
        raise InputError(f"{name} is not JSON ({error}); is it cut short? export it again") from None


def _annotations(open_file: Callable[[], TextIO], name: str) -> Iterator[dict[str, Any]]:
    """The annotation records, read anew and one at a time."""
    with open_file() as file:
        for key, values in JsonFile(file).members():
            if key == "annotations":
                for index, record in enumerate(values):
                    _references(record, index, name)
                    yield record
            elif isinstance(values, Iterator):
                deque(values, maxlen=0)


def _members(file: TextIO, keep: bool, name: str) -> Iterator[tuple[str, Any]]:
    """The members of the file's object, its lists as iterators; all at once where the annotations are kept."""
    if keep:
        data = _loaded(file)
    else:
        reader = JsonFile(file)
        data = {} if reader.next() in ("{", "") else reader.value()
    if not isinstance(data, dict):
        raise InputError(
            f"{name} holds {kind_of(data)}, not an object with {', '.join(KEYS)}; "
            "results, a list of records with scores, are no truth"
        )
    if keep:
        return ((key, iter(value) if isinstance(value, list) else value) for key, value in data.items())
    return reader.members()


def _loaded(file: TextIO) -> Any:
    collecting = gc.isenabled()
    gc.disable()  # there is no circle in JSON, and looking for some takes as long as reading it
    try:
        return DECODER.decode(file.read())
    except RepeatedKeyError:
        raise
    except (ValueError, RecursionError) as error:
        raise NoJsonError(error) from error
    finally:
        if collecting:
            gc.enable()


def _entries(members: Iterator[tuple[str, Any]], name: str) -> Iterator[tuple[str, int | None, dict[str, Any]]]:
    """Key, index and record of every entry of the three lists; index None where a list begins."""
    for key, values in members:
        if key in KEYS:
            if key == "categories" and values is None:
                continue
            if not isinstance(values, Iterator):
                raise InputError(f"{name}: '{key}' is {kind_of(values)}, not a list")
            yield key, None, {}
            for index, record in enumerate(values):
                if not isinstance(record, dict):
                    raise InputError(f"{name}: entry {index} of '{key}' is {kind_of(record)}, not an object")
                yield key, index, record
        elif isinstance(values, Iterator):
            deque(values, maxlen=0)


def _shown(record: dict[str, Any], index: int, name: str) -> str:
    return f"{name}: annotation {index} (id {record.get('id')})"


def _references(record: dict[str, Any], index: int, name: str) -> tuple[int, int | None]:
    """Image and category of an annotation, whose ids become whole numbers; a missing one becomes 0 or null."""
    image, category, number = record.get("image_id"), record.get("category_id"), record.get("id")
    if not (type(image) is type(category) is type(number) is int):  # mostly they are, and faster asked than looked at
        where = _shown(record, index, name)
        image = record["image_id"] = _integer(record, "image_id", where)
        record["id"] = 0 if number is None else _integer(record, "id", where)
        category = record["category_id"] = None if category is None else _integer(record, "category_id", where)
    crowd = record.get("iscrowd")
    if type(crowd) is not int or not 0 <= crowd <= 1:
        if crowd is not None and crowd not in (0, 1):
            raise InputError(f"{_shown(record, index, name)}: iscrowd is {crowd!r}; it must be 0 or 1")
        record["iscrowd"] = int(crowd or 0)
    return image, category


def _add(frames: dict[int, ListedImage], frame: ListedImage, name: str) -> None:
    if frame.id in frames:
        raise InputError(
            f"{name}: image id {frame.id} is used twice ({frames[frame.id].file_name}, {frame.file_name}); "
            "its annotations could belong to either, so give each image an id of its own"
        )
    frames[frame.id] = frame


def _lines(
    counts: Counter[tuple[int, int | None]], categories: dict[int, str], cells: list[int]
) -> dict[int, Counter[str]]:
    """The categories of each annotated image's cells, and how many are of each."""
    lines: dict[int, Counter[str]] = {image: Counter() for image, _ in counts}
    for (image, given), count in counts.items():
        category = next(iter(categories), 0) if given is None else given
        if category in cells or not categories:
            lines[image][categories.get(category, "")] += count
    return lines


def check_references(
    first: dict[tuple[int, int | None], str], frames: dict[int, ListedImage], categories: dict[int, str]
) -> None:
    """Refuse references of annotations, each with the first that has them, that lead nowhere."""
    for (image, category), where in first.items():
        if image not in frames:
            raise InputError(f"{where}: image_id {image} is no id of 'images'; add the image or drop the record")
        if category is None and len(categories) > 1:
            raise InputError(f"{where} has no 'category_id', and the file has {len(categories)} categories; add it")
        if category is not None and abs(category) >= LARGEST:
            raise InputError(f"{where}: category_id is {str(category)[:40]}; it must be below 2⁶³")
        if category is not None and categories and category not in categories:
            known = ", ".join(f"{key} {value}" for key, value in list(categories.items())[:10])
            raise InputError(f"{where}: category_id {category} is no id of 'categories' ({known}); add the category")


def kind_of(value: Any) -> str:
    """What a JSON value is, with its article."""
    names = {dict: "an object", list: "a list", str: "a text", bool: "a truth value"}
    return names.get(type(value), "a number" if isinstance(value, int | float) else "null")


def _integer(record: dict[str, Any], key: str, where: str) -> int:
    """A whole number, also where it is written with a point, as tables with gaps write it."""
    if key not in record:
        raise InputError(f"{where} has no '{key}'")
    value = record[key]
    if type(value) is float and value.is_integer():
        return int(value)
    if type(value) is not int:
        raise InputError(f"{where}: {key} is {value!r}, {kind_of(value)}; it must be a whole number")
    if abs(value) >= LARGEST:
        raise InputError(f"{where}: {key} is {str(value)[:40]}; it must be below 2⁶³")
    return int(value)


def _text(record: dict[str, Any], key: str, where: str) -> str:
    if key not in record:
        raise InputError(f"{where} has no '{key}'")
    if not isinstance(record[key], str) or not record[key].strip():
        raise InputError(f"{where}: {key} is {record[key]!r}; it must be a text that is not empty")
    return str(record[key])


def _frame(record: dict[str, Any], where: str, folder: bool) -> ListedImage:
    name = _text(record, "file_name", where)
    path = PurePosixPath(name.replace("\\", "/"))
    if not path.parts or (folder and (path.is_absolute() or ".." in path.parts or ":" in path.parts[0])):
        raise InputError(
            f"{where}: file_name {name!r} leads out of the folder of images; give it relative to the folder"
        )
    number, height, width = (_integer(record, key, where) for key in ("id", "height", "width"))
    for key in TEXTS:
        value = record.get(key)
        if value is not None and (isinstance(value, bool) or not isinstance(value, str | int | float)):
            raise InputError(f"{where}: {key} is {str(value)[:40]}, {kind_of(value)}; it must be a text")
        if value is not None:
            record[key] = str(value)
    frame = ListedImage(number, str(path), height, width, record)
    if frame.height < 1 or frame.width < 1:
        raise InputError(f"{where} ({name}) is {frame.width}x{frame.height} px; give the image's width and height")
    if frame.height * frame.width >= 2**31:
        raise InputError(f"{where} ({name}) has 2³¹ pixels or more; cut it into tiles")
    return frame
