"""`suggest` on folders of drawn images: an odd one first, no copies, the same bytes, drafts that can be trained on."""

from __future__ import annotations

import csv
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import tifffile
from browser import faults_of
from faults import contents
from monolayer.__main__ import main
from monolayer.coco.findings import Findings
from monolayer.coco.labels import label_image
from monolayer.coco.records import by_image
from monolayer.data.sources import masks
from monolayer.finetuning.suggest import _files as files_of
from monolayer.finetuning.suggest import draft_of
from monolayer.params.data import MasksSource
from numpy.typing import NDArray
from PIL import Image as PillowImage

if TYPE_CHECKING:
    from playwright.sync_api import Browser

HEIGHT, WIDTH = 120, 160
ODD, ONE, COPY = "sub/odd.png", "c.png", "near_copy.png"


def field(seed: int, radius: float, apart: int, light: float) -> NDArray[np.uint8]:
    """uint8 (H, W): dark disks with a bright rim at random places so far apart, as phase contrast has it."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:HEIGHT, :WIDTH]
    pixels, placed = rng.normal(128, 5, (HEIGHT, WIDTH)), list[tuple[float, float]]()
    for cy, cx in zip(rng.uniform(0, HEIGHT, 400), rng.uniform(0, WIDTH, 400), strict=True):
        if all(np.hypot(cy - v, cx - u) >= apart for v, u in placed):
            placed.append((cy, cx))
            for grey, edge in ((light / 2, radius + 1), (-light, radius - 1)):
                pixels += grey / (1 + np.exp(np.minimum(3 * (np.hypot(y - cy, x - cx) - edge), 50)))
    return pixels.clip(0, 255).astype(np.uint8)


def save(folder: Path, name: str, pixels: NDArray[np.uint8]) -> None:
    (folder / name).parent.mkdir(parents=True, exist_ok=True)
    PillowImage.fromarray(pixels).save(folder / name)


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Five alike, one of which has a near-copy, and one of large, faint cells."""
    folder = tmp_path_factory.mktemp("pool") / "images"
    for n, name in enumerate(("a.png", "b.png", ONE, "d.png", "e.png")):
        save(folder, name, field(n, 7, 24, 80))
    noise = np.random.default_rng(9).integers(-1, 2, (HEIGHT, WIDTH))
    save(folder, COPY, (field(2, 7, 24, 80) + noise).clip(0, 255).astype(np.uint8))
    save(folder, ODD, field(8, 17, 55, 35))
    return folder


@pytest.fixture(scope="module")
def suggested(images: Path) -> Path:
    """Four of them."""
    output = images.parent / "round1"
    assert main(["suggest", "--images", str(images), "--count", "4", "--output", str(output)]) == 0
    return output


def rows(output: Path) -> list[dict[str, str]]:
    with (output / "suggested.csv").open() as file:
        return list(csv.DictReader(file))


def test_the_odd_image_comes_first_and_copies_are_not_both_chosen(suggested: Path) -> None:
    found = rows(suggested)
    assert [row["rank"] for row in found] == ["1", "2", "3", "4"]
    assert found[0]["file"] == ODD
    assert len({row["file"] for row in found} & {ONE, COPY}) <= 1
    scores = [float(row["score"]) for row in found]
    assert scores[1:] == sorted(scores[1:], reverse=True), "the first one's is from the mean of all"
    for row in found:
        parts = {name: float(row[name]) for name in ("score", "need", "views", "doubt", "far", "new")}
        assert parts["need"] == pytest.approx((parts["views"] + parts["doubt"] + parts["far"]) / 3, abs=1e-5)
        assert parts["score"] == pytest.approx(parts["need"] * parts["new"], abs=1e-5)
        assert row["why"]


