"""Import of official checkpoints: state dicts made with the official names give the same weights under ours."""

from __future__ import annotations

import json
import pickle
from collections import OrderedDict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from monolayer import models
from monolayer.files import InputError
from monolayer.models.centermask.family import start_from
from monolayer.models.centermask.import_weights import import_weights, read_checkpoint
from monolayer.models.centermask.network import CenterMask
from monolayer.params import params
from monolayer.params.steps import TrainParams
from paths import ROOT

LITE = {"backbone": "V-19-slim-dw", "channels": 128, "convs": 2}
NORMAL = {"backbone": "V-99", "channels": 256, "convs": 4}
NORM = ("weight", "bias", "running_mean", "running_var")


def run_params(network: dict[str, Any], norm: str = "frozen") -> TrainParams:
    """A run of scale `full` with this network."""
    loaded = params.load(yaml.safe_load((ROOT / "params.yaml").read_text()) | {"scale": "full"})
    settings = loaded.train_params("centermask_v19_slimdw").model_dump()
    settings["settings"]["network"] |= network | {"norm": norm}
    settings["settings"]["weights"] = "imported.pt"
    return TrainParams.model_validate(settings)


# ---- official state dicts, written out from facts of the official modules ------------------------


class Official:
    """Collects tensors under official names; `made` has their shapes, filled with numbers of their own."""

    def __init__(self) -> None:
        self.made: dict[str, torch.Tensor] = OrderedDict()
        self.rng = torch.Generator().manual_seed(0)

    def add(self, name: str, *shape: int) -> None:
        self.made[name] = torch.rand(shape, generator=self.rng) * 0.1

    def layer(self, name: str, *kernel: int) -> None:
        self.add(f"{name}.weight", *kernel)
        self.add(f"{name}.bias", kernel[0])

    def unit(self, name: str, into: int, out: int, side: int = 3, depthwise: bool = False) -> None:
        """A convolution and its norm, or a depthwise and a pointwise one and theirs."""
        if depthwise:
            self.add(f"{name}/dw_conv3x3.weight", into, 1, 3, 3)
            self.add(f"{name}/pw_conv1x1.weight", out, into, 1, 1)
        else:
            self.add(f"{name}/conv.weight", out, into, side, side)
        for part in NORM:
            self.add(f"{name}/{'pw_norm' if depthwise else 'norm'}.{part}", out)

    def backbone(self, stages: list[tuple[int, int, int]], last: int, layers: int, depthwise: bool) -> None:
        """Stages as (channels of the layers, channels of the output, blocks)."""
        trunk = "backbone.bottom_up"
        self.unit(f"{trunk}.stem.stem_1", 3, 64)
        self.unit(f"{trunk}.stem.stem_2", 64, 64, depthwise=depthwise)
        self.unit(f"{trunk}.stem.stem_3", 64, last, depthwise=depthwise)
        into = last
        for s, (width, out, blocks) in enumerate(stages, start=2):
            for b in range(1, blocks + 1):
                osa, start = f"OSA{s}_{b}", into if b == 1 else out
                block = f"{trunk}.stage{s}.{osa}"
                reduced = depthwise and start != width
                if reduced:
                    self.unit(f"{block}.conv_reduction.{osa}_reduction_0", start, width, side=1)
                for i in range(layers):
                    first = width if i or reduced else start
                    self.unit(f"{block}.layers.{i}.{osa}_{i}", first, width, depthwise=depthwise)
                self.unit(f"{block}.concat.{osa}_concat", start + layers * width, out, side=1)
                self.layer(f"{block}.ese.fc", out, out, 1, 1)
            into = out

    def heads(self, outs: list[int], channels: int, convs: int, classes: int) -> None:
        for level, out in zip((3, 4, 5), outs, strict=True):
            self.layer(f"backbone.fpn_lateral{level}", channels, out, 1, 1)
            self.layer(f"backbone.fpn_output{level}", channels, channels, 3, 3)
        for level in (6, 7):
            self.layer(f"backbone.top_block.p{level}", channels, channels, 3, 3)
        fcos = "proposal_generator.fcos_head"
        for tower in ("cls_tower", "bbox_tower"):
            for i in range(convs):
                self.layer(f"{fcos}.{tower}.{3 * i}", channels, channels, 3, 3)
                self.layer(f"{fcos}.{tower}.{3 * i + 1}", channels)
        for name, out in (("cls_logits", classes), ("bbox_pred", 4), ("ctrness", 1)):
            self.layer(f"{fcos}.{name}", out, channels, 3, 3)
        for level in range(5):
            self.add(f"{fcos}.scales.{level}.scale", 1)
        mask, iou = "roi_heads.mask_head", "roi_heads.maskiou_head"
        for i in range(1, convs + 1):
            self.layer(f"{mask}.mask_fcn{i}", channels, channels, 3, 3)
            self.layer(f"{iou}.maskiou_fcn{i}", channels, channels + (i == 1), 3, 3)
        self.add(f"{mask}.spatialAtt.conv.weight", 1, 2, 3, 3)
        self.layer(f"{mask}.deconv", channels, channels, 2, 2)
        self.layer(f"{mask}.predictor", classes, channels, 1, 1)
        self.layer(f"{iou}.maskiou_fc1", 1024, channels * 49)
        self.layer(f"{iou}.maskiou_fc2", 1024, 1024)
        self.layer(f"{iou}.maskiou", classes, 1024)
        self.add("pixel_mean", 3, 1, 1)
        self.add("pixel_std", 3, 1, 1)


