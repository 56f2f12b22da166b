"""From maps to cells: touching disks part, small ones go, scores follow the maps, and counting is as by hand."""

from __future__ import annotations

import numpy as np
import pytest
from monolayer.evaluation.matching import IOUS, match_labels
from monolayer.models.unet.patches import targets
from monolayer.models.unet.watershed import (
    Float,
    Labels,
    Thresholds,
    instances,
    markers_of,
    regions,
    separate,
    watershed,
)
from scipy import ndimage
from skimage import segmentation

HALF = Thresholds(0.5, 0.5, 0)


def scene(*places: tuple[int, int, int], shape: tuple[int, int] = (64, 96)) -> Labels:
    """Disks (x, y, radius)."""
    y, x = np.mgrid[: shape[0], : shape[1]]
    labels = np.zeros(shape, np.int32)
    for index, (cx, cy, radius) in enumerate(places, start=1):
        labels[(x - cx) ** 2 + (y - cy) ** 2 <= radius**2] = index
    return labels


def maps_of(labels: Labels, blur: float = 1.0) -> Float:
    """What a network that has learned its targets would say: they are a little blurred."""
    maps = targets(labels, "foreground+distance").astype(np.float32) / 255
    blurred: Float = ndimage.gaussian_filter(maps, (0, blur, blur))
    return blurred


def test_touching_cells_part_by_distance_alone() -> None:
    true = scene((25, 32, 14), (50, 32, 13), (80, 12, 6))
    together, apart = separate(maps_of(true)[:1], HALF, 0.0), separate(maps_of(true), HALF, 0.0)
    assert (together.max(), apart.max()) == (2, 3)
    for index in (1, 2, 3):
        found = apart[true == index]
        best = np.bincount(found).argmax()
        assert best > 0
        assert ((apart == best) & (true == index)).sum() > 0.8 * ((apart == best) | (true == index)).sum()


def dumbbell(gap: int) -> Float:
    """Two hills, 1 deep, whose neck is deeper the less they are apart."""
    y, x = np.mgrid[:60, :100]
    hills = [np.clip(1.2 - np.hypot(x - cx, y - 30) / 20, 0, 1) for cx in (50 - gap, 50 + gap)]
    distance = np.maximum(*hills).astype(np.float32)
    return np.stack([(distance > 0).astype(np.float32), distance])


def test_cores_part_at_a_neck_that_is_shallow_beside_them() -> None:
    maps = dumbbell(10)  # the neck is 0.7 deep
    assert separate(maps, HALF, 0.0).max() == 1
    assert separate(maps, HALF, 0.65).max() == 1
    assert separate(maps, HALF, 0.8).max() == 2
    assert separate(maps, Thresholds(0.5, 0.75, 0), 0.0).max() == 2  # which a higher core does too, and loses dim cells
    left, right = (separate(maps, HALF, 0.8)[:, part] for part in (slice(0, 49), slice(51, 100)))
    assert len(set(np.unique(left)) & set(np.unique(right))) == 1  # the background


def test_without_necks_cores_are_connected_parts() -> None:
    rng = np.random.default_rng(1)
    for _ in range(10):
        distance_map = (255 * ndimage.gaussian_filter(rng.random((50, 70)), 2)).astype(np.uint8)
        mask = distance_map > np.median(distance_map)
        np.testing.assert_array_equal(markers_of(distance_map, mask, 0.0, 0.0), ndimage.label(mask)[0])
        parted = markers_of(distance_map, mask, 0.97, 3.0)
        assert parted.max() > ndimage.label(mask)[1]
        assert np.array_equal(parted > 0, mask)
        assert np.array_equal(markers_of(distance_map.T.copy(), mask.T.copy(), 0.97, 3.0) > 0, mask.T)


def test_a_deep_cell_ranks_before_a_shallow_one() -> None:
    true = scene((20, 20, 10), (60, 40, 12))
    maps = (targets(true, "foreground+distance") / 255).astype(np.float32)
    maps[1][true == 1] *= 0.64
    found = instances(maps, true)
    assert found.scores.tolist() == pytest.approx([1.0, 0.8], abs=0.03)
    assert found.offsets_xy.tolist() == [[48, 28], [10, 10]]


