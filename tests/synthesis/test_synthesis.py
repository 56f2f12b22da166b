"""Taking images apart and putting them together: geometry, occlusion, halos, backgrounds."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from monolayer.coco.labels import rles_from_labels
from monolayer.coco.rle import box_xywh, crop_from_rle, mask_from_rle, rle_from_mask
from monolayer.params.extensions import GrowthLayout, MatchedLayout, PosterLayout, SynthesisParams
from monolayer.synthesis import policies
from monolayer.synthesis.composite import Composite, Plan, compose, outline, turned
from monolayer.synthesis.cutouts import FAR, Cutouts, cut_out, joined, pose_of
from monolayer.synthesis.scene import Scene, background, distance, halo_end, illumination, take_apart, texture_of
from numpy.typing import NDArray
from scipy import ndimage

Mask = NDArray[np.bool_]
RNG = np.random.default_rng
MARGIN, SIGMA = 8, 24.0
HEIGHT, WIDTH = 120, 160


def disk(y: float, x: float, radius: float, size: tuple[int, int] = (HEIGHT, WIDTH)) -> Mask:
    rows, columns = np.mgrid[: size[0], : size[1]]
    return np.asarray((rows - y) ** 2 + (columns - x) ** 2 <= radius**2)


def placed(mask: Mask) -> tuple[Mask, int, int]:
    return crop_from_rle(rle_from_mask(mask))


def slope() -> NDArray[np.float64]:
    """An illumination that rises by 40 from left to right."""
    return np.tile(np.linspace(100, 140, WIDTH), (HEIGHT, 1))


def micrograph(cells: list[Mask], values: list[float], noise: float = 3.0) -> NDArray[np.uint8]:
    """Cells of constant values on sloping illumination, each with a halo of +30 within 3 px."""
    pixels = slope() + RNG(0).normal(0, noise, (HEIGHT, WIDTH))
    every = np.any(cells, axis=0)
    for cell in cells:
        pixels[ndimage.binary_dilation(cell, iterations=3) & ~every] += 30
    for cell, value in zip(cells, values, strict=True):
        pixels[cell] = value
    return pixels.clip(0, 255).astype(np.uint8)


def scene_of(cells: list[Mask], values: list[float]) -> tuple[Scene, Cutouts]:
    image = micrograph(cells, values)
    crops = [placed(cell) for cell in cells]
    scene = take_apart(image, crops, MARGIN, SIGMA)
    return scene, cut_out(scene, crops, range(1, len(cells) + 1), MARGIN)


def at(places: list[tuple[int, int]], areas: list[float], tries: int = 8, angle: float = 0.0) -> Plan:
    """A plan of one cell after the other, each at its one place."""
    count = len(places)
    return Plan(
        areas=np.array(areas, float),
        tries=np.repeat(np.array(places, np.int64)[:, None], tries, 1),
        cells=np.arange(count)[:, None].repeat(tries // 8, 1),
        poses=turned(*(np.full((count, tries // 8), value) for value in (angle, 1.0, False))),
        gains=np.ones(count),
    )


def put(scene: Scene, cutouts: Cutouts, plan: Plan, overlap: float = 0.3) -> Composite:
    texture = texture_of(scene, 12)
    return compose(background(scene, texture, RNG(0)), scene.illumination, cutouts, plan, overlap)


# ---- taking apart --------------------------------------------------------------------------------


def test_distance_is_euclidean_within_4_percent() -> None:
    mask = RNG(0).random((70, 90)) < 0.005
    exact = ndimage.distance_transform_edt(~mask)
    found = distance(mask, 10.0)
    near = exact < 9.5
    assert np.abs(found[near] - exact[near]).max() <= 0.045 * 9.5
    assert found[exact > 10.5].min() == found.max() == 10
    assert (found[mask] == 0).all()


def test_illumination_passes_below_the_cells() -> None:
    cells = [disk(40, 40, 12), disk(80, 110, 15)]
    image = micrograph(cells, [250, 10])
    free = ~ndimage.binary_dilation(np.any(cells, axis=0), iterations=4)
    found = illumination(image, free, SIGMA, 120.0)
    inner = found[8:-8, 24:-24]  # at the edge, a Gaussian of what lies inside leans inwards
    assert np.abs(inner - slope()[8:-8, 24:-24]).max() < 3


def test_the_background_has_no_cells_and_keeps_texture_and_slope() -> None:
    cells = [disk(40, 40, 12), disk(80, 110, 15)]
    scene, _ = scene_of(cells, [250, 10])
    empty = background(scene, texture_of(scene, 12), RNG(0)) + scene.illumination
    for cell in cells:
        mended = ndimage.binary_dilation(cell, iterations=3)
        assert np.abs(empty - slope())[mended].max() < 20  # the cells were 110 and more away, halos 30
        assert 2 < (empty - scene.illumination)[mended].std() < 4  # the noise was 3: no flat grey
    assert np.array_equal(empty[scene.free], (scene.residual + scene.illumination)[scene.free])


def test_a_crowded_image_is_mended_from_a_calm_one() -> None:
    crowded, _ = scene_of([disk(y, x, 9) for y in range(12, 120, 22) for x in range(12, 160, 22)], [200.0] * 35)
    calm, _ = scene_of([disk(60, 80, 5)], [200])
    empty = background(crowded, texture_of(calm, 12), RNG(0))
    assert np.abs(empty).max() < 40
    assert 2 < empty.std() < 6


@pytest.mark.parametrize(
    ("reach", "low", "high", "end"), [(3, 2, 20, 3), (10, 2, 20, 10), (10, 2, 6, 6), (3, 8, 20, 8)]
)
def test_the_margin_goes_as_far_as_the_halo(reach: int, low: int, high: int, end: int) -> None:
    cell = disk(60, 80, 12)
    image = np.full((HEIGHT, WIDTH), 120.0) + RNG(0).normal(0, 2, (HEIGHT, WIDTH))
    image[ndimage.distance_transform_edt(~cell) <= reach] += 60
    found = halo_end([(image.astype(np.uint8), [placed(cell)])], low, high)
    assert abs(found - end) <= 1


def test_pose_of_a_bar() -> None:
    bar = np.zeros((20, 30), bool)
    for step in range(-8, 9):
        bar[10 + step // 2 - 1 : 10 + step // 2 + 2, 15 + step] = True
    y, x, axis = pose_of(bar)
    assert (y, x) == pytest.approx((10, 15), abs=0.5)
    assert axis == pytest.approx(np.arctan2(1, 2), abs=0.05)


def test_joined_cutouts_keep_their_pixels() -> None:
    parts = [scene_of([disk(40, 40, 12), disk(80, 110, 15)], [250, 10])[1], scene_of([disk(60, 60, 9)], [200])[1]]
    both = joined(parts)
    assert len(both.areas) == 3
    start, height, width, pad = both.boxes[2]
    mask = both.ramp[start : start + height * width].reshape(height, width) == 0
    assert np.array_equal(mask[pad:-pad, pad:-pad], placed(disk(60, 60, 9))[0])
    assert mask.sum() == both.areas[2]


# ---- putting together ----------------------------------------------------------------------------


def test_an_image_put_together_as_it_was_is_the_image() -> None:
    cells, values = [disk(40, 40, 12), disk(80, 110, 15), disk(35, 100, 8)], [250.0, 10.0, 220.0]
    scene, cutouts = scene_of(cells, values)
    composite = put(scene, cutouts, at([(40, 40), (80, 110), (35, 100)], [441, 709, 197]))
    assert np.array_equal(composite.labels > 0, np.any(cells, axis=0))
    difference = composite.pixels.astype(int) - micrograph(cells, values)
    assert np.abs(difference[composite.labels > 0]).max() <= 1
    near = ndimage.binary_dilation(np.any(cells, axis=0), iterations=5)
    assert np.abs(difference[near]).max() <= 1
    assert np.abs(difference[scene.free]).max() <= 1
    assert np.abs(difference).max() < 25  # where a halo fades into a mended background, noise is other noise


def test_a_cell_and_its_halo_fit_the_light_of_their_new_place() -> None:
    cell = disk(60, 40, 10)
    scene, cutouts = scene_of([cell], [200])
    moved = put(scene, cutouts, at([(60, 120)], [317])).pixels.astype(float)
    old, new = slope()[60, 40], slope()[60, 120]
    body = disk(60, 120, 8)
    assert moved[body].mean() == pytest.approx(200 + new - old, abs=2)
    halo = disk(60, 120, 12.5) & ~disk(60, 120, 11)
    assert (moved - slope())[halo].mean() == pytest.approx(30, abs=4)
    gone = disk(60, 40, 12)
    assert np.abs((moved - slope())[gone]).mean() < 6


def test_the_first_cell_lies_on_top_and_truth_is_what_is_seen() -> None:
    cells, values = [disk(40, 40, 12), disk(80, 110, 12)], [250.0, 10.0]
    scene, cutouts = scene_of(cells, values)
    composite = put(scene, cutouts, at([(60, 60), (60, 78)], [441, 441]))
    first, second = disk(60, 60, 12), disk(60, 78, 12)
    assert np.array_equal(composite.labels == 1, first)
    assert np.array_equal(composite.labels == 2, second & ~first)
    light = slope() - 120
    seen = composite.pixels - light
    assert seen[ndimage.binary_erosion(first, iterations=2)].min() > 225
    assert seen[ndimage.binary_erosion(second & ~first, iterations=2)].max() < 40
    boxes = [box_xywh(rle) for rle in rles_from_labels(composite.labels)]
    assert [[x, y, x + w, y + h] for x, y, w, h in boxes] == composite.boxes.tolist()


@pytest.mark.parametrize("overlap", [0.0, 0.1, 0.4])
def test_no_cell_is_hidden_by_more_than_the_bound(overlap: float) -> None:
    scene, cutouts = scene_of([disk(40, 40, 12), disk(80, 110, 9)], [250, 10])
    count = 60
    plan = Plan(
        areas=np.full(count, 300.0),
        tries=RNG(1).integers(0, (HEIGHT, WIDTH), (count, 16, 2)),
        cells=RNG(2).integers(0, 2, (count, 2)),
        poses=turned(
            RNG(3).uniform(0, 7, (count, 2)), RNG(4).uniform(0.8, 1.2, (count, 2)), RNG(5).random((count, 2)) < 0.5
        ),
        gains=np.ones(count),
    )
    composite = put(scene, cutouts, plan, overlap)
    assert 10 < len(composite.placed) < count
    for label, (k, option, y, x) in enumerate(composite.placed, start=1):
        pixels = outline(cutouts, plan.cells[k, option], plan.poses[k, option]) + np.array([y, x])
        inside = ((pixels >= 0) & (pixels < [HEIGHT, WIDTH])).all(1).sum()
        seen = (composite.labels == label).sum()
        assert seen >= (1 - overlap) * inside
        assert inside >= len(pixels) / 4


def test_holes_and_parts_survive_any_turn() -> None:
    ring = disk(60, 80, 14) & ~disk(60, 80, 7) | disk(60, 105, 4)
    scene, cutouts = scene_of([ring], [220])
    for angle in np.linspace(0, 2 * np.pi, 7):
        composite = put(scene, cutouts, at([(60, 80)], [ring.sum()], angle=float(angle)))
        mask = composite.labels == 1
        assert ndimage.label(mask)[1] == 2
        assert ndimage.label(~mask)[1] == 2
        assert mask.sum() == pytest.approx(ring.sum(), rel=0.05)
        (rle,) = rles_from_labels(composite.labels)
        assert np.array_equal(mask_from_rle(rle), mask)


def test_turned_cells_keep_area_and_axis() -> None:
    rows, columns = np.mgrid[:HEIGHT, :WIDTH]
    long = np.asarray(((rows - 60) / 6) ** 2 + ((columns - 80) / 18) ** 2 <= 1)
    scene, cutouts = scene_of([long], [220])
    for angle, scale, flip in [(0.5, 1.0, False), (2.0, 1.1, True), (4.0, 0.9, False)]:
        plan = at([(60, 80)], [long.sum()])._replace(poses=turned(*(np.full((1, 1), v) for v in (angle, scale, flip))))
        composite = put(scene, cutouts, plan)
        mask = composite.labels == 1
        assert mask.sum() == pytest.approx(long.sum() * scale**2, rel=0.05)
        axis = pose_of(mask)[2]
        assert np.abs(np.sin(axis - angle)) < 0.05  # of an ellipse that lay flat, mirrored or not


def test_a_neighbour_does_not_come_along() -> None:
    left, right = disk(60, 60, 10), disk(60, 82, 10)
    scene, cutouts = scene_of([left, right], [250, 10])
    alone = put(scene, cutouts, at([(60, 60)], [317])).pixels - slope()
    assert alone[right & ~disk(60, 60, 18)].min() > -15
    assert (alone[disk(60, 60, 13) & ~disk(60, 60, 11.5)]).mean() == pytest.approx(30, abs=10)


# ---- laws ----------------------------------------------------------------------------------------

SYNTHESIS: dict[str, Any] = {
    "block": 8,
    "min_cells": 1,
    "mix": 0.2,
    "margin": {"low": 0.5, "high": 1},
    "illumination": 4,
    "texture": 1.5,
    "restless": 2.0,
    "similar": 0.05,
    "overlap": 0.1,
    "turn": 0.3,
    "scale": 0.1,
    "gain": 0.1,
    "tries_per_pose": 8,
    "tries": 16,
    "wander": 8.0,
}


def layout(image_id: int, count: int, seed: int, size: tuple[int, int] = (500, 700)) -> policies.Layout:
    rng = RNG(seed)
    areas = rng.uniform(100, 300, count)
    return policies.Layout(image_id, size, rng.random((count, 2)) * size, areas, rng.uniform(0, np.pi, count))


def line(layouts: list[policies.Layout]) -> policies.Line:
    return policies.Line(4e-4, 16.0, layouts, np.concatenate([one.areas for one in layouts]))


def test_matched_mirrors_one_of_the_nearest_layouts_of_its_size() -> None:
    layouts = [layout(i, count, i) for i, count in enumerate((20, 100, 110, 120, 300))]
    layouts.append(layout(9, 100, 9, (300, 300)))
    layout_policy = MatchedLayout(layout="matched", factor=1, jitter=0, nearest=3)
    chosen = set()
    for seed in range(30):
        wanted = policies.matched(layout_policy, line(layouts), layouts[2], RNG(seed))
        source = layouts[int(wanted.layout or 0)]
        chosen.add(source.image_id)
        assert (np.diff(wanted.areas) <= 0).all()
        order = np.argsort(-source.areas, kind="stable")
        for axis, side in enumerate(source.size):
            ours, theirs = wanted.centres[:, axis], source.centres[order, axis]
            assert np.allclose(ours, theirs) or np.allclose(ours, side - 1 - theirs)
    assert chosen == {1, 2, 3}


def test_poster_counts_are_uniform() -> None:
    layout_policy = PosterLayout.model_validate({"layout": "poster", "factor": 1, "density": {"low": 0.5, "high": 1.5}})
    counts = [
        len(policies.poster(layout_policy, line([layout(0, 50, 0)]), (500, 700), RNG(seed)).areas)
        for seed in range(300)
    ]
    assert min(counts) >= 70
    assert max(counts) <= 210
    assert np.histogram(counts, 4, (70, 210))[0].min() > 50


def test_growth_puts_daughters_beside_their_mothers() -> None:
    layout_policy = GrowthLayout.model_validate(
        {"layout": "growth", "factor": 1, "confluence": {"low": 0.02, "high": 0.3}, "spread": 1.2}
    )
    young, old = (
        policies.growth(layout_policy, line([layout(0, 50, 0)]), (500, 700), age, RNG(0)) for age in (0.0, 0.999)
    )
    assert young.areas.sum() / 350_000 == pytest.approx(0.02, abs=0.001)
    assert old.areas.sum() / 350_000 == pytest.approx(0.3, abs=0.001)
    founders = len(young.areas)
    assert np.array_equal(old.centres[:founders], young.centres)  # one culture, later
    for cell in range(founders, len(old.areas)):
        away = np.hypot(*(old.centres[:cell] - old.centres[cell]).T)
        assert away.min() <= 1.2 * 2 * np.sqrt(300 / np.pi)
    assert (old.centres >= 0).all()
    assert (old.centres <= [500, 700]).all()


@pytest.mark.parametrize(("own", "share"), [(range(200), 0.2), (range(25), 0.75), ([], 1.0)])
def test_cells_are_the_backgrounds_own_but_for_a_share(own: Any, share: float) -> None:
    rng, wanted = RNG(0), policies.Wanted(np.zeros((100, 2)), np.full(100, 50.0), np.zeros(100), 0, None)
    areas = np.concatenate([np.full(200, 50), np.full(800, 51)])
    nothing: Any = np.zeros(0)
    cutouts = Cutouts(nothing, nothing, nothing, nothing, nothing, np.zeros(1000), areas, np.arange(1000))
    pool = policies.Pool(cutouts, np.array(own, np.int64), 8.0)
    plan = policies.plan(wanted, pool, SynthesisParams.model_validate(SYNTHESIS), rng)
    others = ~np.isin(plan.cells, np.array(own, np.int64))
    assert others.mean() <= share + 0.1
    assert plan.tries.shape == (100, 16, 2)
    assert plan.poses.shape == (100, 2, 4)


def test_options_have_about_the_area_asked_for() -> None:
    areas = np.arange(1, 1001)
    options = policies.alike(np.array([100.0, 500.0, 5000.0]), areas, 50, 0.05, RNG(0))
    assert (np.abs(areas[options[:2]] - [[100], [500]]) <= 51).all()
    assert areas[options[2]].min() >= 950


# ---- compressed masks ----------------------------------------------------------------------------


def test_masks_of_a_label_image_are_those_of_pycocotools() -> None:
    rng = RNG(0)
    for case in range(300):
        height, width, cells = rng.integers(1, 14, 3)
        blocks = np.ones(rng.integers(1, 40, 2), int) if case % 2 else np.ones((1, 1), int)
        labels = 3 * np.kron(rng.integers(0, cells + 1, (height, width)), blocks)
        values = [value for value in np.unique(labels) if value > 0]
        assert rles_from_labels(labels) == [rle_from_mask(labels == value) for value in values]


def test_the_ramp_of_a_cutout_rises_to_the_margin() -> None:
    _, cutouts = scene_of([disk(60, 80, 10)], [200])
    start, height, width, pad = cutouts.boxes[0]
    ramp = cutouts.ramp[start : start + height * width].reshape(height, width)
    middle = ramp[height // 2]
    assert pad == MARGIN
    assert (middle[pad : width - pad] == 0).all()
    assert (np.diff(middle[:pad].astype(int)) < 0).all()
    assert ramp[0, 0] == FAR
