"""Splits that leak nothing, whatever the wells, lines, sizes and seeds."""

from __future__ import annotations

import logging
from collections import Counter, defaultdict
from pathlib import Path
from typing import Any

import pytest
from culture import Culture
from hypothesis import given
from hypothesis import strategies as st
from monolayer.coco.io import read_truth
from monolayer.coco.records import CELL, Annotation, Image, Rle, Truth
from monolayer.data.split import SPLITS, assign, deal, group, split
from monolayer.files import InputError, write_json
from monolayer.params.data import SplitParams

PARAMS = SplitParams(seed=0, val=0.2, test=0.2, group="both")
EMPTY = Rle(size=[1, 1], counts="1")

Row = tuple[str, str, int, str | None, str]  # cell line, well, cells, split, content


def truth_of(rows: list[Row]) -> Truth:
    images, annotations = [], list[Annotation]()
    for number, (line, well, cells, fixed, content) in enumerate(rows, start=1):
        images.append(
            Image(
                id=number,
                file_name=f"{number}.png",
                width=1,
                height=1,
                cell_line=line,
                well=well,
                timestamp=None,
                split=fixed,
                content=content or str(number),
            )
        )
        for _ in range(cells):
            annotations.append(
                Annotation(
                    id=len(annotations) + 1,
                    image_id=number,
                    category_id=1,
                    segmentation=EMPTY,
                    bbox=[0, 0, 1, 1],
                    area=1,
                    iscrowd=0,
                )
            )
    return Truth(images=images, annotations=annotations, categories=[CELL])


def with_regions(truth: Truth, each: int) -> Truth:
    """So many regions that nobody annotated in the first image."""
    first = truth["images"][0]["id"]
    region = {"segmentation": EMPTY, "bbox": [0, 0, 1, 1], "area": 1, "iscrowd": 1, "category_id": 1}
    regions = [Annotation(id=9000 + n, image_id=first, **region) for n in range(each)]  # type: ignore[typeddict-item]
    return Truth(images=truth["images"], annotations=truth["annotations"] + regions, categories=truth["categories"])


def wells(line: str, count: int, per_well: int = 2, cells: int = 5) -> list[Row]:
    return [(line, f"w{well}", cells, None, "") for well in range(count) for _ in range(per_well)]


LINES = st.lists(
    st.tuples(
        st.sampled_from("abc"),
        st.sampled_from("123456789"),
        st.integers(0, 9),
        st.none(),
        st.sampled_from("xyz" + 40 * " "),
    ),
    max_size=40,
).map(lambda rows: [(line, well, cells, fixed, content.strip()) for line, well, cells, fixed, content in rows])


@given(LINES, st.integers(0, 1000), st.floats(0.05, 0.45), st.floats(0.05, 0.45))
def test_no_well_and_no_picture_is_in_two_splits(rows: list[Row], seed: int, val: float, test: float) -> None:
    truth = truth_of(wells("z", 3) + rows)
    splits = assign(truth, SplitParams(seed=seed, val=val, test=test, group="both"))
    assert splits.keys() == {image["id"] for image in truth["images"]}
    of_well, of_picture = defaultdict(set), defaultdict(set)
    for image in truth["images"]:
        of_well[image["cell_line"], image["well"]].add(splits[image["id"]])
        of_picture[image["content"]].add(splits[image["id"]])
    assert all(len(names) == 1 for names in of_well.values())
    assert all(len(names) == 1 for names in of_picture.values())
    for line, groups in _by_line(truth).items():
        has = {splits[image] for one in groups for image in one.images}
        assert has == {1: {"train"}, 2: {"train", "test"}}.get(len(groups), {"train", "val", "test"}), line


def _by_line(truth: Truth) -> dict[str, list[Any]]:
    lines = defaultdict(list)
    for one in group(truth, "both", []):
        lines[one.line].append(one)
    return lines


@given(st.lists(st.integers(0, 40), min_size=20, max_size=60), st.integers(0, 100))
def test_shares_are_kept_to_within_the_largest_wells(sizes: list[int], seed: int) -> None:
    truth = truth_of([("a", f"w{number}", cells, None, "") for number, cells in enumerate(sizes)])
    splits = assign(truth, SplitParams(seed=seed, val=0.2, test=0.2, group="both"))
    got = Counter(splits[cell["image_id"]] for cell in truth["annotations"])
    for name, fraction in (("train", 0.6), ("val", 0.2), ("test", 0.2)):
        assert abs(got[name] - fraction * sum(sizes)) <= 1.5 * max(sizes) + 1  # type: ignore[index]


def test_dense_and_sparse_images_reach_all_splits() -> None:
    truth = truth_of([("a", f"w{number}", 400 if number % 4 == 0 else 20, None, "") for number in range(200)])
    splits = assign(truth, PARAMS)
    cells = Counter(cell["image_id"] for cell in truth["annotations"])
    for name in SPLITS:
        members = [image for image, of in splits.items() if of == name]
        dense = sum(cells[image] == 400 for image in members) / len(members)
        assert dense == pytest.approx(0.25, abs=0.05)


