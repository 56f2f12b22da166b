"""The U-Net family: the poster's channels, learning, the thresholds' way into the weights, tiles."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from culture import Culture
from monolayer.coco.labels import label_image
from monolayer.data.dataset import Sample, read_image
from monolayer.evaluation.matching import IOUS, match_labels
from monolayer.models import Trained
from monolayer.models.unet import family
from monolayer.params.families import UnetPredict, UnetTrain
from torch import nn
from unet_settings import SETTINGS, split


@pytest.mark.parametrize(("levels", "bottom"), [(4, 512), (5, 1024), (6, 2048)])
def test_channels_are_the_posters(levels: int, bottom: int) -> None:
    with torch.device("meta"):
        network = family.UNet(64, levels, 1)
    outputs = [layer.out_channels for layer in network.modules() if isinstance(layer, nn.Conv2d)]
    assert outputs[0] == 64
    assert max(outputs) == bottom
    assert outputs[: 2 * levels : 2] == [64 * 2**level for level in range(levels)]


@pytest.mark.parametrize(("levels", "stem", "fine"), [(2, 1, 0), (4, 1, 0), (6, 1, 0), (3, 2, 0), (2, 4, 0), (3, 2, 3)])
def test_output_has_the_size_of_the_input(levels: int, stem: int, fine: int) -> None:
    network = family.UNet(4, levels, 2, stem, fine=fine).eval()
    assert network.stride == stem * 2 ** (levels - 1)
    assert network(torch.zeros(1, 1, 2 * network.stride, 3 * network.stride)).shape == (
        1,
        2,
        2 * network.stride,
        3 * network.stride,
    )


@pytest.mark.parametrize(("stem", "fine"), [(1, 0), (2, 0), (2, 3)])
def test_every_weight_learns(stem: int, fine: int) -> None:
    network = family.UNet(4, 3, 2, stem, fine=fine)
    network(torch.randn(2, 1, 32, 32)).square().mean().backward()
    assert all(weight.grad is not None and weight.grad.abs().sum() > 0 for weight in network.parameters())


def test_a_stem_moves_no_pixel() -> None:
    """Moved by a whole block, what the network says moves with it, away from the border."""
    torch.manual_seed(0)
    network = family.UNet(4, 2, 1, stem=2).eval()
    image = torch.randn(1, 1, 64, 64)
    with torch.no_grad():
        first, moved = network(image), network(torch.roll(image, 4, dims=3))
    torch.testing.assert_close(moved[..., 24:44, 24:44], first[..., 24:44, 20:40], atol=1e-5, rtol=1e-4)


@pytest.fixture(scope="module")
def trained(culture: Culture, tmp_path_factory: pytest.TempPathFactory) -> Trained:
    torch.set_num_threads(1)
    workdir = tmp_path_factory.mktemp("unet")
    return family.train(split(culture, "train"), split(culture, "val"), SETTINGS, 0, workdir)


def test_training_finds_the_cells_of_the_culture(culture: Culture, trained: Trained) -> None:
    losses = [row["loss"] for row in trained.history]
    assert losses[-1] < 0.8 * losses[0]
    network = family.build(SETTINGS, trained.state, "cpu")
    tp = fp = fn = 0
    for sample in split(culture, "test"):
        [found] = family.predict(network, [read_image(sample.path)], SETTINGS.val_predict)
        pred = label_image((result["segmentation"] for result in found.results(1)), found.height, found.width)
        true = label_image((a["segmentation"] for a in sample.annotations), found.height, found.width)
        tp, fp, fn = (a + b for a, b in zip((tp, fp, fn), match_labels(true, pred, IOUS[:1]), strict=True))
    assert 2 * tp / (2 * tp + fp + fn) > 0.8


def test_what_val_chose_travels_in_the_weights(trained: Trained) -> None:
    network = family.build(SETTINGS, trained.state, "cpu")
    chosen = trained.facts["thresholds"]
    assert network.thresholds.tolist() == pytest.approx([chosen["foreground"], chosen["marker"], chosen["area"]])
    assert chosen["foreground"] in SETTINGS.search.foreground
    assert chosen["marker"] in SETTINGS.search.marker
    assert chosen["area"] > 10  # half of the smallest of cells with more than 78 px²
    assert network.contrast > 20


def test_weights_of_another_architecture_are_refused(trained: Trained) -> None:
    with pytest.raises(RuntimeError, match=r"Missing key|size mismatch"):
        family.build(SETTINGS.model_copy(update={"levels": 4}), trained.state, "cpu")


def test_same_seed_same_bytes(culture: Culture, tmp_path: Path, trained: Trained) -> None:
    again = family.train(split(culture, "train"), split(culture, "val"), SETTINGS, 0, tmp_path)
    assert again.history == trained.history
    for name, value in trained.state.items():
        assert torch.equal(again.state[name], value), name


def test_poster_target_trains_on_foreground_alone(culture: Culture, tmp_path: Path) -> None:
    fit = SETTINGS.fit.model_copy(update={"epochs": 1})
    settings = SETTINGS.model_copy(update={"target": "foreground", "fit": fit, "patches": 8})
    trained = family.train(split(culture, "train"), split(culture, "val"), settings, 0, tmp_path)
    assert "distance" not in trained.history[0]
    assert trained.history[0]["score"] == trained.history[0]["val_pixel_f1"]
    assert trained.state["head.weight"].shape[0] == 1


def test_separated_cells_are_found_with_one_map(culture: Culture, tmp_path: Path) -> None:
    """The second is the first again, so that its peaks part cells, in every backend."""
    settings = SETTINGS.model_copy(update={"target": "separated"})
    trained = family.train(split(culture, "train"), split(culture, "val"), settings, 0, tmp_path)
    assert trained.state["head.weight"].shape[0] == 1
    assert all(row["score"] == row["val_f1"] for row in trained.history)
    network = family.build(settings, trained.state, "cpu")
    [maps] = family.probabilities(network, [read_image(split(culture, "test")[0].path)], settings.val_predict)
    assert len(maps) == 2
    assert np.array_equal(maps[0], maps[1])
    assert max(row["val_f1"] for row in trained.history) > 0.4


def test_tiling_changes_little_and_nothing_far_from_the_edges(culture: Culture, trained: Trained) -> None:
    """Maps of one large tile and of small ones; most pixels differ by less than 1/100, the worst by less than 1/10."""
    network = family.build(SETTINGS, trained.state, "cpu")
    frame = read_image(split(culture, "test")[0].path)
    image = np.tile(frame, (3, 3))
    [whole] = family.probabilities(
        network, [image], UnetPredict(batch=1, tile=512, overlap=0, tta=1, saddle_ratio=0.65)
    )
    [tiled] = family.probabilities(
        network, [image], UnetPredict(batch=3, tile=128, overlap=64, tta=1, saddle_ratio=0.65)
    )
    assert whole.shape == (2, *image.shape)
    assert np.quantile(np.abs(tiled - whole), 0.99) < 0.01
    assert np.abs(tiled - whole).max() < 0.1
    np.testing.assert_allclose(tiled[:, :40, :40], whole[:, :40, :40], atol=1e-4)


def test_images_of_any_size(culture: Culture, trained: Trained) -> None:
    network = family.build(SETTINGS, trained.state, "cpu")
    images = [np.full(shape, 128, np.uint8) for shape in [(1, 1), (5, 300), (129, 127)]]
    for image, found in zip(images, family.predict(network, images, SETTINGS.val_predict), strict=True):
        assert (found.height, found.width) == image.shape


def test_images_without_cells_train_too(culture: Culture, tmp_path: Path) -> None:
    empty = [Sample(sample.image, sample.path, []) for sample in split(culture, "train")]
    fit = SETTINGS.fit.model_copy(update={"epochs": 1})
    settings: UnetTrain = SETTINGS.model_copy(update={"fit": fit, "patches": 8})
    trained = family.train(empty, empty, settings, 0, tmp_path)
    assert all(torch.isfinite(value).all() for value in trained.state.values())
