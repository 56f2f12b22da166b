"""The user's own folder: what is kept, what is refused (each kind with its one clear error), what is found."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from collected import fetched, kinds
from culture import Culture, make_culture
from monolayer.coco.records import CELL
from monolayer.coco.rle import box_xywh, mask_from_rle, rle_area, rle_from_mask
from monolayer.files import InputError
from monolayer.params.data import CocoSource
from paths import DATA, needs_data
from PIL import Image as PillowImage

SARTORIUS = DATA / "sartorius"
Data = dict[str, Any]


def source(images: Path, annotations: Path, **changed: Any) -> CocoSource:
    settings: Data = {
        "source": "coco",
        "images": str(images),
        "annotations": str(annotations),
        "cell_line": "category",
        "well": None,
        "time": None,
        "percentiles": {"low": 0.5, "high": 99.8},
        "max_images": None,
    }
    return CocoSource.model_validate(settings | changed)


def test_truth_of_the_culture_comes_back(culture: Culture, tmp_path: Path) -> None:
    before = {path: path.read_bytes() for path in culture.folder.rglob("*.*") if path.is_file()}
    rule = r"regex:^(?P<well>[a-z]+_[A-Z]\d)_"
    truth = fetched(source(culture.images, culture.annotations, well=rule), tmp_path)
    assert truth["annotations"] == culture.truth["annotations"]
    hashes = [image.pop("content") for image in truth["images"]]
    assert truth["images"] == culture.truth["images"]
    assert len(set(hashes)) == 12
    assert truth["categories"] == [CELL]
    assert truth["findings"] == []
    for image in truth["images"]:
        mine, theirs = (
            np.asarray(PillowImage.open(f / image["file_name"])) for f in (tmp_path / "images", culture.images)
        )
        assert np.array_equal(mine, theirs)
    assert {path: path.read_bytes() for path in before} == before


def test_same_bytes_every_time(culture: Culture, tmp_path: Path) -> None:
    params = source(culture.images, culture.annotations)
    for name in ("a", "b"):
        fetched(params, tmp_path / name)
    assert (tmp_path / "a" / "annotations.json").read_bytes() == (tmp_path / "b" / "annotations.json").read_bytes()
    for path in (tmp_path / "a" / "images").iterdir():
        assert path.read_bytes() == (tmp_path / "b" / "images" / path.name).read_bytes()


def test_sample_is_even_over_lines(culture: Culture, tmp_path: Path) -> None:
    truth = fetched(source(culture.images, culture.annotations, max_images=5), tmp_path)
    lines = [image["cell_line"] for image in truth["images"]]
    assert sorted((lines.count("round"), lines.count("long"))) == [2, 3]
    assert len(list((tmp_path / "images").iterdir())) == 5
    assert {a["image_id"] for a in truth["annotations"]} == {image["id"] for image in truth["images"]}


@pytest.mark.parametrize(("rule", "lines"), [("mixed", {"mixed"}), (r"regex:^(?P<line>\w)", {"r", "l"})])
def test_cell_line_by_constant_or_pattern(culture: Culture, tmp_path: Path, rule: str, lines: set[str]) -> None:
    truth = fetched(source(culture.images, culture.annotations, cell_line=rule), tmp_path)
    assert {image["cell_line"] for image in truth["images"]} == lines


def with_category(culture: Culture, folder: Path, name: str) -> Path:
    """The culture's file, of which the first annotation of each image is of another category."""
    data = json.loads(culture.annotations.read_text())
    number = max(category["id"] for category in data["categories"]) + 1
    data["categories"].append({"id": number, "name": name})
    seen = set[int]()
    for cell in data["annotations"]:
        if cell["image_id"] not in seen:
            cell["category_id"] = number
        seen.add(cell["image_id"])
    (folder / "annotations.json").write_text(json.dumps(data))
    return folder / "annotations.json"


