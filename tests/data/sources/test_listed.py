"""COCO files as found: masks of every form come out as the same RLE, and damaged ones never reach the decoder."""

from __future__ import annotations

import json
from contextlib import suppress
from io import StringIO
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from monolayer.coco.findings import Findings
from monolayer.coco.reader import check
from monolayer.coco.records import Annotation
from monolayer.coco.rle import box_xywh, mask_from_rle, rle_area, rle_from_mask
from monolayer.data.sources.listed import cells
from monolayer.files import InputError
from pycocotools import mask as rle_codec

MASKS = arrays.arrays(bool, st.tuples(st.integers(1, 9), st.integers(1, 9)))


def cell(segmentation: Any, height: int, width: int, **more: Any) -> Annotation | None:
    """The first annotation of a file with one image; the second is its whole image."""
    whole = {"size": [height, width], "counts": [0, height * width]}
    data = {
        "images": [{"id": 1, "file_name": "a.png", "height": height, "width": width}],
        "annotations": [
            {"id": 1, "image_id": 1, "category_id": 1, "segmentation": segmentation} | more,
            {"id": 2, "image_id": 1, "category_id": 1, "segmentation": whole},
        ],
        "categories": [{"id": 1, "name": "x"}],
    }
    found = list(cells(check(lambda: StringIO(json.dumps(data)), "f.json"), {1}, Findings(), keep_area=True))
    return found[0] if len(found) == 2 else None


@given(MASKS)
def test_compressed_and_plain_runs_are_the_same_mask(mask: Any) -> None:
    size = list(mask.shape)
    rle = rle_from_mask(mask)
    edges = np.flatnonzero(np.diff(mask.ravel(order="F").astype(int), prepend=0))
    runs = np.diff(np.r_[0, edges, mask.size]).tolist()
    for segmentation in ({"size": size, "counts": rle["counts"]}, {"size": size, "counts": runs}):
        found = cell(segmentation, *size)
        if not mask.any():
            assert found is None
        else:
            assert found is not None
            assert np.array_equal(mask_from_rle(found["segmentation"]), mask)
            assert found["area"] == mask.sum()


@given(st.text(st.characters(min_codepoint=40, max_codepoint=120), max_size=12))
@settings(max_examples=300)
def test_damaged_counts_are_an_error_or_a_whole_mask(counts: str) -> None:
    found = None
    with suppress(InputError):
        found = cell({"size": [6, 7], "counts": counts}, 6, 7)
    if found is not None:
        assert mask_from_rle(found["segmentation"]).sum() == found["area"] > 0


def test_several_polygons_are_one_cell() -> None:
    left, right = [1, 1, 4, 1, 4, 4, 1, 4], [6, 6, 9, 6, 9, 9, 6, 9]
    found = cell([left, right], 12, 12)
    assert found is not None
    assert rle_area(found["segmentation"]) == 18
    assert found["bbox"] == [1, 1, 8, 8]


def test_polygons_are_rasterised_as_coco_does() -> None:
    points = [3.3, 2.1, 17.8, 4.4, 15.2, 13.9, 6.6, 11.1]
    expected = rle_codec.decode(rle_codec.merge(rle_codec.frPyObjects([points], 15, 20)))
    found = cell([points], 15, 20)
    assert found is not None
    assert np.array_equal(mask_from_rle(found["segmentation"]), expected)


def test_a_polygon_over_the_edge_is_cut_there() -> None:
    inside = cell([[-8, 2, 5, 2, 5, 6, -8, 6]], 10, 20)
    assert inside is not None
    assert box_xywh(inside["segmentation"]) == [0, 2, 5, 4]


@pytest.mark.parametrize(
    ("area", "kept"), [(95.5, 95.5), (51, 51), (199, 199), (49, 100), (201, 100), (-1, 100), ("90", 100), (None, 100)]
)
def test_area_of_the_file_is_kept_if_it_can_be_true(area: Any, kept: float) -> None:
    found = cell([[2, 2, 12, 2, 12, 12, 2, 12]], 20, 20, area=area)
    assert found is not None
    assert found["area"] == kept


@pytest.mark.parametrize(("pixel", "said"), [(1.0, 0), (1.24, 1), (0.9, 0), (0.8, 1)])  # µm a side
def test_areas_of_another_unit_are_said(pixel: float, said: int) -> None:
    """Within a factor of 2 each alone can be true; diameters and classes of size hang on them."""
    squares = [[x, y, x + 4, y, x + 4, y + 4, x, y + 4] for x in range(0, 50, 10) for y in range(0, 50, 10)]
    data = {
        "images": [{"id": 1, "file_name": "a.png", "height": 60, "width": 60}],
        "annotations": [
            {"id": n, "image_id": 1, "category_id": 1, "segmentation": [square], "area": 16 * pixel**2}
            for n, square in enumerate(squares, start=1)
        ],
        "categories": [{"id": 1, "name": "x"}],
    }
    findings = Findings()
    list(cells(check(lambda: StringIO(json.dumps(data)), "f.json"), {1}, findings, keep_area=True))
    assert findings.count("area_unit") == said


@pytest.mark.parametrize(
    ("box", "kept"),
    [([2.4, 1.9, 9.5, 10.2], True), ([2, 2, 12, 12], True), ([2, 2, 0, 5], False), ([12, 12, 22, 22], False)],
)
def test_box_of_the_file_is_kept_if_it_can_be_true(box: list[float], kept: bool) -> None:
    found = cell([[2, 2, 12, 2, 12, 12, 2, 12]], 40, 40, bbox=box)
    assert found is not None
    assert found["bbox"] == (box if kept else [2, 2, 10, 10])


def test_crowds_stay_crowds() -> None:
    found = cell([[2, 2, 12, 2, 12, 12, 2, 12]], 40, 40, iscrowd=1)
    assert found is not None
    assert found["iscrowd"] == 1
