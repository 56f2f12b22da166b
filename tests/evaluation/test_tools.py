"""Another tool is a run: its command segments numbered copies in an environment of its own, or its files are taken."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
import yaml
from checkouts import Checkout
from culture import Culture
from monolayer.__main__ import main
from monolayer.coco.labels import label_image
from monolayer.coco.records import by_image
from monolayer.evaluation import evaluate
from monolayer.evaluation.tools import import_results
from monolayer.files import InputError
from monolayer.params.params import load
from monolayer.params.section import ParamsError
from monolayer.params.steps import CardParams, EvaluateParams
from monolayer.params.tools import CommandTool, OtherTool, ResultsTool, SplitPaths
from monolayer.reporting import card
from paths import ROOT
from pydantic import TypeAdapter

STUDY = ROOT / "workflow/studies/other_tools.yaml"
EVALUATE = EvaluateParams(protocol="livecell", n_resamples=20, seed=0, resample="image")
COPY = "for image in {images}/*; do cp TRUTH/$(basename $image .png).tif {labels}; done"


def command(text: str) -> CommandTool:
    return CommandTool(family="command", tool="a tool 1.0", licence="MIT", command=text)


def write_truth_labels(culture: Culture, folder: Path, stems: list[str] | None = None) -> None:
    """The true cells of test as label images, under the images' names or these."""
    truth = json.loads((culture.splits / "test.json").read_text())
    cells = by_image(truth["annotations"])
    folder.mkdir()
    images = sorted(truth["images"], key=lambda image: int(image["id"]))
    for image, stem in zip(images, stems or [Path(one["file_name"]).stem for one in images], strict=True):
        labels = label_image([cell["segmentation"] for cell in cells[image["id"]]], image["height"], image["width"])
        tifffile.imwrite(folder / f"{stem}.tif", labels.astype(np.uint16), photometric="minisblack")


def score(culture: Culture, results: Path) -> dict[str, Any]:
    return evaluate.evaluate((culture.splits / "test.json", results), None, EVALUATE, results.with_name("s.json"), 1)


