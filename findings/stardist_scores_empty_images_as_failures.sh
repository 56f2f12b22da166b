#!/usr/bin/env bash
# Two images: one cell, found to the pixel, and an image without cells, in which none is found. Their mean score by four
# libraries, and the mean with a false cell in the empty one.
#
# Guess before running: nothing was missed and nothing invented, so the mean is 1, or the empty image is passed over. With
# a false cell it's 0.5.
# Seen: StarDist's matching_dataset(by_image=True) has 0.5 in both cases, for an empty image that is right has accuracy,
# F1 and PQ of 0. Cellpose's average precision of it is NaN, and so is its mean. MONAI's Dice is 1.0 in both cases: images
# without truth are left out, with all that is predicted in them. TorchMetrics' Dice is 1.0 and 0.5.
set -euo pipefail
command -v uv >/dev/null || pip install -q uv
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cat >"$work/probe.py" <<'PY'
import contextlib
import io
import os
import warnings
from importlib.metadata import version

warnings.simplefilter("ignore")
os.environ["CELLPOSE_LOCAL_MODELS_PATH"] = os.path.dirname(__file__)
import numpy as np
import torch
from monai.metrics import DiceMetric
from stardist.matching import matching_dataset
from torchmetrics.segmentation import DiceScore

with contextlib.redirect_stdout(io.StringIO()):
    from cellpose.metrics import average_precision

Labels = list[np.ndarray]
empty, cell = np.zeros((2, 40, 40), np.int32)
cell[5:15, 5:15] = 1


def stardist(true: Labels, pred: Labels) -> float:
    return matching_dataset(true, pred, by_image=True, show_progress=False).accuracy


def cellpose(true: Labels, pred: Labels) -> float:
    return average_precision(true, pred, threshold=[0.5])[0].mean()


def monai(true: Labels, pred: Labels) -> float:
    dice = DiceMetric()
    dice(torch.tensor(np.stack(pred))[:, None], torch.tensor(np.stack(true))[:, None])
    return dice.aggregate().item()


def torchmetrics(true: Labels, pred: Labels) -> float:
    dice = DiceScore(2, include_background=False, input_format="index")
    return dice(torch.tensor(np.stack(pred)).long(), torch.tensor(np.stack(true)).long()).item()


seen = {}
for score in (stardist, cellpose, monai, torchmetrics):
    right, false = (round(float(score([cell, empty], [cell, pred])), 3) for pred in (empty, cell))
    seen[score.__name__] = right, false
    print(f"{score.__name__} {version(score.__name__)}: {right} if the empty image is left empty, {false} with a false cell in it")
assert seen["stardist"] == (0.5, 0.5), "the finding is out of date"
assert np.isnan(seen["cellpose"][0]) and seen["cellpose"][1] == 0.5, "the finding is out of date"
assert seen["monai"] == (1.0, 1.0), "the finding is out of date"
assert seen["torchmetrics"] == (1.0, 0.5), "the finding is out of date"
PY
uv run --quiet --isolated --no-project --python 3.11 --with stardist==0.9.2 --with cellpose==4.2.1.1 --with monai==1.6.1 \
    --with torchmetrics==1.9.0 --with torch==2.15.0 --with torchvision==0.29.2 --with opencv-python-headless==5.0.0.93 \
    --with numpy==2.4.6 python "$work/probe.py"
