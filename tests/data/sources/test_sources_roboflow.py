"""Exports as Roboflow makes them: from disk and through its API, whose key must never be seen."""

from __future__ import annotations

import json
import logging
import re
import zipfile
from collections import Counter
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from collected import fetched
from monolayer.coco import rle
from monolayer.data.sources import fetch, roboflow
from monolayer.files import InputError
from monolayer.params.data import RoboflowSource
from PIL import Image as PillowImage
from web import Web

KEY = "S3CRETkey"
LAYOUT = {  # split: images of it, as (original, hash)
    "train": [("dish1", "aa11"), ("dish1", "bb22"), ("dish2", "cc33")],
    "valid": [("dish3", "dd44")],
    "test": [("dish4", "ee55")],
}


def export(layout: dict[str, list[tuple[str, str]]], lacking: str = "") -> bytes:
    """An export: RGB JPEGs, a parent category 0 without annotations, box areas, ids from 0 in each split."""
    file = BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("README.roboflow.txt", "Cells - v6")
        for split, originals in layout.items():
            images, annotations = [], []
            for number, (original, hash_) in enumerate(originals):
                name = f"{original}_jpg.rf.{hash_}.jpg"
                picture = BytesIO()
                rng = np.random.default_rng(sum(hash_.encode()))
                PillowImage.fromarray(rng.integers(0, 255, (32, 40), np.uint8)).convert("RGB").save(picture, "JPEG")
                if name != lacking:
                    archive.writestr(f"{split}/{name}", picture.getvalue())
                images.append({"id": number, "license": 1, "file_name": name, "height": 32, "width": 40})
                triangle = [4, 4, 24, 4, 4, 24]
                annotations.append(
                    {
                        "id": number,
                        "image_id": number,
                        "category_id": 1,
                        "bbox": [4, 4, 20, 20],
                        "area": 1280,
                        "segmentation": [triangle],
                        "iscrowd": 0,
                    }
                )
            categories = [
                {"id": 0, "name": "cells-Xy1z", "supercategory": "none"},
                {"id": 1, "name": "cell", "supercategory": "cells-Xy1z"},
            ]
            data = {"images": images, "annotations": annotations, "categories": categories}
            archive.writestr(f"{split}/_annotations.coco.json", json.dumps(data))
    return file.getvalue()


def source(**changed: Any) -> RoboflowSource:
    settings: dict[str, Any] = {
        "source": "roboflow",
        "zip": None,
        "url": "http://127.0.0.1:9",
        "workspace": "cultures",
        "project": "cells",
        "version": 6,
        "cell_line": "culture",
        "sha256": None,
    }
    return RoboflowSource.model_validate(settings | changed)


@pytest.fixture
def on_disk(tmp_path: Path) -> str:
    path = tmp_path / "export.zip"
    path.write_bytes(export(LAYOUT))
    return str(path)


def test_an_export_keeps_its_splits(on_disk: str, tmp_path: Path) -> None:
    truth = fetched(source(zip=on_disk), tmp_path / "out")
    assert Counter(image["split"] for image in truth["images"]) == {"train": 3, "val": 1, "test": 1}
    assert {image["cell_line"] for image in truth["images"]} == {"culture"}
    first = next(image for image in truth["images"] if "aa11" in image["file_name"])
    assert (first["file_name"], first["well"]) == ("train__dish1_jpg.rf.aa11.png", "dish1_jpg")
    assert Counter(image["well"] for image in truth["images"])["dish1_jpg"] == 2  # augmented copies stay together
    for cell in truth["annotations"]:
        assert cell["area"] == rle.rle_area(cell["segmentation"]) < 250  # not the export's 1280
        assert cell["category_id"] == 1
    assert len({image["id"] for image in truth["images"]}) == 5
    assert [finding["kind"] for finding in truth["findings"]] == ["ids_renumbered"]  # areas are not expected to fit
    with PillowImage.open(tmp_path / "out" / "images" / first["file_name"]) as stored:
        assert (stored.mode, stored.size) == ("L", (40, 32))


def test_the_line_may_be_the_category(on_disk: str, tmp_path: Path) -> None:
    truth = fetched(source(zip=on_disk, cell_line="category"), tmp_path / "out")
    assert {image["cell_line"] for image in truth["images"]} == {"cell"}


def test_an_export_may_lack_a_split_or_lie_in_a_folder(tmp_path: Path) -> None:
    file = BytesIO()
    with zipfile.ZipFile(BytesIO(export({"train": LAYOUT["train"]}))) as flat, zipfile.ZipFile(file, "w") as nested:
        for name in flat.namelist():
            nested.writestr(f"Cells.v6/{name}", flat.read(name))
    (tmp_path / "export.zip").write_bytes(file.getvalue())
    truth = fetched(source(zip=str(tmp_path / "export.zip")), tmp_path / "out")
    assert {image["split"] for image in truth["images"]} == {"train"}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"PK not really", "is no readable zip"),
        (export({}), r"has no train/_annotations\.coco\.json; export it as COCO Segmentation"),
        (export(LAYOUT, lacking="dish4_jpg.rf.ee55.jpg"), r"lacks 1 images, e\.g\. test/dish4_jpg\.rf\.ee55\.jpg"),
    ],
)
def test_broken_exports(tmp_path: Path, content: bytes, message: str) -> None:
    (tmp_path / "export.zip").write_bytes(content)
    with pytest.raises(InputError, match=message):
        fetched(source(zip=str(tmp_path / "export.zip")), tmp_path / "out")


