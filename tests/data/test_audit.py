"""A clean culture passes; each fault is found; what makes scores meaningless stops."""

from __future__ import annotations

import copy
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from culture import HEIGHT, WELLS, WIDTH, Culture, polygon
from monolayer.coco.findings import REPAIRED, STOPS, WARNINGS, Findings
from monolayer.coco.records import Annotation, Truth
from monolayer.coco.rle import box_xywh, mask_from_rle, rle_from_mask, rle_from_polygons
from monolayer.data.audit import audit
from monolayer.files import InputError, write_json
from monolayer.params.data import AuditParams
from PIL import Image as PillowImage

PARAMS = AuditParams(min_annotations=1, duplicate_iou=0.5, near_copy=0.14)


@pytest.fixture
def images(culture: Culture, tmp_path: Path) -> Path:
    return Path(shutil.copytree(culture.images, tmp_path / "images"))


@pytest.fixture
def truth(culture: Culture) -> Truth:
    return copy.deepcopy(culture.truth)


def audited(images: Path, truth: Truth, params: AuditParams = PARAMS) -> dict[str, Any]:
    annotations, output = images.parent / "annotations.json", images.parent / "audit.json"
    write_json(annotations, truth)
    audit(images, annotations, params, output)
    found = json.loads(output.read_text())
    assert isinstance(found, dict)
    return found


def counts(found: dict[str, Any]) -> dict[str, int]:
    return {finding["kind"]: finding["count"] for finding in found["findings"]}


def fix_splits(truth: Truth) -> None:
    for image in truth["images"]:
        image["split"] = WELLS[image["well"].split("_")[1]]


def test_a_clean_culture(images: Path, truth: Truth) -> None:
    found = audited(images, truth)
    assert found["findings"] == []
    assert found["summary"] == {
        "images": 12,
        "cells": len(truth["annotations"]),
        "lines": 2,
        "splits": {},
        "findings": 0,
    }
    assert [row["cell_line"] for row in found["lines"]] == ["long", "round"]
    for row in found["lines"]:
        assert row["images"] == 6
        assert 6 <= row["cells_per_image_min"] <= row["cells_per_image_median"] <= row["cells_per_image_max"] <= 15
        assert 70 < row["median_area"] < 160
    for row, image in zip(found["images"], truth["images"], strict=True):
        mine = [a for a in truth["annotations"] if a["image_id"] == image["id"]]
        assert (row["file_name"], row["cells"]) == (image["file_name"], len(mine))
        covered = sum(a["area"] for a in mine) / (HEIGHT * WIDTH)  # the culture's cells don't touch
        assert row["confluence"] == pytest.approx(covered, abs=1e-4)


def test_splits_of_the_source_are_counted(images: Path, truth: Truth) -> None:
    fix_splits(truth)
    found = audited(images, truth)
    assert found["summary"]["splits"] == {"train": 8, "val": 2, "test": 2}
    assert found["findings"] == []


def test_what_the_source_found_is_handed_on(images: Path, truth: Truth) -> None:
    earlier = Findings()
    earlier.add("clipped", "annotation 7")
    truth["findings"] = earlier.records()
    assert audited(images, truth)["findings"] == earlier.records()


# ---- what stops ----------------------------------------------------------------------------------

Break = Callable[[Path, Any], Any]  # folder of images, truth


def same_picture(first: int, second: int) -> Break:
    """Two images of the culture that show the same; the splits are the ready-made ones."""

    def break_(images: Path, truth: Truth) -> None:
        fix_splits(truth)
        names = [truth["images"][index]["file_name"] for index in (first, second)]
        shutil.copy(images / names[0], images / names[1])

    return break_


def same_file(first: int, second: int) -> Break:
    def break_(images: Path, truth: Truth) -> None:
        fix_splits(truth)
        truth["images"][second]["file_name"] = truth["images"][first]["file_name"]

    return break_


def repaint(images: Path, name: str, image: PillowImage.Image) -> None:
    image.save(images / name)