def official_lite(classes: int = 1) -> dict[str, torch.Tensor]:
    official = Official()
    official.backbone([(64, 112, 1), (80, 256, 1), (96, 384, 1), (112, 512, 1)], 64, layers=3, depthwise=True)
    official.heads([256, 384, 512], 128, 2, classes)
    return official.made


def official_normal(classes: int = 1) -> dict[str, torch.Tensor]:
    official = Official()
    official.backbone([(128, 256, 1), (160, 512, 3), (192, 768, 9), (224, 1024, 3)], 128, layers=5, depthwise=False)
    official.heads([512, 768, 1024], 256, 4, classes)
    return official.made


def save(tensors: dict[str, Any], path: Path) -> Path:
    torch.save({"model": tensors, "iteration": 99_999, "optimizer": {"state": {}, "lr": np.float64(0.01)}}, path)
    return path


# ---- whole networks ------------------------------------------------------------------------------


@pytest.mark.parametrize(("make", "network"), [(official_lite, LITE), (official_normal, NORMAL)])
def test_every_official_tensor_finds_its_place(make: Any, network: dict[str, Any], tmp_path: Path) -> None:
    tensors = make()
    output = tmp_path / "weights.pt"
    import_weights(save(tensors, tmp_path / "official.pth"), run_params(network), output, None, [])
    state = models.load_weights(output, "cpu")[1]["all"].state_dict()
    assert sorted(value.sum().item() for value in state.values()) == pytest.approx(
        sorted(value.sum().item() for value in tensors.values())
    )
    for ours, official in {
        "backbone.stem.0.conv.weight": "backbone.bottom_up.stem.stem_1/conv.weight",
        "backbone.stages.1.0.concat.norm.bias": "backbone.bottom_up.stage3.OSA3_1.concat.OSA3_1_concat/norm.bias",
        "backbone.stages.3.0.attention.fc.bias": "backbone.bottom_up.stage5.OSA5_1.ese.fc.bias",
        "pyramid.inner_blocks.0.0.weight": "backbone.fpn_lateral3.weight",
        "pyramid.layer_blocks.2.0.bias": "backbone.fpn_output5.bias",
        "detector.class_tower.4.weight": "proposal_generator.fcos_head.cls_tower.4.weight",
        "detector.scales.3": "proposal_generator.fcos_head.scales.3.scale",
        "mask_head.convs.1.weight": "roi_heads.mask_head.mask_fcn2.weight",
        "iou_head.layers.0.weight": "roi_heads.maskiou_head.maskiou_fc1.weight",
        "pixel_std": "pixel_std",
    }.items():
        assert torch.equal(state[ours], tensors[official]), ours


def test_depthwise_units_map_their_two_convolutions(tmp_path: Path) -> None:
    tensors = official_lite()
    output = tmp_path / "weights.pt"
    import_weights(save(tensors, tmp_path / "official.pth"), run_params(LITE), output, None, [])
    state = torch.load(output, weights_only=True)["networks"]["all"]
    layer = "backbone.bottom_up.stage4.OSA4_1.layers.2.OSA4_1_2"
    assert torch.equal(state["backbone.stages.2.0.layers.2.depthwise.weight"], tensors[f"{layer}/dw_conv3x3.weight"])
    assert torch.equal(state["backbone.stages.2.0.layers.2.conv.weight"], tensors[f"{layer}/pw_conv1x1.weight"])
    assert torch.equal(state["backbone.stages.2.0.layers.2.norm.bias"], tensors[f"{layer}/pw_norm.bias"])
    reduction = "backbone.bottom_up.stage4.OSA4_1.conv_reduction.OSA4_1_reduction_0/conv.weight"
    assert torch.equal(state["backbone.stages.2.0.reduction.conv.weight"], tensors[reduction])


def test_of_eighty_classes_one_is_kept(tmp_path: Path) -> None:
    tensors = official_lite(classes=80)
    checkpoint, output = save(tensors, tmp_path / "coco.pth"), tmp_path / "weights.pt"
    with pytest.raises(InputError, match=r"knows 80 classes.*--category 0 to 79"):
        import_weights(checkpoint, run_params(LITE), output, None, [])
    with pytest.raises(InputError, match="knows 80 classes"):
        import_weights(checkpoint, run_params(LITE), output, 80, [])
    assert not output.exists()
    import_weights(checkpoint, run_params(LITE), output, 7, [])
    state = torch.load(output, weights_only=True)["networks"]["all"]
    for ours, official in {
        "detector.logits": "proposal_generator.fcos_head.cls_logits",
        "mask_head.logits": "roi_heads.mask_head.predictor",
        "iou_head.iou": "roi_heads.maskiou_head.maskiou",
    }.items():
        for part in ("weight", "bias"):
            assert torch.equal(state[f"{ours}.{part}"], tensors[f"{official}.{part}"][7:8])


