"""Synthetic images: truth is exactly what is seen, all comes from train, and the same seed gives the same bytes."""

from __future__ import annotations

import copy
import json
import logging
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from culture import Culture, make_culture
from faults import contents
from monolayer.__main__ import main
from monolayer.coco import rle
from monolayer.coco.io import read_truth
from monolayer.coco.records import Annotation, Truth
from monolayer.data.dataset import read_image
from monolayer.files import InputError, write_json
from monolayer.params.extensions import ExtendParams
from monolayer.synthesis.extend import extend
from scipy import ndimage

SYNTHESIS: dict[str, Any] = {
    "block": 2,
    "min_cells": 20,
    "mix": 0.3,
    "margin": {"low": 0.3, "high": 1.0},
    "illumination": 4.0,
    "texture": 1.5,
    "restless": 2.0,
    "similar": 0.05,
    "overlap": 0.2,
    "turn": 0.3,
    "scale": 0.1,
    "gain": 0.1,
    "tries_per_pose": 8,
    "tries": 64,
    "wander": 8.0,
}
LAWS: dict[str, dict[str, Any]] = {
    "matched": {"layout": "matched", "factor": 3, "jitter": 0.1, "nearest": 3},
    "poster": {"layout": "poster", "factor": 3, "density": {"low": 0.5, "high": 2.0}},
    "growth": {"layout": "growth", "factor": 3, "confluence": {"low": 0.03, "high": 0.3}, "spread": 1.2},
}


CELL = 0.015  # of the culture's images, the area of its largest cell


def params(layout_policy: str, seed: int = 0, **changes: Any) -> ExtendParams:
    extension = {**LAWS[layout_policy], **{key: value for key, value in changes.items() if key in LAWS[layout_policy]}}
    synthesis = {**SYNTHESIS, **{key: value for key, value in changes.items() if key in SYNTHESIS}}
    return ExtendParams.model_validate(
        {"name": layout_policy, "extension": extension, "synthesis": synthesis, "seed": seed}
    )


