#!/usr/bin/env bash
# A float16 graph, x * 300 * (1 / 300) with x = 300, on ONNX Runtime's CPU provider.
#
# Guess before running: a graph whose every tensor is float16 computes in float16: 90,000 is beyond its range (65,504),
# so that the result is infinite, as numpy says.
# Seen: the result is 300; the CPU provider computes in float32 between casts. As soon as the middle value is an output
# of the graph it is inf there, beside the same 300. So parity of an fp16 export on a CPU says nothing of overflow on a
# GPU, which does compute in float16.
set -euo pipefail
command -v uv >/dev/null || pip install -q uv
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cat >"$work/probe.py" <<'PY'
import os

os.environ["ORT_DISABLE_TELEMETRY"] = "1"
import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

print("onnxruntime", onnxruntime.__version__, "onnx", onnx.__version__)
HALF = TensorProto.FLOAT16


def run(outputs: list[str]) -> list[float]:
    factors = [
        numpy_helper.from_array(np.array([300], np.float16), "factor"),
        numpy_helper.from_array(np.array([1 / 300], np.float16), "inverse"),
    ]
    nodes = [helper.make_node("Mul", ["x", "factor"], ["middle"]), helper.make_node("Mul", ["middle", "inverse"], ["y"])]
    named = [helper.make_tensor_value_info(name, HALF, [1]) for name in ("x", *outputs)]
    graph = helper.make_graph(nodes, "overflow", named[:1], named[1:], factors)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return [float(value[0]) for value in session.run(None, {"x": np.array([300], np.float16)})]


with np.errstate(over="ignore"):
    numpy = float((np.array([300], np.float16) * np.float16(300) * np.float16(1 / 300))[0])
print("numpy", numpy, "graph", run(["y"]), "graph with its middle value as an output", run(["y", "middle"]))
assert numpy == np.inf
assert run(["y"]) == [300.0], "the CPU provider overflows now: the finding is out of date"
assert run(["y", "middle"]) == [300.0, np.inf], "the finding is out of date"
PY
uv run --quiet --isolated --no-project --python 3.11 --with onnxruntime==1.31.1 --with onnx==1.23.2 \
    --with numpy==2.4.6 python "$work/probe.py"
