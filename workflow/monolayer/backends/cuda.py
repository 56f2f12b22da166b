"""Memory, transfers and time on an NVIDIA GPU by the CUDA runtime alone; torch is not needed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from monolayer.files import InputError


def runtime() -> Any:
    """The module of the CUDA runtime."""
    try:
        from cuda.bindings import runtime as module
    except ImportError as error:
        raise InputError("cuda-bindings is not installed; pip install -r envs/tensorrt.txt") from error
    return module


def call(name: str, *arguments: Any) -> Any:
    """What a function of the runtime gives; its fault is an error."""
    module = runtime()
    fault, *given = getattr(module, name)(*arguments)
    if fault != module.cudaError_t.cudaSuccess:
        raise InputError(f"{name} failed on the GPU: {fault.name}; see nvidia-smi")
    return given[0] if len(given) == 1 else tuple(given)


def capability() -> str | None:
    """The GPU at hand as engines name their targets, such as SM86; None where there is none that works."""
    try:
        if not call("cudaGetDeviceCount"):
            return None
        properties = call("cudaGetDeviceProperties", 0)
    except InputError:
        return None
    return f"SM{properties.major}{properties.minor}"


def name() -> str:
    """What its maker calls the GPU at hand."""
    called: bytes = call("cudaGetDeviceProperties", 0).name
    return called.rstrip(b"\0").decode()


class DeviceArray:
    """An array in the GPU's memory, freed with it; work on `stream` comes in order."""

    def __init__(self, shape: tuple[int, ...], dtype: Any, stream: Any) -> None:
        self.shape, self.dtype, self.stream = shape, np.dtype(dtype), stream
        self.nbytes = max(1, int(np.prod(shape)) * self.dtype.itemsize)
        self.address = int(call("cudaMallocAsync", self.nbytes, stream))

    def __del__(self) -> None:
        if hasattr(self, "address"):
            call("cudaFreeAsync", self.address, self.stream)


def to_device(array: NDArray[Any], stream: Any) -> DeviceArray:
    """A copy on the GPU."""
    array = np.ascontiguousarray(array)
    there = DeviceArray(array.shape, array.dtype, stream)
    kind = runtime().cudaMemcpyKind.cudaMemcpyHostToDevice
    call("cudaMemcpyAsync", there.address, array.ctypes.data, array.nbytes, kind, stream)
    call("cudaStreamSynchronize", stream)  # the copy's source may be gone otherwise
    return there


def to_host(value: DeviceArray) -> NDArray[Any]:
    """A copy in the computer's memory; waits for the work that makes it."""
    array = np.empty(value.shape, value.dtype)
    kind = runtime().cudaMemcpyKind.cudaMemcpyDeviceToHost
    call("cudaMemcpyAsync", array.ctypes.data, value.address, array.nbytes, kind, value.stream)
    call("cudaStreamSynchronize", value.stream)
    return array


def seconds(stream: Any, work: Callable[[], object]) -> float:
    """How long the GPU is busy with what `work` puts into the stream."""
    start, end = call("cudaEventCreate"), call("cudaEventCreate")
    call("cudaEventRecord", start, stream)
    work()
    call("cudaEventRecord", end, stream)
    call("cudaEventSynchronize", end)
    elapsed = float(call("cudaEventElapsedTime", start, end)) / 1000
    for event in (start, end):
        call("cudaEventDestroy", event)
    return elapsed


def used_bytes() -> int:
    """Memory of the GPU that is taken, by anyone."""
    free, total = call("cudaMemGetInfo")
    return int(total) - int(free)
