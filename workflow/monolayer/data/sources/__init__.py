"""Where images and truth come from: one module a source, and what they share."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple, Protocol, cast

import numpy as np
from numpy.typing import NDArray

from monolayer.coco.records import Image, Truth
from monolayer.params.data import Dataset


class Scaled(NamedTuple):
    """An image (H, W) in 8 bits and in the grey values of its file."""

    pixels: NDArray[np.uint8]
    own: NDArray[Any]


# the pixels (H, W) of an image of the truth, scaled ones with their file's; called from several threads
Read = Callable[[Image], NDArray[np.uint8] | Scaled]


class Source(Protocol):
    """The function of a source's module."""

    def collect(self, params: Any, folder: Path) -> tuple[Truth, Read]:
        """Fetch into `folder`, which outlives a killed run; give the truth and how to read its images."""


def source_of(params: Dataset) -> Source:
    return cast(Source, importlib.import_module(f"monolayer.data.sources.{params.source}"))
