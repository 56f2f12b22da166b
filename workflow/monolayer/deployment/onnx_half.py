"""An ONNX graph with its convolutions in half precision, in the graph itself, as TensorRT wants it.

Products run in fp16, and so does what lies between them; softmax, coordinates and reductions stay in fp32, because they
leave the range of half precision or need its missing digits. Inputs and outputs stay fp32.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

PRODUCTS = {"Conv", "ConvTranspose", "MatMul", "Gemm"}
BETWEEN = {"Relu", "LeakyRelu", "Sigmoid", "HardSigmoid", "Mul", "Add", "Concat", "MaxPool"}  # all their inputs alike
FIRST_ONLY = {"Resize", "Reshape", "Transpose", "Split", "Slice", "Unsqueeze", "Squeeze", "Expand"}  # others: sizes


def halved(model: Any) -> Any:
    """A copy of the onnx.ModelProto with products in fp16."""
    return _Halving(onnx.ModelProto.FromString(model.SerializeToString())).model


class _Halving:
    """Walks the nodes in order; `x` always names a value in fp32 and `x/half` the same in fp16."""

    def __init__(self, model: Any) -> None:
        self.model = model
        graph = model.graph
        self.initial = {value.name: value for value in graph.initializer}
        self.makers = {name: node.op_type for node in graph.node for name in node.output}
        floats = [v for v in (*graph.input, *graph.value_info) if v.type.tensor_type.elem_type == TensorProto.FLOAT]
        floats += [v for v in graph.output if v.type.tensor_type.elem_type == TensorProto.FLOAT]
        self.float = {v.name for v in floats}
        self.float |= {v.name for v in graph.initializer if v.data_type == TensorProto.FLOAT}
        self.full = {value.name for value in graph.input} | set(self.initial)  # what there is in fp32
        self.half: set[str] = set()  # and in fp16
        self.nodes: list[Any] = []
        for node in graph.node:
            self._place(node)
        for value in graph.output:
            self._in_full(value.name)
        used = {name for node in self.nodes for name in node.input}
        kept = [value for value in self.initial.values() if value.name in used]
        del graph.node[:], graph.initializer[:], graph.value_info[:]
        graph.node.extend(self.nodes)
        graph.initializer.extend(kept)

    def _place(self, node: Any) -> None:
        """Put a node into the half or the full part of the graph."""
        data = [name for name in node.input if name in self.float]
        data = data[:1] if node.op_type in FIRST_ONLY else data
        made = [name for name in data if name not in self.initial]
        joins = node.op_type in BETWEEN | FIRST_ONLY and made and all(name in self.half for name in made)
        if (node.op_type in PRODUCTS and not self._is_mean(node)) or joins:
            renamed = {name: self._in_half(name) for name in data}
            node.input[:] = [renamed.get(name, name) for name in node.input]
            self.half.update(node.output)
            node.output[:] = [f"{name}/half" for name in node.output]
        else:
            for name in node.input:
                self._in_full(name)
            self.full.update(node.output)
        self.nodes.append(node)

    def _is_mean(self, node: Any) -> bool:
        """Whether it weighs numbers with a softmax: half precision would round the distances of boxes."""
        return node.op_type == "Conv" and self.makers.get(node.input[0]) == "Softmax"

    def _in_half(self, name: str) -> str:
        if name in self.initial and name not in self.half:
            values = numpy_helper.to_array(self.initial[name]).astype(np.float16)
            self.initial[f"{name}/half"] = numpy_helper.from_array(values, f"{name}/half")
        elif name not in self.half:
            self.nodes.append(helper.make_node("Cast", [name], [f"{name}/half"], to=TensorProto.FLOAT16))
        self.half.add(name)
        return f"{name}/half"

    def _in_full(self, name: str) -> None:
        if name in self.half and name not in self.full:
            self.nodes.append(helper.make_node("Cast", [f"{name}/half"], [name], to=TensorProto.FLOAT))
            self.full.add(name)
