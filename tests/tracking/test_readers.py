"""The files of tracks in the programs that they are for: napari's layer of tracks, traccuracy and GEFF, as they come.

Each is asked in an environment of its own, made by uv from the package index: slow, and skipped where there is none.
"""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

import pytest
from monolayer.tracking.track import track
from test_track import PARAMS, prepared
from timelapse import movie

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]
NAPARI = """
import json, sys
import pandas as pd
from napari.layers import Tracks

rows = pd.read_csv(sys.argv[1])
graph = rows.loc[rows["parent"] > 0, ["track_id", "parent"]].drop_duplicates().to_numpy()
layer = Tracks(rows[["track_id", "t", "y", "x"]].to_numpy(), graph={int(t): [int(p)] for t, p in graph})
print(json.dumps([len(layer.data), sorted(layer.graph)]))
"""
TRACCURACY = """
import json, sys
from traccuracy import run_metrics
from traccuracy.loaders import load_ctc_data
from traccuracy.matchers import CTCMatcher
from traccuracy.metrics import CTCMetrics, DivisionMetrics

found, true = (load_ctc_data(folder, f"{folder}/{table}", run_checks=True)
               for folder, table in zip(sys.argv[1:], ("res_track.txt", "man_track.txt")))
results, _ = run_metrics(true, found, CTCMatcher(), [CTCMetrics(), DivisionMetrics()])
print(json.dumps([results[0]["results"]["TRA"], results[1]["results"]["Frame Buffer 0"]["Division F1"]]))
"""


def asked(package: str, *words: str) -> str:
    """What a command prints with the package at hand."""
    if shutil.which("uv") is None:
        pytest.skip("needs uv")
    command = ["uv", "run", "--isolated", "--no-project", "--with", package, *words]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode and "No solution found" in done.stderr:
        pytest.skip(f"{package} can't be had here: {done.stderr[-300:]}")
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Tracks of the truth, and as of a run that found every cell."""
    folder = tmp_path_factory.mktemp("files")
    truth, cells = prepared(folder, movie().truth())
    track(truth, cells, PARAMS, folder / "tracks")
    return folder / "tracks/files"


def test_napari_takes_the_tracks(files: Path) -> None:
    table = files / "napari/disk_A1.csv"
    points, daughters = json.loads(asked("napari==0.9.2", "python", "-c", NAPARI, str(table)).splitlines()[-1])
    assert points == len(table.read_text().splitlines()) - 1
    assert len(daughters) == 2


def test_traccuracy_says_the_same(files: Path, tmp_path: Path) -> None:
    shutil.copytree(files / "ctc/disk_A1", tmp_path / "found")
    (tmp_path / "found/man_track.txt").rename(tmp_path / "found/res_track.txt")
    words = ("python", "-c", TRACCURACY, str(tmp_path / "found"), str(files / "ctc/disk_A1"))
    assert json.loads(asked("traccuracy==0.4.3", *words).splitlines()[-1]) == [1, 1]


def test_geff_is_made_of_the_folder(files: Path, tmp_path: Path) -> None:
    words = ("geff", "convert-ctc", str(files / "ctc/disk_A1"), str(tmp_path / "tracks.geff"))
    asked("geff[ctc]==1.3.1.1.3", *words)
    assert (tmp_path / "tracks.geff/nodes").is_dir()
    assert (tmp_path / "tracks.geff/edges").is_dir()