@pytest.mark.parametrize("rule", ["category", "all", r"regex:^(?P<line>[a-z]+)_"])
def test_a_category_that_is_called_ignore_is_no_line_and_no_cell(culture: Culture, tmp_path: Path, rule: str) -> None:
    path = with_category(culture, tmp_path, "__Ignore__")
    truth = fetched(source(culture.images, path, cell_line=rule), tmp_path)
    assert sum(cell["iscrowd"] for cell in truth["annotations"]) == len(truth["images"]) == 12
    assert len(truth["annotations"]) == len(culture.truth["annotations"])
    assert {cell["category_id"] for cell in truth["annotations"]} == {1}  # others' tools ignore within a category
    assert all(cell.get("ignore", 0) == cell["iscrowd"] for cell in truth["annotations"])
    found = kinds(truth)
    assert found.pop("ignored_regions") == 12
    assert set(found) == ({"categories"} if rule == "all" else set())  # round and long are of one line there


def test_several_categories_of_one_line_are_counted(culture: Culture, tmp_path: Path) -> None:
    path = with_category(culture, tmp_path, "nucleus")
    truth = fetched(source(culture.images, path, cell_line=r"regex:^(?P<line>[a-z]+)_"), tmp_path)
    assert kinds(truth) == {"categories": 2}
    first, _ = truth["findings"][0]["examples"]
    assert re.search(r"annotations.json: (round|long) has \d+ (round|long), 6 nucleus$", first)
    assert not any(cell["iscrowd"] for cell in truth["annotations"])


def test_a_file_of_regions_alone_has_no_cell(culture: Culture, tmp_path: Path) -> None:
    data = json.loads(culture.annotations.read_text())
    for category in data["categories"]:
        category["name"] = f"ignore {category['name']}"
    (tmp_path / "annotations.json").write_text(json.dumps(data))
    with pytest.raises(InputError, match="is a cell: categories named `ignore`"):
        fetched(source(culture.images, tmp_path / "annotations.json", cell_line="all"), tmp_path)


def test_wells_are_single_images_unless_told(culture: Culture, tmp_path: Path) -> None:
    truth = fetched(source(culture.images, culture.annotations), tmp_path)
    assert len({image["well"] for image in truth["images"]}) == 12


def test_deep_colour_and_nested_images(tmp_path: Path) -> None:
    """16-bit TIFF in a sub-folder, RGB JPEG, float TIFF: names are flat, pixels 8-bit grey, masks where they were."""
    images = tmp_path / "my images"
    (images / "day 1").mkdir(parents=True)
    ramp = np.linspace(0, 1, 60 * 80).reshape(60, 80)
    tifffile.imwrite(images / "day 1" / "a.tif", (1000 + 5000 * ramp).astype(np.uint16))
    PillowImage.fromarray((ramp * 255).astype(np.uint8)).convert("RGB").save(images / "b.JPG", format="JPEG")
    tifffile.imwrite(images / "c.tiff", ramp.astype(np.float32))
    square = [10.0, 20.0, 30.0, 20.0, 30.0, 40.0, 10.0, 40.0]
    data = {
        "images": [
            {"id": n, "file_name": name, "width": 80, "height": 60}
            for n, name in enumerate(("day 1\\a.tif", "b.JPG", "c.tiff"), start=7)
        ],
        "annotations": [{"id": n, "image_id": n, "category_id": 3, "segmentation": [square]} for n in (7, 8, 9)],
        "categories": [{"id": 3, "name": "HEK"}],
    }
    (tmp_path / "a.json").write_text(json.dumps(data))
    truth = fetched(source(images, tmp_path / "a.json"), tmp_path / "out")
    assert [image["file_name"] for image in truth["images"]] == ["day 1__a.png", "b.png", "c.png"]
    assert [image["id"] for image in truth["images"]] == [7, 8, 9]
    for image, cell in zip(truth["images"], truth["annotations"], strict=True):
        with PillowImage.open(tmp_path / "out" / "images" / image["file_name"]) as stored:
            assert (stored.mode, stored.size) == ("L", (80, 60))
            pixels = np.asarray(stored)
        assert pixels.min() < 5
        assert pixels.max() > 250
        assert cell["bbox"] == [10, 20, 20, 20]
        assert cell["area"] == 400
        assert mask_from_rle(cell["segmentation"])[20:40, 10:30].all()


# ---- what is refused: the file -------------------------------------------------------------------


def first(data: Data, key: str) -> Data:
    record = data[key][0]
    assert isinstance(record, dict)
    return record