def test_no_zip_and_another_zip(tmp_path: Path, on_disk: str) -> None:
    with pytest.raises(InputError, match=r"there is no .*none; set `zip` to the export"):
        fetched(source(zip=str(tmp_path / "none")), tmp_path / "out")
    with pytest.raises(InputError, match="has the sha256"):
        fetched(source(zip=on_disk, sha256="0" * 64), tmp_path / "out")


# ---- the API -------------------------------------------------------------------------------------

FORMAT = "/cultures/cells/6/coco-segmentation"


@pytest.fixture
def api(web: Web, monkeypatch: pytest.MonkeyPatch) -> Web:
    monkeypatch.setenv(roboflow.KEY, KEY)
    monkeypatch.setattr(roboflow, "EXPORT_WAIT", 0)
    monkeypatch.setattr(fetch, "WAITS", (0,))
    web.files["/signed"] = export(LAYOUT)
    return web


def link(web: Web) -> tuple[int, bytes]:
    return 200, json.dumps(
        {"export": {"format": "coco-segmentation", "link": f"{web.url}/signed?token={KEY}2"}}
    ).encode()


def test_an_export_is_asked_for_and_awaited(
    api: Web, tmp_path: Path, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    answers = iter([(202, b'{"progress": 0.25}'), (202, b'{"progress": null}'), link(api)])
    api.answers[FORMAT] = lambda: next(answers)
    with caplog.at_level(logging.DEBUG, logger="monolayer"), caplog.at_level(logging.INFO):
        truth = fetched(source(url=api.url), tmp_path / "out")
        assert len(truth["images"]) == 5
        assert [path for path, _ in api.requests].count(f"{FORMAT}?api_key={KEY}") == 3
        fetched(source(url=api.url), tmp_path / "out")
    assert len(api.requests) == 4  # the zip stays, nothing is asked twice
    assert "is being made: 25 %" in caplog.text
    assert re.search(r"sha256: [0-9a-f]{64}", caplog.text)
    written = "".join(path.read_text(errors="ignore") for path in (tmp_path / "out").rglob("*") if path.is_file())
    out, err = capfd.readouterr()
    assert KEY not in caplog.text + out + err + written


@pytest.mark.parametrize(
    ("status", "body", "message"),
    [
        (
            401,
            f'{{"message": "key {KEY} is wrong"}}',
            r"the server answers 401 \(key \*\*\* is wrong\); check ROBOFLOW",
        ),
        (404, '{"error": "no such version"}', r"answers 404 \(no such version\)"),
        (200, "{}", r"answers 200 \(OK\)"),
        (500, "<html>", r"can't be asked \(JSONDecodeError\)"),
    ],
)
def test_what_the_api_refuses(api: Web, tmp_path: Path, status: int, body: str, message: str) -> None:
    api.answers[FORMAT] = lambda: (status, body.encode())
    with pytest.raises(InputError, match=message) as error:
        fetched(source(url=api.url), tmp_path / "out")
    assert KEY not in str(error.value)


def test_no_network_shows_no_key(api: Web, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"can't be asked \(ConnectionError\); check network") as error:
        fetched(source(), tmp_path / "out")
    assert KEY not in str(error.value)
    assert error.value.__suppress_context__
    del api.files["/signed"]
    api.answers[FORMAT] = lambda: link(api)
    with pytest.raises(InputError, match="Roboflow export cultures/cells/6: the server answers 404") as error:
        fetched(source(url=api.url), tmp_path / "out")
    assert KEY not in str(error.value)


def test_no_key_says_where_to_get_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(roboflow.KEY, raising=False)
    with pytest.raises(InputError, match="needs your API key in the environment variable ROBOFLOW_API_KEY"):
        fetched(source(), tmp_path / "out")


def test_val_is_a_split_too_and_no_folder_is_lost(tmp_path: Path) -> None:
    (tmp_path / "a.zip").write_bytes(export({"train": LAYOUT["train"], "val": LAYOUT["valid"]}))
    truth = fetched(source(zip=str(tmp_path / "a.zip")), tmp_path / "out")
    assert Counter(image["split"] for image in truth["images"]) == {"train": 3, "val": 1}
    (tmp_path / "b.zip").write_bytes(export({"train": LAYOUT["train"], "holdout": LAYOUT["valid"]}))
    with pytest.raises(
        InputError, match="has annotations in holdout/, which is no split; name the folder one of train"
    ):
        fetched(source(zip=str(tmp_path / "b.zip")), tmp_path / "out")