def test_regions_that_nobody_annotated_are_no_cells(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Neither for how images are dealt nor in what is told of the splits."""
    truth = truth_of(wells("a", 9))
    with_them = with_regions(truth, 50)
    assert assign(with_them, PARAMS) == assign(truth, PARAMS)
    write_json(tmp_path / "truth.json", with_them)
    write_json(tmp_path / "audit.json", {"near_copies": []})
    with caplog.at_level(logging.INFO):
        split(tmp_path / "truth.json", tmp_path / "audit.json", PARAMS, tmp_path / "splits")
    told = [int(line.split(" images, ")[1].split()[0]) for line in caplog.messages if " images, " in line]
    assert sum(told) == len(truth["annotations"])


def test_the_seed_decides_and_one_seed_is_one_split() -> None:
    truth = truth_of(wells("a", 9) + wells("b", 9))
    results = [assign(truth, SplitParams(seed=seed, val=0.2, test=0.2, group="both")) for seed in (0, 0, 1, 2)]
    assert results[0] == results[1]
    assert len({tuple(sorted(result.items())) for result in results}) == 3


@given(LINES, st.integers(0, 1000), st.lists(st.sets(st.integers(1, 46), min_size=2, max_size=4), max_size=5))
def test_no_field_is_in_two_splits(rows: list[Row], seed: int, fields: list[set[int]]) -> None:
    truth = truth_of(rows + wells("z", 3, per_well=1))  # these are no field's
    named = [[f"{number}.png" for number in sorted(field) if number <= len(rows)] for field in fields]
    params = SplitParams(seed=seed, val=0.2, test=0.2, group="content")
    splits = assign(truth, params, named)
    for field in named:
        assert len({splits[int(name.removesuffix(".png"))] for name in field}) <= 1


def test_what_stays_together_is_chosen() -> None:
    truth = truth_of(wells("z", 12, per_well=2))
    field = ["1.png", "12.png"]  # of two wells

    def parted(by: str) -> tuple[bool, bool]:
        """Whether any seed parts a well, and the field."""
        params = (
            SplitParams.model_validate({"seed": seed, "val": 0.3, "test": 0.3, "group": by}) for seed in range(20)
        )
        every = [assign(truth, one, [field]) for one in params]
        wells_apart = any(splits[2 * k + 1] != splits[2 * k + 2] for splits in every for k in range(12))
        return wells_apart, any(splits[1] != splits[12] for splits in every)

    assert [parted(by) for by in ("content", "well", "both")] == [(True, False), (False, True), (False, False)]


def test_near_copies_that_official_splits_part_are_counted(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    rows: list[Row] = [
        ("z", f"w{k}", 3, split, "") for k, split in enumerate(["train", "train", "val", "test", "test"])
    ]
    write_json(tmp_path / "annotations.json", truth_of(rows))
    fields = [{"images": ["1.png", "4.png"]}, {"images": ["2.png", "5.png"]}, {"images": ["4.png", "5.png"]}]
    write_json(tmp_path / "audit.json", {"near_copies": fields})
    with caplog.at_level(logging.WARNING):
        split(tmp_path / "annotations.json", tmp_path / "audit.json", PARAMS, tmp_path / "splits")
    assert "2 fields have frames in test and train: scores flatter" in caplog.text


def test_another_line_changes_nothing_for_a_line() -> None:
    alone = assign(truth_of(wells("a", 8)), PARAMS)
    both = assign(truth_of(wells("a", 8) + wells("b", 5)), PARAMS)
    assert {image: both[image] for image in alone} == alone


def test_the_order_of_images_changes_nothing() -> None:
    truth = truth_of(wells("a", 8) + wells("b", 5))
    turned = Truth(images=truth["images"][::-1], annotations=truth["annotations"][::-1], categories=[])
    assert assign(truth, PARAMS) == assign(turned, PARAMS)


def test_few_wells_are_said(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        assign(truth_of(wells("many", 5) + wells("two", 2) + wells("one", 1)), PARAMS)
    assert "cell line two has 2 groups (wells); it is only in train and test" in caplog.text
    assert "cell line one has 1 groups (wells); it is only in train" in caplog.text
    assert "many" not in caplog.text


def test_too_few_wells_for_a_split_are_an_error() -> None:
    with pytest.raises(
        InputError, match=r"val gets no image: no cell line has enough wells and fields; add images, or let `well`"
    ):
        assign(truth_of(wells("a", 2) + wells("b", 1)), PARAMS)


def test_large_wells_come_first() -> None:
    """A well that holds most cells is never left to a small split."""
    rows: list[Row] = [("a", "big", 500, None, ""), *wells("a", 9)]
    for seed in range(20):
        assert assign(truth_of(rows), SplitParams(seed=seed, val=0.2, test=0.2, group="both"))[1] == "train"


# ---- what the source fixed -----------------------------------------------------------------------


def fixed(counts: dict[str | None, int]) -> Truth:
    return truth_of([("a", f"w{name}{n}", 3, name, "") for name, count in counts.items() for n in range(count)])


def test_fixed_splits_stay() -> None:
    truth = fixed({"train": 2, "val": 7, "test": 1})
    assert list(assign(truth, PARAMS).values()) == [image["split"] for image in truth["images"]]


@pytest.mark.parametrize("lacking", [["test"], ["val"], ["val", "test"]])
def test_what_the_source_lacks_is_taken_from_its_train(lacking: list[str]) -> None:
    truth = fixed({name: 20 for name in ("train", "val", "test") if name not in lacking})
    splits = assign(truth, PARAMS)
    for image in truth["images"]:
        if image["split"] != "train":
            assert splits[image["id"]] == image["split"]
    got = Counter(splits[image["id"]] for image in truth["images"] if image["split"] == "train")
    assert got == {"train": 20 - 4 * len(lacking)} | dict.fromkeys(lacking, 4)


def test_what_the_source_leaves_open_is_dealt_to_all_splits() -> None:
    truth = fixed({"train": 20, "val": 2, None: 20})
    splits = assign(truth, PARAMS)
    assert all(splits[image["id"]] == image["split"] for image in truth["images"] if image["split"])
    assert Counter(splits[image["id"]] for image in truth["images"] if image["split"] is None) == {
        "train": 12,
        "val": 4,
        "test": 4,
    }


def test_what_may_only_train_is_not_taken_for_a_split_that_the_source_lacks() -> None:
    truth = fixed({"train": 20, "val": 4})
    only = truth_of([("b", f"w{n}", 3, "train", "") for n in range(20)])["images"]
    for image in only:
        name = f"b{image['id']}"
        own = Image(**{**image, "id": image["id"] + 100, "file_name": name, "content": name, "train_only": True})
        truth["images"].append(own)
    splits = assign(truth, PARAMS)
    assert {splits[image["id"]] for image in truth["images"] if image["cell_line"] == "b"} == {"train"}
    assert Counter(splits.values())["test"] == 4


@pytest.mark.parametrize("of", ["picture", "well", "field"])
@pytest.mark.parametrize("split", ["train", "val", "test"])
def test_what_stays_together_with_a_fixed_image_follows_it(of: str, split: str) -> None:
    """Dealt, a copy of an image that train has could judge."""
    others = [("a", f"w{n}", 3, None, "") for n in range(12)]
    for seed in range(10):
        well, content = ("one" if of == "well" else "two"), ("same" if of == "picture" else "")
        rows: list[Row] = [("a", "one", 3, split, "same"), ("a", well, 3, None, content), *others]
        field = [["1.png", "2.png"]] if of == "field" else []
        splits = assign(truth_of(rows), PARAMS.model_copy(update={"seed": seed}), field)
        assert (splits[1], splits[2]) == (split, split)


def test_what_stays_together_with_an_image_of_another_split_is_not_taken_from_train() -> None:
    rows: list[Row] = [("a", "one", 3, "val", "same"), ("a", "two", 3, "train", "same")]
    rows += [("a", f"w{n}", 3, "train", "") for n in range(6)]
    for seed in range(10):
        splits = assign(truth_of(rows), PARAMS.model_copy(update={"seed": seed}))
        assert (splits[1], splits[2]) == ("val", "train")


def test_fixed_splits_without_train_are_refused() -> None:
    with pytest.raises(InputError, match="the source fixes test, val but no train; there is nothing to learn"):
        assign(fixed({"val": 1, "test": 1}), PARAMS)


# ---- files ---------------------------------------------------------------------------------------


def test_the_three_files_hold_everything_once(culture: Culture, tmp_path: Path) -> None:
    write_json(tmp_path / "annotations.json", culture.truth)
    write_json(tmp_path / "audit.json", {"near_copies": []})
    split(tmp_path / "annotations.json", tmp_path / "audit.json", PARAMS, tmp_path / "splits")
    parts = {name: read_truth(tmp_path / "splits" / f"{name}.json") for name in SPLITS}
    ids = [image["id"] for part in parts.values() for image in part["images"]]
    assert sorted(ids) == [image["id"] for image in culture.truth["images"]]
    cells = [cell for part in parts.values() for cell in part["annotations"]]
    assert sorted(cells, key=lambda cell: cell["id"]) == culture.truth["annotations"]
    for name, part in parts.items():
        assert {image["split"] for image in part["images"]} == {name}
        assert {cell["image_id"] for cell in part["annotations"]} == {image["id"] for image in part["images"]}
        assert {image["cell_line"] for image in part["images"]} == {"round", "long"}
    first = {path.name: path.read_bytes() for path in (tmp_path / "splits").iterdir()}
    split(tmp_path / "annotations.json", tmp_path / "audit.json", PARAMS, tmp_path / "splits")
    assert first == {path.name: path.read_bytes() for path in (tmp_path / "splits").iterdir()}


def test_deal_gives_every_group_once() -> None:
    groups = _by_line(truth_of(wells("a", 7)))["a"]
    dealt = deal(groups, {"train": 0.6, "val": 0.2, "test": 0.2}, "0/a")
    assert sorted(one.images for _, one in dealt) == sorted(one.images for one in groups)