def put(list_name: str, key: str, value: Any) -> Callable[[Data], None]:
    return lambda data: first(data, list_name).__setitem__(key, value)


def drop(list_name: str, key: str) -> Callable[[Data], None]:
    return lambda data: first(data, list_name).pop(key)


def rle(size: list[int], counts: Any) -> Callable[[Data], None]:
    return put("annotations", "segmentation", {"size": size, "counts": counts})


PIXELS = 96 * 128
NARROW = rle_from_mask(np.ones((96, 127), bool))["counts"]
GOOD = rle_from_mask(np.pad(np.ones((9, 9), bool), ((20, 67), (30, 89))))["counts"]
FAULTS: dict[str, tuple[Callable[[Data], Any], str]] = {
    "images are missing": (lambda d: d.pop("images"), r"has no 'images'; a COCO file has"),
    "annotations are missing": (lambda d: d.pop("annotations"), "has no 'annotations'"),
    "categories are missing": (lambda d: d.pop("categories"), "has no 'categories'"),
    "images are an object": (lambda d: d.update(images={"1": {}}), "'images' is an object, not a list"),
    "no images": (lambda d: d.update(images=[]), "lists no images"),
    "no annotations": (lambda d: d.update(annotations=[]), "lists no annotations; there is nothing to learn from"),
    "an entry is a number": (lambda d: d["annotations"].insert(0, 5), "entry 0 of 'annotations' is a number"),
    "image without id": (drop("images", "id"), r"image 0 has no 'id'"),
    "image id is a text": (put("images", "id", "1"), "image 0: id is '1', a text; it must be a whole number"),
    "image id is true": (put("images", "id", True), "id is True, a truth value"),
    "image without name": (drop("images", "file_name"), "image 0 has no 'file_name'"),
    "image name is empty": (put("images", "file_name", " "), "file_name is ' '; it must be a text"),
    "image without width": (drop("images", "width"), "image 0 has no 'width'"),
    "image width is 0": (put("images", "width", 0), "is 0x96 px; give the image's width and height"),
    "image id twice": (put("images", "id", 2), "image id 2 is used twice .* give each image an id of its own"),
    "image file twice": (put("images", "file_name", "long_A1_0.png"), "would both become long_A1_0.png"),
    "path leads out": (put("images", "file_name", "../x.png"), "'../x.png' leads out of the folder of images"),
    "path is absolute": (put("images", "file_name", "/etc/x.png"), "leads out of the folder"),
    "path has a drive": (put("images", "file_name", "C:\\x.png"), "leads out of the folder"),
    "image is missing": (
        put("images", "file_name", "gone.png"),
        r"1 of 12 images .* are missing, e.g. .*gone.png; copy",
    ),
    "image has another size": (put("images", "width", 127), "round_A1_0.png is 128x96 px, its annotations say 127x96"),
    "category without name": (drop("categories", "name"), "category 0 has no 'name'"),
    "annotation without image_id": (drop("annotations", "image_id"), r"annotation 0 \(id 1\) has no 'image_id'"),
    "annotation of no image": (put("annotations", "image_id", 99), "image_id 99 is no id of 'images'"),
    "annotation of no category": (
        put("annotations", "category_id", 9),
        r"category_id 9 is no id of .* \(1 round, 2 long\)",
    ),
    "iscrowd is 2": (put("annotations", "iscrowd", 2), "iscrowd is 2; it must be 0 or 1"),
    "segmentation is a text": (put("annotations", "segmentation", "x"), "segmentation is a text, not polygons or RLE"),
    "segmentation is flat": (
        put("annotations", "segmentation", [1, 2, 3, 4, 5, 6]),
        "is a flat list; it must be a list of",
    ),
    "polygon holds texts": (put("annotations", "segmentation", [["1", "2"] * 3]), "it must be a list of numbers"),
    "polygon of 7 numbers": (put("annotations", "segmentation", [[1] * 7]), "has 7 numbers; an x or a y is missing"),
    "polygon with NaN": (put("annotations", "segmentation", [[math.nan] * 6]), "coordinates that are NaN or infinite"),
    "polygon of another image": (
        put("annotations", "segmentation", [[0, 0, 9000, 0, 9000, 9000]]),
        "reaches 8904 px out of its image of 128x96 px",
    ),
    "RLE turned round": (
        rle([128, 96], GOOD),
        r"RLE is of size \[128, 96\], the image is \[96, 128\] \(height, width\)",
    ),
    "RLE without counts": (rle([96, 128], None), "the counts of its RLE are null"),
    "RLE cut short": (rle([96, 128], GOOD[:-2]), "are no compressed run lengths"),
    "RLE of a smaller image": (
        rle([96, 128], NARROW),
        "add up to 12192 px, the image has 12288; the counts are damaged",
    ),
    "RLE ends inside a number": (rle([96, 128], GOOD[:-1] + "o"), "are no compressed run lengths"),
    "RLE with foreign characters": (rle([96, 128], "ä~"), "are no compressed run lengths"),
    "RLE with a huge run": (rle([96, 128], "oooooooooooo0"), "are no compressed run lengths"),
    "RLE runs too long": (rle([96, 128], [0, PIXELS + 1]), "add up to 12289 px, the image has 12288"),
    "RLE runs negative": (rle([96, 128], [PIXELS + 1, -1]), "the counts are damaged"),
    "RLE runs beyond integers": (rle([96, 128], [0, 10**30]), "the counts are damaged"),
    "polygon beyond floats": (put("annotations", "segmentation", [[10**400] * 6]), "that are NaN or infinite"),
    "RLE runs are floats": (
        rle([96, 128], [1.5, PIXELS - 1.5]),
        "the counts of its RLE are a list, not a text or a list",
    ),
    "two lines in an image": (
        put("annotations", "category_id", 2),
        "round_A1_0.png has cells of long and round; an image is",
    ),
    "nothing inside": (
        lambda d: [a.update(segmentation=[[0.1, 0.1, 0.2, 0.1, 0.2, 0.2]]) for a in d["annotations"]],
        "no annotation .* has a mask with a pixel inside its image; coordinates must be in px",
    ),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_malformed_annotations_are_one_clear_error(culture: Culture, tmp_path: Path, fault: str) -> None:
    breaks, message = FAULTS[fault]
    data = json.loads(culture.annotations.read_text())
    breaks(data)
    (tmp_path / "mine.json").write_text(json.dumps(data))
    with pytest.raises(InputError, match=message) as error:
        fetched(source(culture.images, tmp_path / "mine.json"), tmp_path / "out")
    assert "\n" not in str(error.value)
    assert len(str(error.value)) < 500
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["download"]  # nothing half-written


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (b"", "is not JSON"),
        ("{}".encode("utf-16"), r"is not JSON .*invalid start byte"),
        (b'{"images": [', "is not JSON .* is it cut short"),
        (b"\xff\xfe\x00", "is not JSON"),
        (b"[" * 100_000, "is not JSON"),
        (b"[]", "holds a list, not an object with images"),
        (b"null", "holds null"),
    ],
)
def test_what_is_no_coco_file(culture: Culture, tmp_path: Path, text: bytes, message: str) -> None:
    (tmp_path / "mine.json").write_bytes(text)
    with pytest.raises(InputError, match=message):
        fetched(source(culture.images, tmp_path / "mine.json"), tmp_path / "out")


