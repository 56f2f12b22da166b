"""Drift: what all cells have in common is the stage's."""

from __future__ import annotations

import numpy as np
import pytest
from monolayer.tracking.drift import drifts

DIAMETER = 10.0


@pytest.mark.parametrize("step", [(0.0, 0.0), (7.0, -3.0), (-31.0, 24.0)])
@pytest.mark.parametrize("cells", [6, 60])
def test_steps_that_all_cells_share(step: tuple[float, float], cells: int) -> None:
    rng = np.random.default_rng(cells)
    places = rng.random((cells, 2)) * 300
    frames = [places + rng.normal(0, 0.5, places.shape) + np.multiply(n, step) for n in range(4)]
    frames[2] = frames[2][: len(places) * 4 // 5]  # some are missed
    found = drifts(frames, DIAMETER, 5 * DIAMETER)
    np.testing.assert_allclose(found, np.outer(range(4), step), atol=1.5)


def test_cells_of_a_lattice_do_not_jump_to_the_next_one() -> None:
    lattice = np.stack(np.meshgrid(np.arange(12) * DIAMETER, np.arange(12) * DIAMETER), -1).reshape(-1, 2)
    rng = np.random.default_rng(1)
    frames = [lattice + rng.normal(0, 0.5, lattice.shape) for _ in range(3)]
    assert np.abs(drifts(frames, DIAMETER, 5 * DIAMETER)).max() < 1


def test_two_cells_or_cells_that_disagree_say_nothing() -> None:
    rng = np.random.default_rng(2)
    apart = [np.array([[0.0, 0.0], [50.0, 50.0]]), np.array([[9.0, 0.0], [59.0, 50.0]])]
    assert not drifts(apart, DIAMETER, 50.0).any()
    assert not drifts([rng.random((9, 2)) * 300, rng.random((9, 2)) * 300], DIAMETER, 50.0).any()
    assert not drifts([np.zeros((0, 2)), rng.random((9, 2)), np.zeros((0, 2))], DIAMETER, 50.0).any()


def test_a_step_over_empty_frames_and_none_where_none_is_looked_for() -> None:
    places = np.random.default_rng(3).random((20, 2)) * 200
    frames = [places, np.zeros((0, 2)), places + np.array([20.0, 0.0])]
    np.testing.assert_allclose(drifts(frames, DIAMETER, 50.0), [[0, 0], [0, 0], [20, 0]], atol=1e-9)
    assert not drifts(frames, DIAMETER, 0).any()
