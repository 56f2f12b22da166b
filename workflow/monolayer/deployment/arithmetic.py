"""Which arithmetic an exported graph runs in here, and how near its values come to the end of half precision.

A graph's file says little of that: ONNX Runtime rewrites it, and a CPU computes in fp32 what is stored in fp16. So
numbers that would overflow on a GPU don't overflow in a comparison on a CPU.
"""

from __future__ import annotations

import tempfile
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import onnx
import onnxruntime

from monolayer.backends.ort import session_options
from monolayer.deployment.calibration import Feed
from monolayer.files import InputError

INT8 = ("QLinear", "QGemm", "ConvInteger", "MatMulInteger", "DynamicQuantize")  # how its operators' names begin
PRODUCTS = ("Conv", "ConvTranspose", "MatMul", "Gemm")  # how those of others end
KINDS = {onnx.TensorProto.FLOAT: "fp32", onnx.TensorProto.FLOAT16: "fp16"}
LARGEST_HALF = float(np.finfo(np.float16).max)


def products(file: Path) -> dict[str, int]:
    """By dtype how many convolutions and matrix products the CPU computes in it, of the graph that is run."""
    options = session_options(1)
    with tempfile.TemporaryDirectory() as folder:
        options.optimized_model_filepath = f"{folder}/run.onnx"
        onnxruntime.InferenceSession(file, options, providers=["CPUExecutionProvider"])
        graph = onnx.load(options.optimized_model_filepath).graph
    kinds = {value.name: KINDS.get(value.data_type, "fp32") for value in graph.initializer}
    count: Counter[str] = Counter()
    for node in graph.node:
        if node.op_type.startswith(INT8) and node.op_type.endswith((*PRODUCTS, "Integer")):
            count["int8"] += 1
        elif node.op_type.endswith(PRODUCTS):
            count[next((kinds[name] for name in node.input if name in kinds), "fp32")] += 1
    return dict(sorted(count.items()))


def largest_half(file: Path, feeds: Sequence[Feed]) -> tuple[float, str]:
    """The largest magnitude of a value that the graph keeps in half precision, and its name; inf beyond the range."""
    model = onnx.load(file)
    inferred = onnx.shape_inference.infer_shapes(model, strict_mode=True)
    if not (names := [value.name for value in inferred.graph.value_info if _is_half(value)]):
        return 0.0, "nothing"
    for number, name in enumerate(names):
        cast, size, peak = (f"{kind}.{number}" for kind in ("cast", "size", "peak"))
        model.graph.node.extend(
            [
                onnx.helper.make_node("Cast", [name], [cast], to=onnx.TensorProto.FLOAT),
                onnx.helper.make_node("Abs", [cast], [size]),
                onnx.helper.make_node("ReduceMax", [size], [peak], keepdims=0),
            ]
        )
        model.graph.output.append(onnx.helper.make_tensor_value_info(peak, onnx.TensorProto.FLOAT, []))
    session = onnxruntime.InferenceSession(model.SerializeToString(), session_options(1))
    inputs = [value.name for value in session.get_inputs()]
    peaks = [f"peak.{number}" for number in range(len(names))]
    found = np.array([session.run(peaks, dict(zip(inputs, feed, strict=True))) for feed in feeds])
    most = np.nan_to_num(found.max(axis=0), nan=np.inf)
    at = int(most.argmax())
    return float(most[at]), names[at]


def _is_half(value: onnx.ValueInfoProto) -> bool:
    return bool(value.type.tensor_type.elem_type == onnx.TensorProto.FLOAT16)


def check_range(largest: Mapping[str, tuple[float, str]], run: str, share: float) -> None:
    """Refuse values, by graph, of more than this share of the largest number of half precision."""
    for graph, (value, name) in largest.items():
        if not value <= share * LARGEST_HALF:
            raise InputError(
                f"run {run}: {name} of the graph {graph} reaches {value:,.0f} on images of train, more than "
                f"{share:g} of fp16's largest number, {LARGEST_HALF:,.0f}; on a GPU it may overflow, though not on "
                "this CPU, so leave fp16 out of export.dtypes and export.engines, or raise export.fp16_range"
            )
