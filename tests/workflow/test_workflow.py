"""The workflow itself, run by snakemake on the 12-image culture: from a user's folder to the report."""

from __future__ import annotations

import csv
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import yaml
from culture import Culture
from monolayer.backends.manifest import read_manifest
from paths import ROOT

pytestmark = pytest.mark.workflow
QUICK = {"epochs": 2, "batch": 4, "warmup_steps": 2}


def lay_out(folder: Path, culture: Culture) -> None:
    """A checkout of its own that shares the code, and a user's parameter file for the culture and two runs."""
    folder.mkdir(exist_ok=True)
    for name in ("Snakefile", "profiles", "workflow", "envs", "params.yaml"):
        (folder / name).symlink_to(ROOT / name)
    yolo = {"quick": {"train": {"imgsz": 128, "fit": QUICK, "val_predict": {"imgsz": 128}}, "predict": {"imgsz": 128}}}
    model = yaml.safe_load((ROOT / "params.yaml").read_text())["models"]["yolo"]
    override: dict[str, Any] = {
        "dataset": "own",
        "selected": ["yolo", "other"],
        "datasets": {"own": {"images": str(culture.images), "annotations": str(culture.annotations)}},
        "models": {"yolo": yolo, "other": merged(model, yolo)},
        "runs": {"other": {"model": "other", "lines": "each", "extension": "matched"}},
        "extensions": {"matched": {"factor": 2}},
        "export": {
            "dtypes": ["fp32", "fp16"],
            "engines": ["fp16"],
            "targets": ["SM86"],
            # two epochs leave scores that are all alike, whose order last digits turn round
            "parity": {dtype: {"mask_iou": 0.0, "lost": 1.0, "ap": 1.0} for dtype in ("fp32", "fp16")},
        },
        "benchmark": {"images": 2, "batches": [1], "seconds": 0.01},
    }
    (folder / "my.yaml").write_text(yaml.safe_dump(override))


def merged(one: dict[str, Any], other: dict[str, Any]) -> dict[str, Any]:
    return {
        key: merged(one[key], other[key]) if key in other and isinstance(one[key], dict) else other.get(key, one[key])
        for key in one
    }


def snakemake(folder: Path, *words: str, variables: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "snakemake", "--cores", "2", "--configfile", "my.yaml", *words]
    env = os.environ | (variables or {})
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False, env=env)


def planned(folder: Path, *words: str) -> dict[str, int]:
    """Jobs that a dry run announces, by rule."""
    text = snakemake(folder, "--dry-run", "--quiet", "--", *words).stdout if words else ""
    text = text or snakemake(folder, "--dry-run").stdout
    return {rule: int(count) for rule, count in re.findall(r"^(\w+) +(\d+)$", text, re.MULTILINE) if rule != "total"}


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory, culture: Culture) -> Path:
    """The checkout after a whole run; tests may change its my.yaml if they put it back."""
    folder = tmp_path_factory.mktemp("workflow")
    lay_out(folder, culture)
    done = snakemake(folder)
    assert done.returncode == 0, done.stderr[-4000:]
    return folder


def test_everything_is_made(finished: Path) -> None:
    results = finished / "results/own"
    rows = list(csv.DictReader((results / "metrics.csv").open()))
    assert {row["run"] for row in rows} == {"yolo", "other"}
    assert {row["cell_line"] for row in rows} == {"all", "round", "long"}
    assert "<html" in (results / "report.html").read_text()[:200]
    record = json.loads((results / "models/other/run.json").read_text())
    assert set(record["networks"]) == {"round", "long"}
    for network in record["networks"].values():
        assert network["synthetic_images"] == 2 * (network["train_images"] - network["synthetic_images"]) > 0
    assert "energy distance" in (results / "report.html").read_text()
    assert not list(results.rglob("*.partial"))
    assert not (results / "models/yolo/checkpoint").exists()


def test_an_exported_folder_has_all_that_it_needs(finished: Path) -> None:
    for run in ("yolo", "other"):
        folder, found = read_manifest(finished / "results/own/export" / run)
        needed = ["card.md", "model.json", "networks", "parity.json", "seen.txt"]
        assert sorted(path.name for path in folder.iterdir()) == needed
        scores = json.loads((finished / f"results/own/metrics/{run}.json").read_text())
        assert found.score_threshold == scores["score_threshold"]
        assert (folder / found.card).read_text().startswith(f"# {run}\n")


def test_originals_are_not_touched(finished: Path, culture: Culture) -> None:
    assert not list(culture.folder.rglob("*.cache"))
    assert len(list(culture.images.iterdir())) == 12


