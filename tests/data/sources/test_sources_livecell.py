"""LIVECell from a mirror and over a bad network, on real bytes where they are at hand; what `dedup` does."""

from __future__ import annotations

import hashlib
import json
import zipfile
from collections import Counter
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from collected import fetched, kinds
from monolayer.data.sources import fetch
from monolayer.files import InputError
from monolayer.params.data import LivecellSource
from paths import DATA, needs_data
from PIL import Image as PillowImage
from web import Web

SAMPLE = DATA / "livecell_sample"
LISTS = [f"annotations/LIVECell/livecell_coco_{split}.json" for split in ("train", "val", "test")]
real = needs_data("livecell_sample")


def source(**changed: Any) -> LivecellSource:
    settings: dict[str, Any] = {
        "source": "livecell",
        "url": "http://127.0.0.1:9",
        "mirror": None,
        "dedup": "keep",
        "merge_iou": 0.5,
        "max_images": None,
        "pins": {name: {"size": None, "sha256": None} for name in ["images.zip", *LISTS]},
    }
    return LivecellSource.model_validate(settings | changed)


@pytest.fixture(autouse=True)
def no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fetch, "WAITS", (0, 0))


# ---- real bytes ----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def archive() -> bytes:
    """images.zip in the official layout, from the sample."""
    file = BytesIO()
    with zipfile.ZipFile(file, "w") as packed:
        for path in sorted((SAMPLE / "images").rglob("*.tif")):
            packed.write(path, path.relative_to(SAMPLE).as_posix())
        packed.writestr("__MACOSX/images/._A172_Phase_A7_1_00d00h00m_1.tif", b"what macOS adds")
    return file.getvalue()


@real
def test_mirror_keeps_the_official_lists(tmp_path: Path) -> None:
    truth = fetched(source(mirror=str(SAMPLE)), tmp_path)
    assert Counter(image["split"] for image in truth["images"]) == {"train": 21, "val": 10, "test": 13}
    of_split = {image["id"]: image["split"] for image in truth["images"]}
    assert Counter(of_split[cell["image_id"]] for cell in truth["annotations"]) == {
        "train": 2309,
        "val": 923,
        "test": 1244,
    }
    image = next(image for image in truth["images"] if image["file_name"] == "A172_Phase_C7_1_00d00h00m_4.png")
    assert (image["cell_line"], image["well"], image["timestamp"]) == ("A172", "C7", "00d00h00m")
    for image in truth["images"][::9]:
        (original,) = (SAMPLE / "images").rglob(image["file_name"].replace(".png", ".tif"))
        with PillowImage.open(tmp_path / "images" / image["file_name"]) as stored:
            assert np.array_equal(np.asarray(stored), tifffile.imread(original))
    raw = json.loads((SAMPLE / LISTS[0]).read_text())
    for theirs, mine in zip(raw["annotations"], truth["annotations"], strict=False):
        assert mine["area"] == theirs["area"]  # official area ranges go by the file's area
        assert mine["bbox"] == theirs["bbox"]


@real
def test_download_that_is_cut_equals_the_mirror(tmp_path: Path, web: Web, archive: bytes) -> None:
    web.files = {f"/{name}": (SAMPLE / name).read_bytes() for name in LISTS} | {"/images.zip": archive}
    web.cut_after = len(archive) // 3 - 1
    pins = {
        name: {"size": len(content), "sha256": hashlib.sha256(content).hexdigest()}
        for name, content in ((path[1:], content) for path, content in web.files.items())
    }
    truth = fetched(source(url=web.url, pins=pins), tmp_path / "web")
    ranges = [span for path, span in web.requests if path == "/images.zip"]
    assert ranges[0] is None
    assert len(ranges) == 4
    assert ranges[1] == f"bytes={web.cut_after}-"
    assert truth == fetched(source(mirror=str(SAMPLE)), tmp_path / "mirror")
    requests = len(web.requests)
    fetched(source(url=web.url, pins=pins), tmp_path / "web")
    assert len(web.requests) == requests  # nothing is fetched twice


@real
def test_a_mirror_may_hold_the_archive(tmp_path: Path, archive: bytes) -> None:
    mirror = tmp_path / "mirror"
    for name in LISTS:
        (mirror / name).parent.mkdir(parents=True, exist_ok=True)
        (mirror / name).write_bytes((SAMPLE / name).read_bytes())
    (mirror / "images.zip").write_bytes(archive)
    truth = fetched(source(mirror=str(mirror), max_images=3), tmp_path / "out")
    assert Counter(image["split"] for image in truth["images"]) == {"train": 3, "val": 3, "test": 3}
    assert len({image["cell_line"] for image in truth["images"] if image["split"] == "test"}) == 3
    (mirror / "images.zip").write_bytes(archive[:-5000])
    with pytest.raises(InputError, match=r"images\.zip is no readable zip"):
        fetched(source(mirror=str(mirror)), tmp_path / "out")


# ---- files annotated twice -----------------------------------------------------------------------

SQUARES = {"a": (2, 2), "b": (12, 2), "c": (2, 12), "d": (12, 12)}


