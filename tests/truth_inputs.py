"""What `source: coco`, `evaluate` and `measure` do with each kind of truth and results: run by tests/cli.

The truth is two images with two squares of 16 px² each. What is read has to give these cells: every mask of `measure`
16 px², an AP and F1 of 1 for results that are the same cells.
"""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import tifffile
from inputs import InputCase
from monolayer.coco.rle import mask_from_rle, rle_from_polygons

SIDE = 60
CORNER = [(1, x, y) for x in range(0, 25, 5) for y in range(0, 25, 5)]
CELLS = [(1, 5, 5), (1, 30, 30), (2, 12, 40), (2, 44, 20)]  # image, x, y
Coco = dict[str, Any]
Change = Callable[[Any], Any]
Said = tuple[str, str]  # outcome, words


def square(x: float, y: float) -> list[float]:
    return [x, y, x + 4, y, x + 4, y + 4, x, y + 4]


def make_truth() -> Coco:
    cells = [
        {"id": number, "image_id": image, "category_id": 1, "segmentation": [square(x, y)], "iscrowd": 0}
        for number, (image, x, y) in enumerate(CELLS, start=1)
    ]
    images = [{"id": i, "file_name": name, "height": SIDE, "width": SIDE} for i, name in ((1, "a.png"), (2, "b.png"))]
    return {"images": images, "annotations": cells, "categories": [{"id": 1, "name": "cell"}]}


def make_results(cells: Sequence[tuple[int, int, int]] = CELLS) -> list[Coco]:
    """These cells, found with one score."""
    return [{"image_id": i, "category_id": 1, "segmentation": [square(x, y)], "score": 0.9} for i, x, y in cells]


def each(key: str, value: Any) -> Change:
    """Set a key of all annotations, or of the only member that has it."""
    return lambda file: [cell.update({key: value(cell) if callable(value) else value}) for cell in cells_of(file)]


def one(key: str, value: Any, index: int = 0) -> Change:
    return lambda truth: cells_of(truth)[index].__setitem__(key, value)


def without(key: str) -> Change:
    return lambda truth: [cell.pop(key) for cell in cells_of(truth)]


def cells_of(file: Any) -> list[Coco]:
    return list(file["annotations"] if isinstance(file, dict) else file)


def scaled(factor: float) -> Change:
    return each("segmentation", lambda cell: [[value * factor for value in cell["segmentation"][0]]])


def compressed(cell: Coco) -> Any:
    return rle_from_polygons(cell["segmentation"], SIDE, SIDE)


def plain(cell: Coco) -> Any:
    pixels = mask_from_rle(compressed(cell)).ravel(order="F").astype(int)
    edges = np.flatnonzero(np.diff(np.r_[0, pixels, 0]))
    return {"size": [SIDE, SIDE], "counts": np.diff(np.r_[0, edges, len(pixels)]).tolist()}


