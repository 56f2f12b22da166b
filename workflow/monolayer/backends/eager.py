"""Torch, operation by operation: what trains the networks and what every other backend is held against."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from monolayer.backends.graph import Graph


class Eager:
    """Modules on one device; `half` lets a GPU compute in float16 where torch takes that to be safe."""

    def __init__(self, graphs: Mapping[str, nn.Module], half: bool) -> None:
        self.graphs = graphs
        [self.device] = {parameter.device for graph in graphs.values() for parameter in graph.parameters()}
        self.on_gpu = self.device.type == "cuda"
        self.half = half and self.on_gpu

    @torch.inference_mode()
    def run(self, graph: str, *given: Any) -> tuple[Tensor, ...]:
        return self._call(graph, self._there(given))

    @torch.inference_mode()
    def seconds(self, graph: str, *given: Any) -> float:
        tensors = self._there(given)
        if self.device.type != "cuda":
            started = time.perf_counter()
            self._call(graph, tensors)
            return time.perf_counter() - started
        start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))  # type: ignore[no-untyped-call]
        start.record()
        self._call(graph, tensors)
        end.record()
        end.synchronize()
        return float(start.elapsed_time(end)) / 1000

    def _there(self, given: tuple[Any, ...]) -> list[Tensor]:
        return [torch.as_tensor(value).to(self.device, non_blocking=True) for value in given]

    def _call(self, graph: str, tensors: list[Tensor]) -> tuple[Tensor, ...]:
        with torch.autocast(self.device.type, torch.float16, enabled=self.half):
            outputs: tuple[Tensor, ...] = self.graphs[graph](*tensors)
            return outputs

    def host(self, value: Tensor) -> NDArray[Any]:
        array: NDArray[Any] = (value.float() if value.is_floating_point() else value).cpu().numpy()
        return array


def eager(graphs: Mapping[str, Graph], half: bool = True) -> Eager:
    """The graphs of a network where it is."""
    return Eager({name: graph.module for name, graph in graphs.items()}, half)