STOPPING: dict[str, tuple[Break, str, str]] = {
    "no image": (lambda i, t: t.update(images=[], annotations=[]), "no_images", "images is empty"),
    "no annotation": (lambda i, t: t.update(annotations=[]), "no_annotations", "annotations is empty"),
    "missing": (lambda i, t: (i / "round_A1_0.png").unlink(), "missing_image", r"images/round_A1_0\.png"),
    "unreadable": (lambda i, t: (i / "round_A1_0.png").write_bytes(b"?"), "unreadable_image", "round_A1_0.png is not"),
    "colour": (
        lambda i, t: repaint(i, "round_A1_0.png", PillowImage.new("RGB", (WIDTH, HEIGHT))),
        "unreadable_image",
        r"round_A1_0\.png is uint8 \(96, 128, 3\)",
    ),
    "another size": (
        lambda i, t: repaint(i, "round_A1_0.png", PillowImage.new("L", (9, 8))),
        "size_mismatch",
        r"round_A1_0\.png is 9x8 px, the truth says 128x96",
    ),
    "another mask size": (
        lambda i, t: t["annotations"][0]["segmentation"].update(size=[95, 128]),
        "size_mismatch",
        r"annotation 1 of round_A1_0\.png: mask \[95, 128\]",
    ),
    "image id twice": (lambda i, t: t["images"][0].update(id=2), "duplicate_image_id", "image id 2"),
    "annotation id twice": (
        lambda i, t: t["annotations"][0].update(id=2),
        "duplicate_annotation_id",
        "annotation id 2",
    ),
    "annotation of no image": (
        lambda i, t: t["annotations"][0].update(image_id=99),
        "dangling_annotation",
        "annotation 1 of image 99",
    ),
    "test picture in train": (
        same_picture(5, 0),
        "in_test_and_train",
        r"round_A1_0.png \(train\), round_A4_0.png \(test\)",
    ),
    "test picture in val": (
        same_picture(5, 4),
        "in_test_and_train",
        r"round_A3_0.png \(val\), round_A4_0.png \(test\)",
    ),
    "test file in train": (same_file(5, 0), "in_test_and_train", r"round_A4_0.png \(test\), round_A4_0.png \(train\)"),
}


@pytest.mark.parametrize("fault", STOPPING)
def test_what_makes_scores_meaningless_stops(images: Path, truth: Truth, fault: str) -> None:
    breaks, kind, example = STOPPING[fault]
    breaks(images, truth)
    with pytest.raises(InputError, match=r"can't give meaningful scores") as error:
        audited(images, truth)
    assert f"× {STOPS[kind]}" in str(error.value)
    with pytest.raises(InputError, match=example):
        audited(images, truth)
    assert not (images.parent / "audit.json").exists()


# ---- what is reported ----------------------------------------------------------------------------


def test_a_picture_in_train_and_val_is_reported_since_official_lists_have_them(images: Path, truth: Truth) -> None:
    same_picture(4, 0)(images, truth)
    found = audited(images, truth)
    assert counts(found) == {"in_train_and_val": 1}
    assert found["findings"][0]["severity"] == "warn"


def test_without_fixed_splits_equal_pictures_are_only_noted(images: Path, truth: Truth) -> None:
    shutil.copy(images / "round_A1_0.png", images / "round_A4_0.png")
    assert counts(audited(images, truth)) == {"same_content": 1}


def test_what_the_source_left_open_is_in_no_split_yet(images: Path, truth: Truth) -> None:
    """It is dealt, together with what it shows again."""
    for image in truth["images"]:
        if image["cell_line"] == "round":
            image["split"] = WELLS[image["well"].split("_")[1]]
    shutil.copy(images / "round_A4_0.png", images / "long_A1_0.png")
    truth["images"][6]["well"], truth["images"][6]["cell_line"] = "round_A4", "round"
    assert truth["images"][6]["file_name"] == "long_A1_0.png"
    found = audited(images, truth)
    assert counts(found) == {"same_content": 1}


def test_files_listed_twice_in_a_split(images: Path, truth: Truth) -> None:
    truth["images"][1]["file_name"] = truth["images"][0]["file_name"]
    found = audited(images, truth)
    assert counts(found) == {"same_file": 1}


