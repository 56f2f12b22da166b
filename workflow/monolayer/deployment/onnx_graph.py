"""One graph of a network as an ONNX file: exported in fp32, and from there made fp16 or int8."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import onnx
import torch
from torch.export import Dim

from monolayer.backends.graph import Graph
from monolayer.backends.manifest import ExportedGraph, Value
from monolayer.deployment.calibration import Feed
from monolayer.files import write_bytes

OPSET = 20


def export_graph(graph: Graph) -> Any:
    """The onnx.ModelProto of a graph in fp32, batch norms folded into convolutions."""
    device = next(graph.module.parameters()).device
    with warnings.catch_warnings(), silenced():
        warnings.simplefilter("ignore")  # of tensors that the library's head caches
        program = torch.onnx.export(
            graph.module.eval(),
            tuple(value.to(device) for value in graph.example),
            input_names=list(graph.axes),
            output_names=list(graph.outputs),
            dynamic_shapes=_varying(graph),
            opset_version=OPSET,
            dynamo=True,
            verbose=False,
        )
    assert program is not None
    model = program.model_proto
    del model.graph.metadata_props[:]  # torch's notes on how it got there, some of them sets in whatever order
    for node in model.graph.node:  # they name files of this machine
        del node.metadata_props[:]
        node.doc_string = ""
    for value in model.graph.input:
        for axis, name in graph.axes[value.name].items():
            value.type.tensor_type.shape.dim[axis].dim_param = name
    return model


def _varying(graph: Graph) -> tuple[dict[int, Any], ...]:
    """Torch's form of the axes that vary: whole steps of `multiple`, so that no remainder is asked for."""
    names = {name for axes in graph.axes.values() for name in axes.values()}
    free = {name: Dim(name, max=1 << 16) for name in names}
    stepped = {name: graph.multiple * free[name] for name in names & {"height", "width"}}
    return tuple({axis: (free | stepped)[name] for axis, name in axes.items()} for axes in graph.axes.values())


def signature(model: Any, multiple: int) -> ExportedGraph:
    """Names, dtypes and shapes of what goes in and comes out; axes of outputs that hang on the inputs' are null."""
    named = {d.dim_param for value in model.graph.input for d in value.type.tensor_type.shape.dim}

    def described(value: Any) -> Value:
        of = value.type.tensor_type
        shape = [d.dim_value if d.HasField("dim_value") else d.dim_param for d in of.shape.dim]
        return Value(
            name=value.name,
            dtype=onnx.helper.tensor_dtype_to_np_dtype(of.elem_type).name,
            shape=[axis if isinstance(axis, int) or axis in named else None for axis in shape],
        )

    inputs, outputs = ([described(value) for value in values] for values in (model.graph.input, model.graph.output))
    return ExportedGraph(inputs=inputs, outputs=outputs, multiple=multiple)


def quantised(model: Any, feeds: Sequence[Feed], folder: Path) -> Any:
    """The graph with convolutions in int8 (QDQ, symmetric), their ranges taken from what `feeds` make of them."""
    from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static

    names = [value.name for value in model.graph.input]

    class Reader(CalibrationDataReader):  # type: ignore[misc]
        def __init__(self) -> None:
            self.left: Iterator[Mapping[str, Any]] = iter(dict(zip(names, feed, strict=True)) for feed in feeds)

        def get_next(self) -> Mapping[str, Any] | None:
            return next(self.left, None)

    target = folder / "int8.onnx"
    with silenced():
        quantize_static(
            model,
            target,
            Reader(),
            quant_format=QuantFormat.QDQ,
            op_types_to_quantize=["Conv", "ConvTranspose", "Gemm", "MatMul"],
            per_channel=True,
            activation_type=QuantType.QInt8,
            weight_type=QuantType.QInt8,
            extra_options={"ActivationSymmetric": True, "WeightSymmetric": True},
        )
    return onnx.load(target)


def write(model: Any, facts: Mapping[str, str], path: Path) -> bytes:
    """Write a graph that says of itself what it is; the same graph gives the same bytes."""
    onnx.helper.set_model_props(model, dict(facts))
    content: bytes = model.SerializeToString(deterministic=True)
    write_bytes(path, content)
    return content


@contextmanager
def silenced() -> Iterator[None]:
    """Nothing below errors is logged for a while."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        yield
    finally:
        logging.disable(before)
