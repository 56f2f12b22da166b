"""How far synthetic images lie from the originals: features of known images, distances of known clouds, the files."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from culture import Culture
from faults import contents
from monolayer.coco.io import read_truth
from monolayer.coco.labels import rles_from_labels
from monolayer.coco.moments import ellipses
from monolayer.coco.records import CELL, Annotation, Image, Truth
from monolayer.coco.rle import annotation, mask_from_rle, rle_from_mask
from monolayer.data.dataset import Sample
from monolayer.files import write_json
from monolayer.params.extensions import DomainShiftParams
from monolayer.synthesis import domain_shift, extend, figures
from monolayer.synthesis.comparison import Cloud, compare, energy, energy_test, fit, kolmogorov_smirnov, project
from monolayer.synthesis.features import FEATURES, features, outlines
from paths import DATA, needs_data
from PIL import Image as PillowImage
from scipy import ndimage, stats
from test_extend import params

RNG = np.random.default_rng
SHIFT = DomainShiftParams(seed=0, variance=0.9, permutations=199, max_images=50, bins=20, samples=2)
REAL = DATA / "sartorius"


def grid(spacing: int, side: int = 6, size: int = 240) -> np.ndarray[Any, Any]:
    """Squares on a regular grid, labels 1 and up."""
    labels = np.zeros((size, size), np.int32)
    for number, (y, x) in enumerate(np.ndindex(size // spacing, size // spacing), start=1):
        labels[y * spacing + 5 : y * spacing + 5 + side, x * spacing + 5 : x * spacing + 5 + side] = number
    return labels


# ---- features ------------------------------------------------------------------------------------


def test_every_feature_is_defined_and_described() -> None:
    pixels = RNG(0).integers(0, 256, (240, 240)).astype(np.uint8)
    found = features(pixels, grid(30))
    assert list(found) == list(FEATURES)
    assert all(np.isfinite(value) for value in found.values())


def test_intensity_is_that_of_the_histogram() -> None:
    pixels = RNG(0).gamma(4, 10, (240, 240)).clip(0, 255).astype(np.uint8)
    found = features(pixels, grid(30))
    assert found["mean"] == pytest.approx(pixels.mean())
    assert found["std"] == pytest.approx(pixels.std())
    assert found["skewness"] == pytest.approx(stats.skew(pixels.ravel()), rel=1e-6)
    assert found["p01"] == pytest.approx(np.percentile(pixels, 1), abs=1)
    assert found["p99"] == pytest.approx(np.percentile(pixels, 99), abs=1)


@pytest.mark.parametrize(
    ("wavelength", "band"), [(3, "texture_1"), (9, "texture_2"), (18, "texture_4"), (36, "texture_8")]
)
def test_texture_answers_to_its_scale(wavelength: float, band: str) -> None:
    wave = 128 + 50 * np.sin(2 * np.pi * np.arange(288) / wavelength)
    found = features(np.tile(wave, (288, 1)).astype(np.uint8), grid(30, size=288))
    bands = {name: value for name, value in found.items() if name.startswith("texture")}
    assert max(bands, key=lambda name: bands[name]) == band


def test_density_and_clustering() -> None:
    pixels = np.zeros((240, 240), np.uint8)
    even = features(pixels, grid(30))
    assert even["density"] == pytest.approx(1e6 * 64 / 240**2)
    assert even["confluence"] == pytest.approx(64 * 36 / 240**2)
    assert even["neighbour"] == pytest.approx(30)
    assert even["clark_evans"] == pytest.approx(2)  # the value of a square grid
    heap = np.zeros((240, 240), np.int32)
    heap[:60, :60] = grid(15, 6, 60)
    assert features(pixels, heap)["clark_evans"] < 0.6


def test_size_and_shape() -> None:
    rows, columns = np.mgrid[:200, :200]
    labels = np.zeros((200, 200), np.int32)
    labels[((rows - 60) / 10) ** 2 + ((columns - 60) / 30) ** 2 <= 1] = 7  # numbers may have gaps
    labels[(rows - 150) ** 2 + (columns - 150) ** 2 <= 20**2] = 9
    cells = labels[labels > 0].astype(np.int64) // 2 - 3
    found = ellipses(cells, *np.nonzero(labels)[::-1])
    assert found.area == pytest.approx([np.pi * 300, np.pi * 400], rel=0.01)
    assert np.stack([found.y, found.x]).ravel() == pytest.approx([60, 150, 60, 150], abs=0.01)
    assert 4 * np.sqrt([found.major, found.minor]) == pytest.approx(np.array([[60, 40], [20, 40]]), rel=0.02)
    outline, touching = outlines(labels)
    assert outline[1] == pytest.approx(2 * np.pi * 20, rel=0.03)
    assert not touching.any()
    assert features(np.zeros((200, 200), np.uint8), labels)["elongation"] == pytest.approx(2, rel=0.02)


def test_contact_is_the_touching_share_of_outlines() -> None:
    labels = np.zeros((40, 60), np.int32)
    labels[10:20, 10:20], labels[10:20, 20:30] = 1, 2
    outline, touching = outlines(labels)
    assert outline.tolist() == pytest.approx([10 * np.pi] * 2)
    assert touching.tolist() == pytest.approx([10 * np.pi / 4] * 2)


def test_what_too_few_cells_define_is_nan() -> None:
    pixels = np.full((50, 50), 9, np.uint8)
    none = features(pixels, np.zeros((50, 50), np.int32))
    assert none["density"] == none["confluence"] == 0
    assert np.isnan(
        [none[name] for name in ("contrast", "cell_std", "neighbour", "area", "contact", "roughness")]
    ).all()
    one = np.zeros((50, 50), np.int32)
    one[10:20, 10:20] = 1
    assert np.isnan(features(pixels, one)["neighbour"])
    assert features(pixels, one)["area"] == 100
    assert features(pixels, np.ones((50, 50), np.int32))["contact"] == 0


# ---- distances -----------------------------------------------------------------------------------


def test_components_are_those_of_the_originals() -> None:
    rng = RNG(0)
    originals = rng.normal(size=(200, 2)) @ np.array([[5.0, 1, 0, 0], [0, 1, 3, 0]]) + 7
    plane = fit(originals, 0.99)
    assert len(plane.components) == 2  # a feature that does not vary is left out, and the others lie in a plane
    assert plane.components @ plane.components.T == pytest.approx(np.eye(2), abs=1e-9)
    assert plane.explained > 0.99
    scores, rest = project(originals, plane)
    assert scores.mean(0) == pytest.approx([0, 0], abs=1e-9)
    assert scores.std(0)[0] >= scores.std(0)[1]
    assert rest.max() < 0.02
    off = originals + np.array([0.0, 5, 0, 100])
    assert project(off, plane)[1].mean() > 1  # what the components can't show


def test_undefined_features_are_as_the_mean() -> None:
    originals = RNG(0).normal(size=(50, 3))
    plane = fit(originals, 1.0)
    holes = originals.copy()
    holes[:, 1] = np.nan
    filled = originals.copy()
    filled[:, 1] = originals[:, 1].mean()
    assert project(holes, plane)[0] == pytest.approx(project(filled, plane)[0])
    assert np.isfinite(fit(holes, 1.0).components).all()


def test_energy_distance_is_its_definition() -> None:
    rng = RNG(0)
    one, other = rng.normal(size=(20, 3)), rng.normal(1, 1, (30, 3))
    points = np.concatenate([one, other])
    distances = np.linalg.norm(points[:, None] - points[None], axis=-1)

    def mean(a: Any, b: Any) -> float:
        return float(np.mean([np.linalg.norm(p - q) for p in a for q in b]))

    expected = 2 * mean(one, other) - mean(one, one) - mean(other, other)
    named = np.arange(50) < 20
    assert energy(distances, named[None])[0] == pytest.approx(expected)
    line, line_too = np.sort(one[:, 0]), np.sort(other[:, 0])
    apart = np.abs(np.concatenate([line, line_too])[:, None] - np.concatenate([line, line_too])[None])
    # scipy's is the square root of half of it
    assert energy(apart, named[None])[0] == pytest.approx(2 * stats.energy_distance(line, line_too) ** 2 / 2)


def test_the_test_finds_a_shift_and_no_shift() -> None:
    same, small = [], []
    for seed in range(40):
        rng = RNG(seed)
        one = rng.normal(size=(30, 4))
        same.append(energy_test(one, rng.normal(size=(40, 4)), 99, rng))
        small.append(energy_test(one, rng.normal(0.6, 1, (40, 4)), 99, rng))
    p_same = np.array([float(row["p_value"]) for row in same])
    assert 0.3 < p_same.mean() < 0.7  # uniform
    assert (p_same <= 0.05).mean() < 0.2
    assert np.mean([float(row["p_value"]) <= 0.05 for row in small]) > 0.9
    ratio = np.mean([float(row["energy_distance"]) / float(row["null_distance"]) for row in same])
    assert ratio == pytest.approx(1, abs=0.15)


def test_kolmogorov_smirnov_is_scipys() -> None:
    rng = RNG(0)
    one, other = rng.integers(0, 20, 40).astype(float), rng.integers(3, 25, 70).astype(float)
    assert kolmogorov_smirnov(one, other) == pytest.approx(stats.ks_2samp(one, other).statistic)
    assert np.isnan(kolmogorov_smirnov(one, one[:0]))


# ---- files ---------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def shifted(culture: Culture, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """An extension and its analysis."""
    folder = tmp_path_factory.mktemp("shift")
    extend.extend(culture.images, culture.splits / "train.json", params("matched"), folder / "matched", workers=1)
    domain_shift.domain_shift(
        culture.images, culture.splits / "train.json", folder / "matched", SHIFT, folder / "out", workers=1
    )
    return folder / "matched", folder / "out"


def rows(path: Path) -> list[dict[str, str]]:
    return list(csv.DictReader(path.open()))


def test_tables_have_a_row_for_each_line_and_image(shifted: tuple[Path, Path]) -> None:
    by_line = {row["cell_line"]: row for row in rows(shifted[1] / "shift.csv")}
    assert set(by_line) == {"round", "long"}
    for row in by_line.values():
        assert (row["originals"], row["synthetic"]) == ("4", "12")
        assert float(row["energy_distance"]) >= 0
        assert 0 < float(row["p_value"]) <= 1
        assert float(row["count_original"]) == pytest.approx(float(row["count_synthetic"]), abs=3)
    images = rows(shifted[1] / "features.csv")
    assert len(images) == 32
    assert list(images[0]) == ["cell_line", "kind", "file_name", "pc1", "pc2", *FEATURES]
    assert {row["kind"] for row in images} == {"original", "synthetic"}


def test_distributions_add_up(shifted: tuple[Path, Path]) -> None:
    sums: dict[tuple[str, ...], float] = {}
    for row in rows(shifted[1] / "distributions.csv"):
        key = (row["cell_line"], row["quantity"], row["kind"])
        sums[key] = sums.get(key, 0) + float(row["share"])
        assert float(row["low"]) < float(row["high"])
    assert len(sums) == 2 * 3 * 2
    assert list(sums.values()) == pytest.approx([1] * 12, abs=1e-4)


def test_bytes_do_not_depend_on_workers(shifted: tuple[Path, Path], culture: Culture, tmp_path: Path) -> None:
    domain_shift.domain_shift(culture.images, culture.splits / "train.json", shifted[0], SHIFT, tmp_path, workers=2)
    assert contents(tmp_path) == contents(shifted[1])
    assert set(contents(tmp_path)) == {"features.csv", "shift.csv", "distributions.csv", "shift.svg", "samples.png"}
    assert b"<dc:date>" not in contents(tmp_path)["shift.svg"]
    assert PillowImage.open(tmp_path / "samples.png").size == (2 * 3 * 320, 2 * (96 + 16))


@pytest.mark.slow
@needs_data("sartorius")
def test_matched_lies_nearer_than_poster_on_real_cells(tmp_path: Path) -> None:
    truth = read_truth(REAL / "annotations.json")
    line = next(c["id"] for c in truth["categories"] if c["name"] == "shsy5y")
    cells = [c for c in truth["annotations"] if c["category_id"] == line]
    ids = {c["image_id"] for c in cells}
    images: Any = [
        {**i, "cell_line": "shsy5y", "well": i["file_name"], "timestamp": None, "split": None}
        for i in truth["images"]
        if i["id"] in ids
    ]
    write_json(tmp_path / "train.json", Truth(images=images, annotations=cells, categories=[CELL]))
    found = {}
    for layout_policy in ("matched", "poster"):
        settings = params(layout_policy, factor=1, block=8, overlap=0.25, margin={"low": 0.65, "high": 2.0})
        extend.extend(REAL / "images", tmp_path / "train.json", settings, tmp_path / layout_policy, workers=2)
        domain_shift.domain_shift(
            REAL / "images",
            tmp_path / "train.json",
            tmp_path / layout_policy,
            SHIFT,
            tmp_path / layout_policy,
            workers=2,
        )
        found[layout_policy] = float(rows(tmp_path / layout_policy / "shift.csv")[0]["energy_distance"])
    assert found["matched"] < 0.8 * found["poster"]


def test_edges_of_samples_are_the_cells_own(tmp_path: Path) -> None:
    """On all sides: with what differs from the next pixel they lay half a pixel above and left of the cells."""
    labels = grid(30)
    PillowImage.fromarray(np.zeros(labels.shape, np.uint8)).save(tmp_path / "a.png")
    image = Image(id=1, file_name="a.png", width=240, height=240, cell_line="", well="", timestamp=None, split=None)
    cells = [annotation(number, 1, rle) for number, rle in enumerate(rles_from_labels(labels), start=1)]
    red = (figures.outlined(Sample(image, tmp_path / "a.png", cells)) == figures.RED).all(2)
    assert np.array_equal(red, (labels > 0) & ~ndimage.binary_erosion(labels > 0))


def cloud(folder: Path, kind: str, levels: list[float], corners: list[tuple[int, int]]) -> Cloud:
    """Images of these grey levels with a square of 8 px at each of these corners."""
    part = []
    for number, level in enumerate(levels):
        pixels = RNG(number).normal(level, 5, (32, 64)).clip(0, 255).astype(np.uint8)
        image = Image(
            id=1,
            file_name=f"{kind}{number}.png",
            width=64,
            height=32,
            cell_line="",
            well="",
            timestamp=None,
            split=None,
        )
        PillowImage.fromarray(pixels).save(folder / image["file_name"])
        cells = list[Annotation]()
        for y, x in corners:
            mask = np.zeros((32, 64), np.bool_)
            mask[y : y + 8, x : x + 8] = True
            cells.append(annotation(len(cells) + 1, 1, rle_from_mask(mask)))
        part.append(Sample(image, folder / image["file_name"], cells))
    return Cloud(part, np.array([domain_shift.measure(sample) for sample in part]))


def test_one_original_tells_no_shift(tmp_path: Path) -> None:
    """Its features have no spread to measure by: the distance was 0 and p 1, whatever the synthetic images were."""
    synthetic = cloud(tmp_path, "s", [30, 60, 200], [(2, 2), (12, 12), (20, 40)])
    row = compare((cloud(tmp_path, "o", [100], [(0, 0)]), synthetic), SHIFT).row
    unknown = ("explained", "energy_distance", "null_distance", "p_value", "left_out_original", "left_out_synthetic")
    assert all(np.isnan(row[name]) for name in unknown)
    assert (row["components"], row["count_ks"], row["area_ks"]) == (0, 1, 0)
    of_two = compare((cloud(tmp_path, "o", [100, 120], [(0, 0)]), synthetic), SHIFT).row
    assert float(of_two["energy_distance"]) > 0


def test_confluence_is_the_share_that_is_covered(tmp_path: Path) -> None:
    """Of true cells that overlap it was the sum of their areas, which a composite's never do."""
    original = cloud(tmp_path, "o", [100, 120], [(0, 0), (0, 4), (0, 0)])
    row = compare((original, cloud(tmp_path, "s", [100, 120], [(0, 0)])), SHIFT).row
    assert row["confluence_original"] == pytest.approx(8 * 12 / (32 * 64))


def test_what_nobody_annotated_is_neither_cells_nor_background(tmp_path: Path) -> None:
    """An image whose right half is a region looks as its left half does: it had half of its density."""
    [sample] = cloud(tmp_path, "o", [100], [(0, 0), (12, 20)]).samples
    right = np.zeros((32, 64), np.bool_)
    right[:, 32:] = True
    parted = Sample(sample.image, sample.path, sample.annotations, [annotation(9, 1, rle_from_mask(right))])
    half = tmp_path / "half.png"
    PillowImage.fromarray(sample.pixels()[:, :32]).save(half)
    masks = [mask_from_rle(cell["segmentation"])[:, :32] for cell in sample.annotations]
    cells = [annotation(number, 1, rle_from_mask(mask)) for number, mask in enumerate(masks, start=1)]
    wanted = dict(zip(FEATURES, domain_shift.measure(Sample(sample.image, half, cells)), strict=True))
    found = dict(zip(FEATURES, domain_shift.measure(parted), strict=True))
    for name in ("density", "confluence", "clark_evans", "contrast", "background_std", "cell_std"):
        assert found[name] == pytest.approx(wanted[name]), name
