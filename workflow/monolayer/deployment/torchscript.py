"""A U-Net's maps as TorchScript, of grey levels, for programs that run nothing else."""

from __future__ import annotations

import io
import warnings
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from monolayer import models
from monolayer.files import InputError

TOLERANCE = 1e-3  # of a probability, from the ONNX file's


class GreyMaps(nn.Module):
    """Grey levels (B, 1, H, W) to maps (B, C, H, W), each image less its median, by the training images' contrast."""

    def __init__(self, maps: nn.Module, contrast: float) -> None:
        super().__init__()
        self.maps, self.contrast = maps, contrast

    def forward(self, image: Tensor) -> Tensor:
        background = image.flatten(1).median(dim=1).values[:, None, None, None]  # of two in the middle the lower one
        [maps] = self.maps((image - background) / self.contrast)
        return torch.as_tensor(maps)


def scripted(
    weights: Path, network: str, contrast: float, test: tuple[NDArray[np.float32], NDArray[np.float32]]
) -> bytes:
    """The traced network, which gives for the test's input its output."""
    params, networks = models.load_weights(weights, "cpu")
    if params.family != "unet" or network not in networks:
        raise InputError(f"{weights} holds no U-Net called {network}; give the weights.pt of the exported run")
    graph = models.family(params.family).graphs(networks[network])["maps"]
    given, expected = test
    module, buffer = GreyMaps(graph.module, contrast).eval().requires_grad_(False), io.BytesIO()
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that TorchScript is an old form
        traced = torch.jit.trace(module, torch.from_numpy(given), check_trace=False)  # type: ignore[no-untyped-call]
        torch.jit.save(traced, buffer)
        found = traced(torch.from_numpy(given)).numpy()
    if not np.allclose(found, expected, atol=TOLERANCE):
        far = float(np.abs(found - expected).max())
        raise InputError(f"{weights} gives other maps than the export (by {far:.3g}); give the weights.pt of that run")
    return buffer.getvalue()
