"""Patches: what is learned, where it is cut, and that the picture may change but the cells stay where they are."""

from __future__ import annotations

from collections import Counter

import cv2
import numpy as np
import pytest
from culture import Culture
from monolayer.coco.io import read_truth
from monolayer.data import dataset
from monolayer.models.unet import patches
from monolayer.params.families import AugmentParams, Target, UnetTrain
from scipy import ndimage
from unet_settings import SETTINGS

STILL = AugmentParams(gamma=0, contrast=0, brightness=0, blur=0, noise=0)


def disks(*places: tuple[int, int, int]) -> np.ndarray[tuple[int, int], np.dtype[np.int32]]:
    """int32 (60, 90) with disks (x, y, radius), later ones on top."""
    y, x = np.mgrid[:60, :90]
    labels = np.zeros((60, 90), np.int32)
    for index, (cx, cy, radius) in enumerate(places, start=1):
        labels[(x - cx) ** 2 + (y - cy) ** 2 <= radius**2] = index
    return labels


def culture_patches(culture: Culture, settings: UnetTrain) -> patches.Patches:
    samples = dataset.samples(read_truth(culture.splits / "train.json"), culture.images)
    return patches.Patches(dataset.TrueCells(samples), settings, 40.0)


def test_distance_reaches_1_in_each_cell_and_0_between_cells_that_touch() -> None:
    labels = disks((20, 30, 15), (44, 30, 10), (75, 30, 4))
    foreground, distance = patches.targets(labels, "foreground+distance")
    assert (foreground == 255 * (labels > 0)).all()
    for index in (1, 2, 3):
        assert distance[labels == index].max() == 255
    assert distance[labels == 0].max() == 0
    seam = (labels[:, 1:] != labels[:, :-1]) & (labels[:, 1:] > 0) & (labels[:, :-1] > 0)
    assert seam.any()
    assert distance[:, 1:][seam].max() == 0
    assert distance[:, :-1][seam].max() == 0


def test_separated_cells_end_where_they_touch_and_nowhere_else() -> None:
    labels = disks((20, 30, 15), (44, 30, 10), (75, 30, 4))
    cells, _ = patches.targets(labels, "separated")
    ways = (np.roll(labels, step, axis) for axis in (0, 1) for step in (-1, 1))  # no disk is at the border
    touching = (labels > 0) & np.any([(other > 0) & (other != labels) for other in ways], axis=0)
    assert touching.any()
    assert np.array_equal(cells == 255, (labels > 0) & ~touching)
    assert ndimage.label(cells)[1] == 3
    assert ndimage.label(labels > 0)[1] == 2


def test_narrow_gaps_weigh_as_the_papers_formula_says() -> None:
    rng = np.random.default_rng(0)
    labels = disks(*((int(rng.integers(8, 82)), int(rng.integers(8, 52)), int(rng.integers(3, 9))) for _ in range(9)))
    cells, narrow = patches.targets(labels, "separated")
    left = np.where(cells, labels, 0)
    ways = np.sort([ndimage.distance_transform_edt(left != cell) for cell in np.unique(left[left > 0])], axis=0)
    expected = np.exp(-((ways[0] + ways[1]) ** 2) / (2 * patches.GAP**2)) * (left == 0)
    np.testing.assert_allclose(narrow / 255, expected, atol=1 / 255)
    assert narrow.max() > 100
    assert not patches.targets(disks((40, 30, 20)), "separated")[1].any()  # one cell has no gap


def test_the_border_is_an_edge() -> None:
    """A cell that the border cuts is one of its own: a strip of 4 px has its middle at 1."""
    labels = np.zeros((40, 60), np.int32)
    labels[:4, 10:50] = 1
    distance = patches.targets(labels, "foreground+distance")[1]
    assert distance[:4, 30].tolist() == [128, 255, 255, 128]


def test_distance_falls_linearly_towards_the_edge() -> None:
    distance = patches.targets(disks((40, 30, 20)), "foreground+distance")[1]
    np.testing.assert_allclose(distance[30, 40:60] / 255, np.linspace(1, 0.05, 20), atol=0.06)


def test_targets_are_the_same_whatever_the_threads() -> None:
    """OpenCV's distances have another last digit with another number of threads."""
    before, found, labels = cv2.getNumThreads(), [], np.zeros((200, 128, 128), np.int32)
    rng = np.random.default_rng(0)
    for one in labels:
        for index in range(1, 9):
            cv2.circle(one, tuple(rng.integers(0, 128, 2).tolist()), int(rng.integers(6, 22)), index, -1)
    try:
        for threads in (1, 2, 3):
            cv2.setNumThreads(threads)
            found.append(np.stack([patches.targets(one, "foreground+distance") for one in labels]))
    finally:
        cv2.setNumThreads(before)
    assert all(np.array_equal(found[0], other) for other in found[1:])


def test_empty_and_full_images_have_targets() -> None:
    maps_of: dict[Target, int] = {"foreground": 1, "separated": 2, "foreground+distance": 2}
    for value in (0, 1):
        for target, maps in maps_of.items():
            found = patches.targets(np.full((8, 9), value, np.int32), target)
            assert found.shape == (maps, 8, 9)
            assert (found[0] == 255 * value).all()


@pytest.mark.parametrize("exponent", [0.0, 0.5, 1.0])
def test_lines_have_their_shares(culture: Culture, exponent: float) -> None:
    """Of an epoch's patches: the same for all lines, by the root of their cells (and images), or by their cells."""
    settings = SETTINGS.model_copy(update={"sampling_exponent": exponent, "patches": 400})
    drawn = culture_patches(culture, settings)
    size, patches_of = Counter[str](), Counter[str]()
    for sample in drawn._cells.samples:
        size[sample.image["cell_line"]] += 1 + len(sample.annotations)
    for index in range(400):
        name, _ = drawn.draw(index, np.random.default_rng(index))
        patches_of[name.split("_")[0]] += 1
    total = sum(value**exponent for value in size.values())
    assert patches_of.keys() == size.keys()
    for line, count in patches_of.items():
        assert count == pytest.approx(400 * size[line] ** exponent / total, abs=1)


