"""How each family makes its network's inputs of images and cells of its outputs; without torch, for every backend."""

from __future__ import annotations

import importlib
from collections.abc import Mapping, Sequence
from typing import Any, Protocol, cast

import numpy as np
from numpy.typing import NDArray

from monolayer.backends import Backend
from monolayer.backends.manifest import Range
from monolayer.coco.instances import Instances
from monolayer.params.families import PredictSettings

FINDERS = {
    "yolo": "monolayer.models.yolo.pipeline",
    "unet": "monolayer.models.unet.pipeline",
    "centermask": "monolayer.models.centermask.pipeline",
}


class Pipeline(Protocol):
    """The three steps from images to cells, each of which may run on a thread of its own."""

    @property
    def stride(self) -> int:
        """An image with a shorter side, in px, is refused."""

    @property
    def axes(self) -> dict[str, Range]:
        """Least, usual and largest length of each axis that varies in the graphs: an engine is built for these."""

    def preprocess(self, image: NDArray[np.uint8]) -> Any:
        """What the network is given of a uint8 (H, W) image."""

    def forward(self, backend: Backend, prepared: Sequence[Any]) -> list[Any]:
        """What the network says of each prepared image."""

    def postprocess(self, outputs: Any, height: int, width: int) -> Instances:
        """The cells of an image of that native size."""


def pipeline(family: str, settings: PredictSettings, constants: Mapping[str, Any]) -> Pipeline:
    """The pipeline of a family; `constants` is what one of its networks brings along, plain numbers and lists."""
    return cast(Pipeline, importlib.import_module(FINDERS[family]).Pipeline.of(settings, constants))


def find(of: Pipeline, backend: Backend, images: Sequence[NDArray[np.uint8]]) -> list[Instances]:
    """The cells of each image at its native size; all steps in turn, all images in the network together."""
    outputs = of.forward(backend, [of.preprocess(image) for image in images])
    return [of.postprocess(one, *image.shape) for one, image in zip(outputs, images, strict=True)]
