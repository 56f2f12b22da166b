"""TensorRT engines of ONNX graphs: for named GPUs on any machine (TensorRT-RTX), or for the GPU at hand (TensorRT)."""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Mapping, Sequence

from monolayer.backends import cuda
from monolayer.backends.manifest import ExportedGraph, Range
from monolayer.backends.trt import FULL, RTX, library
from monolayer.files import InputError


def libraries(targets: Sequence[str]) -> list[tuple[str, list[str]]]:
    """Who builds engines here and for which GPUs: TensorRT-RTX for the targets, TensorRT for the GPU at hand."""
    builders = [(RTX, list(targets))]
    here = cuda.capability()
    if here is not None and importlib.util.find_spec(FULL) is not None:
        builders.append((FULL, [here]))
    return builders


def build(
    model: bytes, signature: ExportedGraph, axes: Mapping[str, Range], targets: Sequence[str], name: str
) -> bytes:
    """An engine by library `name` for GPUs such as SM86; TensorRT builds for the GPU here, whatever the targets."""
    trt = library(name)
    builder = trt.Builder(trt.Logger(trt.Logger.ERROR))
    network = builder.create_network(1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED))
    parser = trt.OnnxParser(network, trt.Logger(trt.Logger.INTERNAL_ERROR))
    if not parser.parse(model):
        faults = "; ".join(parser.get_error(i).desc() for i in range(parser.num_errors))
        raise InputError(f"{name} can't read the graph: {faults}; leave export.engines empty")
    config = builder.create_builder_config()
    if name == RTX:
        config.num_compute_capabilities = len(targets)
        for index, target in enumerate(targets):
            config.set_compute_capability(getattr(trt.ComputeCapability, target), index)
    profile = builder.create_optimization_profile()
    for value in signature.inputs:
        if any(isinstance(axis, str) for axis in value.shape):
            profile.set_shape(value.name, *_shapes(value.shape, axes))
    config.add_optimization_profile(profile)
    engine = builder.build_serialized_network(network, config)
    if engine is None:
        raise InputError(f"{name} builds no engine for {', '.join(targets) or 'the GPU here'}; see the lines above")
    return bytes(engine)


def _shapes(shape: Sequence[int | str | None], axes: Mapping[str, Range]) -> list[tuple[int, ...]]:
    """Least, usual and largest shape of an input."""
    ranges = [axes[axis] if isinstance(axis, str) else (axis, axis, axis) for axis in shape]
    return [tuple(int(of[which] or 0) for of in ranges) for which in range(3)]
