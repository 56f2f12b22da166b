"""Expected F1: views tell how sure a network is, a fit on val holds on test, plates use it where it was fitted."""

from __future__ import annotations

import json
import math
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import plate_samples as made
import pytest
from hypothesis import given
from hypothesis import strategies as st
from monolayer.backends.manifest import pretrained
from monolayer.coco.instances import Instances
from monolayer.coco.records import CELL, Image, Truth
from monolayer.coco.rle import annotation, rle_from_mask
from monolayer.files import InputError, write_json
from monolayer.models import predictor
from monolayer.plates import plan, report
from monolayer.plates.expect import AS_IT_IS, JudgedImage, expect, fit
from monolayer.plates.expected import guess, read_expected
from monolayer.plates.model import EXPECTED, network_sums
from monolayer.plates.quality import certainty
from monolayer.plates.views import ViewedInstances, f1_of, with_views
from numpy.typing import NDArray
from PIL import Image as PillowImage
from scipy import ndimage
from test_plates import finish, run, table

NAN = math.nan
SCORES = np.array([0.9, 7 / 30], np.float32)
NETWORKS = {"networks/all.onnx": "0" * 64}

Labels = NDArray[np.int32]


def disks(cells: int, seed: int) -> Labels:
    """The true cells of `made.field`."""
    return np.asarray(ndimage.label(np.abs(made.field(cells, seed).astype(int) - 128) > 25)[0], np.int32)


@given(st.integers(1, 8), st.integers(0, 5), st.integers(1, 9))
def test_f1_knows_no_numbers(cells: int, seed: int, step: int) -> None:
    labels = disks(cells, seed)
    assert f1_of(labels, labels * step) == 1.0
    less = np.where(labels == 1, 0, labels)
    count = len(np.unique(labels)) - 1
    assert f1_of(labels, less) == f1_of(less, labels) == pytest.approx(2 * (count - 1) / (2 * count - 1))
    assert f1_of(labels, np.roll(labels, 20, 0) * 0) == 0.0


@pytest.mark.parametrize("diameter", [None, 12.0])
@pytest.mark.parametrize("tta", [2, 4])
def test_views_change_no_cell(tta: int, diameter: float | None) -> None:
    run = predictor.load(pretrained(), threads=1, tta=tta, diameter=diameter)
    image = made.field(8, 3)
    [plain] = run.segment([image])
    [viewed] = with_views(run, 0.7, mirror=False).segment([image])
    assert isinstance(viewed, ViewedInstances)
    assert 0 <= viewed.disagreement <= 1
    assert np.array_equal(viewed.scores, plain.scores)
    assert np.array_equal(viewed.label_image(), plain.label_image())


def test_a_mirror_image_is_a_view_where_there_is_no_other() -> None:
    run = predictor.load(pretrained(), threads=1, tta=1)
    image = made.field(8, 3)
    [plain] = run.segment([image])
    assert with_views(run, 0.7, mirror=False).networks == run.networks
    [viewed] = with_views(run, 0.7, mirror=True).segment([image])
    assert isinstance(viewed, ViewedInstances)
    assert np.array_equal(viewed.label_image(), plain.label_image())
    [mirrored] = run.segment([np.ascontiguousarray(image[:, ::-1])])
    kept = [found.at_least(0.7).label_image() for found in (plain, mirrored)]
    assert viewed.disagreement == pytest.approx(1 - f1_of(kept[0], kept[1][:, ::-1]))


def test_cells_below_the_threshold_are_doubt() -> None:
    """By area: where cells are missed, what was found of them says so, however good the few others are."""
    masks = [np.ones((10, 10), np.bool_), np.ones((10, 30), np.bool_)]
    both = Instances(60, 60, masks, np.array([[0, 0], [20, 20]], np.int32), np.zeros((2, 4), np.float32), SCORES)
    good, none = (both.take(np.array(cells, np.int64)) for cells in ([0], []))
    assert certainty(good, good) == pytest.approx({"mean_score": 0.9, "doubt": 0.1, "disagreement": NAN}, nan_ok=True)
    assert certainty(good, both) == pytest.approx({"mean_score": 0.9, "doubt": 0.6, "disagreement": NAN}, nan_ok=True)
    assert math.isnan(certainty(none, none)["doubt"])


