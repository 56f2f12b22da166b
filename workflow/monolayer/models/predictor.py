"""Cells in images by any run and backend: reading, network and post-processing, each on a thread of its own."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import groupby, islice
from numbers import Real
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from pydantic import ValidationError

from monolayer import models
from monolayer.backends import Backend
from monolayer.backends.manifest import Manifest, identity, onnx_name, read_manifest
from monolayer.coco.instances import Instances
from monolayer.files import InputError, check_memory, free_memory
from monolayer.models.pipeline import Check, Pipeline, find, pipeline, unchecked
from monolayer.models.rescaled import RescaledPipeline
from monolayer.parallel import prefetch
from monolayer.params.families import PredictSettings, UnetPredict, YoloPredict
from monolayer.params.steps import Dtype

logger = logging.getLogger(__name__)
OTHER_SCALE = 1.5  # times: the augmentation of scale by which detectors train reaches less far


class Frame(NamedTuple):
    """An image that is read when its turn comes; `name` is what an error calls it."""

    name: str
    cell_line: str | None
    read: Callable[[], NDArray[np.uint8]]


class Network(NamedTuple):
    """What finds cells; `sides` are the least and the largest longer side, px, of the images that it learned from."""

    pipeline: Pipeline
    backend: Backend
    sides: tuple[int, int] | None = None


class Batch(NamedTuple):
    """Frames of one network on their way: images, network inputs, network outputs or cells."""

    network: Network
    sizes: list[tuple[int, int]]  # height, width
    values: list[Any]


@dataclass(frozen=True)
class Predictor:
    """The networks of a run by name: a cell line's own, and `all` for the lines without one."""

    networks: Mapping[str, Network]
    batch: int

    def segment(
        self, images: Sequence[NDArray[np.uint8]], cell_line: str | None = None, check: Check = unchecked
    ) -> list[Instances]:
        """The cells of uint8 (H, W) images at their native size; `check` may end the work between its steps."""
        network = self.network(cell_line)
        cells: list[Instances] = []
        for start in range(0, len(images), self.batch):
            part = images[start : start + self.batch]
            for place, image in enumerate(part, start):
                check_image(f"image {place}", image, network)
            cells += find(network.pipeline, network.backend, part, check)
        return cells

    def stream(self, frames: Iterable[Frame]) -> Iterator[Instances]:
        """The cells of each frame, in order; at most three batches wait before each step."""
        inputs = prefetch(_preprocess, self.batches(frames))
        for batch in prefetch(_postprocess, prefetch(_forward, inputs)):
            yield from batch.values

    def network(self, cell_line: str | None, name: str = "this image") -> Network:
        """The network for images of a cell line."""
        key = cell_line if cell_line is not None and cell_line in self.networks else "all"
        if key not in self.networks:
            raise InputError(
                f"{name} is of cell line {cell_line or 'unknown'}, for which this run has no network "
                f"(it has {', '.join(self.networks)}); train it on that line or use a run of all lines"
            )
        return self.networks[key]

    @property
    def enlarged(self) -> float:
        """Pixels that its networks see, and that memory holds, for each pixel of an image; at least 1."""
        return max(1.0, *(_enlarged(network.pipeline) for network in self.networks.values()))

    def batches(self, frames: Iterable[Frame]) -> Iterator[tuple[Network, list[Frame]]]:
        """Frames in turn, as many at a time as a batch has, fewer where the next one is of another network."""
        for _, group in groupby(((self.network(f.cell_line, f.name), f) for f in frames), lambda pair: id(pair[0])):
            while some := list(islice(group, self.batch)):
                yield some[0][0], [frame for _, frame in some]


def _enlarged(of: Pipeline) -> float:
    """Whatever stands around the pipeline that does it."""
    inner = getattr(of, "inner", None)
    return (of.factor**2 if isinstance(of, RescaledPipeline) else 1.0) * (_enlarged(inner) if inner else 1.0)


def _preprocess(given: tuple[Network, list[Frame]]) -> Batch:
    network, frames = given
    images = [frame.read() for frame in frames]
    for frame, image in zip(frames, images, strict=True):
        check_image(frame.name, image, network)
    inputs = [network.pipeline.preprocess(image) for image in images]
    return Batch(network, [image.shape[:2] for image in images], inputs)


def _forward(batch: Batch) -> Batch:
    return batch._replace(values=batch.network.pipeline.forward(batch.network.backend, batch.values))


def _postprocess(batch: Batch) -> Batch:
    pairs = zip(batch.values, batch.sizes, strict=True)
    return batch._replace(values=[batch.network.pipeline.postprocess(outputs, *size) for outputs, size in pairs])


def check_image(name: str, image: NDArray[np.uint8], network: Network) -> None:
    """Refuse an image that is too small for the network or, at the scale that it sees it, too large for the memory.

    A scale that is another than that of the images in training is told, once for images of a size.
    """
    check_size(name, image, network.pipeline.stride)
    check_room(name, image.size, max(1.0, _enlarged(network.pipeline)), free_memory())
    if network.sides is not None:
        _compare_scales(max(image.shape), *network.sides, network.pipeline)


def _compare_scales(side: int, least: int, most: int, of: Pipeline) -> None:
    usual = min(max(side, least), most)
    seen, known = of.scale(side), of.scale(usual)
    if not 1 / OTHER_SCALE <= seen / known <= OTHER_SCALE:
        _tell_scale(side, usual, round(seen, 2), round(known, 2))


@cache
def _tell_scale(side: int, usual: int, seen: float, known: float) -> None:
    logger.warning(
        "images with a longer side of %d px reach the network at %g times their size, those that it learned from (%d "
        "px) at %g; that is right where they show the same field with more or fewer pixels, and else finds other cells "
        "than it knows: cut them into parts as large as those (a plate's `tile`)",
        *(side, seen, usual, known),
    )


