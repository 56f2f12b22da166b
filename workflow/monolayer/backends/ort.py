"""ONNX Runtime: the exported graphs on the CPU, or on the GPU where its package for that is installed."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from monolayer.files import InputError

PROVIDERS = ("CUDAExecutionProvider", "CPUExecutionProvider")  # the first that is there


class OnnxRuntime:
    """One session for each graph; `expected` are the facts that each file has to say of itself."""

    def __init__(self, files: Mapping[str, Path], expected: Mapping[str, Mapping[str, str]], threads: int) -> None:
        options = session_options(threads)
        providers = [name for name in PROVIDERS if name in onnxruntime.get_available_providers()]
        self.sessions = {graph: _session(path, options, providers) for graph, path in files.items()}
        self.on_gpu = all(session.get_providers()[0] == PROVIDERS[0] for session in self.sessions.values())
        for graph, session in self.sessions.items():
            check(files[graph], session.get_modelmeta().custom_metadata_map, expected[graph])
        self.inputs = {graph: [value.name for value in s.get_inputs()] for graph, s in self.sessions.items()}

    def run(self, graph: str, *given: Any) -> tuple[NDArray[Any], ...]:
        feed = dict(zip(self.inputs[graph], given, strict=True))
        return tuple(self.sessions[graph].run(None, feed))

    def seconds(self, graph: str, *given: Any) -> float:
        started = time.perf_counter()
        self.run(graph, *given)
        return time.perf_counter() - started

    def host(self, value: NDArray[Any]) -> NDArray[Any]:
        return value.astype(np.float32) if value.dtype == np.float16 else value


def session_options(threads: int) -> Any:
    """How graphs run."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    # threads would go on spinning behind a run, on cores that the next graph and post-processing need
    options.add_session_config_entry("session.force_spinning_stop", "1")
    # no session.qdqisint8allowed: on x86 the signed int8 that TensorRT wants becomes unsigned, which is several times
    # as fast as the signed kernels that it would keep
    options.log_severity_level = 3  # errors
    return options


def _session(path: Path, options: Any, providers: list[str]) -> Any:
    try:
        return onnxruntime.InferenceSession(path, options, providers=providers)
    except Exception as error:  # its faults have no common class
        raise InputError(f"{path} can't be read by onnxruntime ({error}); export the run again") from error


def check(path: Path, found: Mapping[str, str], expected: Mapping[str, str]) -> None:
    """Refuse a graph of another family, network or dtype."""
    for key, value in expected.items():
        if found.get(key) != value:
            what = f"{key} {found.get(key, 'unknown')}, not {value}, which model.json says"
            raise InputError(f"{path} is of {what}; export the run again")
