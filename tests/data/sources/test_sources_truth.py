"""Even samples, flat names, ids that stay where they can."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st
from monolayer.coco.findings import Findings
from monolayer.coco.records import Annotation, Image, Rle
from monolayer.data.sources.truth import Part, flat_names, join, sample
from monolayer.files import InputError

LINES = st.dictionaries(st.integers(0, 500), st.sampled_from("abc"), min_size=1)


@given(LINES, st.integers(1, 60))
def test_a_sample_is_even_over_lines(lines: dict[int, str], wanted: int) -> None:
    chosen = sample(lines, wanted)
    assert len(chosen) == min(wanted, len(lines))
    assert chosen <= set(lines)
    had, got = Counter(lines.values()), Counter(lines[key] for key in chosen)
    for line in had:
        # a line gives less than another only if it has no more, up to what does not divide
        assert all(got[line] >= got[other] - 1 or got[line] == had[line] for other in had)


def test_a_sample_spans_its_line() -> None:
    assert sample(dict.fromkeys(range(100), "a"), 4) == {0, 25, 50, 75}
    assert sample(dict.fromkeys(range(100), "a"), None) == set(range(100))


def test_names_are_flat_and_unique() -> None:
    assert flat_names(["a.tif", "b/a.tif", "b/c/a.b.png"]) == {
        "a.tif": "a.png",
        "b/a.tif": "b__a.png",
        "b/c/a.b.png": "b__c__a.b.png",
    }
    for pair in (["a.tif", "a.png"], ["b/a.tif", "b__a.tif"]):
        with pytest.raises(InputError, match="would both become"):
            flat_names(pair)


def part(name: str, image_ids: list[int], cell_ids: list[int]) -> Part:
    images = [
        Image(id=n, file_name=f"{n}.png", width=4, height=4, cell_line="x", well="w", timestamp=None, split=None)
        for n in image_ids
    ]
    rle = Rle(size=[4, 4], counts="04l0")
    cells = [
        Annotation(id=n, image_id=image_ids[0], category_id=9, segmentation=rle, bbox=[0, 0, 1, 4], area=4, iscrowd=0)
        for n in cell_ids
    ]
    return Part(name, images, cells)


def test_ids_stay_where_no_two_files_share_one() -> None:
    truth = join([part("a", [5, 7], [1, 2]), part("b", [6], [3])], Findings())
    assert [image["id"] for image in truth["images"]] == [5, 7, 6]
    assert [(cell["id"], cell["image_id"], cell["category_id"]) for cell in truth["annotations"]] == [
        (1, 5, 1),
        (2, 5, 1),
        (3, 6, 1),
    ]
    assert truth["findings"] == []


def test_shared_ids_are_renumbered_and_reported() -> None:
    truth = join([part("a", [5, 7], [1, 2]), part("b", [0, 7], [2, 3]), part("c", [7], [4])], Findings())
    assert len({image["id"] for image in truth["images"]}) == 5
    assert [image["id"] for image in truth["images"]][:2] == [5, 7]
    assert [cell["image_id"] for cell in truth["annotations"]] == [
        truth["images"][index]["id"] for index in (0, 0, 2, 2, 4)
    ]
    assert [cell["id"] for cell in truth["annotations"]] == [1, 2, 3, 4, 5]
    assert [(finding["kind"], finding["count"]) for finding in truth["findings"]] == [("ids_renumbered", 3)]
