"""A round is kept once, with what it was made of, and comes back whole; nothing that is out of date is kept."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
from monolayer.__main__ import main
from paths import ROOT

pytestmark = pytest.mark.workflow
START = 1_700_000_000


def git(*words: str) -> str:
    who = ["-c", "user.name=a", "-c", "user.email=a@b.c"]
    return subprocess.run(["git", *who, *words], capture_output=True, text=True, check=True).stdout


@pytest.fixture
def results(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A repository with DVC and this one's .gitignore, and what a first round of annotation left."""
    monkeypatch.chdir(tmp_path)
    for name in (".gitignore", ".dvcignore"):
        shutil.copy(ROOT / name, name)
    git("init", "--quiet", "-b", "main")
    subprocess.run(["dvc", "init", "--quiet"], check=True)
    folder = Path("results/labelled")
    made(folder, images=8, difference=0.05)
    return folder


def made(folder: Path, images: int, difference: float | None) -> None:
    """The files of a finished run, each newer than what it is made of."""
    cells = [{"id": 2 * n + m, "image_id": n, "iscrowd": int(m == 1)} for n in range(images) for m in range(2)]
    truth = {"images": [{"id": n} for n in range(images)], "annotations": cells}
    scores = {"ready": {"": 0.2, "_low": 0.1, "_high": 0.3}, "tuned": {"": 0.25, "_low": 0.15, "_high": 0.35}}
    verdict: dict[str, Any] = {"run": "tuned", "base": "ready", "metric": "mask_ap", "images": 6, "drawn": 6}
    verdict |= {"difference": difference, "low": 0.01, "high": 0.09, "p": 0.01, "test_set": "abc", "scores": scores}
    verdict |= {"better": True, "exported": True, "said": "tuned against ready: better"}
    files: dict[str, Any] = {
        "data/annotations.json": truth,
        "data/images/a.png": images,
        "splits/train.json": truth,
        "splits/val.json": {"images": [{"id": 99}], "annotations": []},
        "splits/test.json": {"images": [], "annotations": []},
        "models/tuned/weights.pt": images,
        "models/tuned/run.json": {},
        "metrics/tuned.gain.json": verdict,
    }
    for n, (name, content) in enumerate(files.items()):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(json.dumps(content))
        os.utime(folder / name, (START + n, START + n))


def keep() -> int:
    return main(["keep-round", "--results", "results/labelled"])


def rows() -> list[str]:
    return Path("results/labelled/rounds.csv").read_text().splitlines()


def test_a_round_comes_back_whole_from_its_commit(results: Path) -> None:
    assert keep() == 0
    head, row = rows()
    first = dict(zip(head.split(","), row.split(","), strict=True))
    shown = ("round", "run", "base", "images", "cells", "difference", "exported", "test_set")
    assert [first[name] for name in shown] == ["1", "tuned", "ready", "9", "8", "0.05", "true", "abc"]
    kept = ["results/labelled/data.dvc", "results/labelled/models/tuned.dvc"]
    git("add", "results/labelled/rounds.csv", *kept)
    git("commit", "--quiet", "-m", "round 1")
    assert not git("ls-files", "--others", "--exclude-standard", "results")
    made(results, images=12, difference=0.07)
    assert keep() == 0
    assert [row.split(",")[0] for row in rows()[1:]] == ["1", "2"]
    git("commit", "--quiet", "-am", "round 2")
    git("checkout", "--quiet", "HEAD~1")
    subprocess.run(["dvc", "checkout", "--quiet", "--force", *kept], check=True)
    assert len(rows()) == 2
    assert (results / "models/tuned/weights.pt").read_text() == "8"
    assert len(json.loads((results / "data/annotations.json").read_text())["images"]) == 8


def test_keeping_gives_no_file_another_time(results: Path) -> None:
    before = {path: path.stat().st_mtime_ns for path in (results / "data").rglob("*")}
    assert keep() == 0
    assert {path: path.stat().st_mtime_ns for path in before} == before, "Snakemake would make all anew"


def test_a_round_is_kept_once(results: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert keep() == 0
    before = rows()
    assert keep() == 1
    assert "rounds.csv has this data and model as round 1; annotate more first" in capsys.readouterr().err
    assert rows() == before


def test_an_earlier_round_is_not_kept_again(results: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """As from its commit, after another one."""
    assert keep() == 0
    made(results, images=12, difference=0.07)
    assert keep() == 0
    made(results, images=8, difference=0.05)
    before = rows()
    assert keep() == 1
    assert "rounds.csv has this data and model as round 1; annotate more first" in capsys.readouterr().err
    assert rows() == before


@pytest.mark.parametrize(
    ("file", "says"),
    [
        *(
            (f"splits/{name}.json", f"{name}.json is newer than results/labelled/models/tuned/weights.pt")
            for name in ("train", "val", "test")
        ),
        ("data/annotations.json", "annotations.json is newer than results/labelled/splits/train.json"),
        ("models/tuned/weights.pt", "weights.pt is newer than results/labelled/metrics/tuned.gain.json"),
    ],
)
def test_what_is_out_of_date_is_not_kept(
    results: Path, file: str, says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    os.utime(results / file)
    assert keep() == 1
    assert says in capsys.readouterr().err
    assert not (results / "rounds.csv").exists()
    assert not list(results.rglob("*.dvc"))


@pytest.mark.parametrize(
    ("table", "says"),
    [
        ("round,run,annotations,weights\n1,tuned,\xb5,b\n".encode("latin-1"), "is not readable as a table"),
        (b"round,run,annotations,weights\n1,tuned,a,b,c\n", "is no table that keep-round wrote"),
        (b"round,run,annotations,weights\n1,tuned\n", "is no table that keep-round wrote"),
        (b"<<<<<<< HEAD\nround,run,annotations,weights\n1,tuned,a,b\n", "is no table that keep-round wrote"),
    ],
)
def test_a_table_that_others_changed_is_left_as_it_is(
    results: Path, table: bytes, says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    (results / "rounds.csv").write_bytes(table)
    assert keep() == 1
    shown = capsys.readouterr().err
    assert says in shown
    assert "Traceback" not in shown
    assert (results / "rounds.csv").read_bytes() == table
    assert not list(results.rglob("*.dvc"))


def test_what_is_missing_is_named(results: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (results / "metrics/tuned.gain.json").unlink()
    assert keep() == 1
    assert "tuned.gain.json is missing; give the folder results/DATASET" in capsys.readouterr().err


def test_outside_of_dvc_nothing_is_kept(results: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shutil.rmtree(".dvc")
    assert keep() == 1
    assert "run this where dvc.yaml is" in capsys.readouterr().err
    assert not (results / "rounds.csv").exists()


def test_what_dvc_yaml_names_is_kept_by_record(results: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Path("dvc.yaml").write_text("stages: {a: {cmd: 'true', outs: [results/labelled/data/annotations.json]}}\n")
    assert keep() == 1
    assert "what dvc.yaml names is kept by `monolayer record`" in capsys.readouterr().err
