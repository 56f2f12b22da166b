#!/usr/bin/env bash
# ultralytics' non_max_suppression on a batch when the machine is slow.
#
# Guess before running: suppression is a function of its tensors; a slow machine takes longer and gives the same cells.
# Seen: it looks at the wall clock after each image and, past 2 s + 0.05 s an image, leaves the loop: the images of the
# batch that are left get no detections at all, with a warning in the log and no error. Dense images on a busy CPU thus
# lose whole images, and a rerun gives other numbers. Here the clock of that module runs fast in place of a slow machine.
set -euo pipefail
command -v uv >/dev/null || pip install -q uv
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cat >"$work/probe.py" <<'PY'
import itertools
import os
from importlib.metadata import version
from types import SimpleNamespace

os.environ["YOLO_CONFIG_DIR"] = os.path.dirname(__file__)
import torch
from ultralytics.utils import nms

print({name: version(name) for name in ("ultralytics", "torch")})
boxes = torch.zeros(4, 5, 50)  # four images: xywh and one class's score of 50 boxes that don't overlap
boxes[:, 0], boxes[:, 1], boxes[:, 2:4], boxes[:, 4] = torch.arange(50) * 20.0, 10.0, 10.0, 0.9


def found() -> list[int]:
    return [len(of_image) for of_image in nms.non_max_suppression(boxes.clone())]


quiet = found()
ticks = itertools.count(0.0, 1.5)  # each look at the clock is 1.5 s later
nms.time = SimpleNamespace(time=lambda: next(ticks))
slow = found()
print("cells of four equal images: quiet machine", quiet, "slow machine", slow)
assert quiet == [50] * 4
assert slow[0] == 50 and slow[-1] == 0, "no image is left out any more: the finding is out of date"
PY
uv run --quiet --isolated --no-project --python 3.11 --with ultralytics==8.4.190 --with torch==2.15.0 \
    --with torchvision==0.29.2 --with opencv-python-headless==5.0.0.93 python "$work/probe.py"
