"""params.yaml: what stands there is accepted, and every fault is one line with the full path and the cure."""

from __future__ import annotations

import copy
import json
import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml
from dvc.utils.hydra import apply_overrides
from monolayer.params import schema
from monolayer.params.params import Params, load, refuse_aliases, refuse_repeated_keys
from monolayer.params.section import ParamsError
from monolayer.params.steps import TrainParams
from paths import ROOT
from snakemake.cli import parse_config

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
        (put("models.yolo.quick.train.gamma", [1.4, 0.7]), "gamma: [1.4, 0.7] must be [lowest, highest]"),
        (put("track.extension", "films"), "track.extension is 'films', which is not defined; allowed here: matched"),
        (put("track.extension", "matched"), "track.extension: matched is of another layout than timelapse"),
        (put("track.max_move", 0), "track.max_move is 0"),
        (put("track.mend", ["unt"]), "track.mend is 'unt', which is not defined; allowed here: yolo"),
        (put("track.tracker", "btrack"), "track.tracker is 'btrack'"),
        (put("track.also", {"near": {"max_move": 0}}), "track: also.near: max_move is 0: Input should be greater"),
        (put("track.also", {"near": {"max_moves": 1}}), "also.near: max_moves: unknown key, did you mean 'max_move'?"),
        (put("track.also", {"el": {}}), "track.also: two rows would be called unet_el"),
        (put("datasets.tracked.sequences", ["1"]), "datasets.tracked.sequences.0 is '1'"),
        (put("selected", ["tuned"]), "runs.tuned.base is ready, which `selected` lacks"),
        (put("runs.tuned.base", "raw"), "runs.tuned.base is 'raw', which is not defined"),
        (put("models.unet.quick.train.fit.epochs", 0), "fit.epochs is 0, which keeps weights as they are"),
        (put("surprise", 1), "surprise: unknown key"),
        (
            put("cpu_threads", True),
            "cpu_threads: a truth value, as YAML takes true, yes, on and their like",
        ),
        (put("models.yolo.quick.train.fit.max_grad_norm", True), "fit.max_grad_norm: a truth value"),
        (put("models.yolo.quick.train.gamma", [0.7, True]), "train.gamma: a truth value"),
        (put("plate_settings.tta", True), "plate_settings.tta: a truth value"),
        (put("dataset", 20240115), "dataset is 20240115, no text: YAML takes 007, 1e5, 2024_01_15, no, on"),
        (put("datasets.own.cell_line", False), "datasets.own.cell_line is False, no text"),
        (put("datasets.tracked.cell_line", None), "datasets.tracked.cell_line is None, no text"),
    ],
)
def test_a_fault_is_named_with_its_path(config: Config, change: Callable[[Config], None], text: str) -> None:
    broken = copy.deepcopy(config)
    change(broken)
    with pytest.raises(ParamsError) as error:
        load(broken)
    assert text in str(error.value)
    assert len(str(error.value).splitlines()) == 2


UNION = {"source": "union", "train_only": [], "parts": {}}
RESULTS = {"tool": "x", "licence": "x", "family": "results", "results": {"val": "v", "test": "t"}}


@pytest.mark.parametrize(
    "key",
    [
        *("datasets.own.images", "datasets.own.annotations", "datasets.labelled.images", "datasets.labelled.masks"),
        *("datasets.tracked.folder", "datasets.livecell.mirror", "datasets.roboflow.zip"),
        *("datasets.union.parts.mine.images", "models.unet.quick.train.weights", "models.yolo.full.train.weights"),
        *("models.centermask_v99.quick.train.weights", "models.theirs.results.val", "models.theirs.results.test"),
        *("plate_settings.model", "plate_settings.conditions", "plates.mine.path", "plate"),
    ],
)
@pytest.mark.parametrize("path", ["~/data", "~", "~somebody/data.json"])
def test_a_path_that_only_a_shell_knows_is_refused(config: Config, key: str, path: str) -> None:
    """Others would make a folder that is called ~, or look for one."""
    broken = copy.deepcopy(config)
    union = copy.deepcopy(UNION | {"parts": {"mine": config["datasets"]["own"]}})
    broken["datasets"]["union"] = union
    broken["models"]["theirs"], broken["plates"] = copy.deepcopy(RESULTS), {"mine": {"path": "x"}}
    load(broken)
    put(key, path)(broken)
    with pytest.raises(ParamsError) as error:
        load(broken)
    said = f"{key} is {path!r}: only a shell knows what ~ stands for; write the whole path, as "
    assert said in str(error.value)


def test_an_export_scales_deep_images_as_its_dataset_does(config: Config) -> None:
    """Else its networks would be shown other grey values than they learned from, and nothing would say so."""
    changed = copy.deepcopy(config) | {"dataset": "own"}
    changed["datasets"]["own"]["percentiles"] = {"low": 2.0, "high": 98.0}
    said = r"\n  export.percentiles are 0.5 and 99.8, those of the dataset 2 and 98: networks would be shown other grey"
    with pytest.raises(ParamsError, match=said):
        load(changed)
    parts = {"a": changed["datasets"]["own"], "b": changed["datasets"]["roboflow"]}
    union = {"source": "union", "parts": parts, "train_only": []}
    with pytest.raises(ParamsError, match=said):
        load(changed | {"datasets": changed["datasets"] | {"own": union}})
    parts["c"] = changed["datasets"]["labelled"]  # of parts that are scaled in several ways an export has one
    load(changed | {"datasets": changed["datasets"] | {"own": union}})
    load(changed | {"dataset": "livecell"})
    changed["export"]["percentiles"] = {"low": 2.0, "high": 98.0}
    load(changed)


