"""The families of models: one module each, the same few functions, and the neutral form of what they find."""

from __future__ import annotations

import importlib
import pickle
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol, cast

import numpy as np
from numpy.typing import NDArray

from monolayer.backends.graph import Graph
from monolayer.coco.instances import Instances
from monolayer.data.dataset import Sample
from monolayer.files import FORMAT, InputError, atomic_write, check_format
from monolayer.params.steps import TrainParams


@dataclass(frozen=True)
class Trained:
    """What training leaves: tensors by name, one row per epoch, where the first weights came from, other facts.

    seen: fingerprints of the images that the first weights had learned from, as far as their file knows.
    """

    state: dict[str, Any]
    history: list[dict[str, float]]
    initial: str
    seen: frozenset[str] = frozenset()
    facts: dict[str, Any] = field(default_factory=dict)


class Family(Protocol):
    """The functions of a family's module."""

    def train(self, train: Sequence[Sample], val: Sequence[Sample], settings: Any, seed: int, workdir: Path) -> Trained:
        """Train one network; `workdir` holds the resumable checkpoint and is kept when the job is killed."""

    def build(self, settings: Any, state: dict[str, Any], device: str) -> Any:
        """The network of these training settings with these weights; any key that differs is an error."""

    def graphs(self, network: Any) -> dict[str, Graph]:
        """The network's graphs, by the names that the family's pipeline calls them by."""

    def constants(self, network: Any) -> dict[str, Any]:
        """What the family's pipeline has to know of the network; plain numbers and lists."""

    def predict(self, network: Any, images: Sequence[NDArray[np.uint8]], settings: Any) -> list[Instances]:
        """The cells of each uint8 (H, W) image, at its native size."""


def family(name: str) -> Family:
    """The module of a family; importing it may import torch."""
    return cast(Family, importlib.import_module(f"monolayer.models.{name}.family"))


def save_weights(
    path: Path, params: TrainParams, networks: dict[str, dict[str, Any]], seen: Collection[str] = ()
) -> None:
    """Write the networks of a run, by name, with what is needed to build them; the same bytes every time.

    seen: fingerprints of all images that they learned from or were chosen by, in this run or before it.
    """
    import torch

    # through a file object: given a path, torch writes the file's name into the archive
    with atomic_write(path) as partial, partial.open("wb") as file:
        content = {"format": FORMAT, "params": params.model_dump_json(), "networks": networks, "seen": sorted(seen)}
        torch.save(content, file)


def load_weights(path: Path, device: str) -> tuple[TrainParams, dict[str, Any]]:
    """The parameters of a run and its networks, by name, ready for predict."""
    import torch

    try:
        content = torch.load(path, map_location=device, weights_only=True)
        text, states = content["params"], content["networks"]
        check_format(path, content.get("format"), "train the run, or import the weights, again")
        params = TrainParams.model_validate_json(text)
    except InputError:
        raise
    except (OSError, EOFError, RuntimeError, KeyError, TypeError, ValueError, pickle.UnpicklingError) as error:
        raise InputError(f"{path} is not a weights.pt of this pipeline ({error}); train the run again") from error
    build = family(params.family).build
    return params, {name: build(params.settings, state, device) for name, state in states.items()}


def load_state(network: Any, state: dict[str, Any], source: str) -> None:
    """Put weights into a network (nn.Module) in place; every key that differs is named in the error."""
    faults = state_faults(network.state_dict(), state)
    if faults:
        raise InputError(f"{source} does not fit a network of these settings:\n" + "\n".join(faults))
    network.load_state_dict(state, assign=True)  # also of a network without memory, on the device meta


def state_faults(expected: Mapping[str, Any], given: Mapping[str, Any]) -> list[str]:
    """A line for every missing, unexpected and mis-shaped key of `given`."""
    missing = [f"  missing: {key} {tuple(expected[key].shape)}" for key in expected if key not in given]
    unexpected = [f"  unexpected: {key} {tuple(given[key].shape)}" for key in given if key not in expected]
    misshaped = [
        f"  mis-shaped: {key} is {tuple(given[key].shape)}, not {tuple(value.shape)}"
        for key, value in expected.items()
        if key in given and given[key].shape != value.shape
    ]
    return missing + unexpected + misshaped
