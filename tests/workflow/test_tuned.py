"""What is exported of a tuned run hangs on what it gained, which the workflow knows only once it was scored."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from culture import Culture
from test_workflow import lay_out, planned, snakemake

pytestmark = pytest.mark.workflow

MINE = "dataset: labelled\nselected: [ready, tuned]\ndatasets: {labelled: {images: images, masks: masks}}\n"
SCORED = (
    *("data/images/.snakemake_timestamp", "data/annotations.json", "data/audit.json"),
    *(f"splits/{split}.json" for split in ("train", "val", "test")),
    *(f"models/{run}/{name}" for run in ("ready", "tuned") for name in ("weights.pt", "run.json", "history.csv")),
    *(f"predictions/{run}/{split}.json.gz" for run in ("ready", "tuned") for split in ("val", "test")),
    *(
        f"metrics/{run}.{end}"
        for run in ("ready", "tuned")
        for end in ("json", "headline.json", "images.csv", "curves.csv", "strata.csv", "errors.csv", "bootstrap.npz")
    ),
)


@pytest.mark.parametrize("exported", [True, False])
def test_a_tuned_run_is_exported_only_where_its_gain_is_real(tmp_path: Path, culture: Culture, exported: bool) -> None:
    lay_out(tmp_path, culture)
    (tmp_path / "my.yaml").write_text(MINE)
    for folder in ("images", "masks"):
        (tmp_path / folder).mkdir()
    for name in (*SCORED, "metrics/tuned.gain.json"):
        file = tmp_path / "results/labelled" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps({"exported": exported}))
    plan = planned(tmp_path)
    assert "gain" not in plan  # it is there
    assert plan["export"] == plan["card"] == plan["benchmark"] == 1 + exported
    shown = snakemake(tmp_path, "--dry-run", "--", "results/labelled/report.html").stdout
    assert "rounds.csv" not in shown
    (tmp_path / "results/labelled/rounds.csv").touch()
    shown = snakemake(tmp_path, "--dry-run", "--", "results/labelled/report.html").stdout
    assert re.search(r"rule report:\n    input: .*metrics/tuned.gain.json, results/labelled/rounds.csv", shown)
    (tmp_path / "results/labelled/metrics/tuned.gain.json").unlink()
    plan = planned(tmp_path)
    assert plan["gain"] == 1
    assert "export" not in plan  # not known yet
