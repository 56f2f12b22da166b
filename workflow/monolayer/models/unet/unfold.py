"""Exported U-Nets as ones to train: export folds each batch norm into the convolution before it."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor, nn

from monolayer.backends.manifest import onnx_name, read_manifest, read_seen
from monolayer.files import InputError
from monolayer.models.beginnings import GivenWeights, named


def unfolded(network: nn.Module, path: Path) -> GivenWeights:
    """The tensors of an exported run under the names of the network's.

    A convolution keeps the product; the norm behind it adds its bias and changes nothing else: in eval this is the
    exported network. `settle` gives the norms statistics before they are trained.
    """
    import onnx

    folder, manifest = read_manifest(path)
    if manifest.family != "unet" or "fp32" not in manifest.dtypes or "all" not in manifest.networks:
        raise InputError(f"{folder} has no U-Net of all lines in fp32 to begin with; export such a one")
    file = folder / onnx_name("all", "maps", "fp32")
    try:
        content = file.read_bytes()
        graph = onnx.load_from_string(content).graph
    except Exception as error:  # protobuf's faults have no common class
        raise InputError(f"{file} can't be read as ONNX ({error}); export the run again") from error
    values = {value.name: torch.from_numpy(onnx.numpy_helper.to_array(value).copy()) for value in graph.initializer}
    own, state = network.state_dict(), dict[str, Tensor]()
    for node in graph.node:
        if node.op_type in ("Conv", "ConvTranspose"):
            key = node.input[1].removeprefix("network.").removesuffix(".weight")
            state[f"{key}.weight"], bias = values[node.input[1]], values[node.input[2]]
            if f"{key}.bias" in own:
                state[f"{key}.bias"] = bias
            else:
                state |= _adding(bias, key)
    of = manifest.networks["all"].constants
    state |= {"thresholds": torch.tensor(of["thresholds"]), "contrast": torch.tensor(of["contrast"])}
    return GivenWeights(state, named(f"{manifest.run}, exported", content), read_seen(folder))


def _adding(bias: Tensor, convolution: str) -> dict[str, Tensor]:
    """A norm that only adds this, behind a convolution."""
    stem, _, place = convolution.rpartition(".")
    norm = f"{stem}.{int(place) + 1}"
    return {
        f"{norm}.weight": torch.ones_like(bias),
        f"{norm}.bias": bias,
        f"{norm}.running_mean": torch.zeros_like(bias),
        f"{norm}.running_var": torch.ones_like(bias) - nn.BatchNorm2d(1).eps,
        f"{norm}.num_batches_tracked": torch.tensor(0),
    }


@torch.no_grad()
def settle(network: nn.Module, inputs: Tensor) -> None:
    """Give each batch norm the statistics of what it is given for these inputs, and the scale and shift to undo them.

    What the network computes in eval stays what it was. In training, where a norm takes its batch's statistics, it
    begins with nearly the same, where without any it would have to learn anew.
    """
    found: dict[nn.Module, tuple[Tensor, Tensor]] = {}

    def note(module: nn.Module, given: tuple[Tensor, ...]) -> None:
        variance, mean = torch.var_mean(given[0], (0, 2, 3), correction=0)
        found[module] = mean, variance

    norms = [module for module in network.modules() if isinstance(module, nn.BatchNorm2d)]
    hooks = [norm.register_forward_pre_hook(note) for norm in norms]
    network.eval()(inputs)
    for hook in hooks:
        hook.remove()
    for norm in norms:
        mean, variance = found[norm]
        assert norm.running_mean is not None
        assert norm.running_var is not None
        gain = norm.weight / torch.sqrt(norm.running_var + norm.eps)
        norm.bias.add_(gain * (mean - norm.running_mean))
        norm.weight.copy_(gain * torch.sqrt(variance + norm.eps))
        norm.running_mean.copy_(mean)
        norm.running_var.copy_(variance)