def check_size(name: str, image: NDArray[np.uint8], stride: int) -> None:
    """Refuse an image in which the network's coarsest features, which have this stride (px), have no room."""
    height, width = image.shape[:2]
    if min(height, width) < stride:
        raise InputError(f"{name} is {width}x{height} px; this network needs {stride} px a side, so enlarge or pad it")


def check_room(name: str, pixels: int, enlarged: float, free: int) -> None:
    """Refuse an image for whose cells the memory is too small, at the scale that the network sees it."""
    if enlarged == 1:
        return check_memory(pixels, name, free)
    scaled = f"{name}, at the model's scale ({math.sqrt(enlarged):.3g} times as wide),"
    cure = "cut it into tiles, or correct the diameter: px of its cells"
    return check_memory(round(enlarged * pixels), scaled, free, cure)


def from_weights(weights: Path, settings: PredictSettings | None, threads: int) -> Predictor:
    """A trained run in torch, on the GPU if there is one; without settings, with those that it was validated with."""
    import torch

    from monolayer.backends.eager import eager

    torch.set_num_threads(threads)
    run, networks = models.load_weights(weights, "cuda" if torch.cuda.is_available() else "cpu")
    family = models.family(run.family)
    settings = settings or run.settings.val_predict
    half = getattr(settings, "amp", True)
    built = {
        name: Network(pipeline(run.family, settings, family.constants(network)), eager(family.graphs(network), half))
        for name, network in networks.items()
    }
    return Predictor(built, settings.batch)


def with_tta(settings: PredictSettings, tta: int | None) -> PredictSettings:
    """The same settings with another tta; None leaves them."""
    if tta is None:
        return settings
    if not isinstance(settings, UnetPredict):
        raise InputError("test-time augmentation is of the U-Nets; leave --tta out for this run")
    try:
        return UnetPredict.model_validate(settings.model_dump() | {"tta": tta})
    except ValidationError:
        raise InputError(f"tta is {tta}; give 1, 2, 4 or 8 turned views") from None


def load(
    path: Path,
    backend: str = "onnxruntime",
    dtype: Dtype = "fp32",
    threads: int = 2,
    settings: PredictSettings | None = None,
    *,
    tta: int | None = None,
    diameter: float | None = None,
) -> Predictor:
    """An exported run, from its folder or model.json; needs no torch.

    Other settings than its own may be given, or another tta. With the usual diameter (px) of the cells in the images,
    those are brought to the scale of the training images; a YOLO, which scales images to one size, takes none.
    """
    if diameter is not None and not (isinstance(diameter, Real) and 0 < diameter < math.inf):
        raise InputError(f"diameter is {diameter}; give the usual one of the cells in px, above 0")
    folder, manifest = read_manifest(path)
    settings = with_tta(settings or manifest.settings, tta)
    if diameter is not None and isinstance(settings, YoloPredict):
        raise InputError(
            f"diameter is {diameter:g}, and {folder} is a YOLO: it scales every image to {settings.imgsz} px, however "
            "large its cells; leave the diameter out, and give images of fields as large as those that it learned from"
        )
    if dtype not in manifest.dtypes:
        raise InputError(f"{folder} has no {dtype}; it has {', '.join(manifest.dtypes)}; export the run with it")
    if backend not in BACKENDS:
        raise InputError(f"backend {backend} is unknown; an exported run has {', '.join(BACKENDS)}")
    networks = {
        name: Network(
            pipeline(manifest.family, settings, network.constants),
            BACKENDS[backend](folder, manifest, (name, dtype), threads),
            (manifest.sides.low, manifest.sides.high) if manifest.sides else None,
        )
        for name, network in manifest.networks.items()
    }
    if diameter is not None:
        factor = _median(folder, manifest) / diameter
        networks = {
            name: Network(RescaledPipeline(of, factor), backend, _over(sides, factor))
            for name, (of, backend, sides) in networks.items()
        }
    return Predictor(networks, settings.batch)


def _over(sides: tuple[int, int] | None, factor: float) -> tuple[int, int] | None:
    """The sides of images that, enlarged by a factor, are as large as these."""
    return sides and (max(1, round(sides[0] / factor)), max(1, round(sides[1] / factor)))


def _median(folder: Path, manifest: Manifest) -> float:
    if manifest.diameters is None:
        raise InputError(
            f"{folder} does not say how large its training cells were; export the run again, or leave out"
            " --diameter and bring the images to its scale"
        )
    return manifest.diameters.median


def _onnxruntime(folder: Path, manifest: Manifest, which: tuple[str, str], threads: int) -> Backend:
    """A network in a dtype."""
    from monolayer.backends.ort import OnnxRuntime

    network, dtype = which
    graphs = manifest.networks[network].graphs
    files = {graph: folder / onnx_name(network, graph, dtype) for graph in graphs}
    expected = {graph: identity(manifest.run, manifest.family, (network, graph, dtype)) for graph in graphs}
    return OnnxRuntime(files, expected, threads)


def _tensorrt(folder: Path, manifest: Manifest, which: tuple[str, str], threads: int) -> Backend:
    from monolayer.backends.trt import TensorRT

    engines = [engine for engine in manifest.engines if (engine.network, engine.dtype) == which]
    if not engines:
        raise InputError(
            f"{folder} has no {which[1]} engine; name the dtype in export.engines and export the run again"
        )
    return TensorRT(folder, engines)


BACKENDS = {"onnxruntime": _onnxruntime, "tensorrt": _tensorrt}
