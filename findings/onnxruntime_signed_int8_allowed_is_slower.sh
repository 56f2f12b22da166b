#!/usr/bin/env bash
# A convolution quantised to signed int8 (QDQ, zero points 0, as TensorRT wants it), run by ONNX Runtime on x86.
#
# Guess before running: x86 has fast products of unsigned with signed bytes only, so signed ones stay in float between a
# quantise and a dequantise until session.qdqisint8allowed is set; then they run in int8, and faster.
# Seen: they run in int8 without it too (QLinearConv), for the runtime makes the activations unsigned; with it the graph
# has the same operators, the same results, and takes several times as long (10 times here, with AVX512-VNNI).
set -euo pipefail
command -v uv >/dev/null || pip install -q uv
[ "$(uname -m)" = x86_64 ] || { echo "of x86 only"; exit 0; }
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cat >"$work/probe.py" <<'PY'
import time
from collections import Counter

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static

rng = np.random.default_rng(0)
weights = [numpy_helper.from_array(rng.normal(0, 0.06, (32, 32, 3, 3)).astype(np.float32), f"w{n}") for n in range(4)]
nodes = [helper.make_node("Conv", [f"x{n}", f"w{n}"], [f"x{n + 1}"], pads=[1, 1, 1, 1]) for n in range(4)]
ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, 32, 128, 128]) for name in ("x0", "x4")]
graph = helper.make_graph(nodes, "g", ends[:1], ends[1:], weights)
onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=9), "full.onnx")
image = rng.normal(size=(1, 32, 128, 128)).astype(np.float32)


class Reader(CalibrationDataReader):
    def __init__(self):
        self.left = iter([{"x0": image}])

    def get_next(self):
        return next(self.left, None)


quantize_static(
    *("full.onnx", "int8.onnx", Reader()),
    quant_format=QuantFormat.QDQ,
    per_channel=True,
    activation_type=QuantType.QInt8,
    weight_type=QuantType.QInt8,
    extra_options={"ActivationSymmetric": True, "WeightSymmetric": True},
)
seconds, results, operators = {}, {}, {}
for allowed in ("0", "1"):
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.optimized_model_filepath = "run.onnx"
    options.log_severity_level = 3
    options.add_session_config_entry("session.qdqisint8allowed", allowed)
    session = onnxruntime.InferenceSession("int8.onnx", options, providers=["CPUExecutionProvider"])
    operators[allowed] = Counter(node.op_type for node in onnx.load("run.onnx").graph.node)
    times = []
    for _ in range(20):
        started = time.process_time()
        [results[allowed]] = session.run(None, {"x0": image})
        times.append(time.process_time() - started)
    seconds[allowed] = min(times)
    print(f"onnxruntime {onnxruntime.__version__}, allowed {allowed}: {1e3 * seconds[allowed]:.1f} ms", operators[allowed])
assert operators["0"]["QLinearConv"] == operators["1"]["QLinearConv"] == 4, "the finding is out of date"
assert np.array_equal(results["0"], results["1"]), "the finding is out of date"
assert seconds["1"] > 1.5 * seconds["0"], "the finding is out of date"
PY
cd "$work"
uv run --quiet --isolated --no-project --python 3.11 --with onnxruntime==1.31.1 --with onnx==1.23.2 --with sympy \
    --with numpy==2.4.6 python probe.py 2>&1 | grep -v WARNING
