#!/usr/bin/env bash
# A graph that brings its image to the size its network wants, by ONNX's Resize: no side longer than 16 px and the aspect
# kept (keep_aspect_ratio_policy "not_larger"), or smoothed before it is sampled (antialias 1, as PyTorch exports
# F.interpolate with antialias=True).
#
# Guess before running: OpenVINO computes what ONNX Runtime and ONNX's reference do, or refuses what it doesn't know.
# Seen (OpenVINO 2026.4.1, CPU): it reads both and does neither. An image of 64 x 96 px becomes 16 x 16 where the others have
# 11 x 16, so that cells are 1.5 times as high for their width; of noise of a standard deviation of 0.29 it leaves 0.15
# where ONNX Runtime leaves 0.05, the same as with antialias 0. Nothing is said.
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
import openvino
from onnx import TensorProto, helper, numpy_helper
from onnx.reference import ReferenceEvaluator

image = np.random.default_rng(0).random((1, 1, 64, 96), np.float32)


def resize(size: tuple[int, int], **attributes: object) -> onnx.ModelProto:
    sizes = numpy_helper.from_array(np.array(size, np.int64), "sizes")
    node = helper.make_node("Resize", ["image", "", "", "sizes"], ["resized"], mode="linear", axes=[2, 3], **attributes)
    given = helper.make_tensor_value_info("image", TensorProto.FLOAT, image.shape)
    made = helper.make_tensor_value_info("resized", TensorProto.FLOAT, [1, 1, "height", "width"])
    graph = helper.make_graph([node], "resize", [given], [made], [sizes])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
    onnx.checker.check_model(model, full_check=True)
    return model


def runtime(model: onnx.ModelProto) -> np.ndarray:
    return onnxruntime.InferenceSession(model.SerializeToString()).run(None, {"image": image})[0]


def vino(model: onnx.ModelProto) -> np.ndarray:
    core = openvino.Core()
    read = core.read_model(model.SerializeToString())
    return core.compile_model(read, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})({0: image})[0]


def reference(model: onnx.ModelProto) -> np.ndarray:
    return ReferenceEvaluator(model).run(None, {"image": image})[0]


print(f"onnxruntime {onnxruntime.__version__}, openvino {openvino.__version__}, onnx {onnx.__version__}")
aspect = resize((16, 16), keep_aspect_ratio_policy="not_larger")
shapes = [run(aspect).shape[2:] for run in (runtime, reference, vino)]
print(f"64 x 96 px not larger than 16: ONNX Runtime {shapes[0]}, ONNX's reference {shapes[1]}, OpenVINO {shapes[2]}")
plain, smooth = resize((16, 24), antialias=0), resize((16, 24), antialias=1)
left = [round(float(run(smooth).std()), 2) for run in (runtime, reference, vino)]
print(f"standard deviation with antialias: ONNX Runtime {left[0]}, ONNX's reference {left[1]}, OpenVINO {left[2]}")
assert np.allclose(runtime(plain), vino(plain), atol=1e-5), "without attributes they agree"
assert shapes == [(11, 16), (11, 16), (16, 16)], "the finding is out of date"
assert max(left[:2]) < 0.07 and np.array_equal(vino(plain), vino(smooth)), "the finding is out of date"
PY
uv run --quiet --isolated --no-project --python 3.11 --with openvino==2026.4.1 --with onnxruntime==1.31.1 --with onnx==1.23.2 \
    --with numpy==2.4.6 python "$work/probe.py"