def test_a_fault_names_the_files_that_it_may_stand_in(config: Config) -> None:
    with pytest.raises(ParamsError, match=r"^params\.yaml, my\.yaml can't be used"):
        load({**config, "surprise": 1}, ["my.yaml"])


def test_a_small_number_as_dvc_writes_it_is_a_number(config: Config) -> None:
    """`dvc exp run -S` writes 1e-05, which PyYAML, and so Snakemake, takes for a text."""
    changed = copy.deepcopy(config)
    changed["models"]["unet"]["quick"]["train"]["fit"]["learning_rate"] = yaml.safe_load("1e-05")
    settings = load(changed).train_params("unet").settings
    assert settings.fit.learning_rate == 0.00001


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


@pytest.mark.parametrize(
    ("weights", "files"),
    [
        ("none", []),
        ("pretrained", []),
        ("results/demo/models/unet_el/weights.pt", ["results/demo/models/unet_el/weights.pt"]),
        ("exports/mine/", ["exports/mine/model.json"]),
    ],
)
def test_weights_that_are_a_file_are_an_input_of_training(config: Config, weights: str, files: list[str]) -> None:
    changed = copy.deepcopy(config)
    put("models.unet.quick.train.weights", weights)(changed)
    assert load(changed).first_weights("unet") == files


def test_keys_that_are_not_set_make_no_training_another(config: Config) -> None:
    text = load(config).train_params("unet").model_dump_json()
    assert not {"weights", "diameter", "frozen"} & set(re.findall(r'"(\w+)":', text))


# ---- sharing -------------------------------------------------------------------------------------------


def leaves(value: object, key: str = "") -> dict[str, object]:
    """Every value by its dotted key."""
    if not isinstance(value, dict) or not value:
        return {key: value}
    below = (leaves(item, f"{key}.{name}".lstrip(".")) for name, item in value.items())
    return {name: leaf for found in below for name, leaf in found.items()}


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("models.unet.quick.train.fit.epochs", 9),
        ("models.unet_deep.full.train.augment.blur", 0.5),
        ("models.yolo_small.quick.train.gamma", [0.5, 2.0]),
        ("models.yolo.full.train.fit.milestones", [0.5]),
        ("models.centermask_v99.quick.train.network.channels", 128),
    ],
)
def test_an_experiment_sets_the_named_key_alone(config: Config, tmp_path: Path, key: str, value: object) -> None:
    """What `dvc exp run -S` does to the file."""
    file = Path(shutil.copy(ROOT / "params.yaml", tmp_path))
    apply_overrides(file, [f"{key}={value}"])
    before, after = leaves(config), leaves(yaml.safe_load(file.read_text()))
    assert {name for name in before.keys() | after.keys() if before.get(name) != after.get(name)} == {key}
    assert after[key] == value


@pytest.mark.parametrize("rate", ["2e-05", "0.00002", "2.0e-05"])
def test_numbers_survive_an_experiment(tmp_path: Path, rate: str) -> None:
    """DVC writes 2e-05, which YAML 1.1, and so Snakemake, takes for a text."""
    file = Path(shutil.copy(ROOT / "params.yaml", tmp_path))
    apply_overrides(file, [f"models.unet.quick.train.fit.learning_rate={rate}"])
    params = load(yaml.safe_load(file.read_text()))
    assert params.train_params("unet").settings.fit.learning_rate == 2e-5


@pytest.mark.parametrize("name", ["no", "on", "007", "1e3", "2024_01_15", "null", "1E5", "Y", "NA", "1.0", "0x1F"])
def test_names_survive_an_experiment_or_are_refused_by_name(tmp_path: Path, name: str) -> None:
    """DVC takes quotes away, and Snakemake reads what is left: never as another name."""
    file = tmp_path / "params.yaml"
    text = (ROOT / "params.yaml").read_text()
    text = text.replace("cell_line: cells", f"cell_line: '{name}'").replace(
        "cell_line: culture", f"cell_line: '{name}'"
    )
    file.write_text(text)
    assert load(yaml.safe_load(text)).datasets["tracked"].cell_line == name  # type: ignore[union-attr]
    apply_overrides(file, ["seed=1"])
    left = yaml.safe_load(file.read_text())
    if left["datasets"]["roboflow"]["cell_line"] == name:
        assert load(left).datasets["roboflow"].cell_line == name  # type: ignore[union-attr]
    else:
        with pytest.raises(ParamsError, match=r"datasets\.roboflow\.cell_line is .*, no text"):
            load(left)


