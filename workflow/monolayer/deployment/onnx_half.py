"""An ONNX graph with its convolutions in half precision, in the graph itself, as TensorRT wants it.

Products run in fp16, and so does what lies between them; softmax, coordinates and reductions stay in fp32, because they
leave the range of half precision or need its missing digits. Inputs and outputs stay fp32.
"""

from __future__ import annotations

from typing import Any

import onnx
from onnxruntime.transformers.onnx_model import OnnxModel

PRODUCTS = {"Conv", "ConvTranspose", "MatMul", "Gemm"}
BETWEEN = {"Relu", "LeakyRelu", "Sigmoid", "HardSigmoid", "Mul", "Add", "Concat", "MaxPool"}  # all their inputs alike
FIRST_ONLY = {"Resize", "Reshape", "Transpose", "Split", "Slice", "Unsqueeze", "Squeeze", "Expand"}  # others: sizes


def halved(model: Any) -> Any:
    """A copy of the onnx.ModelProto with products in fp16."""
    model = onnx.ModelProto.FromString(model.SerializeToString())
    half = OnnxModel(model)
    # not its plain function, which rounds every value between two nodes that stay in fp32 to half precision
    half.convert_float_to_float16(
        use_symbolic_shape_infer=False, keep_io_types=True, op_block_list=[], node_block_list=_in_full(model.graph)
    )
    graph = half.model.graph
    casts_once = {node.output[0]: node for node in graph.node}  # it casts a value anew for each node that takes it
    del graph.node[:], graph.value_info[:]  # whose types are of before
    graph.node.extend(casts_once.values())
    half.topological_sort(is_deterministic=True)
    return half.model


def _in_full(graph: Any) -> list[str]:
    """Names of the nodes that stay in fp32."""
    constants = {value.name for value in graph.initializer}
    makers = {name: node.op_type for node in graph.node for name in node.output}
    half: set[str] = set()
    full = []
    for node in graph.node:
        data = node.input[:1] if node.op_type in FIRST_ONLY else node.input
        made = [name for name in data if name and name not in constants]
        joins = node.op_type in BETWEEN | FIRST_ONLY and made and half.issuperset(made)
        # weights of a softmax give the distances of boxes, which half precision would round
        is_mean = node.op_type == "Conv" and makers.get(node.input[0]) == "Softmax"
        if joins or (node.op_type in PRODUCTS and not is_mean):
            half.update(node.output)
        else:
            full.append(node.name)
    return full
