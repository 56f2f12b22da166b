#!/usr/bin/env bash
# bioimageio.core asked whether a zipped model is sound, installed as `pip install bioimageio.core onnxruntime` does today.
#
# Guess before running: a sound package passes; a library that pins its own spec to the patch release works with the
# versions of its other requirements that it lets in.
# Seen (bioimageio.core 0.11.0, bioimageio.spec 0.5.12.0): with pydantic 2.14.4, which it lets in, every zip fails the
# format validation ("Error calling function `package_file_descr_serializer`"), as if the package were wrong. With
# pydantic 2.11.10 the same file passes and its test tensors agree.
set -euo pipefail
command -v uv >/dev/null || pip install -q uv
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cat >"$work/make.py" <<'PY'
import hashlib
import json
import zipfile

import numpy as np
import onnx
from onnx import TensorProto, helper

shape = ["batch", 1, "height", "width"]
graph = helper.make_graph(
    [helper.make_node("Identity", ["image"], ["maps"])],
    "identity",
    [helper.make_tensor_value_info("image", TensorProto.FLOAT, shape)],
    [helper.make_tensor_value_info("maps", TensorProto.FLOAT, shape)],
)
onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10), "model.onnx")
np.save("test.npy", np.random.default_rng(0).random((1, 1, 64, 64), np.float32))
open("README.md", "w").write("# Identity\n\n## Validation\n\nNone.\n")


def entry(name: str) -> dict[str, str]:
    return {"source": name, "sha256": hashlib.sha256(open(name, "rb").read()).hexdigest()}


def tensor(name: str, size: object) -> dict[str, object]:
    space = [{"type": "space", "id": axis, "size": size(axis) if callable(size) else size} for axis in "yx"]
    axes = [{"type": "batch"}, {"type": "channel", "channel_names": ["grey"]}, *space]
    return {"id": name, "axes": axes, "data": {"type": "float32"}, "test_tensor": entry("test.npy")}


rdf = {
    "format_version": "0.5.4",
    "type": "model",
    "name": "identity",
    "description": "Gives what it is given.",
    "authors": [{"name": "A. Name"}],
    "license": "MIT",
    "cite": [{"text": "none", "url": "https://example.org"}],
    "documentation": "README.md",
    "inputs": [tensor("image", {"min": 32, "step": 8})],
    "outputs": [tensor("maps", lambda axis: {"tensor_id": "image", "axis_id": axis})],
    "weights": {"onnx": {**entry("model.onnx"), "opset_version": 20}},
}
with zipfile.ZipFile("model.zip", "w") as archive:
    archive.writestr("rdf.yaml", json.dumps(rdf))
    for name in ("model.onnx", "test.npy", "README.md"):
        archive.write(name)
PY
cat >"$work/check.py" <<'PY'
from importlib.metadata import version

from bioimageio.core import test_model

summary = test_model("model.zip")
faults = [error.msg.splitlines()[0][:90] for detail in summary.details for error in detail.errors]
print(f"pydantic {version('pydantic')}: {summary.status} {faults[:1] or ''}")
PY
in_env() { (cd "$work" && uv run --quiet --isolated --no-project --python 3.11 "$@" 2>/dev/null); }
in_env --with onnx==1.23.2 --with numpy==2.4.6 python make.py
for pydantic in 2.14.4 2.11.10; do
    in_env --with bioimageio.core==0.11.0 --with onnxruntime==1.31.1 --with "pydantic==$pydantic" python check.py |
        grep "^pydantic" | tee -a "$work/seen"
done
grep -q "^pydantic 2.14.4: failed .*package_file_descr_serializer" "$work/seen" &&
    grep -q "^pydantic 2.11.10: passed" "$work/seen" || { echo "out of date"; exit 1; }
