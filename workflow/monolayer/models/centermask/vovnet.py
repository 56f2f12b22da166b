"""VoVNetV2, the backbone of CenterMask: Lee & Park, CenterMask (CVPR 2020), arXiv 1911.06667, section 3.4.

Blocks aggregate all their layers at once (OSA, arXiv 1904.09730); every block ends with channel attention (eSE).
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn
from torchvision.ops import FrozenBatchNorm2d

Norm = Literal["frozen", "batch", "group"]


@dataclass(frozen=True)
class StageLayout:
    """Channels of the stem's three convolutions, then per stage: of its layers, of its output, and its blocks."""

    stem: tuple[int, int, int]
    layer: tuple[int, int, int, int]
    out: tuple[int, int, int, int]
    layers: int  # per block
    blocks: tuple[int, int, int, int]
    depthwise: bool = False


_SLIM = ((64, 80, 96, 112), (112, 256, 384, 512))
_WIDE = ((128, 160, 192, 224), (256, 512, 768, 1024))

LAYOUTS = {
    "V-19-slim-dw": StageLayout((64, 64, 64), *_SLIM, layers=3, blocks=(1, 1, 1, 1), depthwise=True),
    "V-19-slim": StageLayout((64, 64, 128), *_SLIM, layers=3, blocks=(1, 1, 1, 1)),
    "V-19-dw": StageLayout((64, 64, 64), *_WIDE, layers=3, blocks=(1, 1, 1, 1), depthwise=True),
    "V-19": StageLayout((64, 64, 128), *_WIDE, layers=3, blocks=(1, 1, 1, 1)),
    "V-39": StageLayout((64, 64, 128), *_WIDE, layers=5, blocks=(1, 1, 2, 2)),
    "V-57": StageLayout((64, 64, 128), *_WIDE, layers=5, blocks=(1, 1, 4, 3)),
    "V-99": StageLayout((64, 64, 128), *_WIDE, layers=5, blocks=(1, 3, 9, 3)),
}


def _norm(channels: int, norm: Norm) -> nn.Module:
    if norm == "frozen":  # statistics and scale stay as they were imported
        frozen: nn.Module = FrozenBatchNorm2d(channels)
        return frozen
    if norm == "batch":
        return nn.BatchNorm2d(channels)
    return nn.GroupNorm(16, channels)  # 16 divides every width above


class ConvNorm(nn.Sequential):
    """Convolution, norm, ReLU; depthwise: a 3x3 per channel, then a 1x1 over channels, norm and ReLU once."""

    def __init__(
        self, channels: tuple[int, int], norm: Norm, kernel: int = 3, stride: int = 1, depthwise: bool = False
    ) -> None:
        into, out = channels
        super().__init__()
        if depthwise:
            self.depthwise = nn.Conv2d(into, into, 3, stride, 1, groups=into, bias=False)
            self.conv = nn.Conv2d(into, out, 1, bias=False)
        else:
            self.conv = nn.Conv2d(into, out, kernel, stride, kernel // 2, bias=False)
        self.norm = _norm(out, norm)
        self.relu = nn.ReLU(inplace=True)


class ChannelAttention(nn.Module):
    """eSE: each channel times the hard sigmoid of one full layer over all channels' means."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.fc = nn.Conv2d(channels, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        gate: Tensor = nn.functional.hardsigmoid(self.fc(x.mean((2, 3), keepdim=True)))  # (B, C, 1, 1)
        return x * gate


class AggregationBlock(nn.Module):
    """One-shot aggregation: the input and every layer's output, concatenated and mixed by a 1x1."""

    def __init__(self, into: int, layout: StageLayout, stage: int, norm: Norm) -> None:
        super().__init__()
        width, out = layout.layer[stage], layout.out[stage]
        self.shortcut = into == out
        reduce = layout.depthwise and into != width
        self.reduction = ConvNorm((into, width), norm, kernel=1) if reduce else None  # not itself aggregated
        first = width if reduce else into
        self.layers = nn.ModuleList(
            ConvNorm((first if i == 0 else width, width), norm, depthwise=layout.depthwise)
            for i in range(layout.layers)
        )
        self.concat = ConvNorm((into + layout.layers * width, out), norm, kernel=1)
        self.attention = ChannelAttention(out)

    def forward(self, x: Tensor) -> Tensor:
        outputs = [x]
        y = x if self.reduction is None else self.reduction(x)
        for layer in self.layers:
            y = layer(y)
            outputs.append(y)
        out: Tensor = self.attention(self.concat(torch.cat(outputs, 1)))
        return out + x if self.shortcut else out


class VoVNet(nn.Module):
    """Feature maps of stages 3, 4 and 5 (strides 8, 16, 32) of a (B, 3, H, W) image."""

    def __init__(self, name: str, norm: Norm) -> None:
        super().__init__()
        layout = LAYOUTS[name]
        first, second, third = layout.stem
        self.stem = nn.Sequential(
            ConvNorm((3, first), norm, stride=2),
            ConvNorm((first, second), norm, depthwise=layout.depthwise),
            ConvNorm((second, third), norm, stride=2, depthwise=layout.depthwise),
        )
        self.pool = nn.MaxPool2d(3, 2, ceil_mode=True)  # before every stage but the first
        self.stages = nn.ModuleList()
        for stage, (into, out) in enumerate(itertools.pairwise([third, *layout.out])):
            inputs = [into] + [out] * (layout.blocks[stage] - 1)
            self.stages.append(nn.Sequential(*(AggregationBlock(count, layout, stage, norm) for count in inputs)))
        self.channels = layout.out[1:]
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight)

    def forward(self, images: Tensor) -> list[Tensor]:
        x = self.stages[0](self.stem(images))
        features = []
        for stage in list(self.stages)[1:]:
            x = stage(self.pool(x))
            features.append(x)
        return features
