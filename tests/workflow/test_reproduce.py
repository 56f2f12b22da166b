"""A commit makes its recorded files again, and a file that is not as recorded is named."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from checkouts import Checkout
from monolayer.provenance import reproduce

pytestmark = pytest.mark.workflow


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_a_commit_makes_its_results_again(recorded: Checkout, tmp_path: Path) -> None:
    again = tmp_path / "again"
    done = recorded.run("monolayer", "reproduce", "--folder", str(again), "--cores", "2")
    verdicts = {path: verdict for verdict, path in re.findall(r"^(\w+) +(results/\S+)$", done.stderr, re.MULTILINE)}
    own = "results/own"
    timed = {path.removeprefix(f"{own}/") for path, verdict in verdicts.items() if verdict == "timed"}
    assert timed == {"models/unet1/run.json", "export/unet1/card.md", "benchmark/unet1.json", "report.html"}
    assert {verdict for path, verdict in verdicts.items() if verdict != "timed"} == {"identical"}
    assert {f"{own}/metrics.csv", f"{own}/data/images", f"{own}/models/unet1/weights.pt"} <= set(verdicts)
    assert "every file is as commit" in done.stderr
    with (again / own / "metrics.csv").open("a") as file:
        file.write("\n")
    (again / own / "pairs.csv").unlink()
    found = reproduce.compare(again)
    changed = {path: verdict for path, verdict in found.items() if verdicts[path] != verdict}
    assert changed == {f"{own}/metrics.csv": "differs", f"{own}/pairs.csv": "missing"}


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_a_commit_without_a_record(origin: Checkout) -> None:
    done = origin.run("monolayer", "reproduce", check=False)
    assert done.returncode == 1
    assert "this commit has no dvc.lock; run snakemake and `monolayer record`" in done.stderr