def test_bacteria_side_by_side_part() -> None:
    true = np.zeros((60, 80), np.int32)
    for index in range(5):
        true[10 + 8 * index : 18 + 8 * index, 10:70] = index + 1
    assert match_labels(true, separate(maps_of(true), HALF, 0.0), IOUS[:1]) == (5, 0, 0)


def test_flood_is_skimages_watershed() -> None:
    """Exact where no two pixels are level, and but for a few pixels where many are."""
    rng = np.random.default_rng(0)
    for shape, agreement in (((12, 20), 1.0), ((90, 120), 0.97)):
        for _ in range(10):
            rough = ndimage.gaussian_filter(rng.random(shape), 1.5)
            ranks = rough.ravel().argsort().argsort().reshape(shape)
            altitude = (ranks * 256 // ranks.size).astype(np.uint8)
            mask = altitude < 200
            seeds = np.asarray(ndimage.label(altitude < 40)[0], np.int32)
            expected = segmentation.watershed(altitude, seeds, mask=mask)  # type: ignore[no-untyped-call]
            assert (watershed(altitude, seeds.copy(), mask) == expected).mean() >= agreement


def test_a_speck_of_a_marker_is_noise() -> None:
    maps = maps_of(scene((40, 32, 20)), 0.0)
    maps[1, 32, 57] = 1.0  # near the edge
    assert separate(maps, Thresholds(0.5, 0.5, 0), 0.0).max() == 2
    assert separate(maps, Thresholds(0.5, 0.5, 100), 0.0).max() == 1


def test_labels_are_dense_and_small_ones_go() -> None:
    true = scene((10, 10, 2), (40, 30, 12), (80, 50, 2), (80, 10, 8))
    found = separate(maps_of(true, 0.3), Thresholds(0.5, 0.5, 40), 0.0)
    assert set(np.unique(found)) == {0, 1, 2}
    assert found.dtype == np.int32


@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize("value", [0.0, 1.0])
def test_blank_maps(channels: int, value: float) -> None:
    maps = np.full((channels, 20, 30), value, np.float32)
    labels = separate(maps, HALF, 0.0)
    assert labels.max() == value
    assert len(instances(maps, labels).masks) == int(value)


def test_instances_are_the_labels_best_first() -> None:
    true = scene((20, 20, 10), (60, 40, 12))
    maps = targets(true, "foreground").astype(np.float32)
    maps[0][true == 1] = 0.6
    maps[0][true == 2] = 0.9
    found = instances(maps, separate(maps, HALF, 0.0))
    assert (found.height, found.width) == true.shape
    assert found.scores.tolist() == pytest.approx([0.9, 0.6])
    again = np.zeros_like(true)
    for index, (mask, (x, y)) in enumerate(zip(found.masks, found.offsets_xy, strict=True)):
        again[y : y + mask.shape[0], x : x + mask.shape[1]][mask] = 2 - index
    np.testing.assert_array_equal(again, true)
    assert found.boxes_xyxy[1].tolist() == [10, 10, 31, 31]
    assert all(0 <= result["score"] <= 1 for result in found.results(1))


def test_regions_have_their_boxes_means_and_depths() -> None:
    labels = np.array([[1, 1, 0], [2, 2, 2]], np.int32)
    values = np.array([[1, 3, 9], [3, 3, 6]], np.float32)
    boxes, means, deepest = regions(labels, values, values / np.float32(10), 2)
    assert boxes.tolist() == [[0, 0, 2, 1], [0, 1, 3, 2]]
    assert means.tolist() == [2, 4]
    assert deepest.tolist() == pytest.approx([0.3, 0.6])


def test_matches_count_cells_at_iou_over_half() -> None:
    true = scene((15, 15, 10), (45, 15, 10), (75, 15, 10))
    assert match_labels(true, true, IOUS[:1]) == (3, 0, 0)
    assert match_labels(true, np.zeros_like(true), IOUS[:1]) == (0, 0, 3)
    assert match_labels(np.zeros_like(true), true, IOUS[:1]) == (0, 3, 0)
    assert match_labels(true, (true > 0).astype(np.int32), IOUS[:1]) == (0, 1, 3)
    assert match_labels(true, np.roll(true, 3, axis=1), IOUS[:1]) == (3, 0, 0)
    assert match_labels(true, np.roll(true, 3, axis=1), IOUS[[0, 9]]) == (3, 3, 3)
    assert match_labels(true, np.roll(true, 12, axis=1), IOUS[:1]) == (0, 3, 3)