@pytest.fixture(scope="module", params=list(LAWS))
def made(request: pytest.FixtureRequest, culture: Culture, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The culture's extension by each law."""
    folder: Path = tmp_path_factory.mktemp(request.param) / request.param
    extend(culture.images, culture.splits / "train.json", params(request.param), folder, workers=1)
    return folder


def truth_of(folder: Path) -> Any:
    return json.loads((folder / "annotations.json").read_text())


def masks_of(truth: Any, image: Any) -> np.ndarray[Any, Any]:
    """The masks of an image's cells, (N, H, W)."""
    masks = [rle.mask_from_rle(c["segmentation"]) for c in truth["annotations"] if c["image_id"] == image["id"]]
    return np.array(masks, bool).reshape(len(masks), image["height"], image["width"])


def test_images_and_truth_fit_together(made: Path, culture: Culture) -> None:
    truth, train = truth_of(made), read_truth(culture.splits / "train.json")
    assert len(truth["images"]) == 3 * len(train["images"])
    assert {i["id"] for i in truth["images"]}.isdisjoint(i["id"] for i in train["images"])
    assert {c["id"] for c in truth["annotations"]}.isdisjoint(c["id"] for c in train["annotations"])
    assert len({c["id"] for c in truth["annotations"]}) == len(truth["annotations"])
    assert {path.name for path in (made / "images").iterdir()} == {i["file_name"] for i in truth["images"]}
    for image in truth["images"]:
        pixels = read_image(made / "images" / image["file_name"])
        assert pixels.shape == (image["height"], image["width"])
        assert image["synthetic"]
        assert image["split"] == "train"
    for cell in truth["annotations"]:
        assert cell["bbox"] == rle.box_xywh(cell["segmentation"])
        assert cell["area"] == rle.rle_area(cell["segmentation"]) > 0


def test_masks_are_disjoint_and_are_what_is_seen(made: Path) -> None:
    # cells of line round are bright (210), the background is 128, so that brightness tells what is seen
    truth = truth_of(made)
    for image in truth["images"]:
        masks = masks_of(truth, image)
        assert masks.sum(0).max(initial=0) <= 1
        if image["cell_line"] == "round":
            seen = read_image(made / "images" / image["file_name"]) > 169
            inner = [ndimage.binary_erosion(mask, iterations=2) for mask in masks]
            outer = ndimage.binary_dilation(masks.any(0), iterations=2)
            assert seen[np.any(inner, axis=0)].mean() > 0.99
            assert seen[~outer].mean() < 0.001


def test_the_recipe_names_every_cell_and_its_place(made: Path, culture: Culture) -> None:
    truth, train = truth_of(made), read_truth(culture.splits / "train.json")
    lines = {image["id"]: image["cell_line"] for image in train["images"]}
    source_line = {cell["id"]: lines[cell["image_id"]] for cell in train["annotations"]}
    for image in truth["images"]:
        recipe, masks = image["recipe"], masks_of(truth, image)
        assert recipe["placed"]["cells"] == len(recipe["cells"]) == len(masks)
        assert recipe["placed"]["confluence"] == pytest.approx(masks.any(0).mean(), abs=1e-4)
        assert {lines[recipe[key]] for key in ("background", "texture")} == {image["cell_line"]}
        for mask, (source, y, x, _, scale, _, gain) in zip(masks, recipe["cells"], strict=True):
            assert source_line[source] == image["cell_line"]
            assert 0.9 <= scale <= 1.1
            assert 0.9 <= gain <= 1.1
            rows, columns = np.nonzero(mask)
            assert abs(rows - y).min() <= 12  # the source's centroid, which the image's edge may have cut off
            assert abs(columns - x).min() <= 12


def test_bytes_do_not_depend_on_workers_and_do_on_the_seed(culture: Culture, tmp_path: Path, made: Path) -> None:
    layout_policy = made.name
    extend(culture.images, culture.splits / "train.json", params(layout_policy), tmp_path / "two", workers=2)
    assert contents(tmp_path / "two") == contents(made)
    extend(culture.images, culture.splits / "train.json", params(layout_policy, seed=1), tmp_path / "seed", workers=1)
    other = contents(tmp_path / "seed")
    assert other.keys() == contents(made).keys()
    assert all(other[name] != data for name, data in contents(made).items())


def test_nothing_of_val_and_test_is_read(culture: Culture, tmp_path: Path, made: Path) -> None:
    """With images and truth of val and test gone, the bytes are the same."""
    train = {image["file_name"] for image in read_truth(culture.splits / "train.json")["images"]}
    (tmp_path / "images").mkdir()
    for name in train:
        shutil.copy(culture.images / name, tmp_path / "images" / name)
    shutil.copy(culture.splits / "train.json", tmp_path / "train.json")
    extend(tmp_path / "images", tmp_path / "train.json", params(made.name), tmp_path / "alone", workers=1)
    assert len(list(culture.images.iterdir())) > len(train)
    assert contents(tmp_path / "alone") == contents(made)


def test_a_second_run_leaves_nothing_of_the_first(culture: Culture, tmp_path: Path) -> None:
    extend(culture.images, culture.splits / "train.json", params("matched"), tmp_path, workers=1)
    many = contents(tmp_path)
    extend(culture.images, culture.splits / "train.json", params("matched", factor=1), tmp_path, workers=1)
    assert len(contents(tmp_path)) < len(many)
    assert len(list((tmp_path / "images").iterdir())) == len(truth_of(tmp_path)["images"])


def test_a_run_that_fails_leaves_what_was_there(culture: Culture, tmp_path: Path) -> None:
    """Images of one run beside the truth of another would be learnt from as if they belonged together."""
    out = tmp_path / "out"
    extend(culture.images, culture.splits / "train.json", params("matched"), out, workers=1)
    before = contents(out)
    path, truth = broken(culture, tmp_path)
    last = [cell for cell in truth["annotations"] if cell["image_id"] == truth["images"][-1]["id"]]
    last[0]["segmentation"] = rle.rle_from_mask(np.eye(9, dtype=bool))
    write_json(path, truth)
    with pytest.raises(InputError, match="the mask of annotation"):
        extend(culture.images, path, params("matched", block=1, min_cells=1), out, workers=1)
    assert contents(out) == before


def test_images_of_others_are_not_deleted(culture: Culture, tmp_path: Path) -> None:
    shutil.copytree(culture.images, tmp_path / "images")
    with pytest.raises(InputError, match=r"images holds long_A1_0.png, .* which .* does not list and which would be"):
        extend(culture.images, culture.splits / "train.json", params("matched"), tmp_path, workers=1)
    assert contents(tmp_path / "images") == contents(culture.images)


def test_crowds_do_not_become_background(culture: Culture, tmp_path: Path) -> None:
    """Cells that nobody took apart would be learnt as background."""
    path, truth = broken(culture, tmp_path)
    lines = {image["id"]: image["cell_line"] for image in truth["images"]}
    truth["images"] = [image for image in truth["images"] if image["cell_line"] == "round"]
    truth["annotations"] = [cell for cell in truth["annotations"] if lines[cell["image_id"]] == "round"]
    for cell in truth["annotations"][::2]:
        cell["iscrowd"] = 1
    write_json(path, truth)
    extend(culture.images, path, params("matched"), tmp_path / "out", workers=1)
    made = truth_of(tmp_path / "out")
    assert not any(cell["iscrowd"] for cell in made["annotations"])
    for image in made["images"]:
        seen = read_image(tmp_path / "out/images" / image["file_name"]) > 169
        outer = ndimage.binary_dilation(masks_of(made, image).any(0), iterations=2)
        assert seen[~outer].mean() < 0.002


def test_matched_repeats_count_and_confluence(culture: Culture, tmp_path: Path) -> None:
    """Counts are those of a training image; its confluence is reached within a tenth, or a cell."""
    extend(culture.images, culture.splits / "train.json", params("matched"), tmp_path, workers=1)
    train = read_truth(culture.splits / "train.json")
    counts = {i["id"]: sum(c["image_id"] == i["id"] for c in train["annotations"]) for i in train["images"]}
    for image in truth_of(tmp_path)["images"]:
        recipe = image["recipe"]
        assert recipe["placed"]["cells"] == recipe["asked"]["cells"] == counts[recipe["layout"]]
        assert recipe["placed"]["confluence"] == pytest.approx(recipe["asked"]["confluence"], rel=0.1, abs=CELL)


def test_growth_is_a_series_of_rising_confluence(culture: Culture, tmp_path: Path) -> None:
    extend(culture.images, culture.splits / "train.json", params("growth", factor=4), tmp_path, workers=1)
    by_culture: dict[int, list[Any]] = {}
    for image in truth_of(tmp_path)["images"]:
        by_culture.setdefault(image["recipe"]["background"], []).append(image["recipe"])
    for series in by_culture.values():
        assert [recipe["step"] for recipe in series] == [0, 1, 2, 3]
        reached = [recipe["placed"]["confluence"] for recipe in series]
        assert reached == sorted(reached)
        assert 0.02 < reached[0] < 0.1 < reached[-1] < 0.35
        for recipe in series:
            assert recipe["placed"]["confluence"] == pytest.approx(recipe["asked"]["confluence"], rel=0.1, abs=CELL)


def test_a_density_out_of_reach_ends_in_fewer_cells(
    culture: Culture, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    crowded = params("poster", density={"low": 30.0, "high": 31.0}, factor=1)
    with caplog.at_level(logging.WARNING):
        extend(culture.images, culture.splits / "train.json", crowded, tmp_path, workers=1)
    truth = truth_of(tmp_path)
    for line in ("round", "long"):
        recipes = [image["recipe"] for image in truth["images"] if image["cell_line"] == line]
        asked, placed = (sum(recipe[key]["cells"] for recipe in recipes) for key in ("asked", "placed"))
        assert 0 < placed < asked
        assert f"cell line {line}: {asked - placed} of {asked} cells found no room" in caplog.text
        assert all(recipe["placed"]["confluence"] > 0.6 for recipe in recipes)


def broken(culture: Culture, tmp_path: Path) -> tuple[Path, Truth]:
    """The truth of train, to be spoiled, and where to write it."""
    return tmp_path / "train.json", copy.deepcopy(read_truth(culture.splits / "train.json"))


def test_a_line_without_a_whole_cell_is_named(culture: Culture, tmp_path: Path) -> None:
    path, truth = broken(culture, tmp_path)
    lines = {image["id"]: image["cell_line"] for image in truth["images"]}
    for cell in truth["annotations"]:
        if lines[cell["image_id"]] == "long":
            cell["segmentation"] = rle.rle_from_mask(np.eye(96, 128, dtype=bool))
            cell["bbox"], cell["area"] = [0.0, 0.0, 96.0, 96.0], 96.0
    write_json(path, truth)
    with pytest.raises(InputError, match=r"cell line long has no whole cell in its 4 training images"):
        extend(culture.images, path, params("matched"), tmp_path / "out", workers=1)


def test_a_mask_outside_its_image_is_named(culture: Culture, tmp_path: Path) -> None:
    path, truth = broken(culture, tmp_path)
    cell = truth["annotations"][0]
    cell["segmentation"] = rle.rles_from_crops([(np.ones((5, 5), bool), 130, 100)], 200, 300)[0]
    cell["bbox"] = [130.0, 100.0, 5.0, 5.0]
    write_json(path, truth)
    with pytest.raises(InputError, match=r"cell line round: the mask of annotation 1, .* is none of round_A1_0.png"):
        extend(culture.images, path, params("matched"), tmp_path / "out", workers=1)


def test_images_without_background_are_named(culture: Culture, tmp_path: Path) -> None:
    path, truth = broken(culture, tmp_path)
    everything = np.ones((96, 128), bool)
    for image in truth["images"]:
        whole = Annotation(
            id=1000 + image["id"],
            image_id=image["id"],
            category_id=1,
            segmentation=rle.rle_from_mask(everything),
            bbox=[0.0, 0.0, 128.0, 96.0],
            area=96.0 * 128.0,
            iscrowd=0,
        )
        truth["annotations"].append(whole)
    write_json(path, truth)
    with pytest.raises(InputError, match=r"cell line long: cells cover all of long_.*png"):
        extend(culture.images, path, params("matched"), tmp_path / "out", workers=1)


def test_an_image_without_cells_is_a_background(tmp_path: Path) -> None:
    culture = make_culture(tmp_path / "culture")
    path, truth = broken(culture, tmp_path)
    empty = truth["images"][0]["id"]
    truth["annotations"] = [cell for cell in truth["annotations"] if cell["image_id"] != empty]
    write_json(path, truth)
    extend(culture.images, path, params("poster"), tmp_path / "out", workers=1)
    recipes = [i["recipe"] for i in truth_of(tmp_path / "out")["images"] if i["recipe"]["background"] == empty]
    assert len(recipes) == 3
    assert all(recipe["placed"]["cells"] > 0 for recipe in recipes)


def test_the_verb_reports_bad_input_in_one_line(
    culture: Culture, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["extend", "--images", str(culture.images), "--truth", str(tmp_path / "none.json")]
    words += ["--params", params("matched").model_dump_json(), "--output", str(tmp_path / "out")]
    assert main(words) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"monolayer extend: {tmp_path / 'none.json'} is not readable as COCO truth")