def half_size(cell: Coco) -> Any:
    return rle_from_polygons([[value / 2 for value in cell["segmentation"][0]]], SIDE // 2, SIDE // 2)


def of_another(name: str) -> Change:
    """The first annotation is of a second category of that name."""

    def change(truth: Coco) -> None:
        truth["categories"].append({"id": 2, "name": name})
        truth["annotations"][0]["category_id"] = 2

    return change


def names(*given: str) -> Change:
    return lambda truth: [i.update(file_name=name) for i, name in zip(truth["images"], given, strict=True)]


def ids(*given: Any) -> Change:
    """Number the images so, and their cells with them."""

    def change(truth: Coco) -> None:
        for image, number in zip(truth["images"], given, strict=True):
            image["id"] = number
        for cell in truth["annotations"]:
            cell["image_id"] = given[int(cell["image_id"]) - 1]

    return change


def floats(truth: Coco) -> None:
    for record in [*truth["images"], *truth["annotations"], *truth["categories"]]:
        record |= {key: float(value) for key, value in record.items() if type(value) is int and key != "iscrowd"}


def in_a_corner(truth: Coco) -> None:
    truth["images"] = truth["images"][:1]
    first = truth["annotations"][0]
    cells = [first | {"id": n, "segmentation": [square(x, y)]} for n, (_, x, y) in enumerate(CORNER, start=1)]
    truth["annotations"] = cells


def listed_twice(truth: Coco) -> None:
    truth["images"][1]["file_name"] = "a.png"


class TruthKind(NamedTuple):
    """A kind of truth: how it differs, and what becomes of it, at all entry points or at some of them another way."""

    kind: str
    change: Change
    said: Said
    others: dict[str, Said] | None = None
    cells: Sequence[tuple[int, int, int]] = CELLS  # those that are kept
    write: Callable[[str], bytes] = str.encode


READ = "read"
LEFT_OUT = ("finding", "annotations without a polygon of at least three points or a mask; left out")
NO_PIXEL = ("finding", "annotations without a pixel inside their image; left out")
OTHER_UNIT = ("refused", "must be in px of the image")
WHOLE = "it must be a whole number"

TRUTH = [
    TruthKind("polygons", lambda t: None, (READ, "as pycocotools rasterises them")),
    TruthKind("compressed run lengths", each("segmentation", compressed), (READ, "their mask")),
    TruthKind("plain run lengths", each("segmentation", plain), (READ, "their mask")),
    TruthKind("gzipped", lambda t: None, (READ, "the same"), write=lambda text: gzip.compress(text.encode())),
    TruthKind("byte order mark", lambda t: None, (READ, "the same"), write=lambda text: text.encode("utf-8-sig")),
    TruthKind("sizes and ids as floats, 60.0", floats, (READ, "whole numbers")),
    TruthKind("ids as floats, 1.5", each("image_id", 1.5), ("refused", WHOLE)),
    TruthKind("ids as texts", ids("1", "2"), ("refused", WHOLE)),
    TruthKind("annotations without id", without("id"), (READ, "numbered"), {"source: coco": ("finding", "renumbered")}),
    TruthKind("annotation id 0, which pycocotools never matches", one("id", 0), (READ, "a cell like others")),
    TruthKind("`iscrowd` missing", without("iscrowd"), (READ, "no crowds")),
    TruthKind("`iscrowd` null", each("iscrowd", None), (READ, "no crowds")),
    TruthKind("`iscrowd` 2", one("iscrowd", 2), ("refused", "iscrowd is 2; it must be 0 or 1")),
    TruthKind("`iscrowd` 1 everywhere", each("iscrowd", 1), ("refused", "are crowds (iscrowd 1), which never count")),
    TruthKind(
        "`iscrowd` 1 in part", one("iscrowd", 1), ("finding", "crowds (iscrowd 1), which never count"), cells=CELLS[1:]
    ),
    TruthKind(
        "`iscrowd` true in part", one("iscrowd", True), ("finding", "which never count as cells"), cells=CELLS[1:]
    ),
    TruthKind(
        "a category `ignore`, in any case",
        of_another("Ignore"),
        ("finding", "regions that nobody annotated; they count neither way"),
        cells=CELLS[1:],
    ),
    TruthKind(
        "a category `_background_`",
        of_another("_background_"),
        ("finding", "shapes that are no cells, backgrounds and texts; left out"),
        cells=CELLS[1:],
    ),
    TruthKind(
        "several categories",
        of_another("nucleus"),
        (READ, "cells like others"),
        {"source: coco": ("finding", "line has 3 cell, 1 nucleus")},  # where they are of one line
    ),
    TruthKind("no categories", lambda t: t.pop("categories"), (READ, "one kind of cell")),
    TruthKind("no `category_id`, one category", without("category_id"), (READ, "that category")),
    TruthKind("`category_id` of no category", one("category_id", 7), ("refused", "category_id 7 is no id of")),
    TruthKind("`image_id` of no image", one("image_id", 9), ("refused", "image_id 9 is no id of 'images'")),
    TruthKind("image id twice", lambda t: t["images"][1].update(id=1), ("refused", "image id 1 is used twice")),
    TruthKind("empty segmentation", one("segmentation", []), LEFT_OUT, cells=CELLS[1:]),
    TruthKind("null segmentation", one("segmentation", None), LEFT_OUT, cells=CELLS[1:]),
    TruthKind("polygon of two points", one("segmentation", [[1, 2, 3, 4]]), LEFT_OUT, cells=CELLS[1:]),
    TruthKind(
        "stray point beside a polygon",
        lambda t: t["annotations"][0]["segmentation"].append([5, 5]),
        (READ, "the polygon"),
    ),
    TruthKind(
        "run lengths without a pixel",
        one("segmentation", {"size": [60, 60], "counts": [3600]}),
        NO_PIXEL,
        cells=CELLS[1:],
    ),
    TruthKind("flat polygon", one("segmentation", square(5, 5)), ("refused", "segmentation is a flat list")),
    TruthKind("polygon of 7 numbers", one("segmentation", [[1] * 7]), ("refused", "an x or a y is missing")),
    TruthKind("polygon with NaN", one("segmentation", [[float("nan")] * 6]), ("refused", "that are NaN or infinite")),
    TruthKind("polygons within 0 … 1", scaled(1 / SIDE), OTHER_UNIT),
    TruthKind("polygons of images twice the size", scaled(2), OTHER_UNIT),
    TruthKind("polygons of images ten times the size", scaled(10), ("refused", "those of another image or size?")),
    TruthKind("all in one quarter", in_a_corner, ("finding", "lie in the upper left quarter"), cells=CORNER),
    TruthKind(
        "a polygon over the edge",
        one("segmentation", [square(5, 5), square(62, 5)]),
        ("finding", "clipped at its edge"),
    ),
    TruthKind(
        "boxes only",
        lambda t: [c.update(bbox=[5, 5, 4, 4], segmentation=[]) for c in t["annotations"]],
        ("refused", "boxes alone are no masks"),
    ),
    TruthKind(
        "boxes as x0 y0 x1 y1",
        each("bbox", lambda c: [v for i in (0, 4) for v in c["segmentation"][0][i : i + 2]]),
        ("finding", "boxes that don't fit their mask"),
    ),
    TruthKind("areas of another unit", each("area", 0.0044), ("finding", "areas that don't fit their mask")),
    TruthKind(
        "run lengths at half the size",
        each("segmentation", half_size),
        ("refused", "encode the mask at native image size"),
    ),
    TruthKind(
        "damaged run lengths",
        one("segmentation", {"size": [60, 60], "counts": "12"}),
        ("refused", "the counts are damaged"),
    ),
    TruthKind("equal base names in folders", names("p1/B1.png", "p2/B1.png"), (READ, "two images")),
    TruthKind("folders with backslashes", names("p1\\B1.png", "p2\\B1.png"), (READ, "folders")),
    TruthKind(
        "absolute paths",
        names("/x/a.png", "/x/b.png"),
        ("refused", "leads out of the folder"),
        {"evaluate": (READ, "names")},
    ),
    TruthKind(
        "a file listed twice",
        listed_twice,
        ("finding", "files that several image records of one split share"),
        {"source: coco": ("refused", "would both become a.png")},
    ),
    TruthKind(
        "another size than the file",
        lambda t: [i.update(width=10_000, height=10_000) for i in t["images"]],
        ("refused", "masks and image don't belong together"),
        {"evaluate": (READ, "sizes of the truth")},
    ),
    TruthKind(
        "an image without cells",
        lambda t: t["annotations"].__delitem__(slice(2, 4)),
        (READ, "no cells there"),
        cells=CELLS[:2],
    ),
    TruthKind("no annotations", lambda t: t["annotations"].clear(), ("refused", "lists no annotations")),
    TruthKind("results in place of truth", lambda t: None, ("refused", "are no truth"), write=lambda text: b"[]"),
    TruthKind("cut short", lambda t: None, ("refused", "is it cut short?"), write=lambda text: text.encode()[:-40]),
    TruthKind("wells as numbers", lambda t: [i.update(well=3) for i in t["images"]], (READ, "texts")),
    TruthKind(
        "cell line as a list", lambda t: t["images"][0].update(cell_line=["x"]), ("refused", "it must be a text")
    ),
    TruthKind(
        "a key twice in a record",
        lambda t: None,
        ("refused", "has the key 'iscrowd' twice"),
        write=lambda text: text.replace('"iscrowd": 0', '"iscrowd": 0, "iscrowd": 1', 1).encode(),
    ),
    TruthKind(
        "a list twice",
        lambda t: None,
        ("refused", "has the key 'images' twice"),
        write=lambda text: text.replace("{", '{"images": [], ', 1).encode(),
    ),
    TruthKind(
        "names that differ in case only",
        names("a.png", "A.png"),
        (READ, "two images"),
        {"source: coco": ("refused", "differ in case only: many disks hold one of them")},
    ),
    TruthKind("ids beyond 64 bits", lambda t: t["images"][0].update(id=10**30), ("refused", "it must be below 2⁶³")),
    TruthKind("point pairs", one("segmentation", [[[5, 5], [9, 5], [9, 9]]]), ("refused", "must be a list of numbers")),
]


class ResultsKind(NamedTuple):
    """A kind of results: how they, and possibly the truth, differ; what becomes of them."""

    kind: str
    change: Change
    said: Said
    others: dict[str, Said] | None = None
    truth: Change = lambda truth: None
    write: Callable[[str], bytes] = str.encode
    cells: int = 4


def named(*given: Any) -> Change:
    """File names in place of images 1 and 2, whose numbers are exchanged: what `predict --images` may well write."""

    def change(results: list[Coco]) -> None:
        for result in results:
            image = int(result["image_id"])
            result |= {"file_name": given[image - 1], "image_id": 3 - image}

    return change


def renumbered(*given: Any) -> Change:
    return lambda results: [r.update(image_id=given[r["image_id"] - 1]) for r in results]


def deep(text: str) -> bytes:
    return b"[" * 100_000


def contradicting(results: list[Coco]) -> None:
    for result, name in zip(results, ("a.png", "a.png", "b.png", "b.png"), strict=True):
        result |= {"file_name": name, "image_id": 1}


RESULTS = [
    ResultsKind("numbers of images", lambda r: None, (READ, "by `image_id`")),
    ResultsKind("names of images, numbers of others", named("a.png", "b.png"), (READ, "by `file_name`")),
    ResultsKind("names with another suffix", named("a.tif", "b.tif"), (READ, "by `file_name`")),
    ResultsKind("names from another folder", named("day1/a.png", "day1/b.png"), (READ, "by the end of the path")),
    ResultsKind(
        "base names that fit several",
        named("B1.png", "B1.png"),
        ("refused", "give the path that the truth gives"),
        truth=names("p1/B1.png", "p2/B1.png"),
    ),
    ResultsKind("names of no image", named("a.png", "c.png"), ("refused", "is no image of the truth")),
    ResultsKind("one number for two names", contradicting, ("refused", "image_id 1 stands for a.png and for b.png")),
    ResultsKind(
        "names in part", one("file_name", "a.png"), ("refused", "some records have a file_name and some have none")
    ),
    ResultsKind("numbers shifted by one", renumbered(0, 1), ("refused", "shifted by one?")),
    ResultsKind("stems as numbers", renumbered("a", "b"), ("refused", "it reads like the name a.png")),
    ResultsKind(
        "numbers that fit ids and other names",
        lambda r: None,
        ("finding", "fit both the ids of the truth and the numbers in its file names"),
        truth=names("2.png", "1.png"),
    ),
    ResultsKind("numbers as floats, 1.0", renumbered(1.0, 2.0), (READ, "whole numbers")),
    ResultsKind("numbers as texts", renumbered("1", "2"), ("refused", "image_id '1' is not in the truth")),
    ResultsKind("plain run lengths", each("segmentation", plain), (READ, "their mask")),
    ResultsKind("compressed run lengths", each("segmentation", compressed), (READ, "their mask")),
    ResultsKind(
        "masks of half the size", each("segmentation", half_size), ("refused", "encode the mask at native image size")
    ),
    ResultsKind("polygons within 0 … 1", scaled(1 / SIDE), ("refused", "coordinates must be in px of the image")),
    ResultsKind("empty segmentation", one("segmentation", []), ("refused", "its polygon has fewer than 3 points")),
    ResultsKind("flat polygon", one("segmentation", square(5, 5)), ("refused", "segmentation is a flat list")),
    ResultsKind(
        "run lengths without a pixel",
        one("segmentation", {"size": [60, 60], "counts": [3600]}),
        ("finding", "have no pixel in their image"),
        cells=3,
    ),
    ResultsKind(
        "damaged run lengths",
        one("segmentation", {"size": [60, 60], "counts": "12"}),
        ("refused", "its RLE runs do not add up to the image's pixels"),
    ),
    ResultsKind("scores in percent", each("score", 87.5), ("refused", "is outside [0, 1]; rescale it")),
    ResultsKind("no scores", without("score"), ("refused", "it has no score")),
    ResultsKind("no `category_id`", without("category_id"), ("refused", "it has no category_id")),
    ResultsKind(
        "a COCO file in place of results",
        lambda r: None,
        ("refused", "not a COCO file with images"),
        write=lambda text: b'{"images": [], "annotations": []}',
    ),
    ResultsKind(
        "a key twice in a record",
        lambda r: None,
        ("refused", "has the key 'score' twice"),
        write=lambda text: text.replace('"score": 0.9', '"score": 0.1, "score": 0.9', 1).encode(),
    ),
    ResultsKind("gzipped", lambda r: None, (READ, "the same"), write=lambda text: gzip.compress(text.encode())),
    ResultsKind("byte order mark", lambda r: None, (READ, "the same"), write=lambda text: text.encode("utf-8-sig")),
    ResultsKind(
        "cut short",
        lambda r: None,
        ("refused", "is not readable as COCO results"),
        write=lambda text: text.encode()[:-40],
    ),
    ResultsKind(
        "all twice",
        lambda r: r.extend(make_results()),
        ("finding", "are copies of others of their image"),
        cells=8,
    ),
    ResultsKind(
        "names in decomposed letters",
        named("a\u0308.png", "b.png"),
        (READ, "by `file_name`"),
        truth=names("ä.png", "b.png"),
    ),
    ResultsKind("boxes of texts", each("bbox", ["1", "2", "3", "4"]), ("refused", "is no box [x, y, width, height]")),
    ResultsKind(
        "boxes as x0 y0 x1 y1",
        each("bbox", lambda c: [v for i in (0, 4) for v in c["segmentation"][0][i : i + 2]]),
        ("finding", "don't fit their masks: are they x0 y0 x1 y1?"),
    ),
    ResultsKind("nested beyond reading", lambda r: None, ("refused", "is not readable as COCO results"), write=deep),
]


class LabelsKind(NamedTuple):
    """A folder of label images as results: the path of each image's, what they hold, and what becomes of them."""

    kind: str
    paths: tuple[str, ...]
    said: Said
    images: tuple[str, str] = ("a.png", "b.png")
    binary: bool = False
    cut: int | None = None  # bytes that are left


NESTED = ("p1/B1.png", "p2/B1.png")
LABELS = [
    LabelsKind("label images", ("a.tif", "b.tif"), (READ, "each cell of score 1")),
    LabelsKind(
        "label images of Cellpose", ("a_cp_masks.tif", "b_cp_masks.tif", "a.tif"), (READ, "those marked `_cp_masks`")
    ),
    LabelsKind(
        "`_seg.npy` of Cellpose, beside label images",
        ("a_seg.npy", "b_seg.npy", "a.tif"),
        (READ, "those marked `_seg.npy`"),
    ),
    LabelsKind("label images in the images' folders", ("p1/B1.tif", "p2/B1.tif"), (READ, "by path"), NESTED),
    LabelsKind(
        "flat label images, one fits several", ("B1.tif",), ("refused", "save it under the image's own path"), NESTED
    ),
    LabelsKind(
        "flat label images of images in folders",
        ("a.tif", "b.tif"),
        (READ, "by the end of the path"),
        ("p/a.png", "q/b.png"),
    ),
    LabelsKind(
        "two label images of an image", ("a.tif", "a.tiff", "b.tif"), ("refused", "are both label images of a.png")
    ),
    LabelsKind(
        "a label image of no image", ("a.tif", "b.tif", "c.tif"), ("refused", "belongs to no image of the truth")
    ),
    LabelsKind("a label image is missing", ("a.tif",), ("refused", "save one of zeros where no cell was found")),
    LabelsKind("macOS's twins, `._a.tif`", ("a.tif", "b.tif", "._a.tif"), (READ, "nothing")),
    LabelsKind("binary masks", ("a.tif", "b.tif"), ("finding", "binary masks?"), binary=True),
    LabelsKind("label images cut short", ("a.tif", "b.tif"), ("refused", "is not readable as a label image"), cut=6),
    LabelsKind(
        "label images cut in half", ("a.tif", "b.tif"), ("refused", "is not readable as a label image"), cut=4000
    ),
]


def write_labels(folder: Path, kind: LabelsKind) -> None:
    for number, name in enumerate(kind.paths):
        labels = np.zeros((SIDE, SIDE), np.uint16)
        for label, (image, x, y) in enumerate(CELLS, start=1):
            if image == 1 + ("b" in Path(name).stem or "p2" in name or number == 1):
                labels[y : y + 4, x : x + 4] = 1 if kind.binary else label
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.name.startswith("._"):
            path.write_bytes(b"\0\5\x16\7")
        elif path.suffix == ".npy":
            np.save(path, {"masks": labels, "filename": "a.png"})  # type: ignore[arg-type]
        else:
            tifffile.imwrite(path, labels, photometric="minisblack")
            path.write_bytes(path.read_bytes()[: kind.cut])


def said_by(kind: TruthKind | ResultsKind | LabelsKind, entry: str) -> Said:
    return kind.said if isinstance(kind, LabelsKind) else (kind.others or {}).get(entry, kind.said)


def write(path: Path, data: Any, how: Callable[[str], bytes] = str.encode) -> Path:
    path.write_bytes(how(json.dumps(data)))
    return path


KINDS: dict[str, list[Any]] = {"truth": list(TRUTH), "results": [*RESULTS, *LABELS]}
ENTRIES = {"truth": ("source: coco", "evaluate", "measure"), "results": ("evaluate", "measure")}
CASES = [
    InputCase(table, kind.kind, entry, *said_by(kind, entry))  # type: ignore[arg-type]
    for table, kinds in KINDS.items()
    for kind in kinds
    for entry in ENTRIES[table]
]