def mirror(folder: Path, lists: dict[str, list[tuple[int, str, str]]]) -> Path:
    """A mirror of 24x24 px; per split (image id, location, squares that are cells)."""
    cells = iter(range(1, 1000))
    for split in ("train", "val", "test"):
        images, annotations = [], []
        for number, location, squares in lists[split]:
            name = f"A172_Phase_A1_{location}_00d00h00m_1.tif"
            images.append({"id": number, "file_name": name, "width": 24, "height": 24})
            path = folder / "images" / "livecell_train_val_images" / "A172" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            tifffile.imwrite(path, np.full((24, 24), ord(location), np.uint8))
            for square in squares:
                x, y = SQUARES[square.lower()]
                x += square.isupper()  # the second annotator's hand is not so sure
                polygon = [x, y, x + 8, y, x + 8, y + 8, x, y + 8]
                annotations.append(
                    {"id": next(cells), "image_id": number, "category_id": 1, "segmentation": [polygon], "area": 64}
                )
        target = folder / f"annotations/LIVECell/livecell_coco_{split}.json"
        target.parent.mkdir(parents=True, exist_ok=True)
        category = {"id": 1, "name": "cell"}
        target.write_text(json.dumps({"images": images, "annotations": annotations, "categories": [category]}))
    return folder


DOUBLE = {
    "train": [(1, "1", "ab"), (2, "2", "a"), (3, "1", "BCD"), (4, "5", "abc")],
    "val": [(5, "2", "abcd"), (6, "3", "a")],
    "test": [(7, "4", "ab"), (8, "3", "abc")],
}


@pytest.mark.parametrize(
    ("dedup", "cells", "findings"),
    [
        ("keep", {1: 2, 2: 1, 3: 3, 4: 3, 5: 4, 6: 1, 7: 2, 8: 3}, {}),
        ("drop", {1: 2, 4: 3, 5: 4, 7: 2, 8: 3}, {"annotated_twice": 1, "left_split": 2}),
        ("merge", {1: 4, 4: 3, 5: 4, 7: 2, 8: 3}, {"annotated_twice": 1, "left_split": 2}),
    ],
)
def test_dedup(tmp_path: Path, dedup: str, cells: dict[int, int], findings: dict[str, int]) -> None:
    truth = fetched(source(mirror=str(mirror(tmp_path / "mirror", DOUBLE)), dedup=dedup), tmp_path / "out")
    assert Counter(cell["image_id"] for cell in truth["annotations"]) == cells
    assert [image["id"] for image in truth["images"]] == sorted(cells)
    assert kinds(truth) == findings
    assert len(list((tmp_path / "out" / "images").iterdir())) == 5
    if dedup != "keep":
        assert len({image["file_name"] for image in truth["images"]}) == len(truth["images"])


def test_merging_compares_with_the_first_annotator_only(tmp_path: Path) -> None:
    """Two new cells of the second annotator stay, however they overlap: that is for the audit to tell."""
    lists = {"train": [(1, "1", "a"), (2, "1", "AbB")], "val": [(3, "2", "a")], "test": [(4, "3", "a")]}
    truth = fetched(source(mirror=str(mirror(tmp_path / "mirror", lists)), dedup="merge"), tmp_path / "out")
    assert [cell["bbox"][:2] for cell in truth["annotations"] if cell["image_id"] == 1] == [[2, 2], [12, 2], [13, 2]]


def test_a_sample_takes_all_records_of_a_file(tmp_path: Path) -> None:
    only = dict.fromkeys(("train", "val", "test"), DOUBLE["train"][:3:2])
    truth = fetched(source(mirror=str(mirror(tmp_path / "mirror", only)), max_images=1), tmp_path / "out")
    assert len(truth["images"]) == 6


# ---- what is refused -----------------------------------------------------------------------------


def test_broken_mirrors(tmp_path: Path) -> None:
    whole = mirror(tmp_path / "mirror", DOUBLE)
    twin = whole / "images" / "A172_Phase_A1_1_00d00h00m_1.tif"
    twin.write_bytes(b"x")
    with pytest.raises(InputError, match=r"A172_Phase_A1_1_00d00h00m_1\.tif is there twice"):
        fetched(source(mirror=str(whole)), tmp_path / "out")
    twin.unlink()
    next(whole.rglob("*_5_00d00h00m_1.tif")).unlink()
    with pytest.raises(InputError, match=r"1 annotated images are not among the 4 of .*, e\.g\. A172_Phase_A1_5"):
        fetched(source(mirror=str(whole)), tmp_path / "out")
    path = whole / LISTS[0]
    text = path.read_text()
    path.write_text(text.replace("A172_Phase", "A172"))
    with pytest.raises(InputError, match=r"is no LIVECell file name .* use source: coco"):
        fetched(source(mirror=str(whole)), tmp_path / "out")
    path.unlink()
    with pytest.raises(InputError, match=r"has no annotations/.*livecell_coco_train\.json; it must be laid out"):
        fetched(source(mirror=str(whole)), tmp_path / "out")
    path.write_text(text)
    pins = source().model_dump()["pins"] | {LISTS[0]: {"size": 5, "sha256": None}}
    with pytest.raises(InputError, match=r"livecell_coco_train\.json has \d+ bytes, 5 were expected"):
        fetched(source(mirror=str(whole), pins=pins), tmp_path / "out")


def test_pins_name_the_four_files() -> None:
    with pytest.raises(ValueError, match=r"images\.zip"):
        source(pins={"image.zip": {"size": 1, "sha256": None}})
    with pytest.raises(ValueError, match="at least 4"):
        source(pins={"images.zip": {"size": 1, "sha256": None}})
