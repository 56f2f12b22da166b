"""One graph of a network as an ONNX file: exported in fp32, and from there made fp16 or int8."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import onnx
import torch
from numpy.typing import NDArray

from monolayer.coco import whole_file
from monolayer.exported import ExportedGraph, Value
from monolayer.models import Graph

OPSET = 20
Feed = tuple[NDArray[Any], ...]  # the inputs of one call


def export_graph(graph: Graph) -> Any:
    """The onnx.ModelProto of a graph in fp32, batch norms folded into convolutions."""
    with warnings.catch_warnings(), quiet("torch.onnx", "torch.export", "onnxscript"):
        warnings.simplefilter("ignore")  # of tensors that the library's head caches
        program = torch.onnx.export(
            graph.module,
            tuple(value.to(next(graph.module.parameters()).device) for value in graph.example),
            input_names=list(graph.axes),
            output_names=list(graph.outputs),
            dynamic_shapes=tuple(graph.axes.values()),
            opset_version=OPSET,
            dynamo=True,
            verbose=False,
        )
    assert program is not None
    model = program.model_proto
    for node in model.graph.node:  # they name files of this machine
        del node.metadata_props[:]
        node.doc_string = ""
    return model


def signature(model: Any) -> ExportedGraph:
    """Names, dtypes and shapes of what goes in and comes out; axes of outputs that hang on the input's are null."""
    named = {d.dim_param for value in model.graph.input for d in value.type.tensor_type.shape.dim}

    def described(value: Any) -> Value:
        of = value.type.tensor_type
        shape = [d.dim_value if d.HasField("dim_value") else d.dim_param for d in of.shape.dim]
        return Value(
            name=value.name,
            dtype=onnx.helper.tensor_dtype_to_np_dtype(of.elem_type).name,
            shape=[axis if isinstance(axis, int) or axis in named else None for axis in shape],
        )

    return ExportedGraph(
        inputs=[described(value) for value in model.graph.input],
        outputs=[described(value) for value in model.graph.output],
    )


def halved(model: Any) -> Any:
    """The graph in fp16, fp32 at its inputs and outputs."""
    from onnxruntime.transformers.float16 import convert_float_to_float16

    with quiet("onnxruntime"):
        return convert_float_to_float16(onnx.ModelProto.FromString(model.SerializeToString()), keep_io_types=True)


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
    with quiet("root"):
        quantize_static(
            model,
            target,
            Reader(),
            quant_format=QuantFormat.QDQ,
            op_types_to_quantize=["Conv", "ConvTranspose"],
            per_channel=True,
            activation_type=QuantType.QInt8,
            weight_type=QuantType.QInt8,
            extra_options={"ActivationSymmetric": True, "WeightSymmetric": True},
        )
    return onnx.load(target)


def write(model: Any, facts: Mapping[str, str], path: Path) -> None:
    """Write a graph that says of itself what it is."""
    onnx.helper.set_model_props(model, dict(facts))
    with whole_file(path) as partial:
        partial.write_bytes(model.SerializeToString(deterministic=True))


class quiet:  # noqa: N801
    """Loggers of libraries held at errors for a while."""

    def __init__(self, *names: str) -> None:
        self.loggers = [logging.getLogger(name) for name in names]

    def __enter__(self) -> None:
        self.levels = [logger.level for logger in self.loggers]
        for logger in self.loggers:
            logger.setLevel(logging.ERROR)

    def __exit__(self, *_: object) -> None:
        for logger, level in zip(self.loggers, self.levels, strict=True):
            logger.setLevel(level)
