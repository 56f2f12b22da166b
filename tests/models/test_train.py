"""What a training leaves, and what it says of the code that it ran with and of how far it is."""

from __future__ import annotations

import csv
import hashlib
import json
import logging
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import centermask_samples
import numpy as np
import pytest
import torch
import yaml
from culture import Culture
from monolayer.backends.manifest import pretrained
from monolayer.coco.io import read_truth
from monolayer.data.dataset import Sample, TrueCells
from monolayer.files import InputError, write_json
from monolayer.models import load_weights
from monolayer.models.batches import Task
from monolayer.models.beginnings import seen_by
from monolayer.models.train import rows_of, shown_live, train
from monolayer.params.families import YoloTrain
from monolayer.params.steps import TrainParams
from monolayer.provenance.commit import provenance
from paths import ROOT
from torch import nn
from unet_settings import PRETRAINED, SETTINGS, split


def test_tables_that_the_workflow_writes_over_are_no_changes_of_its_code(tmp_path: Path) -> None:
    code, scores, lock = tmp_path / "workflow/train.py", tmp_path / "results/demo/metrics.csv", tmp_path / "dvc.lock"
    for file in (code, scores, lock):
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text("before")
    user = ("-c", "user.name=test", "-c", "user.email=test@localhost")
    for words in (("init", "-q"), ("add", "-A"), (*user, "commit", "-q", "-m", "all")):
        subprocess.run(["git", *words], cwd=tmp_path, check=True)
    for file in (scores, lock):
        file.write_text("after")
    assert provenance(code.parent)["uncommitted_changes"] is False
    assert len(provenance(code.parent)["commit"]) == 40
    code.write_text("after")
    assert provenance(code.parent)["uncommitted_changes"] is True


def test_a_model_that_stays_as_it_is_given_is_a_run(culture: Culture, tmp_path: Path) -> None:
    """As the row `ready` is, against which a tuned one is held: no epoch, so no checkpoint."""
    size = PRETRAINED | {"weights": "pretrained", "fit": SETTINGS.fit.model_copy(update={"epochs": 0})}
    given = {
        "family": "unet",
        "settings": SETTINGS.model_copy(update=size),
        "lines": "all",
        "seed": 0,
        "cpu_threads": 1,
    }
    train(culture.images, culture.splits, TrainParams.model_validate(given), tmp_path / "ready")
    assert sorted(path.name for path in (tmp_path / "ready").iterdir()) == ["history.csv", "run.json", "weights.pt"]
    assert set(load_weights(tmp_path / "ready/weights.pt", "cpu")[1]) == {"all"}


