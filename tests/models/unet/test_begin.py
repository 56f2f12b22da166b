"""U-Nets that begin with given weights: the exported model exactly, another run's, what is new, the cells' scale."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
import torch
import yaml
from culture import Culture
from monolayer import models
from monolayer.backends.manifest import pretrained, read_manifest
from monolayer.backends.ort import OnnxRuntime
from monolayer.data.dataset import read_image
from monolayer.evaluation.matching import IOUS, match_labels
from monolayer.files import InputError
from monolayer.models import Trained
from monolayer.models.rescaled import ScaledCells, usual_diameter
from monolayer.models.unet import family
from monolayer.models.unet.unfold import settle, unfolded
from monolayer.params.families import UnetTrain
from monolayer.params.params import load
from monolayer.params.steps import TrainParams
from paths import ROOT
from torch import Tensor
from unet_settings import SETTINGS, split

READY = cast(UnetTrain, load(yaml.safe_load((ROOT / "params.yaml").read_text())).train_params("ready").settings)


def test_the_rows_for_your_own_images_fit_the_model_in_the_package() -> None:
    given = unfolded(family._network(READY), pretrained())
    assert family._shape(given.state) == (READY.width, READY.levels, READY.stem, READY.fine)
    diameters = read_manifest(pretrained())[1].diameters
    assert diameters is not None
    assert pytest.approx(diameters.median, abs=0.1) == READY.diameter


def with_settings(settings: UnetTrain = SETTINGS, epochs: int = 1, **changes: Any) -> UnetTrain:
    fit = settings.fit.model_copy(update={"epochs": epochs, "amp": "none"})
    return settings.model_copy(update={"fit": fit, "patches": 16} | changes)


def train(culture: Culture, settings: UnetTrain, folder: Path) -> Trained:
    torch.set_num_threads(1)
    return family.train(split(culture, "train"), split(culture, "val"), settings, 0, folder)


@pytest.fixture
def network() -> family.UNet:
    begun = family._network(READY.model_copy(update={"diameter": None}))
    begun.load_state_dict(unfolded(begun, pretrained()).state)
    return begun.eval()


@pytest.fixture
def tiles() -> Tensor:
    return torch.from_numpy(np.random.default_rng(0).normal(size=(2, 1, 64, 96)).astype(np.float32))


def test_the_exported_model_is_itself_in_torch(network: family.UNet, tiles: Tensor) -> None:
    files = {"maps": pretrained() / "networks/all.maps.fp32.onnx"}
    [expected] = OnnxRuntime(files, {"maps": {}}, 1).run("maps", tiles.numpy())
    with torch.no_grad():
        [found] = family.MapGraph(network)(tiles)
    np.testing.assert_allclose(found.numpy(), expected, atol=1e-5)  # of probabilities: what float32 rounds
    _, manifest = read_manifest(pretrained())
    assert network.thresholds.tolist() == pytest.approx(manifest.networks["all"].constants["thresholds"])


def test_norms_get_statistics_without_another_result(network: family.UNet, tiles: Tensor) -> None:
    with torch.no_grad():
        before = network(tiles)
        unsettled = (copy.deepcopy(network).train()(tiles) - before).abs().max()
        settle(network, tiles)
        torch.testing.assert_close(network.eval()(tiles), before, atol=2e-4, rtol=1e-4)
        settled = (network.train()(tiles) - before).abs().max()
    assert settled < 0.01 < unsettled


def test_no_epochs_keep_the_ready_model_as_it_is(culture: Culture, tmp_path: Path, network: family.UNet) -> None:
    trained = train(culture, with_settings(READY, epochs=0, diameter=None), tmp_path)
    assert all(torch.equal(trained.state[name], value) for name, value in network.state_dict().items())
    assert ", exported, sha256 " in trained.initial
    count = len(trained.state)
    assert trained.initial.endswith(f"; {count} of {count} tensors")


def test_an_epoch_may_have_few_patches(culture: Culture, tmp_path: Path) -> None:
    """Fewer than the norms of an exported network get their statistics from."""
    trained = train(culture, with_settings(READY, diameter=None, patches=2, patch=64), tmp_path)
    assert [row["epoch"] for row in trained.history] == [0, 1]


def test_a_run_begins_with_another_runs_weights(culture: Culture, tmp_path: Path) -> None:
    first = train(culture, with_settings(), tmp_path / "first")
    run = TrainParams(family="unet", settings=SETTINGS, lines="all", seed=0, cpu_threads=1)
    models.save_weights(tmp_path / "weights.pt", run, {"all": first.state})
    again = train(culture, with_settings(epochs=0, weights=str(tmp_path / "weights.pt")), tmp_path / "again")
    assert all(torch.equal(again.state[name], value) for name, value in first.state.items())
    foreground = with_settings(weights=str(tmp_path / "weights.pt"), target="foreground")
    other = train(culture, foreground, tmp_path / "other")
    assert other.initial.endswith("; 66 of 68 tensors, new: head")
    assert [row["epoch"] for row in other.history] == [1]  # what is new in part is no model yet
    with pytest.raises(InputError, match="weights` fit only a part"):
        train(culture, with_settings(foreground, epochs=0), tmp_path / "none")


@pytest.mark.parametrize(
    ("weights", "text"),
    [
        ("pretrained", r"has width \d+, \d levels, stem \d, fine \d, the settings width 4, 3 levels, stem 1, fine 0"),
        ("nowhere.pt", r"nowhere.pt is no weights.pt"),
        ("nowhere/model.json", r"is not the model.json of an exported run"),
    ],
)
def test_weights_that_do_not_fit_are_named(culture: Culture, tmp_path: Path, weights: str, text: str) -> None:
    with pytest.raises(InputError, match=text):
        train(culture, with_settings(weights=weights), tmp_path)


def test_cells_are_brought_to_the_scale_that_is_asked_for(culture: Culture, tmp_path: Path) -> None:
    shown = split(culture, "train")
    usual = usual_diameter(shown)
    settings = with_settings(SETTINGS, epochs=6, diameter=1.5 * usual, patches=48)
    trained = train(culture, settings, tmp_path)
    network = family.build(settings, trained.state, "cpu")
    assert family.constants(network)["zoom"] == pytest.approx(1.5)
    tp = fp = fn = 0
    for index, sample in enumerate(shown):
        [found] = family.predict(network, [read_image(sample.path)], SETTINGS.val_predict)
        true = ScaledCells(shown, 1.0).labels(index)
        assert found.label_image().shape == true.shape
        tp, fp, fn = (
            a + b for a, b in zip((tp, fp, fn), match_labels(true, found.label_image(), IOUS[:1]), strict=True)
        )
    assert 2 * tp / (2 * tp + fp + fn) > 0.6


def test_scaled_cells_keep_image_and_truth_together(culture: Culture) -> None:
    shown = split(culture, "train")
    scaled, own = ScaledCells(shown, 1.5), ScaledCells(shown, 1.0)
    assert scaled.image(0).shape == scaled.labels(0).shape == (144, 192)
    assert set(np.unique(scaled.labels(0))) == set(np.unique(own.labels(0)))
    ratio = np.bincount(scaled.labels(0).ravel()) / np.bincount(own.labels(0).ravel())
    assert ratio == pytest.approx(2.25, rel=0.1)
    assert scaled.samples[0].annotations[0]["bbox"] == [1.5 * v for v in shown[0].annotations[0]["bbox"]]
    assert np.array_equal(own.image(0), read_image(shown[0].path))
