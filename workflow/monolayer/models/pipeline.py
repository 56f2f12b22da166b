"""How each family makes its network's inputs of images and cells of its outputs; without torch, for every backend."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, cast

import numpy as np
from numpy.typing import NDArray

from monolayer.backends import Backend
from monolayer.backends.manifest import Range
from monolayer.coco.instances import Instances
from monolayer.params.families import PredictSettings

Check = Callable[[], None]  # raises where the work is no longer wanted


def unchecked() -> None:
    """The check of work that is wanted to its end."""


@dataclass(frozen=True)
class CheckedBackend:
    """A backend that checks before each run: whatever the family, work ends between two batches of tiles."""

    backend: Backend
    check: Check

    def run(self, graph: str, *given: Any) -> tuple[Any, ...]:
        self.check()
        return self.backend.run(graph, *given)

    def seconds(self, graph: str, *given: Any) -> float:
        return self.backend.seconds(graph, *given)

    def host(self, value: Any) -> NDArray[Any]:
        return self.backend.host(value)


class Pipeline(Protocol):
    """The three steps from images to cells, each of which may run on a thread of its own."""

    @property
    def stride(self) -> int:
        """An image with a shorter side, in px, is refused."""

    def scale(self, side: int) -> float:
        """px of the network's input per px of an image whose longer side is so many px."""

    @property
    def axes(self) -> dict[str, Range]:
        """Least, usual and largest length of each axis that varies in the graphs: an engine is built for these."""

    def preprocess(self, image: NDArray[np.uint8]) -> Any:
        """The network's input for a uint8 (H, W) image."""

    def forward(self, backend: Backend, inputs: Sequence[Any]) -> list[Any]:
        """The network's outputs for each preprocessed image."""

    def postprocess(self, outputs: Any, height: int, width: int) -> Instances:
        """The cells of an image of that native size."""


def pipeline(family: str, settings: PredictSettings, constants: Mapping[str, Any]) -> Pipeline:
    """The pipeline of a family; `constants` is what one of its networks brings along, plain numbers and lists.

    A network that knows cells of one size says how much to enlarge images.
    """
    from monolayer.models.rescaled import RescaledPipeline

    module = importlib.import_module(f"monolayer.models.{family}.pipeline")
    own = cast(Pipeline, module.Pipeline.of(settings, constants))
    zoom = constants.get("zoom", 1.0)
    return own if zoom == 1 else RescaledPipeline(own, zoom)


def find(
    of: Pipeline, backend: Backend, images: Sequence[NDArray[np.uint8]], check: Check = unchecked
) -> list[Instances]:
    """The cells of each image at its native size; all steps in turn, all images in the network together."""
    outputs = of.forward(CheckedBackend(backend, check), [of.preprocess(image) for image in images])
    cells = []
    for one, image in zip(outputs, images, strict=True):
        check()
        cells.append(of.postprocess(one, *image.shape))
    return cells
