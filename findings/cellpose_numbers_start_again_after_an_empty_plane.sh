#!/usr/bin/env bash
# Masks that were found plane by plane, joined through the stack by Cellpose's stitch3D. Two cells lie in planes before an
# empty one, two others elsewhere after it. Then two planes in which a cell gives way to two halves of equal size.
#
# Guess before running: a number is one cell: four numbers, however many planes the first cells have; of the halves at
# most one goes on with the cell's number.
# Seen (cellpose 4.2.1.1): four numbers if the first cells have two planes. If they have one, the numbers start again after the
# empty plane, so that cells that touch nowhere are one with twice the volume. Both halves get the number of the
# cell, and two cells of the lower plane are one.
set -euo pipefail
command -v uv >/dev/null || pip install -q uv
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cat >"$work/probe.py" <<'PY'
import contextlib
import io
from importlib.metadata import version

import numpy as np

with contextlib.redirect_stdout(io.StringIO()):
    from cellpose.utils import stitch3D

print("cellpose", version("cellpose"))


def plane(*cells: tuple[slice, slice]) -> np.ndarray:
    """Labels (40, 40) with the cells numbered from 1."""
    labels = np.zeros((40, 40), np.int32)
    for number, cell in enumerate(cells, start=1):
        labels[cell] = number
    return labels


def numbers(*planes: np.ndarray) -> list[list[int]]:
    """The cells' numbers in each plane once they are joined."""
    with contextlib.redirect_stderr(io.StringIO()):
        return [np.unique(labels[labels > 0]).tolist() for labels in stitch3D(np.stack(planes), stitch_threshold=0.25)]


first = plane(np.s_[2:10, 2:10], np.s_[2:10, 20:28])
last = plane(np.s_[30:38, 2:10], np.s_[30:38, 20:28])
two = numbers(first, first, plane(), last)
one = numbers(first, plane(), last)
halves = numbers(plane(np.s_[10:18, 10:18]), plane(np.s_[10:18, 10:14], np.s_[10:18, 14:18]))
print("first cells in two planes, an empty one, others:", two)
print("first cells in one plane, an empty one, others:", one)
print("a cell, then its two halves:", halves)
assert two == [[1, 2], [1, 2], [], [3, 4]]
assert one == [[1, 2], [], [1, 2]] and halves == [[1], [1]], "each number is one cell: the finding is out of date"
PY
uv run --quiet --isolated --no-project --python 3.11 --with cellpose==4.2.1.1 --with torch==2.15.0 \
    --with torchvision==0.29.2 --with opencv-python-headless==5.0.0.93 --with numpy==2.4.6 python "$work/probe.py"