def test_the_same_bytes_from_several_processes_and_another_copy_of_the_folder(images: Path, suggested: Path) -> None:
    other = images.parent / "elsewhere" / "images"
    for name in sorted(contents(images), reverse=True):  # a folder lists what was written last elsewhere
        (other / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(images / name, other / name)
    output = images.parent / "again"
    words = ["suggest", "--images", str(other), "--count", "4", "--output", str(output), "--workers", "2"]
    assert main(words) == 0
    assert contents(output) == contents(suggested)


def test_drafts_are_what_predict_writes_and_what_training_reads(images: Path, suggested: Path, tmp_path: Path) -> None:
    found = rows(suggested)
    labels = {row["file"]: tifffile.imread(suggested / row["draft"]) for row in found}
    assert sum(int(one.max()) for one in labels.values()) > 10
    words = ["--images", str(images), "--labels", str(tmp_path / "labels"), "--threads", "1"]
    assert main(["predict", *words, "--output", str(tmp_path / "o.json")]) == 0
    for name, drawn in labels.items():
        predicted = tifffile.imread((tmp_path / "labels" / name).with_suffix(".tif"))
        assert np.array_equal(drawn, predicted)
    settings: dict[str, Any] = {
        "source": "masks",
        "images": str(images),
        "masks": str(suggested / "drafts"),
        "cell_line": "cells",
    }
    settings |= dict.fromkeys(("well", "time", "channel", "z", "max_images"))
    source = MasksSource.model_validate(settings | {"percentiles": {"low": 0.5, "high": 99.8}})
    truth, _ = masks.collect(source, tmp_path)
    cells = by_image(truth["annotations"])
    assert len(truth["images"]) == len(found)
    for image in truth["images"]:
        name = next(name for name in labels if Path(name).name == image["file_name"].split("__")[-1])
        again = label_image([cell["segmentation"] for cell in cells[image["id"]]], HEIGHT, WIDTH)
        assert np.array_equal(again > 0, labels[name] > 0)
        assert len(np.unique(again)) == len(np.unique(labels[name]))
        assert image["width"] == WIDTH


@pytest.mark.parametrize(
    "names",
    [
        ("a.ome.tif", "a.tif"),
        ("t_masks.tif",),
        ("sub/x_seg.tif", "x.tif"),
        ("b_ignore.tif",),
    ],
)
def test_a_draft_is_read_as_its_images_whatever_its_name(names: tuple[str, ...], tmp_path: Path) -> None:
    images, drafts = tmp_path / "images", tmp_path / "out"
    for name in names:
        for path in (images / name, drafts / draft_of(name)):
            path.parent.mkdir(parents=True, exist_ok=True)
            tifffile.imwrite(path, np.zeros((8, 8), np.uint8))
    _, drawn = masks.assigned(images, drafts / "drafts", Findings())
    assert drawn == {name: [(drafts / draft_of(name), False)] for name in names}


def test_masks_of_no_image_are_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    for name in ("images/a.tif", "images/b.tif", "masks/a.tif", "masks/other.tif"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        tifffile.imwrite(tmp_path / name, np.zeros((8, 8), np.uint8))
    assert files_of(tmp_path / "images", tmp_path / "masks")[1] == ["a.tif"]
    assert [record.message.split(", e.g. ")[0] for record in caplog.records] == [
        "1 × files of masks whose image is not there; not used"
    ]


def test_what_is_annotated_is_not_suggested_nor_a_copy_of_it(images: Path, suggested: Path, tmp_path: Path) -> None:
    (tmp_path / "masks").mkdir()
    for name in (ODD, ONE):
        labels = np.zeros((HEIGHT, WIDTH), np.uint8)
        labels[3:9, 3:9] = 1
        save(tmp_path / "masks", name.replace(".png", "_masks.png"), labels)
    words = ["--images", str(images), "--annotated", str(tmp_path / "masks"), "--output", str(tmp_path / "round2")]
    assert main(["suggest", *words, "--count", "4"]) == 0
    assert {row["file"] for row in rows(tmp_path / "round2")} == {"a.png", "b.png", "d.png", "e.png"}


def test_exact_copies_are_left_out(images: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("1.png", "2.png", "3.png"):
        save(tmp_path / "images", name, field(1, 7, 24, 80))
    save(tmp_path / "images", "4.png", field(2, 7, 24, 80))
    words = ["suggest", "--images", str(tmp_path / "images"), "--output", str(tmp_path / "out"), "--count"]
    assert main([*words, "3"]) == 1
    assert "images has 2 images besides 2 copies; give --count 2" in capsys.readouterr().err
    assert main([*words, "2"]) == 0
    assert {row["file"] for row in rows(tmp_path / "out")} == {"1.png", "4.png"}


def test_images_of_16_bits_without_cells_are_no_stumbling_block(tmp_path: Path) -> None:
    (tmp_path / "images").mkdir()
    for n in range(2):
        grey = np.random.default_rng(n).normal(1000, 3, (HEIGHT, WIDTH)).astype(np.uint16)
        tifffile.imwrite(tmp_path / f"images/{n}.tif", grey)
    tifffile.imwrite(tmp_path / "images/2.tif", field(1, 7, 24, 80).astype(np.uint16) * 200)
    words = ["--images", str(tmp_path / "images"), "--output", str(tmp_path / "out"), "--count", "3"]
    assert main(["suggest", *words]) == 0
    empty = [row for row in rows(tmp_path / "out") if row["cells"] == "0"]
    assert empty
    assert all("no cell is found" in row["why"] for row in empty)


def test_an_empty_image_is_the_last_choice_and_named(
    images: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(images, tmp_path / "images")
    save(tmp_path / "images", "0_blank.png", np.full((HEIGHT, WIDTH), 128, np.uint8))
    words = ["--images", str(tmp_path / "images"), "--output", str(tmp_path / "out"), "--count", "8"]
    assert main(["suggest", *words]) == 0
    found = rows(tmp_path / "out")
    empty = next(row for row in found if row["file"] == "0_blank.png")
    assert (empty["cells"], empty["score"]) == ("0", "0")
    assert empty["why"].startswith("no cell is found, nor nearly, nor in the turned image; ")
    assert all(row["file"] == "0_blank.png" or row["score"] == "0" for row in found[int(empty["rank"]) - 1 :])
    assert not any("nan" in row["why"] for row in found)
    assert "no cell found in 1 of 8 images: 0_blank.png" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("given", "words", "says"),
    [
        ({}, "", "images holds no image"),
        ({"a.png": b"", "b.png": b""}, "--count 3", "images has 2 images, of which 3 can't be chosen; give --count 2"),
        ({"a.png": b"x"}, "--count 1", "a.png is no PNG, JPEG or TIFF"),
        ({"a.png": b"", "a.tif": b""}, "--count 1", "a.png and a.tif of"),
    ],
)
def test_what_can_not_be_used_is_one_line_and_leaves_nothing(
    given: dict[str, bytes], words: str, says: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "images").mkdir()
    for name, data in given.items():
        (tmp_path / "images" / name).write_bytes(data)
    paths = ["--images", str(tmp_path / "images"), "--output", str(tmp_path / "out")]
    assert main(["suggest", *paths, *words.split()]) == 1
    shown = capsys.readouterr().err
    assert says in shown
    assert len(shown.splitlines()) == 1
    assert [path.name for path in tmp_path.iterdir()] == ["images"]


def test_nothing_of_the_users_is_written_over(
    images: Path, suggested: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = contents(images.parent)
    words = ["suggest", "--images", str(images), "--count", "1", "--output"]
    assert main([*words, str(suggested)]) == 1
    assert "round1 exists, and drafts that were corrected there" in capsys.readouterr().err
    assert main([*words, str(images / "round2")]) == 1
    assert "where drafts would be taken for images" in capsys.readouterr().err
    assert contents(images.parent) == before


@pytest.mark.browser
def test_the_page_shows_the_drafts_and_asks_for_nothing_else(suggested: Path, browser: Browser) -> None:
    page = browser.new_page(viewport={"width": 900, "height": 700})
    faults = faults_of(page, "file:", "data:", "blob:")
    page.goto((suggested / "suggested.html").as_uri())
    assert page.locator("#images figure").count() == 4
    assert ODD in page.locator("#images figure").first.inner_text()
    outlines = page.locator("#images path.pred:visible")
    assert outlines.count() >= 3
    page.locator("#images .show-pred").uncheck()
    assert page.locator("#images figure path.pred:visible").count() == 0
    page.locator("#images button.enlarge").first.click()
    assert page.locator("dialog .file").inner_text() == ODD
    page.keyboard.press("ArrowRight")
    assert page.locator("dialog figure path.pred:visible").count() == 1
    page.locator("dialog .show-pred").uncheck()
    assert page.locator("dialog figure path.pred:visible").count() == 0
    page.keyboard.press("Escape")
    page.locator("#list th button").first.click()
    page.locator("#list th button").first.click()
    assert page.locator("#list tbody th").first.inner_text() == ODD, "by rank again"
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), "nothing is wider than the page"
    page.close()
    assert not faults
