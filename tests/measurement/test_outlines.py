"""Rings of a mask: closed, along pixels' edges, and filled they are the mask again."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from matplotlib.path import Path as Polygon
from monolayer.coco.rle import Mask
from monolayer.measurement.outlines import rings
from numpy.typing import NDArray

masks = arrays.arrays(np.bool_, st.tuples(st.integers(1, 9), st.integers(1, 9)))


def filled(edges: list[np.ndarray[tuple[int, int], np.dtype[np.int32]]], shape: tuple[int, int]) -> Mask:
    """Pixels whose centre lies in an odd number of rings."""
    y, x = np.mgrid[: shape[0], : shape[1]]
    centres = np.c_[x.ravel() + 0.5, y.ravel() + 0.5]
    inside = np.zeros(len(centres), np.bool_)
    for edge in edges:
        inside ^= Polygon(edge.astype(float)).contains_points(centres)
    return inside.reshape(shape)


def enclosed_area(ring: NDArray[np.int32]) -> float:
    """Signed area of a polygon (N, 2) in px², positive for outer edges."""
    x, y = ring.astype(np.int64).T
    return float((x * np.roll(y, -1) - np.roll(x, -1) * y).sum() / 2)


@given(masks)
def test_filled_even_odd_they_are_the_mask(mask: Mask) -> None:
    edges = rings(mask)
    assert np.array_equal(filled(edges, mask.shape), mask)
    assert sum(enclosed_area(edge) for edge in edges) == mask.sum()


@given(masks)
def test_each_ring_turns_at_every_corner(mask: Mask) -> None:
    for edge in rings(mask):
        steps = np.diff(edge, axis=0, append=edge[:1])
        assert ((steps == 0).sum(1) == 1).all()  # along one axis
        assert ((steps[:-1] == 0) != (steps[1:] == 0)).all()  # then along the other


def test_outer_edges_are_clockwise_and_holes_are_not() -> None:
    mask = np.ones((5, 6), np.bool_)
    mask[2, 2:4] = False
    outer, hole = rings(mask, 10, 20)
    assert enclosed_area(outer) == 30
    assert enclosed_area(hole) == -2
    assert outer.min(0).tolist() == [10, 20]
    assert outer.max(0).tolist() == [16, 25]


def test_pixels_that_meet_at_a_corner_are_apart() -> None:
    assert len(rings(np.eye(3, dtype=np.bool_))) == 3


def test_an_empty_mask_has_none() -> None:
    assert rings(np.zeros((3, 3), np.bool_)) == []
