"""How sure a network is of an image: whether turned and mirrored views of it lead to the same cells."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from monolayer.backends import Backend
from monolayer.backends.manifest import Range
from monolayer.coco.instances import Instances
from monolayer.models.dihedral import turn, turn_back
from monolayer.models.pipeline import Pipeline
from monolayer.models.predictor import Predictor
from monolayer.models.rescaled import RescaledPipeline
from monolayer.models.unet.pipeline import Pipeline as UnetPipeline

Labels = NDArray[Any]  # whole numbers (H, W)


@dataclass(frozen=True)
class ViewedInstances(Instances):
    """The cells of an image, and one less the F1 of those of one view of it with those of another; NaN: not looked."""

    disagreement: float = math.nan


class Views(NamedTuple):
    """A network's outputs for an image as a whole, and for two views of it."""

    whole: Any
    views: tuple[Any, Any]


def f1_of(a: Labels, b: Labels) -> float:
    """F1 of the cells of two label images that share more than half of their union; NaN where neither has any.

    >>> a = np.array([[1, 1, 1, 0, 2, 2]])
    >>> f1_of(a, np.array([[0, 5, 5, 0, 0, 0]])), f1_of(a, a), f1_of(0 * a, a), f1_of(0 * a, 0 * a)
    (0.6666666666666666, 1.0, 0.0, nan)
    """
    of_a, of_b = np.bincount(a.ravel()), np.bincount(b.ravel())
    cells = int((of_a[1:] > 0).sum() + (of_b[1:] > 0).sum())
    if not cells:
        return math.nan
    width = len(of_b)
    both = a.ravel().astype(np.int64) * width + b.ravel()
    if len(of_a) * width <= 4 * a.size:  # a count for each pair that may be, else for each that is
        shared = np.bincount(both)
        pairs = np.flatnonzero(shared)
        shared = shared[pairs]
    else:
        pairs, shared = np.unique(both, return_counts=True)
    one, other = np.divmod(pairs, width)
    union = of_a[one] + of_b[other] - shared
    return 2 * int(((one > 0) & (other > 0) & (2 * shared > union)).sum()) / cells


def with_views(run: Predictor, score_min: float, mirror: bool) -> Predictor:
    """A run that says of each image how much its views disagree on the cells from a score up.

    The views of a U-Net's test-time augmentation cost nothing more in the network; with `mirror`, any other network
    sees a mirrored copy of each image too, which doubles its time.
    """
    networks = {}
    for name, network in run.networks.items():
        own = _unet(network.pipeline)
        if own is not None and own.settings.tta > 1:
            networks[name] = network._replace(pipeline=TurnedPipeline(network.pipeline, score_min))
        elif mirror:
            networks[name] = network._replace(pipeline=MirroredPipeline(network.pipeline, score_min))
        else:
            networks[name] = network
    return replace(run, networks=networks)


def _unet(pipeline: Pipeline) -> UnetPipeline | None:
    inner = pipeline.inner if isinstance(pipeline, RescaledPipeline) else pipeline
    return inner if isinstance(inner, UnetPipeline) else None


@dataclass(frozen=True)
class ViewedPipeline:
    """A pipeline that finds the same cells as the one within, and looks at two views besides."""

    inner: Pipeline
    score_min: float

    @property
    def stride(self) -> int:
        return self.inner.stride

    @property
    def axes(self) -> dict[str, Range]:
        return self.inner.axes

    def scale(self, side: int) -> float:
        return self.inner.scale(side)

    def _cells(self, outputs: Any, height: int, width: int) -> Labels:
        return self.inner.postprocess(outputs, height, width).at_least(self.score_min).label_image()


class TurnedPipeline(ViewedPipeline):
    """A U-Net whose views, which are averaged, are looked at one by one: the first, and the mean of the others."""

    def preprocess(self, image: NDArray[np.uint8]) -> Any:
        return self.inner.preprocess(image)

    def forward(self, backend: Backend, inputs: Sequence[Any]) -> list[Views]:
        own = _unet(self.inner)
        assert own is not None
        single = replace(own, settings=own.settings.model_copy(update={"tta": 1}))
        first = single.forward(backend, inputs)
        others = [np.zeros_like(maps) for maps in first]
        total = list(first)
        for way in range(1, own.settings.tta):  # as `blend_tta` adds them
            turned = single.forward(backend, [turn(image, way) for image in inputs])
            back = [turn_back(one, way) for one in turned]
            total = [maps + one for maps, one in zip(total, back, strict=True)]
            others = [maps + one for maps, one in zip(others, back, strict=True)]
        tta = np.float32(own.settings.tta)
        others = [maps / (tta - 1) for maps in others]
        return [Views(all_ / tta, (one, rest)) for all_, one, rest in zip(total, first, others, strict=True)]

    def postprocess(self, outputs: Views, height: int, width: int) -> Instances:
        found = self.inner.postprocess(outputs.whole, height, width)
        one, other = (self._cells(view, height, width) for view in outputs.views)
        return _viewed(found, one, other)


class MirroredPipeline(ViewedPipeline):
    """Any network, which sees each image and its mirror image."""

    def preprocess(self, image: NDArray[np.uint8]) -> Any:
        return self.inner.preprocess(image), self.inner.preprocess(turn(image, 4))

    def forward(self, backend: Backend, inputs: Sequence[Any]) -> list[Views]:
        own, mirrored = (self.inner.forward(backend, [pair[n] for pair in inputs]) for n in (0, 1))
        return [Views(one, (one, other)) for one, other in zip(own, mirrored, strict=True)]

    def postprocess(self, outputs: Views, height: int, width: int) -> Instances:
        found = self.inner.postprocess(outputs.whole, height, width)
        mirrored = self._cells(outputs.views[1], height, width)
        return _viewed(found, found.at_least(self.score_min).label_image(), turn_back(mirrored, 4))


def _viewed(found: Instances, one: Labels, other: Labels) -> ViewedInstances:
    agreed = f1_of(one, other)
    own = {field.name: getattr(found, field.name) for field in fields(Instances)}
    return ViewedInstances(**own, disagreement=0.0 if math.isnan(agreed) else 1 - agreed)
