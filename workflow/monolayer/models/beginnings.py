"""What a network begins with: tensors of a file, of which those that fit are taken; the record says what is new."""

from __future__ import annotations

import hashlib
import io
import pickle
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor, nn

from monolayer.files import InputError
from monolayer.models import state_faults

# of a file that is no weights.pt
UNREADABLE = (OSError, EOFError, RuntimeError, KeyError, TypeError, ValueError, pickle.UnpicklingError)


class Beginning(NamedTuple):
    """What run.json says of a network's first weights; `whole`: all are given, so that they are a model already.

    seen: fingerprints of the images that they learned from, as far as their file knows.
    """

    said: str
    whole: bool
    seen: frozenset[str] = frozenset()

    @property
    def key(self) -> str:
        """For the name of a checkpoint: the file that weights are read from may have changed since."""
        return hashlib.sha256(self.said.encode()).hexdigest()[:16]


SCRATCH = Beginning("from scratch", whole=False)


class GivenWeights(NamedTuple):
    """Tensors by name, what run.json calls them, and the images that they learned from."""

    state: dict[str, Tensor]
    source: str
    seen: frozenset[str] = frozenset()


def read_weights(path: Path) -> GivenWeights:
    """What a weights.pt holds: its network `all`, or its only one."""
    cure = "train a run, or see `monolayer import-weights`"
    try:
        content = path.read_bytes()
        file = torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
        networks, seen = file["networks"], frozenset(file.get("seen", ()))
        state = networks["all"] if "all" in networks or len(networks) != 1 else next(iter(networks.values()))
    except UNREADABLE as error:
        raise InputError(f"{path} is no weights.pt with a network of all lines ({error}); {cure}") from error
    return GivenWeights(state, named(path.name, content), seen)


def named(name: str, content: bytes) -> str:
    """What run.json calls a file of weights."""
    return f"{name}, sha256 {hashlib.sha256(content).hexdigest()}"


def seen_by(weights: Path) -> frozenset[str]:
    """Fingerprints of the images that the networks of a run's weights.pt learned from, as far as it knows."""
    return frozenset(torch.load(weights, map_location="meta", weights_only=True).get("seen", ()))


def is_ours(path: Path) -> bool:
    """Whether a file is a weights.pt of this pipeline, and no other library's."""
    try:
        return "networks" in torch.load(path, map_location="meta", weights_only=True)
    except UNREADABLE:
        return False


def adopt(network: nn.Module, given: GivenWeights, may_be_new: Sequence[str] = ()) -> Beginning:
    """Put the tensors that fit into a network; all have to, but for those whose names begin so."""
    own = network.state_dict()
    new = [key for key in own if key.startswith(tuple(may_be_new)) and _differs(key, own, given.state)]
    kept = {key: value for key, value in given.state.items() if not (key in own and key in new)}
    if faults := state_faults({key: value for key, value in own.items() if key not in new}, kept):
        raise InputError(f"{given.source} does not fit a network of these settings:\n" + "\n".join(faults))
    network.load_state_dict(kept, strict=False)
    parts = [name.rstrip(".") for name in may_be_new if any(key.startswith(name) for key in new)]
    said = f"{given.source}; {len(own) - len(new)} of {len(own)} tensors"
    return Beginning(said + (f", new: {', '.join(parts)}" if new else ""), not new, given.seen)


def _differs(key: str, own: Mapping[str, Tensor], given: Mapping[str, Tensor]) -> bool:
    return key not in given or given[key].shape != own[key].shape