@pytest.mark.parametrize("name", ["2024_01_15", "007", "1e5", "NaN", "True", "demo"])
def test_names_on_the_command_line_are_meant_or_refused(config: Config, name: str) -> None:
    for shown in (name, f'"{name}"'):  # from which Snakemake takes the quotes
        given = copy.deepcopy(config) | parse_config([f"dataset={shown}"])
        given["datasets"][name] = given["datasets"]["demo"]
        if isinstance(given["dataset"], str):
            assert load(given).dataset == name
        else:
            with pytest.raises(ParamsError, match=f"dataset is {given['dataset']}, no text.* --configfile"):
                load(given)


def test_no_section_is_another(tmp_path: Path) -> None:
    for file in (ROOT / "params.yaml", *(ROOT / "workflow/studies").iterdir()):
        refuse_aliases(file)
    file = tmp_path / "params.yaml"
    for text in ("a: {fit: &fit {epochs: 1}}\nb: {fit: *fit}\n", "a: &a {fit: {epochs: 1}}\nb: {<<: *a}\n"):
        file.write_text(text)
        with pytest.raises(ParamsError, match=r"params.yaml: b.fit is a.fit itself"):
            refuse_aliases(file)


def test_a_key_twice_is_refused(tmp_path: Path) -> None:
    """YAML's reader takes the last one without a word."""
    for file in (ROOT / "params.yaml", *(ROOT / "workflow/studies").iterdir()):
        refuse_repeated_keys(file)
    file = tmp_path / "my.yaml"
    text = "dataset: own\ndatasets:\n  own: {images: a, images: b}\n"
    for broken, said in (
        (text, "line 3: datasets.own.images is there twice"),
        ("a: &a {b: 1}\nc: [{<<: *a, <<: *a}]\na: 2\n", "line 3: a is there twice"),
        ("a: [{b: 1, b: 2}]", "line 1: a.0.b is there twice"),
    ):
        file.write_text(broken)
        with pytest.raises(ParamsError, match=said):
            refuse_repeated_keys(file)
    file.write_text("")
    refuse_repeated_keys(file)


def test_anchors_stand_in_one_place() -> None:
    for file in (ROOT / "params.yaml", *(ROOT / "workflow/studies").iterdir()):
        lines = file.read_text().splitlines()
        first = next((number for number, line in enumerate(lines) if line.startswith("shared:")), len(lines))
        last = next((n for n, line in enumerate(lines) if n > first and re.match(r"\w", line)), len(lines))
        outside = [line for line in lines[:first] + lines[last:] if re.search(r"[:-] &\w", line)]
        assert not outside, f"move these anchors of {file.name} below `shared`"


# ---- the schema ----------------------------------------------------------------------------------------


def faults(config: Config, name: str = "params.schema.json") -> list[str]:
    checker = jsonschema.Draft202012Validator(json.loads((ROOT / "workflow" / name).read_text()))
    return [error.json_path for error in checker.iter_errors(config)]


def test_the_schemas_are_those_of_the_sections() -> None:
    for name, text in schema.schemas().items():
        assert (ROOT / "workflow" / name).read_text() == text, "run python -m monolayer.params.schema"
        jsonschema.Draft202012Validator.check_schema(json.loads(text))


def test_every_key_has_a_description() -> None:
    def properties(node: object, path: str = "") -> Iterator[tuple[str, Config]]:
        for key, value in node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ():
            if key == "properties":
                yield from ((f"{path}/{name}", item) for name, item in value.items())
            yield from properties(value, f"{path}/{key}")

    found = dict(properties(json.loads(schema.schemas()["params.schema.json"])))
    assert len(found) > 150
    assert not [path for path, item in found.items() if not item.get("description")]


def test_the_files_fit_the_schemas_that_they_name(config: Config) -> None:
    assert not faults(config)
    for file in (ROOT / "params.yaml", *(ROOT / "workflow/studies").iterdir()):
        first = file.read_text().splitlines()[0]
        named = file.parent / first.removeprefix("# yaml-language-server: $schema=")
        assert named.resolve().parent == ROOT / "workflow"
        assert not faults(yaml.safe_load(file.read_text()), named.name)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("models.yolo.quick.train.fit.epoch", 3),
        ("synthesis.trys", 3),
        ("datasets.own.image", "x"),
        ("surprise", 1),
        ("models.unet.quick.train.levels", 9),
        ("evaluate.protocol", "livecel"),
    ],
)
def test_what_load_refuses_an_editor_marks(config: Config, key: str, value: object) -> None:
    broken = copy.deepcopy(config)
    put(key, value)(broken)
    part: Config = {}
    *sections, last = key.split(".")
    inner = part
    for section in sections:
        inner = inner.setdefault(section, {})
    inner[last] = value
    assert faults(broken)
    assert faults(part, "params.partial.schema.json")
    with pytest.raises(ParamsError):
        load(broken)


@pytest.mark.parametrize("key", ["shared.fit.epoch", "shared.unet_predict.tiles", "shared.yolo.imgz"])
def test_a_shared_key_is_marked_where_it_stands(config: Config, key: str) -> None:
    broken = copy.deepcopy(config)
    put(key, 3)(broken)
    assert faults(broken) == [f"$.{key.rpartition('.')[0]}"]
