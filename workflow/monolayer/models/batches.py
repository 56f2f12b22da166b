"""What a network is trained on, and its batches: what is random follows from (seed, epoch, index) alone."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal, Protocol

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset, Sampler


class Task(Protocol):
    """What a family trains on. `draw` and `collate` run in loader processes, the rest beside the network."""

    @property
    def reduction(self) -> Literal["mean", "sum"]:
        """What `losses` are over a batch: of a step of several, their gradient is that of one large batch."""

    def __len__(self) -> int:
        """Draws of an epoch."""

    def draw(self, index: int, rng: np.random.Generator) -> tuple[str, Any]:
        """The name and the tensors of one training sample; all that is random comes from `rng`."""

    def collate(self, samples: list[Any]) -> Any:
        """A batch of what `draw` gave, tensors in any nesting."""

    def losses(self, network: nn.Module, batch: Any) -> dict[str, Tensor]:
        """Scalar losses by name, of which the sum is minimised; the batch arrives on the CPU, pinned for a GPU."""

    def validate(self, network: nn.Module) -> dict[str, float]:
        """Numbers for the history, of which `score` (higher is better) chooses the epoch; the network is in eval."""


class _Draws(Dataset[tuple[str, Any]]):
    """A task's draws by (epoch, index)."""

    def __init__(self, task: Task, seed: int) -> None:
        self.task, self.seed = task, seed

    def __getitem__(self, key: tuple[int, int]) -> tuple[str, Any]:
        return self.task.draw(key[1], np.random.default_rng([self.seed, *key]))

    def collate(self, drawn: list[tuple[str, Any]]) -> tuple[list[str], Any]:
        return [name for name, _ in drawn], self.task.collate([sample for _, sample in drawn])


@dataclass
class _Order(Sampler[tuple[int, int]]):
    """The (epoch, index) of an epoch's draws, shuffled by seed and epoch."""

    length: int
    seed: int
    epoch: int = 0

    def __len__(self) -> int:
        return self.length

    def __iter__(self) -> Iterator[tuple[int, int]]:
        order = np.random.default_rng([self.seed, self.epoch]).permutation(self.length)
        return ((self.epoch, int(index)) for index in order)


def loader(task: Task, batch: int, seed: int, workers: int) -> DataLoader[Any]:
    """Batches of (names, tensors); `loader.sampler.epoch` says of which epoch."""
    draws = _Draws(task, seed)
    return DataLoader(
        draws,
        batch_size=batch,
        sampler=_Order(len(task), seed),
        num_workers=workers,
        collate_fn=draws.collate,
        pin_memory=torch.cuda.is_available(),
        persistent_workers=workers > 0,
        generator=torch.Generator(),  # its own, lest iterating moves the network's
    )


def loader_workers(device: torch.device) -> int:
    """Loader processes: as many as there are cores beside a GPU; on a CPU the cores are the network's."""
    return 0 if device.type == "cpu" else min(8, len(os.sched_getaffinity(0)))
