"""params.yaml: what stands there is accepted, and every fault is one line with the full path and the cure."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest
import yaml
from monolayer.params import Params, load
from monolayer.params.section import ParamsError
from monolayer.params.steps import TrainParams
from paths import ROOT

Config = dict[str, Any]


@pytest.fixture(scope="module")
def config() -> Config:
    loaded: Config = yaml.safe_load((ROOT / "params.yaml").read_text())
    return loaded


def put(path: str, value: object) -> Callable[[Config], None]:
    def change(config: Config) -> None:
        *sections, key = path.split(".")
        for section in sections:
            config = config[section]
        config[key] = value

    return change


@pytest.mark.parametrize(
    ("change", "text"),
    [
        (
            put("models.yolo.quick.train.fit.epoch", 3),
            "models.yolo.quick.train.fit.epoch: unknown key, did you mean 'epochs'",
        ),
        (put("models.yolo.quick.train.fit.epochs", -3), "models.yolo.quick.train.fit.epochs is -3"),
        (put("models.yolo.quick.train.fit.learning_rate", -0.1), "fit.learning_rate is -0.1"),
        (put("models.yolo.quick.train.imgsz", 333), "models.yolo.quick.train.imgsz is 333"),
        (put("models.yolo.family", "yolo2"), "models.yolo.family is 'yolo2'; allowed here: 'yolo'"),
        (put("runs.yolo.model", "yol"), "runs.yolo.model is 'yol', which is not defined; allowed here: yolo"),
        (put("selected", ["yol"]), "selected is 'yol', which is not defined"),
        (put("dataset", "demon"), "dataset is 'demon', which is not defined; allowed here: demo, livecell"),
        (put("datasets.own.image", "x"), "datasets.own.image: unknown key, did you mean 'images'"),
        (put("datasets.own.source", "folder"), "datasets.own.source is 'folder'; allowed here: 'demo'"),
        (put("split.val", 0.9), "nothing is left for train"),
        (put("scale", "huge"), "scale is 'huge'"),
        (put("seed", float("nan")), "seed is nan"),
        (lambda config: config["split"].pop("seed"), "split.seed is missing"),
        (put("runs.a/b", {"model": "yolo", "lines": "all", "extension": None}), "runs.a/b"),
        (
            put("runs.yolo.extension", "match"),
            "runs.yolo.extension is 'match', which is not defined; allowed here: matched",
        ),
        (
            put("extensions.matched.layout", "mached"),
            "extensions.matched.layout is 'mached'; allowed here: 'matched', 'poster'",
        ),
        (put("extensions.poster.jitter", 1), "extensions.poster.jitter: unknown key"),
        (put("extensions.poster.density.low", 3), "extensions.poster.density: low (3) must be below high (2)"),
        (put("synthesis.tries", 60), "synthesis.tries is 60"),
        (put("surprise", 1), "surprise: unknown key"),
    ],
)
def test_a_fault_is_named_with_its_path(config: Config, change: Callable[[Config], None], text: str) -> None:
    broken = copy.deepcopy(config)
    change(broken)
    with pytest.raises(ParamsError) as error:
        load(broken)
    assert text in str(error.value)
    assert len(str(error.value).splitlines()) == 2


def test_every_run_resolves_at_both_scales_and_survives_json(config: Config) -> None:
    for scale in ("quick", "full"):
        params: Params = load({**config, "scale": scale})
        for run in params.selected_runs:
            resolved = params.train_params(run)
            assert TrainParams.model_validate_json(resolved.model_dump_json()) == resolved


def test_a_change_reaches_only_the_runs_of_its_model(config: Config) -> None:
    changed = copy.deepcopy(config)
    changed["models"]["yolo"]["quick"]["train"]["fit"]["epochs"] += 1
    before, after = load(config), load(changed)
    touched = {run for run in before.runs if before.train_params(run) != after.train_params(run)}
    assert touched == {run for run, row in before.runs.items() if row.model == "yolo"}
