#!/usr/bin/env bash
# Losses of segmentation_models_pytorch on a batch without cells, as empty fields give them, when the network sees cells
# all over it; and on the same batch with one small cell.
#
# Guess before running: about 1 in both, with a gradient that takes the false cells away, as MONAI's has it.
# Seen (0.6.0): DiceLoss, JaccardLoss and TverskyLoss are multiplied by 0 where the truth of the whole batch is empty: the
# loss is 0 and so is its gradient, the same as for a perfect result. Alone they never teach that an empty field is empty, in
# batches of one least of all. MONAI's (1.6.1) says 1.0, but its gradient, of 1e-12, teaches nothing either. Cross entropy
# does. With one cell of 16 px in the batch the losses are above 0.99.
set -euo pipefail
command -v uv >/dev/null || pip install -q uv
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cat >"$work/probe.py" <<'PY'
from importlib.metadata import version

import torch
from monai.losses import DiceLoss
from segmentation_models_pytorch import losses

print({name: version(name) for name in ("segmentation-models-pytorch", "monai")})
empty, cell = torch.zeros(2, 1, 64, 64), torch.zeros(2, 1, 64, 64)
cell[0, 0, 30:34, 30:34] = 1  # one small cell in the first image of the batch


def judged(loss: torch.nn.Module, truth: torch.Tensor) -> tuple[float, float]:
    """The loss of cells seen everywhere, and the length of its gradient."""
    logits = torch.full_like(truth, 3.0).requires_grad_()
    value = loss(logits, truth)
    value.backward()
    return round(value.item(), 3), logits.grad.norm().item()


kinds = {f"smp {name}": getattr(losses, name)(mode="binary") for name in ("DiceLoss", "JaccardLoss", "TverskyLoss")}
others = {"MONAI DiceLoss": DiceLoss(sigmoid=True), "torch BCEWithLogitsLoss": torch.nn.BCEWithLogitsLoss()}
seen = {}
for name, loss in (kinds | others).items():
    seen[name] = nothing, something = judged(loss, empty), judged(loss, cell)
    print(f"{name}: loss {nothing[0]}, gradient {nothing[1]:.1e} without cells; {something[0]}, {something[1]:.1e} with one")
assert all(seen[name][0] == (0, 0) for name in kinds), "false cells cost something now: the finding is out of date"
assert all(loss > 0.99 and gradient > 1e-5 for _, (loss, gradient) in seen.values())
assert seen["MONAI DiceLoss"][0][0] == 1 and seen["MONAI DiceLoss"][0][1] < 1e-10
assert seen["torch BCEWithLogitsLoss"][0][1] > 0.01
PY
uv run --quiet --isolated --no-project --python 3.11 --with segmentation-models-pytorch==0.6.0 --with monai==1.6.1 \
    --with torch==2.15.0 --with torchvision==0.29.2 --with numpy==2.4.6 python "$work/probe.py"
