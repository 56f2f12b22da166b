"""`monolayer serve` and `watch` on an exported network, as processes of their own: the documentation's commands."""

from __future__ import annotations

import io
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import httpx
import numpy as np
import onnx
import pandas as pd
import pytest
import tifffile
from culture import Culture
from monolayer import api
from monolayer.__main__ import main
from monolayer.data.dataset import read_image
from monolayer.deployment import export
from monolayer.files import InputError, write_json
from monolayer.models import predict, predictor
from monolayer.models.train import train
from monolayer.params.data import Percentiles
from monolayer.params.steps import ExportParams, ExportSettings, NeighbourParams, ParityLimits, TrainParams
from monolayer.service.app import create
from monolayer.service.serve import load, told_apart
from monolayer.service.state import Settings
from paths import ROOT
from service_fixtures import running
from service_process import free_port, until_ready
from unet_settings import SETTINGS

LEAST = 0.6


@pytest.fixture(scope="module")
def exported(culture: Culture, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small trained U-Net as ONNX."""
    folder = tmp_path_factory.mktemp("results")
    params = TrainParams(family="unet", settings=SETTINGS, lines="all", seed=0, cpu_threads=1)
    train(culture.images, culture.splits, params, folder / "models/unet")
    limits = ParityLimits(mask_iou=0.9, lost=0.1, ap=0.1)
    settings = ExportSettings(
        runs="all",
        dtypes=["fp32"],
        calibration=1,
        engines=[],
        percentiles=Percentiles(low=0.5, high=99.8),
        targets=["SM86"],
        parity={"fp32": limits},
        fp16_range=0.5,
        exclude={},
        notes={},
    )
    near = NeighbourParams(gap=1, radius=100)
    how = ExportParams(run="unet", predict=SETTINGS.val_predict, neighbours=near, settings=settings, cpu_threads=1)
    weights = folder / "models/unet/weights.pt"
    export.export(weights, culture.images, culture.splits, how, folder / "export/unet", score_threshold=LEAST)
    return folder / "export/unet"


@pytest.fixture(scope="module")
def served(exported: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, subprocess.Popen[str]]]:
    port = free_port()
    corrections = tmp_path_factory.mktemp("corrected") / "my"  # which it makes
    words = ["serve", "--model", str(exported), "--port", str(port), "--threads", "1"]
    words += ["--corrections", str(corrections)]
    with subprocess.Popen([sys.executable, "-m", "monolayer", *words], stderr=subprocess.PIPE, text=True) as process:
        url = f"http://127.0.0.1:{port}"
        assert process.stderr is not None
        until_ready(url, process, process.stderr.read)
        yield url, process
        process.terminate()
        assert process.wait(30) in (0, -signal.SIGTERM)


def test_answers_are_the_predictors(served: tuple[str, object], exported: Path, culture: Culture) -> None:
    run = predictor.load(exported, threads=1)
    url, _ = served
    assert httpx.get(f"{url}/models").json()[0] | {"lines": []} == {
        "name": "unet",
        "family": "unet",
        "lines": [],
        "line_required": False,
        "dtype": "fp32",
        "score_min": LEAST,
    }
    total = 0
    for path in sorted(culture.images.iterdir()):
        (found,) = run.segment([read_image(path)])
        files = {"image": (path.name, path.read_bytes())}
        answer = httpx.post(f"{url}/segment", files=files, headers={"Accept": "image/tiff"}, timeout=30)
        labels = tifffile.imread(io.BytesIO(answer.content))
        expected = np.zeros(labels.shape, np.bool_)
        for mask, (x, y), score in zip(found.masks, found.offsets_xy, found.scores, strict=True):
            if score >= LEAST:
                expected[y : y + mask.shape[0], x : x + mask.shape[1]] |= mask
                total += 1
        assert np.array_equal(labels > 0, expected)
    assert total > 30


def test_corrections_are_taken_where_a_folder_is_named(served: tuple[str, object], culture: Culture) -> None:
    url, _ = served
    assert httpx.get(f"{url}/corrections").json() == []
    image = sorted(culture.images.iterdir())[0]
    labels = b'{"height": 96, "width": 128, "runs": [0, 12000, 1, 288]}'
    files = {"image": (image.name, image.read_bytes()), "labels": ("labels.json", labels)}
    assert httpx.post(f"{url}/corrections?version=0", files=files).json()["version"] == 1
    assert httpx.get(f"{url}/corrections").json() == [{"name": image.stem, "version": 1, "labels": None}]


def test_models_of_one_name_are_told_apart(exported: Path, tmp_path: Path) -> None:
    twin, third = (Path(shutil.copytree(exported, tmp_path / name)) for name in ("a/tuned", "b/tuned"))
    paths = [exported, twin, third / "model.json"]
    models = [load(path, "fp32", 1, None) for path in paths]
    names = [model.name for model in told_apart(models, paths)]
    assert names == ["unet", "a/tuned", "b/tuned"]
    with running(told_apart(models, paths), Settings()) as url:
        assert [one["name"] for one in httpx.get(f"{url}/models").json()] == names
    assert [model.name for model in told_apart(models[:1], paths[:1])] == ["unet"]
    with pytest.raises(InputError, match=r"has .*tuned twice; give it once"):
        told_apart(models[1:] + models[1:2], [*paths[1:], twin])
    with pytest.raises(InputError, match="two models are called alike: unet, unet"):
        create(models[:2], Settings())


def test_a_network_of_all_lines_and_one_of_a_line(exported: Path, culture: Culture, tmp_path: Path) -> None:
    """The service takes the same network for a line as Python does."""
    folder = Path(shutil.copytree(exported, tmp_path / "lines"))
    about = json.loads((folder / "model.json").read_text())
    network = about["networks"]["all"]
    foreground, marker, _ = network["constants"]["thresholds"]
    constants = network["constants"] | {"thresholds": [foreground, marker, 200.0]}  # px² at least
    about["networks"]["long"] = network | {"constants": constants}
    (folder / "model.json").write_text(json.dumps(about))
    for path in (folder / "networks").glob("all.*"):
        graph = onnx.load(path)
        for entry in graph.metadata_props:
            entry.value = "long" if entry.key == "network" else entry.value
        onnx.save(graph, path.with_name(path.name.replace("all", "long", 1)))
    image = sorted(culture.images.iterdir())[0]
    python = api.load(folder, threads=1)
    with running([load(folder, "fp32", 1, None)], Settings()) as url:
        assert [(m["lines"], m["line_required"]) for m in httpx.get(f"{url}/models").json()] == [(["long"], False)]
        counts = []
        for line in (None, "long", "other"):
            asked = {"cell_line": line} if line else {}
            files = {"image": (image.name, image.read_bytes())}
            answer = httpx.post(f"{url}/segment", files=files, params=asked, timeout=30).json()
            counts.append(len(answer["frames"][0]["cells"]))
            assert counts[-1] == len(python.segment(read_image(image), cell_line=line))
    assert counts[0] == counts[2] != counts[1]


def test_an_empty_key_lets_nobody_in(exported: Path) -> None:
    words = [sys.executable, "-m", "monolayer", "serve", "--model", str(exported)]
    given = os.environ | {"MONOLAYER_API_KEY": " "}
    done = subprocess.run(words, env=given, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr.startswith("monolayer serve: MONOLAYER_API_KEY is empty")
    assert len(done.stderr.splitlines()) == 1


def test_the_end_of_a_keys_line_is_no_part_of_it(exported: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Files of secrets end in one."""
    given = list[Settings]()
    monkeypatch.setenv("MONOLAYER_API_KEY", "secret\n")
    monkeypatch.setattr("monolayer.service.serve.serve", lambda _, settings, *__: given.append(settings))
    assert main(["serve", "--model", str(exported)]) == 0
    assert [settings.key for settings in given] == ["secret"]


def test_the_curl_line_of_the_docs(served: tuple[str, object], culture: Culture) -> None:
    if shutil.which("curl") is None:
        pytest.skip("no curl on this machine")
    image = sorted(culture.images.iterdir())[0]
    page = (ROOT / "docs/engines-and-service.md").read_text()
    line = next(line for line in page.splitlines() if line.startswith("curl -F image=@"))
    words = line.replace("http://127.0.0.1:8000", served[0]).split(" ", 3)
    command = f"curl -sf -F image=@{image} {words[3]}"
    text = subprocess.run(command, shell=True, capture_output=True, text=True, check=True).stdout
    assert len(pd.read_csv(io.StringIO(text))) > 3


def test_the_folder_travels_alone(exported: Path, culture: Culture, tmp_path: Path) -> None:
    """Copied elsewhere without anything beside it, it predicts, watches and serves as before."""
    moved = Path(shutil.copytree(exported, tmp_path / "moved"))
    here, there = (load(folder, "fp32", 1, None) for folder in (exported, moved))
    assert replace(here, segment=there.segment) == there
    assert there.score_min == LEAST
    assert load(moved, "fp32", 1, 0.25).score_min == 0.25
    found = []
    for folder in (exported, moved):
        choice = predict.Choice(None, tmp_path / folder.parent.name / "labels")
        predict.predict_folder(folder, culture.images, tmp_path / "found.json", choice, 1)
        labels = sorted((tmp_path / folder.parent.name / "labels").iterdir())
        found.append(((tmp_path / "found.json").read_bytes(), [path.read_bytes() for path in labels]))
    assert found[0] == found[1]


def test_the_log_is_json_after_the_first_line(served: tuple[str, subprocess.Popen[str]]) -> None:
    url, process = served
    httpx.get(f"{url}/health", headers={"X-Request-ID": "a-line-of-the-log"})
    assert process.stderr is not None
    for line in process.stderr:
        if "a-line-of-the-log" in line:
            assert json.loads(line)["status"] == 200
            break


def test_watch_segments_what_comes_and_stops_when_told(exported: Path, culture: Culture, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    images = sorted(culture.images.iterdir())[:3]
    words = ["watch", "--folder", str(tmp_path / "in"), "--model", str(exported), "--output", str(tmp_path / "out")]
    words += ["--every-seconds", "0.05", "--settle-seconds", "0.2", "--threads", "1"]
    with subprocess.Popen([sys.executable, "-m", "monolayer", *words], stderr=subprocess.DEVNULL) as process:
        for path in images:
            shutil.copyfile(path, tmp_path / "in" / path.name)
            os.utime(tmp_path / "in" / path.name, (time.time() - 5, time.time() - 5))
        found = tmp_path / "out/images.csv"
        for _ in range(2400):
            if found.exists() and len(found.read_text().splitlines()) == 4:  # with its head
                break
            time.sleep(0.1)
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) in (0, -signal.SIGTERM)
    table = pd.read_csv(tmp_path / "out/images.csv")
    assert sorted(table["file_name"]) == [path.name for path in images]
    assert (table["cells"] > 2).all()


def test_label_images_hold_cells_from_the_runs_threshold_up(exported: Path, culture: Culture, tmp_path: Path) -> None:
    predict.predict_folder(exported, culture.images, tmp_path / "all.json", predict.Choice(None, None), 1)
    found = json.loads((tmp_path / "all.json").read_text())
    least = float(np.median([result["score"] for result in found]))
    moved = Path(shutil.copytree(exported, tmp_path / "moved"))
    write_json(moved / "model.json", json.loads((moved / "model.json").read_text()) | {"score_threshold": least})
    choice = predict.Choice(None, tmp_path / "labels")
    predict.predict_folder(moved, culture.images, tmp_path / "again.json", choice, 1)
    assert json.loads((tmp_path / "again.json").read_text()) == found
    counts = dict.fromkeys(sorted({result["file_name"] for result in found}), 0)
    for result in found:
        counts[result["file_name"]] += result["score"] >= least
    assert 0 < sum(counts.values()) < len(found)
    for name, count in counts.items():
        assert tifffile.imread((tmp_path / "labels" / name).with_suffix(".tif")).max() == count
