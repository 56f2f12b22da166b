"""Several sources as one: nothing is lost, files don't collide, and lines that may only train are in no other split."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from collected import fetched, kinds
from culture import Culture, make_culture
from monolayer.data.split import assign
from monolayer.files import InputError
from monolayer.params.data import SplitParams, UnionSource


def union(*cultures: Culture, train_only: tuple[str, ...] = ()) -> UnionSource:
    parts: dict[str, Any] = {
        f"part{number}": {
            "source": "coco",
            "images": str(culture.images),
            "annotations": str(culture.annotations),
            "cell_line": "category",
            "well": None,
            "time": None,
            "percentiles": {"low": 0.5, "high": 99.8},
            "max_images": None,
        }
        for number, culture in enumerate(cultures)
    }
    return UnionSource.model_validate({"source": "union", "parts": parts, "train_only": train_only})


def renamed(folder: Path) -> Culture:
    """A culture whose files have other names than those of the one that all tests share."""
    culture = make_culture(folder)
    text = culture.annotations.read_text()
    for path in culture.images.iterdir():
        path.rename(path.with_name(f"b_{path.name}"))
        text = text.replace(f'"{path.name}"', f'"b_{path.name}"')
    culture.annotations.write_text(text)
    return culture


def test_all_of_both_parts_under_ids_of_their_own(culture: Culture, tmp_path: Path) -> None:
    other = renamed(tmp_path / "other")
    truth = fetched(union(culture, other), tmp_path)
    assert len(truth["images"]) == 2 * len(culture.truth["images"])
    assert len({image["id"] for image in truth["images"]}) == len(truth["images"])
    cells: dict[str, list[Any]] = {}
    names = {image["id"]: image["file_name"] for image in truth["images"]}
    for cell in truth["annotations"]:
        cells.setdefault(names[cell["image_id"]], []).append(cell["segmentation"])
    for name in list(cells):
        if name.startswith("b_"):
            assert cells[name] == cells[name.removeprefix("b_")]
            assert (tmp_path / "images" / name).read_bytes() == (
                tmp_path / "images" / name.removeprefix("b_")
            ).read_bytes()


def test_wells_of_one_name_in_several_parts_are_said(culture: Culture, tmp_path: Path) -> None:
    """A1 of two plates would be one growth curve."""
    both = union(culture, renamed(tmp_path / "other"))
    assert "same_well" not in kinds(fetched(both, tmp_path))
    rule = {"well": "regex:_(?P<well>A[0-9])_"}
    wells = both.model_copy(update={"parts": {n: part.model_copy(update=rule) for n, part in both.parts.items()}})
    truth = fetched(wells, tmp_path)
    assert kinds(truth)["same_well"] == 8  # four of each line
    [found] = [finding for finding in truth["findings"] if finding["kind"] == "same_well"]
    assert found["examples"][0] == "round A1: part0, part1"


def test_lines_that_only_train_judge_nothing(culture: Culture, tmp_path: Path) -> None:
    truth = fetched(union(culture, train_only=("round",)), tmp_path)
    splits = assign(truth, SplitParams(seed=0, val=0.2, test=0.2, group="both"))
    of_line = {line: {splits[i["id"]] for i in truth["images"] if i["cell_line"] == line} for line in ("round", "long")}
    assert of_line == {"round": {"train"}, "long": {"train", "val", "test"}}


def test_lines_that_only_train_judge_nothing_where_the_sources_fix_their_splits(
    culture: Culture, tmp_path: Path
) -> None:
    """As of a Roboflow export without test, which is then taken from train."""
    truth = fetched(union(culture, train_only=("round",)), tmp_path)
    for number, image in enumerate(truth["images"]):
        image["split"] = image["split"] or ("val" if number % 6 == 5 else "train")
    splits = assign(truth, SplitParams(seed=0, val=0.2, test=0.2, group="both"))
    assert {splits[image["id"]] for image in truth["images"] if image["cell_line"] == "round"} == {"train"}
    assert set(splits.values()) == {"train", "val", "test"}


def test_shared_file_names_and_unknown_lines_are_refused(culture: Culture, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"is a file name in part1 and in a part before it; rename one of them"):
        fetched(union(culture, culture), tmp_path)
    with pytest.raises(InputError, match="train_only names cort, but the cell lines are long, round"):
        fetched(union(culture, train_only=("cort",)), tmp_path)