def test_test_images_that_were_learned_from_are_told(
    culture: Culture, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Where an earlier round's model is the start and images are dealt anew, its own may be in test."""
    order = {"first": ("train", "val", "test"), "anew": ("test", "val", "train")}
    names = dict[str, list[str]]()
    for round_, parts in order.items():
        for name, part in zip(("train", "val", "test"), parts, strict=True):
            truth = read_truth(culture.splits / f"{part}.json")
            names[part] = [image["file_name"] for image in truth["images"]]
            for image in truth["images"]:
                image["content"] = hashlib.sha256(image["file_name"].encode()).hexdigest()[:32]
            (tmp_path / round_).mkdir(exist_ok=True)
            write_json(tmp_path / round_ / f"{name}.json", truth)

    def run(splits: str, output: str, **changed: object) -> list[str]:
        settings = SETTINGS.model_copy(update=changed)
        given = {"family": "unet", "settings": settings, "lines": "all", "seed": 0, "cpu_threads": 1}
        train(culture.images, tmp_path / splits, TrainParams.model_validate(given), tmp_path / output)
        seen: list[str] = json.loads((tmp_path / output / "run.json").read_text())["seen_in_test"]
        return seen

    assert run("first", "a") == []
    assert run("anew", "b") == []
    assert "flatter" not in caplog.text
    kept = SETTINGS.fit.model_copy(update={"epochs": 0})
    assert run("anew", "c", fit=kept, weights=str(tmp_path / "a/weights.pt")) == names["train"]
    assert f"8 of 8 test images ({', '.join(names['train'][:3])}, ...) are among what this run" in caplog.text
    shutil.copytree(pretrained(), tmp_path / "exported")
    sums = sorted(seen_by(tmp_path / "a/weights.pt"))
    (tmp_path / "exported/seen.txt").write_text("".join(f"{one}\n" for one in sums))
    ready = PRETRAINED | {"fit": kept, "weights": str(tmp_path / "exported")}
    assert run("anew", "d", **ready) == names["train"]
    assert run("first", "e", **ready) == []
    assert run("anew", "f", fit=kept, weights=str(tmp_path / "e/weights.pt"), **PRETRAINED) == names["train"]


@pytest.mark.parametrize(
    ("part", "lines", "said"),
    [
        ("val", "all", "network all: none of the 2 images of val that choose its epoch and thresholds has a cell"),
        ("val", "each", "network long: none of the 1 images of val that choose its epoch and thresholds has a cell"),
        ("train", "each", "network long: none of the 4 images to train on has a cell"),
    ],
)
def test_epochs_are_not_chosen_by_images_without_cells(
    culture: Culture, tmp_path: Path, part: str, lines: str, said: str
) -> None:
    """All would score alike, and the first one, hardly trained, would be kept."""
    for name in ("train", "val", "test"):
        truth = read_truth(culture.splits / f"{name}.json")
        of_line = {image["id"] for image in truth["images"] if lines == "all" or image["cell_line"] == "long"}
        if name == part:
            truth["annotations"] = [cell for cell in truth["annotations"] if cell["image_id"] not in of_line]
        write_json(tmp_path / "splits" / f"{name}.json", truth)
    given = {"family": "unet", "settings": SETTINGS, "lines": lines, "seed": 0, "cpu_threads": 1}
    with pytest.raises(InputError, match=said):
        train(culture.images, tmp_path / "splits", TrainParams.model_validate(given), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_share_of_a_line_that_is_not_there_is_refused(culture: Culture, tmp_path: Path) -> None:
    settings = SETTINGS.model_copy(update={"line_shares": {"long": 2.0, "Long": 2.0}})
    given = {"family": "unet", "settings": settings, "lines": "all", "seed": 0, "cpu_threads": 1}
    with pytest.raises(InputError, match="line_shares names Long, of which train has no image; its lines are long, "):
        train(culture.images, culture.splits, TrainParams.model_validate(given), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def unet(every: list[Sample]) -> tuple[nn.Module, Task]:
    from monolayer.models.unet.family import CellTask, _network

    return _network(SETTINGS), CellTask(every, every, SETTINGS)


def yolo(every: list[Sample]) -> tuple[nn.Module, Task]:
    from monolayer.models.yolo.family import _network, _Task

    row = yaml.safe_load((ROOT / "params.yaml").read_text())["models"]["yolo"]["quick"]["train"]
    settings = YoloTrain.model_validate(row)
    return _network(settings), _Task(TrueCells(every), every, settings)


def centermask(every: list[Sample]) -> tuple[nn.Module, Task]:
    from monolayer.models.centermask.family import CenterMaskTask

    return centermask_samples.network_of(), CenterMaskTask(every, every, centermask_samples.TINY)


@pytest.mark.parametrize("made", [unet, yolo, centermask])
def test_losses_are_what_their_task_says(culture: Culture, made: Callable[..., tuple[nn.Module, Task]]) -> None:
    """Of twice the same images the mean is the same, and the sum is twice as much."""
    torch.manual_seed(0)
    network, task = made(split(culture, "train"))
    drawn = [task.draw(index, np.random.default_rng(index))[1] for index in range(2)]
    with torch.no_grad():
        once, twice = (sum(task.losses(network.train(), task.collate(part)).values()) for part in (drawn, 2 * drawn))
    assert float(twice / once) == pytest.approx({"mean": 1, "sum": 2}[task.reduction], rel=0.02)


def test_code_outside_of_git_has_no_commit(tmp_path: Path) -> None:
    found = provenance(tmp_path)
    assert (found["commit"], found["uncommitted_changes"]) == (None, None)


def epoch(number: int) -> None:
    """What `fit` logs after an epoch (tests/models/test_fit.py)."""
    text = f"epoch {number} of 3: loss 0.5000, score 0.{number}000, the best; 1.00 steps/s, 0:00:01 left"
    logging.getLogger("monolayer.models.fit").info(text)


def test_the_history_is_there_while_a_network_is_trained(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    path = tmp_path / "history.csv"
    with shown_live(path, "round", rows_of("long", [{"epoch": 1, "loss": 0.2, "score": 0.5}])):
        for number in (1, 2):
            epoch(number)
            rows = [tuple(row.values()) for row in csv.DictReader(path.open())]
            assert rows == [
                ("long", "1", "0.2", "0.5"),
                *(("round", f"{n}", "0.5000", f"0.{n}000") for n in range(1, number + 1)),
            ]
    epoch(3)
    assert len(path.read_text().splitlines()) == 4, "after it, nothing is written any more"


def test_a_training_that_fails_leaves_no_history_of_its_own(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    path = tmp_path / "history.csv"
    path.write_text("of an earlier run")
    with pytest.raises(ValueError, match="no images"), shown_live(path, "all", []):
        raise ValueError("no images")
    assert path.read_text() == "of an earlier run"

    def fail() -> None:
        epoch(1)
        raise ValueError("nan")

    with pytest.raises(ValueError, match="nan"), shown_live(path, "all", []):
        fail()
    assert not path.exists()