def test_a_command_is_given_numbered_copies_and_timed(culture: Culture, tmp_path: Path) -> None:
    write_truth_labels(culture, tmp_path / "truth", ["000001", "000002"])
    tool, output = command(COPY.replace("TRUTH", str(tmp_path / "truth"))), tmp_path / "found/test.json.gz"
    import_results(tool, culture.images, culture.splits / "test.json", "test", output)
    scores = score(culture, output)
    assert scores["mask_ap"] == scores["f1_50"] == 1
    record = json.loads((tmp_path / "found/test.tool.json").read_text())
    assert record["images"] == 2
    assert record["cells"] == scores["cells"]
    assert 0 < record["seconds"] < 10
    assert record["licence"] == "MIT"
    assert record["device"]
    text = card.tool_card(tmp_path / "found/test.tool.json", tmp_path / "found/s.json", CardParams(dataset="culture"))
    assert "## Licence\n\nMIT\n" in text
    assert "for 2 images, from its start to its end" in text
    assert "| all | 2 |" in text


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("echo {images} {labels}; echo no weights >&2; exit 3", "failed with exit code 3"),
        (": {images} {labels}; false | true", "exit code 1: .*\nit said nothing"),
        ("ls {images} {labels}", "was given images numbered by rising id, and .* has no label image 000001.tif"),
    ],
)
def test_a_command_that_fails(culture: Culture, tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        import_results(command(text), culture.images, culture.splits / "test.json", "test", tmp_path / "test.json")
    assert not list(tmp_path.glob("test*"))


def test_files_of_a_tool_are_taken(culture: Culture, tmp_path: Path) -> None:
    write_truth_labels(culture, tmp_path / "labels")
    paths = SplitPaths(val="nowhere", test=str(tmp_path / "labels"))
    tool = ResultsTool(family="results", tool="by hand", licence="our own", results=paths)
    import_results(tool, culture.images, culture.splits / "test.json", "test", tmp_path / "test.json.gz")
    assert score(culture, tmp_path / "test.json.gz")["mask_ap"] == 1
    record = json.loads((tmp_path / "test.tool.json").read_text())
    assert "seconds" not in record
    text = card.tool_card(tmp_path / "test.tool.json", tmp_path / "s.json", CardParams(dataset="culture"))
    assert "how long it took is not known" in text


def test_a_real_tool_in_an_environment_of_its_own(culture: Culture, tmp_path: Path) -> None:
    """The study's row, as the workflow calls it: bright disks on grey are what Otsu's threshold is for."""
    if shutil.which("uv") is None:
        pytest.skip("no uv on this machine")
    tool = yaml.safe_load(STUDY.read_text())["models"]["otsu_watershed"]
    tool["command"] = tool["command"].replace("workflow/", f"{ROOT}/workflow/")
    words = ["--images", str(culture.images), "--truth", str(culture.splits / "test.json"), "--split", "test"]
    output = tmp_path / "test.json.gz"
    assert main(["import-results", *words, "--params", json.dumps(tool), "--output", str(output)]) == 0
    scores = score(culture, output)
    assert scores["round/f1_50"] > 0.9
    assert scores["threshold_from"] == "one score for all"


def commented() -> dict[str, Any]:
    """The rows that stand in the study as comments."""
    text = STUDY.read_text().split("models:\n")[1].split("\nruns:")[0]
    rows = "".join(f"{line[4:]}\n" for line in text.splitlines() if line.startswith("  # "))
    found: dict[str, Any] = yaml.safe_load(rows)
    return found


def test_rows_in_comments_are_rows() -> None:
    """With a licence, a pinned version, and both folders in their command."""
    rows = commented()
    assert list(rows) == ["cellpose", "stardist", "instanseg", "micro_sam", "nnunet", "lab"]
    for name, row in rows.items():
        tool = TypeAdapter(OtherTool).validate_python(row)
        if isinstance(tool, CommandTool):
            [version] = re.findall(r"\d+(?:\.\d+)+", tool.tool)[:1]
            assert f"=={version}" in tool.command, name


UNTAUGHT = """
import sys
from stardist.models import Config2D, StarDist2D
settings = Config2D(n_rays=8, unet_n_depth=1, unet_n_filter_base=4)
StarDist2D(settings, name="model", basedir=sys.argv[1]).keras_model.save_weights(f"{sys.argv[1]}/model/weights_best.h5")
"""


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_the_row_of_stardist_runs_with_a_network_that_has_learnt_nothing(culture: Culture, tmp_path: Path) -> None:
    """All of it but its weights, which come from a server: the package, its options, the files that it leaves."""
    if shutil.which("uv") is None:
        pytest.skip("no uv on this machine")
    row = commented()["stardist"]
    packages = re.findall(r"(?:--from|--with) (\S+)", row["command"])
    made = ["uv", "run", "--no-project", "--python", "3.11", *(f"--with={package}" for package in packages)]
    done = subprocess.run([*made, "python", "-c", UNTAUGHT, str(tmp_path)], capture_output=True, text=True, check=False)
    if done.returncode and "No solution found" in done.stderr:
        pytest.skip(f"the package can't be had here: {done.stderr[-300:]}")
    assert done.returncode == 0, done.stderr[-2000:]
    tool = command(row["command"].replace("2D_versatile_fluo", str(tmp_path / "model")))
    import_results(tool, culture.images, culture.splits / "test.json", "test", tmp_path / "test.json.gz")
    assert json.loads((tmp_path / "test.tool.json").read_text())["images"] == 2


# ---- in params.yaml and in the workflow -------------------------------------------------------------------


def with_tool(**changed: Any) -> dict[str, Any]:
    config: dict[str, Any] = yaml.safe_load((ROOT / "params.yaml").read_text())
    study = yaml.safe_load(STUDY.read_text())
    config["models"] |= study["models"]
    config["models"]["otsu_watershed"] |= changed
    config["runs"] |= study["runs"]
    return config | {"selected": study["selected"]}


def test_a_tool_is_neither_trained_nor_exported() -> None:
    params = load(with_tool())
    assert params.tool_runs == ["otsu_watershed"]
    assert params.trained_runs == params.exported_runs == ["unet_distance"]
    assert set(params.report_params.used["models"]) == {"unet_distance", "otsu_watershed"}


@pytest.mark.parametrize(
    ("changed", "row", "message"),
    [
        ({"command": "segment {images}"}, {}, "command does not say {labels}"),
        ({}, {"extension": "matched"}, "otsu_watershed is another tool; give lines: all, extension: null"),
        ({"licence": ""}, {}, "models.otsu_watershed.licence is ''"),
    ],
)
def test_a_row_that_can_not_be(changed: dict[str, Any], row: dict[str, Any], message: str) -> None:
    config = with_tool(**changed)
    config["runs"]["otsu_watershed"] |= row
    with pytest.raises(ParamsError, match=re.escape(message)):
        load(config)


@pytest.mark.workflow
def test_the_workflow_has_it_beside_ours(origin: Checkout, tmp_path: Path) -> None:
    checkout = origin.clone(tmp_path / "checkout")
    rows = yaml.safe_load(STUDY.read_text())
    params = checkout.params()
    checkout.set_params(
        params
        | {"models": params["models"] | rows["models"], "runs": params["runs"] | rows["runs"]}
        | {"selected": [params["selected"][0], "otsu_watershed"]}
    )
    plan = checkout.snakemake("--dry-run", "--forceall").stdout
    jobs = dict(re.findall(r"^(\w+) +(\d+)$", plan, re.MULTILINE))
    assert jobs["import_results"] == "2"
    assert jobs["tool_card"] == jobs["train"] == jobs["export"] == "1"
    assert jobs["evaluate"] == "2"


@pytest.mark.slow
@pytest.mark.workflow
def test_a_tool_alone_goes_all_the_way(origin: Checkout, tmp_path: Path) -> None:
    """Without any training: scores, cells, tracks, a card, and a page that says whose they are."""
    checkout = origin.clone(tmp_path / "checkout")
    rows, params = yaml.safe_load(STUDY.read_text()), checkout.params()
    checkout.set_params(
        params
        | {"models": params["models"] | rows["models"], "runs": params["runs"] | rows["runs"]}
        | {"selected": ["otsu_watershed"]}
    )
    checkout.snakemake()
    [results] = (checkout.folder / "results").iterdir()
    table = (results / "metrics.csv").read_text()
    assert "otsu_watershed,all," in table
    assert "BSD-3-Clause; it has no weights" in (results / "predictions/otsu_watershed/card.md").read_text()
    page = (results / "report.html").read_text()
    assert "uv run --no-project --script workflow/tools/otsu_watershed.py {images} {labels}" in page
    assert checkout.nothing_to_do()
