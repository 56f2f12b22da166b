"""Neighbours: distances, touching cells and local density against what can be counted by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from monolayer.measurement.neighbours import disk_area, local_density, nearest, touching
from numpy.typing import NDArray


def brute_touching(labels: NDArray[np.int64], count: int, gap: int) -> list[int]:
    points = [np.argwhere(labels == number) for number in range(1, count + 1)]
    return [
        sum(
            bool(len(a) and len(b) and (np.abs(a[:, None] - b[None]).max(2).min() <= gap + 1))
            for j, b in enumerate(points)
            if j != i
        )
        for i, a in enumerate(points)
    ]


@given(st.integers(0, 2**32 - 1), st.integers(0, 3))
def test_touching_is_what_all_pairs_of_pixels_say(seed: int, gap: int) -> None:
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 7, (12, 15)) * (rng.random((12, 15)) < 0.2)
    assert touching(labels.astype(np.int32), 7, gap).tolist() == brute_touching(labels, 7, gap)


def test_the_gap_is_background_between() -> None:
    labels = np.zeros((3, 9), np.int32)
    labels[:, :2], labels[:, 4:6], labels[:, 6:] = 1, 2, 3
    assert touching(labels, 3, 0).tolist() == [0, 1, 1]
    assert touching(labels, 3, 1).tolist() == [0, 1, 1]
    assert touching(labels, 3, 2).tolist() == [1, 2, 1]


def test_the_nearest_of_three() -> None:
    assert nearest(np.array([[0.0, 0.0], [3.0, 4.0], [3.0, 6.0]])).tolist() == [5, 2, 2]
    assert np.isnan(nearest(np.array([[1.0, 1.0]]))).all()
    assert len(nearest(np.zeros((0, 2)))) == 0


@given(st.floats(0, 99), st.floats(0, 59), st.floats(2, 150))
def test_the_disk_is_cut_at_the_image(x: float, y: float, radius: float) -> None:
    fine = 8
    rows, columns = (np.mgrid[: 60 * fine, : 100 * fine] + 0.5) / fine - 0.5
    counted = (np.hypot(rows - y, columns - x) <= radius).sum() / fine**2
    assert disk_area(np.array([[x, y]]), (60, 100), radius)[0] == pytest.approx(counted, rel=0.02)


def test_an_even_lattice_is_as_dense_everywhere() -> None:
    x, y = np.meshgrid(np.arange(5, 200, 10), np.arange(5, 200, 10))
    centres = np.c_[x.ravel(), y.ravel()].astype(float)
    density = local_density(centres, (200, 200), 45)
    assert density == pytest.approx(1e6 / 100, rel=0.15)  # also in the corners
    assert local_density(centres[:1], (200, 200), 1e3)[0] == pytest.approx(1e6 / 200**2)
    assert math.isfinite(density.max())
