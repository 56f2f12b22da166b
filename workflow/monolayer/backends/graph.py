"""A part of a network, as every backend takes it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Graph:
    """A part of a network that every backend runs as one: what goes in and comes out are tensors."""

    module: Any  # nn.Module
    example: tuple[Any, ...]  # of each input
    axes: dict[str, dict[int, str]]  # of each input, by its name: the axes whose lengths vary, and their names
    outputs: tuple[str, ...]
    multiple: int = 1  # of which height and width must be multiples
