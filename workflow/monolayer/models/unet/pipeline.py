"""U-Net: tiles through the network, blended, and the cells parted by thresholds that the network brings along."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from monolayer.backends import Backend
from monolayer.backends.manifest import Range
from monolayer.coco.instances import Instances
from monolayer.models.unet.patches import standardise
from monolayer.models.unet.tiling import Float, Tiles, blend_tta
from monolayer.models.unet.watershed import Thresholds, instances, separate
from monolayer.params.families import UnetPredict


@dataclass(frozen=True)
class Pipeline:
    """Graph `maps`: float32 (B, 1, h, w), sides multiples of stride, to probabilities (B, C, h, w)."""

    settings: UnetPredict
    thresholds: Thresholds
    contrast: float  # grey levels, of the training images
    stride: int

    @classmethod
    def of(cls, settings: UnetPredict, constants: Mapping[str, Any]) -> Pipeline:
        thresholds = Thresholds(*constants["thresholds"])
        return cls(settings, thresholds, constants["contrast"], constants["stride"])

    @property
    def axes(self) -> dict[str, Range]:
        side = (self.stride, self.settings.tile, self.settings.tile)
        return {"batch": (1, self.settings.batch, self.settings.batch), "height": side, "width": side}

    def scale(self, side: int) -> float:
        return 1.0

    def preprocess(self, image: NDArray[np.uint8]) -> Float:
        return standardise(image, self.contrast)

    def forward(self, backend: Backend, inputs: Sequence[Float]) -> list[Float]:
        """float32 (C, H, W) in [0, 1] for each image: foreground, and if cells are to part what tells their middles."""
        tiles = Tiles(self.settings.tile, self.settings.overlap, self.stride)

        def maps(given: Float) -> Float:
            [outputs] = backend.run("maps", given)
            return backend.host(outputs)

        return blend_tta(inputs, maps, tiles, self.settings.batch, self.settings.tta)

    def postprocess(self, outputs: Float, height: int, width: int) -> Instances:
        return instances(outputs, separate(outputs, self.thresholds, self.settings.saddle_ratio))
