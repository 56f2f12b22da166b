"""What runs a network: torch, onnxruntime or TensorRT, behind one call."""

from __future__ import annotations

from typing import Any, Protocol

from numpy.typing import NDArray


class Backend(Protocol):
    """The graphs of one network, by name. What a graph gives stays where the backend keeps it until `host`."""

    def run(self, graph: str, *given: Any) -> tuple[Any, ...]:
        """The outputs of a graph, in order, of arrays or of what another graph gave."""

    def seconds(self, graph: str, *given: Any) -> float:
        """How long the device works on a graph; what it is given is there before."""

    def host(self, value: Any) -> NDArray[Any]:
        """An output as an array in the computer's memory; halves become float32."""