def test_files_that_are_not_there(culture: Culture, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"none\.json can't be read \(No such file or directory\); check the path"):
        fetched(source(culture.images, tmp_path / "none.json"), tmp_path)
    with pytest.raises(InputError, match="none is no folder; set `images`"):
        fetched(source(tmp_path / "none", culture.annotations), tmp_path)


@pytest.mark.parametrize(
    ("key", "rule", "message"),
    [
        ("cell_line", "regex:(?P<line>", "is no regular expression"),
        ("cell_line", "regex:^(.)", "has no group line"),
        ("cell_line", "", "must be regex:"),
        ("well", "A1", "must be regex:"),
        ("well", "regex:(?P<line>.)", "has no group well"),
    ],
)
def test_bad_patterns_stop_before_the_first_job(culture: Culture, key: str, rule: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        source(culture.images, culture.annotations, **{key: rule})


def test_a_pattern_that_does_not_fit_names_the_file(culture: Culture, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="finds no line in the file name long_A1_0"):
        fetched(source(culture.images, culture.annotations, cell_line="regex:^(?P<line>round)"), tmp_path)


# ---- what is refused: the images -----------------------------------------------------------------


def save(mode: str, suffix: str) -> Callable[[Path], Path]:
    def replace(path: Path) -> Path:
        with PillowImage.open(path) as image:
            image.convert(mode).save(path.with_suffix(suffix))
        return path.with_suffix(suffix)

    return replace


def tiff(pixels: Any, **options: Any) -> Callable[[Path], Path]:
    def replace(path: Path) -> Path:
        tifffile.imwrite(path.with_suffix(".tif"), pixels, **options)
        return path.with_suffix(".tif")

    return replace


def cut_to(count: int, name: str = "") -> Callable[[Path], Path]:
    def replace(path: Path) -> Path:
        path = save("L", name)(path) if name else path
        path.write_bytes(path.read_bytes()[:count])
        return path

    return replace


def turned(path: Path) -> Path:
    with PillowImage.open(path) as image:
        exif = image.getexif()
        exif[0x0112] = 6
        image.save(path.with_suffix(".jpg"), exif=exif)
    return path.with_suffix(".jpg")


def bitmap(path: Path) -> Path:
    with PillowImage.open(path) as image:
        image.save(path, format="BMP")
    return path


def letter(path: Path) -> Path:
    path.write_text("hello")
    return path


def animated(path: Path) -> Path:
    with PillowImage.open(path) as image:
        image.save(path, save_all=True, append_images=[PillowImage.new("L", image.size)])
    return path


FRAME = np.arange(96 * 128).reshape(96, 128)
NOT_FINITE = np.where(FRAME == 5, np.nan, FRAME).astype(np.float32)
BAD_IMAGES: dict[str, tuple[Callable[[Path], Path], str]] = {
    "0 bytes": (cut_to(0), r"round_A1_0.png is empty \(0 bytes\); copy it again"),
    "PNG cut short": (cut_to(3000), "is not readable as an image .* is it cut short"),
    "JPEG cut short": (cut_to(900, ".jpg"), "is not readable as an image"),
    "TIFF cut short": (cut_to(9000, ".tif"), "is (cut short|not readable)"),
    "TIFF header only": (cut_to(8, ".tif"), "is not readable|holds 0 pages"),
    "a text": (letter, "is no PNG, JPEG or TIFF; save it as one of these"),
    "a BMP": (bitmap, "is no PNG, JPEG or TIFF"),
    "CMYK JPEG": (save("CMYK", ".jpg"), "has the colour mode CMYK; save it as grey or RGB"),
    "CMYK TIFF": (
        tiff(np.zeros((96, 128, 4), np.uint8), photometric="separated"),
        "SEPARATED colours; save it as grey",
    ),
    "TIFF of 3 pages": (
        tiff(np.zeros((3, 96, 128), np.uint8), photometric="minisblack"),
        r"holds 3 pages \(.*YX \(3, 96",
    ),
    "animated PNG": (animated, "holds several frames"),
    "NaN pixels": (tiff(NOT_FINITE), "has pixels that are NaN or infinite"),
    "turned by EXIF": (turned, "is to be shown turned .* save it upright"),
}


@pytest.mark.parametrize("fault", BAD_IMAGES)
def test_unusable_images_are_one_clear_error(tmp_path: Path, fault: str) -> None:
    replace, message = BAD_IMAGES[fault]
    mine = make_culture(tmp_path / "mine")
    replaced = replace(mine.images / "round_A1_0.png")
    text = mine.annotations.read_text().replace("round_A1_0.png", replaced.name)
    mine.annotations.write_text(text)
    with pytest.raises(InputError, match=message) as error:
        fetched(source(mine.images, mine.annotations), tmp_path / "out")
    assert replaced.name in str(error.value)
    assert "\n" not in str(error.value)
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["download"]


def test_no_mask_of_a_size_that_the_image_has_not_is_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An image of 60,000 x 30,000 px, says the file: its cells would take gigabytes."""
    mine = make_culture(tmp_path / "mine")
    text = (
        mine.annotations.read_text()
        .replace('"width": 128', '"width": 60000')
        .replace('"height": 96', '"height": 30000')
    )
    assert text != mine.annotations.read_text()
    mine.annotations.write_text(text)
    monkeypatch.setattr("monolayer.data.sources.coco.cells", None)
    with pytest.raises(InputError, match=r"its annotations say 60000x30000; masks and image don't belong together"):
        fetched(source(mine.images, mine.annotations), tmp_path / "out")


# ---- what is found and repaired ------------------------------------------------------------------


def test_what_can_be_repaired_is_reported(tmp_path: Path) -> None:
    mine = make_culture(tmp_path / "mine")
    data = json.loads(mine.annotations.read_text())
    square = [100.0, 80.0, 140.0, 80.0, 140.0, 90.0, 100.0, 90.0]  # 12 px beyond the right edge
    far = [130.0, 10.0, 140.0, 10.0, 140.0, 20.0]
    cells = data["annotations"]
    cells[0] |= {"segmentation": [square], "bbox": [100, 80, 40, 10], "area": 400}
    cells[1]["segmentation"] = [far]
    cells[2]["segmentation"] = []
    cells[3]["segmentation"] = None
    cells[4]["segmentation"] = [[1, 2, 3, 4]]
    x, y, w, h = cells[5]["bbox"]
    cells[5]["bbox"] = [x, y, x + w, y + h]  # xyxy
    cells[6]["bbox"] = [x, y, -w, h]
    cells[7]["bbox"] = "none"
    cells[8]["area"] = 0
    cells[9]["area"] = 10**400
    cells[10]["segmentation"].append([5, 5])  # a stray point beside a good polygon
    cells[11]["id"] = cells[12]["id"]
    data["images"].append({"id": 500, "file_name": "blank.png", "width": 8, "height": 8})
    PillowImage.new("L", (8, 8)).save(mine.images / "blank.png")
    PillowImage.new("L", (8, 8)).save(mine.images / "extra.png")
    mine.annotations.write_text(json.dumps(data))
    truth = fetched(source(mine.images, mine.annotations), tmp_path / "out")
    assert kinds(truth) == {
        "ids_renumbered": 1,
        "no_mask": 3,
        "outside_image": 1,
        "clipped": 2,
        "box_replaced": 3,
        "area_replaced": 2,
        "unlisted_files": 1,
        "no_line": 1,
    }
    clipped = truth["annotations"][0]
    assert clipped["bbox"] == [100, 80, 40, 10]  # the file's box still fits
    assert box_xywh(clipped["segmentation"]) == [100, 80, 28, 10]
    assert len(truth["annotations"]) == len(cells) - 4
    assert [a["id"] for a in truth["annotations"]] == list(range(1, len(cells) - 3))
    for before, after in zip(cells[5:10], truth["annotations"][1:6], strict=True):
        box, area = box_xywh(after["segmentation"]), rle_area(after["segmentation"])
        assert after["bbox"] == box
        assert after["area"] == area
        assert before["image_id"] == after["image_id"]


def test_an_unannotated_image_belongs_to_the_only_line(tmp_path: Path) -> None:
    mine = make_culture(tmp_path / "mine")
    data = json.loads(mine.annotations.read_text())
    data["annotations"] = [a for a in data["annotations"] if a["category_id"] == 1]
    mine.annotations.write_text(json.dumps(data))
    truth = fetched(source(mine.images, mine.annotations), tmp_path / "out")
    assert {image["cell_line"] for image in truth["images"]} == {"round"}
    assert len(truth["images"]) == 12


@needs_data("sartorius")
def test_real_images_of_three_lines(tmp_path: Path) -> None:
    params = source(SARTORIUS / "images", SARTORIUS / "annotations.json", max_images=6)
    truth = fetched(params, tmp_path)
    original = json.loads((SARTORIUS / "annotations.json").read_text())
    theirs = {a["id"]: a for a in original["annotations"]}
    assert sorted(image["cell_line"] for image in truth["images"]) == [
        "astro",
        "astro",
        "cort",
        "cort",
        "shsy5y",
        "shsy5y",
    ]
    for cell in truth["annotations"]:
        assert cell["segmentation"] == theirs[cell["id"]]["segmentation"]
        assert cell["area"] == theirs[cell["id"]]["area"]
        assert cell["bbox"] == theirs[cell["id"]]["bbox"]
    assert kinds(truth) == {}
