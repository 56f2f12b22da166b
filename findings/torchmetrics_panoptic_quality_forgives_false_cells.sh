#!/usr/bin/env bash
# torchmetrics' PanopticQuality on an image with one cell. The prediction has this cell, to the pixel, and five more where
# there is nothing.
#
# Guess before running: PQ of the cells is 1 / (1 + 5/2) = 0.286, as the formula has it.
# Seen: with the cells as the only category, background is "void" and whatever is predicted there is forgiven: PQ is 1.
# With the background as a "stuff" it's the mean over both, 0.622; without any predicted cell it still is 0.495. The cells'
# own 0.286 comes with return_per_class=True alone.
set -euo pipefail
command -v uv >/dev/null || pip install -q uv
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cat >"$work/probe.py" <<'PY'
import warnings
from importlib.metadata import version

import torch
from torchmetrics.detection import PanopticQuality

warnings.simplefilter("ignore")
CELL, BACKGROUND = 1, 0
true = torch.zeros(1, 60, 60, 2, dtype=torch.long)  # category and number of each pixel
true[0, 3:9, 3:9] = torch.tensor([CELL, 1])
pred = true.clone()
for more in range(5):
    pred[0, 20 + 7 * more : 25 + 7 * more, 20:26] = torch.tensor([CELL, 2 + more])


def pq(predicted: torch.Tensor, stuffs: set[int], **options: bool) -> list[float]:
    metric = PanopticQuality({CELL}, stuffs, allow_unknown_preds_category=True, **options)
    return [round(value, 3) for value in metric(predicted, true).flatten().tolist()]


print("torchmetrics", version("torchmetrics"))
seen = {
    "cells alone": pq(pred, set()),
    "cells and background": pq(pred, {BACKGROUND}),
    "each of them": pq(pred, {BACKGROUND}, return_per_class=True),
    "no cell predicted": pq(torch.zeros_like(true), {BACKGROUND}),
}
print(seen)
assert seen["each of them"] == [0.286, 0.958], "the formula"
assert seen["cells alone"] == [1.0] and seen["cells and background"] == [0.622], "the finding is out of date"
assert seen["no cell predicted"] == [0.495], "the finding is out of date"
PY
uv run --quiet --isolated --no-project --python 3.11 --with torchmetrics==1.9.0 --with torch==2.15.0 --with torchvision==0.29.2 \
    python "$work/probe.py"