def test_nothing_is_left_to_do(finished: Path) -> None:
    done = snakemake(finished, "--dry-run", variables={"PYTHONPROFILEIMPORTTIME": "1"})
    assert "Nothing to be done" in done.stdout + done.stderr
    assert "workflow specific profile profiles/default" in done.stderr, "Snakemake takes it by itself"
    for heavy in ("torch", "torchvision", "ultralytics", "matplotlib", "skimage", "onnxruntime", "numba"):
        assert f" {heavy}\n" not in done.stderr, f"the Snakefile loads {heavy} to say that nothing is to be done"


@pytest.mark.parametrize("name", ["split", "predict", "report"])
def test_a_stage_of_dvc_plans_its_rule_alone(finished: Path, name: str) -> None:
    """Whatever else there is: with a checkpoint among the rules, --allowed-rules keeps no other from being forced."""
    stages = yaml.safe_load((ROOT / "dvc.yaml").read_text())
    stage = stages["stages"][name]
    command = stage.get("do", stage)["cmd"]
    for key, value in {"sm": stages["vars"][0]["sm"], "dataset": "own", "key": "yolo"}.items():
        command = command.replace(f"${{{key}}}", value)
    words = command.split()
    assert words[:3] == ["snakemake", "--cores", "all"]
    done = snakemake(finished, "--dry-run", *words[words.index("--allowed-rules") :])
    assert done.returncode == 0, done.stderr
    assert set(re.findall(r"^rule (\w+):$", done.stdout, re.MULTILINE)) == {name}


def test_a_changed_parameter_reruns_its_model_and_the_tables(finished: Path) -> None:
    text = (finished / "my.yaml").read_text()
    override = yaml.safe_load(text)
    override["models"]["other"]["quick"]["train"]["fit"]["learning_rate"] = 0.001
    (finished / "my.yaml").write_text(yaml.safe_dump(override))
    try:
        jobs = planned(finished)
    finally:
        (finished / "my.yaml").write_text(text)
    assert jobs.pop("export") == jobs.pop("card") == jobs.pop("benchmark") == 1
    others = ("train", "evaluate", "compare", "measure", "track", "compare_tracks", "report", "all")
    assert jobs == {"predict": 2, **dict.fromkeys(others, 1)}


def test_a_misspelled_key_stops_before_the_first_job(finished: Path) -> None:
    done = snakemake(finished, "--config", "scael=full")
    assert done.returncode != 0
    assert "scael: unknown key, did you mean 'scale'?" in done.stdout + done.stderr


def test_a_failed_rule_names_its_log_and_leaves_nothing(tmp_path: Path, culture: Culture) -> None:
    lay_out(tmp_path, culture)
    (tmp_path / "broken.json").write_text('{"images": [')
    override = yaml.safe_load((tmp_path / "my.yaml").read_text())
    override["datasets"]["own"]["annotations"] = "broken.json"
    (tmp_path / "my.yaml").write_text(yaml.safe_dump(override))
    done = snakemake(tmp_path)
    assert done.returncode != 0
    assert "results/own/logs/download.log" in done.stderr
    assert "broken.json" in (tmp_path / "results/own/logs/download.log").read_text()
    assert not (tmp_path / "results/own/data/annotations.json").exists()


def test_a_killed_run_goes_on_and_ends_the_same(tmp_path: Path, culture: Culture, finished: Path) -> None:
    """kill -9 of everything while a network is trained, then the same command."""
    lay_out(tmp_path, culture)
    override = yaml.safe_load((tmp_path / "my.yaml").read_text())
    (tmp_path / "my.yaml").write_text(yaml.safe_dump(override | {"selected": ["yolo"]}))
    wanted = [f"results/own/{name}" for name in ("models/yolo/weights.pt", "metrics/yolo.json")]
    command = [sys.executable, "-m", "snakemake", "--cores", "2", "--configfile", "my.yaml", "--", *wanted]
    running = subprocess.Popen(command, cwd=tmp_path, stderr=subprocess.DEVNULL, start_new_session=True)
    while not list(tmp_path.glob("results/own/models/yolo/checkpoint/*/all/last.pt")):
        assert running.poll() is None, "it ended before its first checkpoint"
        time.sleep(0.02)
    os.killpg(running.pid, signal.SIGKILL)
    running.wait()
    assert not (tmp_path / "results/own/models/yolo/weights.pt").exists()
    shutil.rmtree(tmp_path / ".snakemake/locks", ignore_errors=True)  # as `snakemake --unlock` does
    done = snakemake(tmp_path, "--", *wanted)
    assert done.returncode == 0, done.stderr[-4000:]
    for name in ("models/yolo/weights.pt", "predictions/yolo/test.json.gz", "metrics/yolo.json"):
        assert (tmp_path / "results/own" / name).read_bytes() == (finished / "results/own" / name).read_bytes()
