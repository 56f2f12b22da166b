"""Scores of tracks in one table: means over time-lapses, intervals over wells, differences of runs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from monolayer.files import InputError
from monolayer.params.steps import TrackScoresParams
from monolayer.tracking.comparison import compare
from monolayer.tracking.dictionary import SCORE

PARAMS = TrackScoresParams(n_resamples=200, seed=0)


def write(folder: Path, tra: list[float], wells: list[str], **more: Any) -> Path:
    """scores.parquet of a run with these time-lapses."""
    folder.mkdir()
    columns: dict[str, Any] = dict.fromkeys(SCORE, 0.5) | {
        "cell_line": "disk",
        "well": wells,
        "timelapse": [f"{well}_{n}" for n, well in enumerate(wells)],
        "tracker": "laptrack",
        "tra": tra,
        "true_cells": 10,
        "true_tracks": 2,
        "true_divisions": 3,
        "division_tp": 2,
        "division_fp": 1,
        "division_fn": 1,
    }
    pd.DataFrame(columns | more).to_parquet(folder / "scores.parquet")
    return folder


def test_means_and_paired_differences(tmp_path: Path) -> None:
    wells = ["A1", "A2", "A3", "A4", "A5", "A6"]
    good, bad = (
        write(tmp_path / "good", [0.9, 0.8, 0.7, 0.6, 0.8, 0.7], wells),
        write(tmp_path / "bad", [0.8, 0.7, 0.6, 0.5, 0.7, 0.6], wells),
    )
    compare([good, bad], PARAMS, tmp_path / "tracks.csv")
    table = pd.read_csv(tmp_path / "tracks.csv")
    assert table["run"].tolist() == ["good", "good", "bad", "bad"]
    assert table["cell_line"].tolist() == ["all", "disk"] * 2
    np.testing.assert_allclose(table["tra"], [0.75, 0.75, 0.65, 0.65])
    assert (table["tra_low"] < table["tra"]).all()
    assert (table["tra_high"] > table["tra"]).all()
    np.testing.assert_allclose(table["division_f1"], 2 / 3)
    assert table["true_cells"].tolist() == [60] * 4
    pairs = pd.read_csv(tmp_path / "tracks.pairs.csv").set_index(["metric", "cell_line"])
    np.testing.assert_allclose(pairs.loc[("tra", "all"), ["difference", "low", "high"]].astype(float), 0.1)
    assert pairs.loc[("tra", "all"), "real"]
    assert not pairs.loc[("seg", "all"), "real"]


def test_few_wells_show_nothing(tmp_path: Path) -> None:
    """Five, and a sixth that is the only one of its line."""
    wells, lines = ["A1", "A2", "A3", "A4", "A5", "B1"], ["disk"] * 5 + ["ring"]
    folders = [write(tmp_path / name, [score] * 6, wells, cell_line=lines) for name, score in (("a", 0.9), ("b", 0.8))]
    compare(folders, PARAMS, tmp_path / "tracks.csv")
    assert not pd.read_csv(tmp_path / "tracks.pairs.csv")["real"].any()


def test_wells_that_say_nothing_of_a_score_are_not_counted(tmp_path: Path) -> None:
    """Six wells, in two of which cells divide: TRA may be really different, the share of divisions found not."""
    wells, rare = ["A1", "A2", "A3", "A4", "A5", "A6"], np.array([2, 2, 0, 0, 0, 0])
    known = np.where(rare, 1.0, np.nan)
    folders = [
        write(tmp_path / name, [tra] * 6, wells, branching=known * tra, division_tp=tp, division_fp=0, division_fn=fn)
        for name, tra, tp, fn in (("a", 0.9, rare, 0 * rare), ("b", 0.8, 0 * rare, rare))
    ]
    compare(folders, PARAMS, tmp_path / "tracks.csv")
    pairs = pd.read_csv(tmp_path / "tracks.pairs.csv").set_index(["metric", "cell_line"])["real"]
    assert pairs["tra", "all"]
    assert not pairs["branching", "all"]
    assert not pairs["division_f1", "all"]


def test_one_well_has_no_interval(tmp_path: Path) -> None:
    compare([write(tmp_path / "one", [0.9, 0.7], ["A1", "A1"])], PARAMS, tmp_path / "tracks.csv")
    table = pd.read_csv(tmp_path / "tracks.csv")
    assert table["tra"].tolist() == [0.8, 0.8]
    assert table["tra_low"].isna().all()


def test_scores_that_truth_does_not_have(tmp_path: Path) -> None:
    empty = {"division_tp": 0, "division_fn": 0, "branching": np.nan, "cell_cycle": np.nan}
    compare([write(tmp_path / "one", [0.9], ["A1"], **empty)], PARAMS, tmp_path / "tracks.csv")
    assert pd.read_csv(tmp_path / "tracks.csv")[["division_f1", "branching", "cell_cycle"]].isna().all(axis=None)


def test_runs_of_other_truth_are_not_compared(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    one, other = write(tmp_path / "one", [0.9], ["A1"]), write(tmp_path / "other", [0.9], ["A2"])
    compare([one, other], PARAMS, tmp_path / "tracks.csv")
    assert pd.read_csv(tmp_path / "tracks.csv")["run"].tolist() == ["one", "one", "other", "other"]
    assert len(pd.read_csv(tmp_path / "tracks.pairs.csv")) == 0
    assert "one and other were scored on other time-lapses: no differences between them" in caplog.text
    with pytest.raises(InputError, match="two folders are of the same run"):
        compare([one, one], PARAMS, tmp_path / "twice.csv")
    assert not (tmp_path / "twice.csv").exists()


def test_without_true_tracks_the_table_is_empty(tmp_path: Path) -> None:
    folder = write(tmp_path / "none", [], [])
    compare([folder], PARAMS, tmp_path / "tracks.csv")
    assert len(pd.read_csv(tmp_path / "tracks.csv")) == 0