def judged(count: int, seed: int, slope: float = -0.8) -> list[JudgedImage]:
    """Images whose F1 falls with their doubt and with nothing else."""
    rng = np.random.default_rng(seed)
    found = []
    for n in range(count):
        doubt, noise = rng.uniform(0.1, 0.9), rng.normal(0, 0.04)
        f1 = float(np.clip(0.95 + slope * (doubt - 0.1) + noise, 0, 1))
        values = {"disagreement": float(rng.uniform(0, 0.3)), "doubt": float(doubt)}
        found.append(JudgedImage(f"line/{n}", AS_IT_IS, f1, values, {"mean": float(rng.normal(128, 5))}))
    return found


def test_spoilt_images_count_for_none_more() -> None:
    nine = judged(9, 0)
    with pytest.raises(InputError, match="val has 9 images with cells"):
        fit([*nine, *(one._replace(how="defocused") for one in nine)], nine, NETWORKS, {})


def test_a_fit_finds_what_lowers_the_f1_and_how_far_off_it_is() -> None:
    fitted = fit(judged(60, 0), judged(400, 1), NETWORKS, {})
    assert fitted.weights["doubt"].weight == pytest.approx(-0.8, abs=0.06)
    assert abs(fitted.weights["disagreement"].weight) < 0.1
    check = fitted.checks["test"]
    assert check.spearman is not None
    assert check.spearman > 0.95
    assert 0.85 <= check.covered <= 0.98, "an interval of 90 %"
    assert abs(check.bias) < 0.02
    assert math.isnan(guess(fitted, {"disagreement": math.nan, "doubt": 0.5}).f1)
    far = guess(fitted, {"disagreement": 9.0, "doubt": 9.0})
    assert 0 <= far.low <= far.f1 <= far.high <= 1, "beyond what was seen it stays within bounds"


@pytest.mark.parametrize("name", ["disagreement", "doubt"])
def test_beyond_what_was_fitted_on_an_f1_may_be_any_lower(name: str) -> None:
    """The line ends there: the interval of images like those fitted on would promise what nobody has seen."""
    fitted = fit(judged(60, 0), judged(60, 1), NETWORKS, {})
    worst = {key: one.high for key, one in fitted.weights.items()}
    known = guess(fitted, worst)
    assert not known.beyond
    assert known.low > 0
    further = guess(fitted, worst | {name: worst[name] + 0.01})
    assert (further.f1, further.low, further.beyond) == (known.f1, 0.0, True)
    better = guess(fitted, {key: one.low - 0.01 for key, one in fitted.weights.items()})
    assert not better.beyond


def test_doubt_never_raises_the_expectation() -> None:
    """Where the chance of few images would have it so."""
    fitted = fit(judged(30, 2, slope=0.5), judged(30, 3), NETWORKS, {})
    assert all(one.weight <= 0 for one in fitted.weights.values())


def test_few_images_are_refused() -> None:
    with pytest.raises(InputError, match="val has 5 images with cells, of 5 wells"):
        fit(judged(5, 0), [], NETWORKS, {})