def test_every_key_that_differs_is_listed(tmp_path: Path) -> None:
    tensors = official_lite()
    del tensors["backbone.fpn_output4.bias"], tensors["proposal_generator.fcos_head.scales.4.scale"]
    tensors["roi_heads.box_head.fc1.weight"] = torch.zeros(4, 4)
    tensors["backbone.bottom_up.stage2.OSA2_1.ese.fc.weight"] = torch.zeros(112, 56, 1, 1)
    with pytest.raises(InputError) as error:
        import_weights(save(tensors, tmp_path / "official.pth"), run_params(LITE), tmp_path / "weights.pt", None, [])
    assert str(error.value).splitlines()[1:] == [
        "  missing: backbone.fpn_output4.bias (128,)",
        "  missing: proposal_generator.fcos_head.scales.4.scale (1,)",
        "  unexpected: roi_heads.box_head.fc1.weight (4, 4)",
        "  mis-shaped: backbone.bottom_up.stage2.OSA2_1.ese.fc.weight is (112, 56, 1, 1), not (112, 112, 1, 1)",
    ]
    assert not (tmp_path / "weights.pt").exists()


def test_another_variant_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"missing: .*mask_fcn4"):
        import_weights(
            save(official_lite(), tmp_path / "official.pth"), run_params(NORMAL), tmp_path / "weights.pt", None, []
        )


def test_pixel_values_may_be_left_to_the_settings(tmp_path: Path) -> None:
    tensors = {key: value for key, value in official_lite().items() if not key.startswith("pixel")}
    run = run_params(LITE)
    import_weights(save(tensors, tmp_path / "official.pth"), run, tmp_path / "weights.pt", None, [])
    network = models.load_weights(tmp_path / "weights.pt", "cpu")[1]["all"]
    assert (network.pixel_mean == 128).all()
    assert network.pixel_std.flatten().tolist() == pytest.approx([11.578] * 3)


# ---- backbones -----------------------------------------------------------------------------------


@pytest.mark.parametrize("prefix", ["", "backbone.bottom_up."])
@pytest.mark.parametrize("norm", ["frozen", "batch"])
def test_an_imagenet_backbone_starts_a_network(prefix: str, norm: str, tmp_path: Path) -> None:
    start = "backbone.bottom_up."
    official = {key: value for key, value in official_lite().items() if key.startswith(start)}
    given: dict[str, Any] = {prefix + key.removeprefix(start): value.numpy() for key, value in official.items()}
    given["classifier.weight"] = np.zeros((1000, 512), np.float32)
    path = tmp_path / "imagenet.pkl"
    path.write_bytes(pickle.dumps({"model": given, "__author__": "third party"}, protocol=2))
    run, output = run_params(LITE, norm), tmp_path / "weights.pt"
    with pytest.raises(InputError, match=r"unexpected: .*classifier\.weight"):
        import_weights(path, run, output, None, [])
    import_weights(path, run, output, None, ["classifier."])
    network = CenterMask(run.settings.network)  # type: ignore[union-attr]
    before = {key: value.clone() for key, value in network.state_dict().items()}
    assert start_from(network, output).said.startswith("backbone of weights.pt, sha256 ")
    after = network.state_dict()
    assert torch.equal(after["backbone.stem.1.norm.running_mean"], official[f"{start}stem.stem_2/pw_norm.running_mean"])
    assert all(torch.equal(before[key], after[key]) for key in before if not key.startswith("backbone."))


# ---- files ---------------------------------------------------------------------------------------


class Bomb:
    def __reduce__(self) -> Any:
        return (Path.touch, (Path("exploded"),))


@pytest.mark.parametrize("suffix", [".pth", ".pkl"])
def test_a_file_that_would_run_something_is_refused(
    suffix: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    path = tmp_path / f"evil{suffix}"
    if suffix == ".pth":
        torch.save({"model": official_lite(), "more": Bomb()}, path)
    else:
        path.write_bytes(pickle.dumps({"model": {}, "more": Bomb()}))
    with pytest.raises(InputError, match="not readable as a checkpoint of plain tensors"):
        read_checkpoint(path)
    assert not Path("exploded").exists()


def test_old_torch_files_and_bare_state_dicts_are_read(tmp_path: Path) -> None:
    torch.save({"a.weight": torch.ones(2)}, tmp_path / "old.pth", _use_new_zipfile_serialization=False)
    assert torch.equal(read_checkpoint(tmp_path / "old.pth")["a.weight"], torch.ones(2))


@pytest.mark.parametrize("content", [b"", b"no checkpoint", json.dumps({}).encode(), pickle.dumps([1, 2])])
@pytest.mark.parametrize("suffix", [".pth", ".pkl"])
def test_other_files_are_refused_in_one_line(content: bytes, suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"other{suffix}"
    path.write_bytes(content)
    with pytest.raises(InputError, match="other"):
        read_checkpoint(path)
