"""Size, shape and brightness: as scikit-image has them, and as geometry wants them."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from drawn_cells import cells_of
from hypothesis import given
from hypothesis import strategies as st
from monolayer.coco.instances import Instances
from monolayer.coco.moments import pack
from monolayer.measurement import morphology
from numpy.typing import NDArray
from scipy import ndimage
from skimage.measure import regionprops_table

NAMES = {
    "area": "area_px2",
    "perimeter_crofton": "perimeter_px",
    "solidity": "solidity",
    "eccentricity": "eccentricity",
    "axis_major_length": "major_axis_px",
    "axis_minor_length": "minor_axis_px",
    "centroid-0": "centroid_y_px",
    "centroid-1": "centroid_x_px",
    "intensity_mean": "intensity_mean",
    "intensity_std": "intensity_std",
    "intensity_min": "intensity_min",
    "intensity_median": "intensity_median",
    "intensity_max": "intensity_max",
}


def measured(labels: NDArray[np.int32], pixels: NDArray[Any]) -> morphology.Columns:
    packed = pack(cells_of(labels).crops)
    return morphology.shapes(packed) | morphology.intensities(packed, pixels)


def disk(radius: float, y: float = 40, x: float = 50, size: tuple[int, int] = (80, 100)) -> NDArray[np.int32]:
    rows, columns = np.mgrid[: size[0], : size[1]]
    return np.asarray(np.hypot(rows - y, columns - x) <= radius, np.int32)


@given(st.integers(0, 2**32 - 1), st.sampled_from([0.3, 0.5, 0.6]), st.sampled_from([np.uint8, np.uint16, np.float32]))
def test_as_scikit_image_for_any_shape(seed: int, filled: float, dtype: type) -> None:
    rng = np.random.default_rng(seed)
    labels = ndimage.label(rng.random((24, 31)) < filled)[0].astype(np.int32)
    pixels = (rng.random(labels.shape) * 200).astype(dtype)
    properties = {name.split("-")[0] for name in NAMES}
    theirs = regionprops_table(labels, pixels, properties=[*properties, "feret_diameter_max"])  # type: ignore[no-untyped-call]
    ours = measured(labels, pixels)
    for name, own in NAMES.items():
        np.testing.assert_allclose(ours[own], theirs[name], rtol=1e-5, atol=1e-6, err_msg=own)
    # theirs is of the hull's pixels, which reach beyond the hull
    difference = theirs["feret_diameter_max"] - ours["feret_px"]
    assert (difference > -1e-9).all()
    assert (difference < 1.5).all()


@given(st.floats(0, math.pi))
def test_orientation_is_that_of_a_turned_ellipse(angle: float) -> None:
    rows, columns = np.mgrid[:101, :101] - 50
    along = columns * math.cos(angle) - rows * math.sin(angle)  # rows point down, angles turn up
    across = columns * math.sin(angle) + rows * math.cos(angle)
    labels = ((along / 40) ** 2 + (across / 12) ** 2 <= 1).astype(np.int32)
    found = measured(labels, labels)["orientation_deg"][0]
    off = (found - math.degrees(angle) + 90) % 180 - 90
    assert abs(off) < 1
    assert -90 < found <= 90


def test_a_disk_is_round_and_a_line_is_not() -> None:
    labels = disk(20)
    labels[5, 10:60] = 2
    found = measured(labels, labels)
    round_, line = (dict(zip(found, values, strict=True)) for values in zip(*found.values(), strict=True))
    assert round_["area_px2"] == pytest.approx(math.pi * 400, rel=0.01)
    assert round_["perimeter_px"] == pytest.approx(2 * math.pi * 20, rel=0.02)
    assert round_["circularity"] == pytest.approx(1, abs=0.04)
    assert round_["eccentricity"] < 0.05
    assert round_["feret_px"] == pytest.approx(41, abs=0.5)
    assert line["eccentricity"] == 1
    assert line["feret_px"] == 50
    assert line["orientation_deg"] == 0


def test_moving_a_cell_moves_its_centroid_and_nothing_else() -> None:
    one, other = disk(9, 30, 30), disk(9, 41, 37)
    pixels = np.full(one.shape, 7, np.uint8)
    first, second = measured(one, pixels), measured(other, pixels)
    for name in first:
        moved = {"centroid_x_px": 7, "centroid_y_px": 11}.get(name, 0)
        assert second[name][0] - first[name][0] == pytest.approx(moved, abs=1e-9), name


def test_an_image_without_cells_has_empty_columns() -> None:
    found = measured(np.zeros((9, 9), np.int32), np.zeros((9, 9), np.uint8))
    assert {len(values) for values in found.values()} == {0}


def test_a_cell_without_pixels_is_an_error() -> None:
    found = Instances(
        4,
        4,
        [np.zeros((2, 2), np.bool_)],
        np.zeros((1, 2), np.int32),
        np.zeros((1, 4), np.float32),
        np.ones(1, np.float32),
    )
    with pytest.raises(ValueError, match="cell 1 has no pixel"):
        pack(found.crops)