def test_a_line_has_as_many_times_its_share_as_it_is_given(culture: Culture) -> None:
    lines = sorted({sample.image["cell_line"] for sample in culture_patches(culture, SETTINGS)._cells.samples})
    settings = SETTINGS.model_copy(update={"line_shares": {lines[0]: 3.0}, "patches": 300})
    drawn = culture_patches(culture, settings)
    names = (drawn.draw(index, np.random.default_rng(index))[0] for index in range(300))
    patches_of = Counter(name.split("_")[0] for name in names)
    one = 300 / (len(lines) + 2)
    assert patches_of == {line: pytest.approx(3 * one if line == lines[0] else one, abs=1) for line in lines}


def test_draw_depends_on_index_and_rng_alone(culture: Culture) -> None:
    first, again = culture_patches(culture, SETTINGS), culture_patches(culture, SETTINGS)
    for index in range(5):
        first.draw(index, np.random.default_rng(99))
    for index in (3, 1):
        one, other = (p.draw(index, np.random.default_rng([7, index])) for p in (first, again))
        assert one[0] == other[0]
        for a, b in zip(one[1], other[1], strict=True):
            np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("zoom", [0, 1])
@pytest.mark.parametrize("size", [32, 192])  # smaller and larger than the image
def test_image_and_target_are_cut_and_turned_alike(culture: Culture, size: int, zoom: float) -> None:
    """The culture's cells are brighter (round) or darker (long) than what surrounds them."""
    augment = STILL.model_copy(update={"zoom": zoom})
    settings = SETTINGS.model_copy(update={"patch": size, "augment": augment})
    for index in range(8):
        name, (image, target) = culture_patches(culture, settings).draw(index, np.random.default_rng(index))
        assert image.shape == (1, size, size)
        assert target.shape == (2, size, size)
        assert image.dtype == np.float32
        inside, outside = image[0][target[0] > 0], image[0][target[0] == 0]
        if len(inside) > 50:
            assert (inside.mean() > outside.mean() + 0.5) == name.startswith("round")


def test_zoomed_targets_lie_where_the_picture_shows_them(culture: Culture, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of images that are their truth in white, to a tenth of a pixel in the mean."""
    settings = SETTINGS.model_copy(
        update={"patch": 96, "patches": 200, "augment": STILL.model_copy(update={"zoom": 0.4})}
    )
    drawn = culture_patches(culture, settings)
    monkeypatch.setattr(dataset.TrueCells, "image", lambda cells, index: np.uint8(200 * (cells.labels(index) > 0)))
    monkeypatch.setattr(patches, "turn", lambda plane, way: plane)  # turned ones would hide it in the mean
    apart = []
    for index in range(200):
        _, (image, target) = drawn.draw(index, np.random.default_rng(index))
        apart.append(np.subtract(ndimage.center_of_mass(image[0]), ndimage.center_of_mass(target[0])))
    assert np.abs(np.mean(apart, axis=0)).max() < 0.1


def test_zoom_makes_cells_of_other_sizes(culture: Culture) -> None:
    settings = SETTINGS.model_copy(update={"patch": 96, "augment": STILL.model_copy(update={"zoom": 1.0})})
    areas = []
    for index in range(24):
        _, (_, target) = culture_patches(culture, settings).draw(index, np.random.default_rng(index))
        number, labels = cv2.connectedComponents(target[0])
        areas += np.bincount(labels.ravel())[1:number].tolist()
    plain = [a["area"] for s in culture_patches(culture, settings)._cells.samples for a in s.annotations]
    assert max(areas) > 2 * max(plain)  # most are small: a wider window holds more of them
    assert np.percentile(areas, 10) < np.percentile(plain, 10) / 2


def test_patches_on_cells_have_one_in_their_middle(culture: Culture) -> None:
    settings = SETTINGS.model_copy(update={"foreground_fraction": 1.0, "patch": 16})
    drawn = culture_patches(culture, settings)
    for index in range(6):
        _, (_, target) = drawn.draw(index, np.random.default_rng(index))
        assert target[0].any()


def test_variation_keeps_cells_in_place() -> None:
    labels = disks((20, 30, 12), (60, 30, 12))
    image = (labels > 0).astype(np.float32) * 3
    amount = AugmentParams(gamma=0.5, contrast=0.5, brightness=0.5, blur=2.0, noise=0.3)
    for seed in range(10):
        varied = patches.vary(image, amount, np.random.default_rng(seed))
        assert np.isfinite(varied).all()
        assert np.corrcoef(varied.ravel(), image.ravel())[0, 1] > 0.7
    np.testing.assert_allclose(patches.vary(image, STILL, np.random.default_rng(0)), image, atol=1e-5)


def test_noise_of_an_empty_image_is_not_blown_up() -> None:
    rng = np.random.default_rng(0)
    empty = rng.normal(128, 3, (50, 60)).round().astype(np.uint8)
    cells = empty.copy()
    cells[10:40, 10:30] = 220
    spread = patches.contrast([empty, cells])
    assert patches.standardise(empty, spread).std() < 0.2
    assert abs(float(np.median(patches.standardise(cells, spread)))) < 0.1
    assert patches.contrast([np.zeros((4, 4), np.uint8)]) == 1.0
