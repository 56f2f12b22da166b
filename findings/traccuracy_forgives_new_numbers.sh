#!/usr/bin/env bash
# A time-lapse of two cells that don't divide, in the format of the Cell Tracking Challenge. The result has every cell, and
# gives it a new number in each frame, with the last one as the parent: nothing is followed.
#
# Guess before running: both evaluators of the challenge's measures say the same, and LNK is below 1: a link from parent
# to child counts as one of wrong meaning where the truth goes on with the same track.
# Seen: py-ctcmetrics has LNK 0.333 and TRA 0.926. traccuracy has 1.0 for both: it reads the numbers into a graph, where a
# parent of one child is the same as a track that goes on. HOTA, too, is 1.0 in py-ctcmetrics, which joins such tracks first.
set -euo pipefail
command -v uv >/dev/null || pip install -q uv
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cat >"$work/probe.py" <<'PY'
import contextlib
import io
import warnings
from importlib.metadata import version
from pathlib import Path

import numpy as np
import tifffile
from ctc_metrics.scripts.evaluate import evaluate_sequence
from traccuracy import run_metrics
from traccuracy.loaders import load_ctc_data
from traccuracy.matchers import CTCMatcher
from traccuracy.metrics import CTCMetrics

warnings.simplefilter("ignore")
FRAMES, PLACES = 6, ((10, 10), (60, 60))


def write(pattern: str, table: str, numbers: list[tuple[int, int]], tracks: list[tuple[int, ...]]) -> None:
    for frame, of_frame in enumerate(numbers):
        image = np.zeros((100, 100), np.uint16)
        for (y, x), number in zip(PLACES, of_frame, strict=True):
            image[y : y + 8, x : x + 8] = number
        path = Path(pattern.format(frame))
        path.parent.mkdir(parents=True, exist_ok=True)
        tifffile.imwrite(path, image)
    Path(table).write_text("".join(" ".join(map(str, track)) + "\n" for track in tracks))


kept = [(1, 2)] * FRAMES
renewed = [(2 * frame + 1, 2 * frame + 2) for frame in range(FRAMES)]
write("01_GT/TRA/man_track{:03}.tif", "01_GT/TRA/man_track.txt", kept, [(1, 0, 5, 0), (2, 0, 5, 0)])
write("01_GT/SEG/man_seg{:03}.tif", "01_GT/SEG/unused.txt", kept, [])
lines = [(number, frame, frame, max(0, number - 2)) for frame, pair in enumerate(renewed) for number in pair]
write("01_RES/mask{:03}.tif", "01_RES/res_track.txt", renewed, lines)
with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
    ctc = evaluate_sequence("01_RES", "01_GT")
    true = load_ctc_data("01_GT/TRA", "01_GT/TRA/man_track.txt")
    found = load_ctc_data("01_RES", "01_RES/res_track.txt")
    [of_graphs], _ = run_metrics(true, found, CTCMatcher(), [CTCMetrics()])
ours = {name: round(float(ctc[name]), 3) for name in ("DET", "LNK", "TRA", "HOTA")}
theirs = {name: round(float(of_graphs["results"][name]), 3) for name in ("DET", "LNK", "TRA")}
print(f"py-ctcmetrics {version('py-ctcmetrics')}: {ours}")
print(f"traccuracy {version('traccuracy')}: {theirs}")
assert ours == {"DET": 1.0, "LNK": 0.333, "TRA": 0.926, "HOTA": 1.0}, "the finding is out of date"
assert theirs == {"DET": 1.0, "LNK": 1.0, "TRA": 1.0}, "the finding is out of date"
PY
cd "$work"
uv run --quiet --isolated --no-project --python 3.11 --with py-ctcmetrics==1.3.3 --with traccuracy==0.4.3 --with numpy==2.4.6 \
    --with tifffile==2026.3.3 --with imagecodecs==2026.3.6 python probe.py
