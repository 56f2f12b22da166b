"""VoVNetV2 against a written-out reference, published parameter counts, and what its norms do."""

from __future__ import annotations

import pytest
import torch
from monolayer.models.centermask.vovnet import LAYOUTS, AggregationBlock, ChannelAttention, VoVNet
from torch import nn
from torch.nn import functional

# Millions, without a classifier. V-19s: as timm 1.0.31 builds them; the others: timm's and an eSE in every block.
COUNTS = {
    "V-19-slim-dw": 1.38,
    "V-19-slim": 2.65,
    "V-19-dw": 5.52,
    "V-19": 11.2 - 1.025,  # the paper's number is with a classifier of 1000 classes
    "V-39": 25.2,
    "V-57": 41.5,
    "V-99": 69.5,
}


@pytest.mark.parametrize("name", LAYOUTS)
def test_parameter_counts_are_the_official_ones(name: str) -> None:
    with torch.device("meta"):
        count = sum(p.numel() for p in VoVNet(name, "batch").parameters())
    assert count / 1e6 == pytest.approx(COUNTS[name], rel=0.01)


def test_the_stages_have_strides_8_16_32() -> None:
    features = VoVNet("V-19-slim-dw", "group")(torch.rand(1, 3, 64, 96))
    assert [tuple(f.shape) for f in features] == [(1, 256, 8, 12), (1, 384, 4, 6), (1, 512, 2, 3)]


def test_channel_attention_is_a_hard_sigmoid_of_one_full_layer() -> None:
    attention, x = ChannelAttention(5), torch.randn(2, 5, 3, 4)
    weight, bias = dict(attention.named_parameters()).values()
    gate = functional.relu6(weight[:, :, 0, 0] @ x.mean((2, 3)).T + bias[:, None] + 3) / 6
    torch.testing.assert_close(attention(x), x * gate.T[:, :, None, None])


@pytest.mark.parametrize("name", ["V-19-slim-dw", "V-57"])
@pytest.mark.parametrize("into", ["stem", "out"])
def test_a_block_concatenates_its_input_and_every_layer(name: str, into: str) -> None:
    layout = LAYOUTS[name]
    channels = layout.out[1] if into == "out" else 48
    block = AggregationBlock(channels, layout, 1, "batch").eval()
    x = torch.randn(1, channels, 5, 6)
    y = x if block.reduction is None else unit(block.reduction, x)
    assert (block.reduction is not None) == layout.depthwise
    parts = [x]
    for layer in block.layers:
        y = unit(layer, y)
        parts.append(y)
    assert len(parts) == layout.layers + 1
    mixed = block.attention(unit(block.concat, torch.cat(parts, 1)))
    torch.testing.assert_close(block(x), mixed + x if into == "out" else mixed)


def unit(layer: nn.Module, x: torch.Tensor) -> torch.Tensor:
    """One convolution (or a depthwise and a pointwise one), batch norm at its first statistics, ReLU."""
    kernels = dict(layer.named_parameters())
    if "depthwise.weight" in kernels:
        x = functional.conv2d(x, kernels["depthwise.weight"], padding=1, groups=x.shape[1])
    padding = kernels["conv.weight"].shape[-1] // 2
    mixed: torch.Tensor = functional.conv2d(x, kernels["conv.weight"], padding=padding)
    normed: torch.Tensor = mixed / (1 + 1e-5) ** 0.5
    return normed.relu()


def test_frozen_norms_neither_learn_nor_follow_the_data() -> None:
    network = VoVNet("V-19-slim-dw", "frozen").train()
    assert not [name for name, _ in network.named_parameters() if ".norm." in name]
    before = {name: value.clone() for name, value in network.state_dict().items() if ".norm." in name}
    assert before
    network(torch.randn(2, 3, 32, 32))
    after = network.state_dict()
    assert all(torch.equal(value, after[name]) for name, value in before.items())


@pytest.mark.parametrize("norm", ["batch", "group"])
def test_a_gradient_reaches_every_parameter(norm: str) -> None:
    torch.manual_seed(0)
    network = VoVNet("V-19-slim-dw", norm).train()  # type: ignore[arg-type]
    torch.stack([f.square().mean() for f in network(torch.randn(2, 3, 64, 64))]).sum().backward()  # type: ignore[no-untyped-call]
    assert not [name for name, p in network.named_parameters() if p.grad is None or not p.grad.any()]
