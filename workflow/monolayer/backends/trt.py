"""TensorRT: engines on the GPU that they were built for; what lies between two graphs stays there."""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from monolayer.backends import cuda
from monolayer.backends.manifest import EngineFile
from monolayer.files import InputError

RTX = "tensorrt_rtx"  # from the package index, and needs no GPU to build for one
FULL = "tensorrt"  # from the vendor's, for data-centre GPUs; see envs/tensorrt.txt


class TensorRT:
    """The engines of one network that run here, by graph."""

    on_gpu = True

    def __init__(self, folder: Path, engines: Sequence[EngineFile]) -> None:
        chosen = fitting(folder, engines, cuda.capability())
        self.stream = cuda.call("cudaStreamCreate")
        self.contexts = {engine.graph: _context(folder / engine.file, engine) for engine in chosen}
        self.types = library(chosen[0].library)

    def run(self, graph: str, *given: Any) -> tuple[cuda.DeviceArray, ...]:
        context = self.contexts[graph]
        names = [context.engine.get_tensor_name(i) for i in range(context.engine.num_io_tensors)]
        wanted = self.types.TensorIOMode.INPUT
        inputs = [name for name in names if context.engine.get_tensor_mode(name) == wanted]
        there = [v if isinstance(v, cuda.DeviceArray) else cuda.to_device(v, self.stream) for v in given]
        for name, value in zip(inputs, there, strict=True):
            if not context.set_input_shape(name, value.shape):
                raise InputError(f"{graph} takes no {name} of {value.shape}; the engine was built for smaller ones")
            context.set_tensor_address(name, value.address)
        outputs = []
        for name in names[len(inputs) :]:
            dtype = self.types.nptype(context.engine.get_tensor_dtype(name))
            outputs.append(cuda.DeviceArray(tuple(context.get_tensor_shape(name)), dtype, self.stream))
            context.set_tensor_address(name, outputs[-1].address)
        if not context.execute_async_v3(int(self.stream)):
            raise InputError(f"the engine of {graph} failed; see the lines above")
        return tuple(outputs)

    def seconds(self, graph: str, *given: Any) -> float:
        there = [v if isinstance(v, cuda.DeviceArray) else cuda.to_device(v, self.stream) for v in given]
        return cuda.seconds(self.stream, lambda: self.run(graph, *there))

    def host(self, value: cuda.DeviceArray) -> NDArray[Any]:
        array = cuda.to_host(value)
        return array.astype(np.float32) if array.dtype == np.float16 else array


def fitting(folder: Path, engines: Sequence[EngineFile], here: str | None) -> list[EngineFile]:
    """The engines for the GPU here (SM86, ...) by one installed library of their version; others are an error."""
    targets = sorted({target for engine in engines for target in engine.targets})
    built = f"engines in {folder} are for {', '.join(targets)}"
    if here is None:
        raise InputError(f"{built}, and no NVIDIA GPU with a driver that works is here; use onnxruntime")
    mine = [engine for engine in engines if here in engine.targets]
    if not mine:
        raise InputError(f"{built}; the GPU here is {here}: add it to export.targets and export the run again")
    chosen = [engine for engine in mine if engine.library == mine[-1].library]
    installed = library(chosen[0].library).__version__
    if chosen[0].version != installed:
        raise InputError(
            f"{chosen[0].file} was built by {chosen[0].library} {chosen[0].version}, and {installed} is installed; "
            "install that version or export the run again"
        )
    return chosen


def _context(path: Path, engine: EngineFile) -> Any:
    trt = library(engine.library)
    runtime = trt.Runtime(trt.Logger(trt.Logger.ERROR))
    try:
        loaded = runtime.deserialize_cuda_engine(path.read_bytes())
    except OSError as error:
        raise InputError(f"{path} can't be read ({error}); export the run again") from error
    if loaded is None:
        raise InputError(f"{path} is no engine that {engine.library} {engine.version} can load; export the run again")
    return loaded.create_execution_context()


def library(name: str) -> Any:
    """The module of a TensorRT library."""
    try:
        return importlib.import_module(name)
    except ImportError as error:
        cure = "pip install -r envs/tensorrt.txt, or leave export.engines empty"
        raise InputError(f"{name} is not installed; {cure}") from error
