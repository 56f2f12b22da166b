#!/usr/bin/env bash
# A cell that does not move and is missing in some frames, tracked with laptrack's gap_closing_max_frame_count.
#
# Guess before running: a count of 1 bridges one missing frame, and the default of 2 bridges two.
# Seen: it counts the frames to the next sight, so that 1 bridges none and 2 a single one; N missing frames need N + 1.
# The cutoffs are compared by <, so that a cell that moves exactly as far as allowed is lost.
set -euo pipefail
command -v uv >/dev/null || pip install -q uv
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cat >"$work/probe.py" <<'PY'
from importlib.metadata import version

import numpy as np
from laptrack import LapTrack

print("laptrack", version("laptrack"))
here, nothing = np.zeros((1, 2)), np.zeros((0, 2))


def bridged(count: int) -> int:
    """The most missing frames over which a cell is still the same one."""
    tracker = LapTrack(gap_closing_max_frame_count=count)
    return max((n for n in range(6) if tracker.predict([here, *[nothing] * n, here]).edges), default=0)


found = {count: bridged(count) for count in (1, 2, 3, 4)}
default = LapTrack().gap_closing_max_frame_count
print("missing frames that are bridged, by gap_closing_max_frame_count:", found, "default:", default)
assert found == {1: 0, 2: 1, 3: 2, 4: 3}, "the count means something else now: the finding is out of date"
exact = LapTrack(cutoff=5**2, gap_closing_cutoff=False).predict([here, here + [3.0, 4.0]])
print("a step of exactly 5 px with cutoff=5**2:", len(exact.edges), "link")
assert not exact.edges
PY
uv run --quiet --isolated --no-project --python 3.11 --with laptrack==0.17.1 --with numpy==2.4.6 python "$work/probe.py"