def test_wells_and_lines_across_splits(images: Path, truth: Truth) -> None:
    fix_splits(truth)
    truth["images"][0]["split"] = "val"
    truth["images"][5]["split"] = "train"
    found = audited(images, truth)
    assert counts(found) == {"shared_well": 1, "line_not_in_split": 1}
    assert [finding["examples"] for finding in found["findings"]] == [
        ["round round_A1: train, val"],
        ["round is not in test"],
    ]


def test_a_blank_image(images: Path, truth: Truth) -> None:
    PillowImage.new("L", (WIDTH, HEIGHT), 77).save(images / "round_A1_0.png")
    found = audited(images, truth)
    assert counts(found) == {"blank_image": 1}
    assert found["findings"][0]["examples"][0].endswith("round_A1_0.png: 77 everywhere")


def test_cells_drawn_twice_empty_and_outside(images: Path, truth: Truth) -> None:
    cells = truth["annotations"]
    disk = rle_from_polygons([polygon((60.0, 50.0, 6.0, 6.0, 0.0))], HEIGHT, WIDTH)
    moved = rle_from_polygons([polygon((61.0, 50.0, 6.0, 6.0, 0.0))], HEIGHT, WIDTH)
    crowd = Annotation(**{**cells[0], "id": 9003, "segmentation": disk, "iscrowd": 1})
    for number, rle in ((9001, disk), (9002, moved)):
        cells.append(Annotation(**{**cells[0], "id": number, "segmentation": rle, "bbox": box_xywh(rle)}))
    cells.append(crowd)
    empty = rle_from_mask(np.zeros((HEIGHT, WIDTH), bool))
    cells.append(Annotation(**{**cells[0], "id": 9004, "segmentation": empty, "bbox": [120, 5, 20, 5]}))
    found = audited(images, truth)
    examples = {finding["kind"]: finding["examples"] for finding in found["findings"]}
    assert counts(found)["overlapping"] >= 1  # the disk may also hide a cell that was there
    assert any("annotations 9001 and 9002, IoU 0.8" in text for text in examples["overlapping"])
    assert not any("9003" in text for text in examples["overlapping"])
    alone = json.loads(json.dumps(truth))
    alone["annotations"] = [cell for cell in alone["annotations"] if not cell["iscrowd"]]
    assert found["images"] == audited(images, alone)["images"]  # a region covers nothing
    assert examples["empty_mask"] == ["annotation 9004 of round_A1_0.png"]
    assert examples["box_outside"] == ["annotation 9004 of round_A1_0.png: [120, 5, 20, 5]"]


def test_confluence_is_of_what_is_annotated(images: Path, truth: Truth) -> None:
    """As in the tables of images: a part that nobody looked at counted as ground without a cell."""
    every = audited(images, truth)["images"][0]
    first = [cell for cell in truth["annotations"] if cell["image_id"] == truth["images"][0]["id"]]
    cells = np.any([mask_from_rle(cell["segmentation"]) for cell in first], axis=0)
    assert every["confluence"] == pytest.approx(cells.mean(), abs=1e-4)
    region = rle_from_mask(~cells & (np.arange(WIDTH) < WIDTH // 2))
    truth["annotations"].append(Annotation(**{**first[0], "id": 9003, "segmentation": region, "iscrowd": 1}))
    found = audited(images, truth)["images"][0]
    left = ~mask_from_rle(region)
    assert found == every | {"confluence": pytest.approx(cells.sum() / left.sum(), abs=1e-4)}


def test_images_with_few_annotations_and_many_examples(images: Path, truth: Truth) -> None:
    found = audited(images, truth, AuditParams(min_annotations=16, duplicate_iou=0.5, near_copy=None))
    assert counts(found) == {"few_annotations": 12}
    assert len(found["findings"][0]["examples"]) == 12
    many = Findings()
    for number in range(100):
        many.add("clipped", str(number))
    (record,) = many.records()
    assert (record["count"], len(record["examples"])) == (100, 20)


def test_every_kind_has_one_meaning() -> None:
    assert not (STOPS.keys() & WARNINGS.keys()) | (STOPS.keys() & REPAIRED.keys()) | (WARNINGS.keys() & REPAIRED.keys())