def truth(folder: Path, split: str, count: int, seed: int) -> None:
    images, cells = list[Image](), list[Any]()
    (folder / "images").mkdir(exist_ok=True)
    for n in range(count):
        number = 100 * seed + n
        pixels, labels = made.field(2 + n, number), disks(2 + n, number)
        name = f"{split}{n}.png"
        PillowImage.fromarray(pixels).save(folder / "images" / name)
        about = {"id": number, "file_name": name, "width": made.WIDTH, "height": made.HEIGHT}
        images.append(Image(**about, cell_line="disks", well=f"A{n}", timestamp=None, split=None))  # type: ignore[typeddict-item]
        for cell in range(1, labels.max() + 1):
            cells.append(annotation(1 + len(cells), number, rle_from_mask(labels == cell)))
    write_json(folder / f"{split}.json", Truth(images=images, annotations=cells, categories=[CELL]))


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The pretrained model, with an expected F1 that was fitted on images of disks."""
    folder = tmp_path_factory.mktemp("expect")
    model = Path(shutil.copytree(pretrained(), folder / "model"))
    (model / EXPECTED).unlink(missing_ok=True)
    for seed, (split, count) in enumerate({"val": 10, "test": 6}.items(), 1):
        truth(folder, split, count, seed)
    expect(folder / "images", folder, made.finding(model=str(model)), model / EXPECTED, 1)
    return model


def test_it_is_fitted_on_val_and_checked_on_test(model: Path) -> None:
    found = json.loads((model / EXPECTED).read_text())
    assert found["fitted_on"] == 10
    assert found["networks"] == network_sums(model)
    assert set(found["checks"]) == {
        *("val, left out", "val, left out, as they are", "test", "test, as they are"),
    }
    assert found["checks"]["test"]["images"] <= 12


def test_a_plate_tells_what_is_expected_and_flags_what_is_low(model: Path, tmp_path: Path) -> None:
    plate = made.incucyte(tmp_path / "VID7", wells=2, fields=1, times=3)
    settings: dict[str, Any] = {"model": str(model), "quality": made.SETTINGS["quality"] | {"expected_f1": 1.0}}
    results = run(plate, tmp_path / "out", **settings)
    images, wells = table(results / "images.parquet"), table(results / "wells.csv")
    assert images["expected_f1"].between(0, 1).all()
    assert (images["expected_f1_low"] <= images["expected_f1"]).all()
    assert images["disagreement"].between(0, 1).all()
    assert images["distance"].gt(0).all()
    low = images["expected_f1"] < 1
    assert images["flags"].str.contains("low_f1").equals(low)
    assert wells["expected_f1"].to_numpy() == pytest.approx(images.groupby("well")["expected_f1"].mean().to_numpy())
    report.report(results, made.settings(**settings), results / "report.html")
    page = (results / "report.html").read_text()
    assert "had in 10 validation images with truth" in page
    assert "Wells whose expected F1 is below 1.0" in page


def test_other_settings_have_no_expectation(model: Path, tmp_path: Path) -> None:
    plate = made.incucyte(tmp_path / "VID7", wells=1, fields=1, times=2)
    settings: dict[str, Any] = {"model": str(model), "score_min": 0.5}
    results = run(plate, tmp_path / "out", **settings)
    assert table(results / "images.parquet")["expected_f1"].isna().all()
    report.report(results, made.settings(**settings), results / "report.html")
    assert "Expected F1: not fitted for this model with these settings" in (results / "report.html").read_text()


def test_a_new_expectation_segments_nothing_again(model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    own = Path(shutil.copytree(model, tmp_path / "model"))
    plate = made.incucyte(tmp_path / "VID7", wells=1, fields=1, times=2)
    content = (own / EXPECTED).read_text()
    (own / EXPECTED).unlink()
    plan.plan(plate, made.reading(), tmp_path / "out")
    finish(tmp_path / "out", model=str(own))
    assert table(tmp_path / "out/images.parquet")["expected_f1"].isna().all()
    (own / EXPECTED).write_text(content)
    monkeypatch.setattr("monolayer.plates.parts.PartJournal.add", lambda *_: pytest.fail("an image is segmented again"))
    finish(tmp_path / "out", model=str(own))
    assert table(tmp_path / "out/images.parquet")["expected_f1"].notna().all()


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda found: found | {"networks": {"a": "0" * 64}}, "was fitted for other networks"),
        (lambda found: found | {"level": 1}, "is no expected F1"),
    ],
)
def test_what_belongs_to_another_model_is_refused(change: Any, said: str, model: Path, tmp_path: Path) -> None:
    found = json.loads((model / EXPECTED).read_text())
    (tmp_path / EXPECTED).write_text(json.dumps(change(found)))
    with pytest.raises(InputError, match=said):
        read_expected(tmp_path, made.finding(), network_sums(model))
