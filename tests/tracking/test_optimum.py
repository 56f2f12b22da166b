"""Links of all frames at once, by motile: within the same reach as laptrack's, and rows of their own beside them."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import test_linking
import yaml
from checkouts import Checkout
from monolayer.compiled import Floats
from monolayer.files import InputError
from monolayer.params.params import load
from monolayer.tracking import linking, optimum
from monolayer.tracking.linking import Reach
from monolayer.tracking.track import track
from paths import ROOT
from test_linking import ANY, at, wandering
from test_track import PARAMS, prepared
from timelapse import movie

MOTILE = PARAMS.model_copy(update={"tracker": "motile", "files": []})


def edges(frames: list[Floats], reach: Reach) -> set[tuple[int, int]]:
    pytest.importorskip("motile", reason="needs the extra motile")
    return test_linking.edges(frames, reach, by=optimum)


@pytest.mark.parametrize("reach", [Reach(14, 14, 2, 12, ANY), Reach(8, 16, 0, 0, ANY)])
def test_no_set_of_links_is_cheaper(reach: Reach) -> None:
    """laptrack chooses among the same ones, frame by frame: most are the same, and its choice costs more or as much."""
    frames = wandering(40, 8, 0)
    frames[5] = frames[5][:0]  # nothing was found there
    areas = [np.ones(len(frame)) for frame in frames]
    ours, theirs = edges(frames, reach), linking.link(frames, areas, reach)
    plain = set(zip(theirs.before.tolist(), theirs.after.tolist(), strict=True))
    assert len(ours & plain) > 0.97 * len(plain)
    assert cost(ours, frames, reach) <= cost(plain, frames, reach) + 1e-6
    after = [b for _, b in ours]
    assert len(set(after)) == len(after)  # one mother
    assert np.bincount([a for a, _ in ours]).max() <= (2 if reach.division else 1)


def cost(links: set[tuple[int, int]], frames: list[Floats], reach: Reach) -> float:
    """Squared lengths, and the cost of each track's end and start."""
    points = np.concatenate(frames)
    frame_of = np.repeat(np.arange(len(frames)), [len(frame) for frame in frames])
    lengths = sum(float(((points[a] - points[b]) ** 2).sum()) / reach.alone for a, b in links)
    cells = set(range(len(points)))
    ends = [cell for cell in cells - {a for a, _ in links} if frame_of[cell] < len(frames) - 1]
    starts = [cell for cell in cells - {b for _, b in links} if frame_of[cell] > 0]
    return lengths + len(ends) + len(starts)


def test_a_daughter_may_be_farther_than_a_cell_moves_and_no_other_cell() -> None:
    near, far = (0.5, 0), (5, 0)
    reach = Reach(2, 2, 0, 6, ANY)
    assert edges([at((0, 0)), at(near, far)], reach) == {(0, 1), (0, 2)}
    assert edges([at((0, 0)), at(far)], reach) == set()
    assert edges([at((0, 0)), at(far, (0, 5))], reach) == set()  # one of them has to be near


def test_the_true_tracks_are_found(tmp_path: Path) -> None:
    pytest.importorskip("motile", reason="needs the extra motile")
    truth, cells = prepared(tmp_path, movie(drift=(6.0, -2.0)).truth())
    track(truth, cells, MOTILE, tmp_path / "tracks")
    [scores] = pd.read_parquet(tmp_path / "tracks/scores.parquet").to_dict("records")
    assert scores["tracker"] == "motile"
    assert scores["tra"] == scores["complete_tracks"] == 1
    assert (scores["division_tp"], scores["division_fp"], scores["division_fn"]) == (1, 0, 0)


def test_without_the_package_an_error_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "motile", None)
    with pytest.raises(InputError, match=r"track.tracker is motile, which .*pip install 'monolayer\[motile"):
        optimum.link([at((0, 0)), at((1, 0))], [np.ones(1)] * 2, Reach(5, 5, 0, 0, ANY))


# ---- other settings as rows ----------------------------------------------------------------------------

ALSO: dict[str, Any] = {"near": {"max_move": 1.0}, "motile": {"tracker": "motile"}}


def test_rows_of_other_settings() -> None:
    config = yaml.safe_load((ROOT / "params.yaml").read_text())
    config["selected"] = ["unet"]
    assert list(load(config).tracked) == ["truth", "unet"]
    assert "tracker" not in load(config).tracked["unet"].settings.model_dump_json()
    config["track"]["also"] = ALSO
    tracked = load(config).tracked
    assert list(tracked) == ["truth", "truth_near", "truth_motile", "unet", "unet_near", "unet_motile"]
    assert tracked["unet_near"].source == "unet"
    assert tracked["unet_near"].settings == tracked["unet"].settings.model_copy(update={"max_move": 1.0})
    assert tracked["truth_motile"].settings.tracker == "motile"


@pytest.mark.workflow
def test_each_is_a_job_that_reads_the_same_cells(origin: Checkout, tmp_path: Path) -> None:
    checkout = origin.clone(tmp_path / "checkout")
    params = checkout.params()
    params["track"]["also"] = ALSO
    checkout.set_params(params)
    plan = checkout.snakemake("--dry-run", "--forceall", "--printshellcmds").stdout
    jobs = dict(re.findall(r"^(\w+) +(\d+)$", plan, re.MULTILINE))
    assert (jobs["track"], jobs["measure"], jobs["compare_tracks"]) == ("6", "2", "1")
    [command] = re.findall(r"monolayer track .*tracks/unet1_motile .*", plan)
    assert "--cells results/own/cells/unet1 --results results/own/predictions/unet1/test.json.gz" in command
    assert '"tracker":"motile"' in command
    [command] = re.findall(r"monolayer compare-tracks .*", plan)
    for row in ("truth", "truth_near", "truth_motile", "unet1", "unet1_near", "unet1_motile"):
        assert f"results/own/tracks/{row} " in command
