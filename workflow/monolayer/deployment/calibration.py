"""What the graphs of a run are given while it finds cells: int8's ranges are taken from it, fp16's held against it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from monolayer.backends import Backend
from monolayer.data.dataset import Sample, evenly, read_image
from monolayer.models.pipeline import Pipeline

Feed = tuple[NDArray[Any], ...]  # the inputs of one call


@dataclass(frozen=True)
class Recorder:
    """A backend that keeps what each graph is given."""

    backend: Backend
    feeds: dict[str, list[Feed]]

    def run(self, graph: str, *given: Any) -> tuple[Any, ...]:
        self.feeds[graph].append(tuple(v if isinstance(v, np.ndarray) else self.host(v) for v in given))
        return self.backend.run(graph, *given)

    def seconds(self, graph: str, *given: Any) -> float:
        return self.backend.seconds(graph, *given)

    def host(self, value: Any) -> NDArray[Any]:
        return self.backend.host(value)


def record(of: Pipeline, backend: Backend, shown: Sequence[Sample]) -> dict[str, list[Feed]]:
    """What each graph is given while the cells of these images are found: as many calls as there are images."""
    recorder = Recorder(backend, defaultdict(list))
    for sample in shown:
        of.forward(recorder, [of.preprocess(read_image(sample.path))])
    return {graph: evenly(feeds, len(shown)) for graph, feeds in recorder.feeds.items()}
