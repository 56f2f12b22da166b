"""Overlaps on run lengths against overlaps on pixels."""

from __future__ import annotations

from itertools import combinations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from monolayer.coco import rle
from monolayer.coco.overlap import confluence, overlapping_pairs
from numpy.typing import NDArray

STACKS = arrays.arrays(bool, st.tuples(st.integers(0, 6), st.just(7), st.just(8)))


@given(STACKS, st.sampled_from([0.0, 0.2, 0.5, 0.9]))
def test_pairs_are_those_of_the_pixels(masks: NDArray[np.bool_], limit: float) -> None:
    ious = {
        (i, j): (masks[i] & masks[j]).sum() / (masks[i] | masks[j]).sum()
        for i, j in combinations(range(len(masks)), 2)
        if (masks[i] | masks[j]).any()
    }
    found = {(i, j): iou for i, j, iou in overlapping_pairs([rle.rle_from_mask(mask) for mask in masks], limit)}
    assert found.keys() == {pair for pair, iou in ious.items() if iou > limit}
    for pair, iou in found.items():
        assert abs(iou - ious[pair]) < 1e-9


@given(STACKS)
def test_confluence_is_the_union(masks: NDArray[np.bool_]) -> None:
    rles = [rle.rle_from_mask(mask) for mask in masks]
    assert confluence(rles, 7, 8) == masks.any(axis=0).sum() / 56
    whole = rle.rle_from_mask(np.ones((7, 8), bool))
    assert confluence(rles, 7, 8, [whole]) == float(masks.any())  # all that counts are the cells
    left = np.indices((7, 8))[1] < 4
    counts = ~left | masks.any(axis=0)
    assert confluence(rles, 7, 8, [rle.rle_from_mask(left)]) == masks.any(axis=0).sum() / counts.sum()


def test_areas_above_255_are_no_matter() -> None:
    big = rle.rle_from_mask(np.ones((40, 50), bool))
    assert list(overlapping_pairs([big, big], 0.5)) == [(0, 1, 1.0)]
