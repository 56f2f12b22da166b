#!/usr/bin/env bash
# torchvision.ops.batched_nms, which keeps suppression within each class (or tile), on boxes that a network or a stage's
# origin puts left of and above 0, and on boxes of a slide whose tiles are the groups.
#
# Guess before running: boxes of two groups never meet; within a group it is what nms says, whatever the group's number.
# Seen (torchvision 0.29.2, a CPU): up to 1,000 boxes the groups lie side by side in one plane, group * (largest coordinate + 1)
# further. A box of class 1 at (-11, -11) then lies upon one of class 0 at (90, 90): one of two cells 140 px apart is gone.
# In tile 1,000 of a slide 20,000 px wide, float32 has steps of 2 px there: of a cell found twice, 3 px apart, both stay,
# which in tile 0 are one. With more boxes than 1,000 each group is done by itself, and both are right. Nothing is said.
set -euo pipefail
command -v uv >/dev/null || pip install -q uv
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cat >"$work/probe.py" <<'PY'
import torch
import torchvision
from torchvision.ops import batched_nms, nms

print("torchvision", torchvision.__version__)
# 1,000 boxes apart from each other and from all else, in a group of their own.
places = torch.cartesian_prod(torch.arange(40.0), torch.arange(25.0)) * 20 + 3000
more = torch.cat([places, places + 10], dim=1)


def kept(boxes_xyxy: torch.Tensor, groups: list[int], others: bool) -> int:
    """How many of the boxes are kept."""
    count = len(boxes_xyxy)
    boxes = torch.cat([boxes_xyxy, more]) if others else boxes_xyxy
    scores = torch.linspace(0.9, 0.1, len(boxes))
    numbers = torch.tensor(groups + [7] * (len(boxes) - count))
    return int((batched_nms(boxes, scores, numbers, 0.5) < count).sum())


apart = torch.tensor([[90.0, 90, 100, 100], [-11, -11, -1, -1]])
# The same cell twice (IoU 0.54), and the slide's last corner.
twice = torch.tensor([[1000.0, 1000, 1010, 1010], [1003, 1000, 1013, 1010], [19990, 19990, 20000, 20000]])
assert len(nms(apart, torch.tensor([0.9, 0.8]), 0.5)) == 2
assert len(nms(twice, torch.tensor([0.9, 0.8, 0.7]), 0.5)) == 2
found = {}
for others in (False, True):
    found[others] = (kept(apart, [0, 1], others), kept(twice, [0, 0, 0], others), kept(twice, [1000, 1000, 0], others))
    print(f"{'beside 1,000 others' if others else 'alone'}: of two cells of two classes {found[others][0]} kept; of one cell "
          f"found twice and a corner {found[others][1]} in tile 0, {found[others][2]} in tile 1,000")
assert found[True] == (2, 2, 2)
assert found[False] == (1, 2, 3), "groups don't meet, whatever their number: the finding is out of date"
PY
uv run --quiet --isolated --no-project --python 3.11 --with torch==2.15.0 --with torchvision==0.29.2 \
    --with numpy==2.4.6 python "$work/probe.py"
