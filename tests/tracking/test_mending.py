"""A run's cells are mended if val says that it helps; the workflow has them as a row beside the run's."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import yaml
from checkouts import Checkout
from monolayer.__main__ import main
from monolayer.coco.io import write_results
from monolayer.coco.records import Result, Truth
from monolayer.files import write_json
from monolayer.params.params import load
from monolayer.params.section import ParamsError
from monolayer.params.steps import EvaluateParams
from monolayer.params.tracking import MendParams
from monolayer.tracking.mending import Gain, tra_gain, verdict
from paths import ROOT
from PIL import Image as PillowImage
from test_track import joined
from timelapse import LINKS, SIZE, Movie, movie

EVALUATE = EvaluateParams(protocol="livecell", n_resamples=50, seed=0, resample="image")
PARAMS = MendParams(track=LINKS, evaluate=EVALUATE)


def wells(*names: str) -> Truth:
    """A time-lapse of each well."""
    truths = list[Truth]()
    for name in names:
        images, cells = (sum(len(truth[key]) for truth in truths) for key in ("images", "annotations"))
        truths.append(movie(name).truth(1 + images, 1 + cells))
    return joined(*truths)


def found(truth: Truth, missing: float) -> list[Result]:
    """The true cells, of which such a share is not found, with a score."""
    rng = np.random.default_rng(1)
    return [
        Result(
            image_id=cell["image_id"],
            category_id=1,
            segmentation=cell["segmentation"],
            bbox=cell["bbox"],
            score=round(float(rng.uniform(0.6, 1)), 3),
        )
        for cell in truth["annotations"]
        if rng.random() >= missing
    ]


def run_mended(folder: Path, truth: Truth, missing: float) -> dict[str, Any]:
    """What the verb says of a run that misses this share of the cells of val and test."""
    for split in ("val", "test"):
        write_json(folder / "splits" / f"{split}.json", truth)
        write_results(folder / "run" / f"{split}.json.gz", found(truth, missing))
    write_json(folder / "scores.json", {"score_threshold": 0.5})
    words = ["--splits", str(folder / "splits"), "--predictions", str(folder / "run")]
    words += ["--scores", str(folder / "scores.json"), "--params", PARAMS.model_dump_json(), "--threads", "1"]
    assert main(["mend-run", *words, "--output", str(folder / "mended")]) == 0
    said: dict[str, Any] = json.loads((folder / "mended/mended.json").read_text())
    return said


def same_bytes(folder: Path) -> bool:
    return all(
        (folder / "mended" / name).read_bytes() == (folder / "run" / name).read_bytes()
        for name in ("val.json.gz", "test.json.gz")
    )


def test_cells_are_mended_where_val_says_that_it_helps(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    said = run_mended(tmp_path, wells("A1", "B2", "C3", "D4", "E5", "F6"), 0.1)
    assert said["helps"]
    assert said["base"] == "run"
    assert (said["images"], said["wells"]) == (60, 6)
    assert said["put_in_on_val"] > 5
    for name in ("mask_ap", "tra"):
        gain = said[name]
        assert gain["as_found"] < gain["mended"] <= 1
        assert gain["difference"] == pytest.approx(gain["mended"] - gain["as_found"], abs=1e-9)
        assert 0 < gain["low"] <= gain["difference"] <= gain["high"]
    assert not same_bytes(tmp_path)
    assert re.search(
        r"mask AP 0\.\d+ to 0\.\d+, \+0\.\d+ \(.*TRA .*The row's cells are mended", capsys.readouterr().err
    )


def test_cells_are_left_as_they_were_where_val_says_no(tmp_path: Path) -> None:
    said = run_mended(tmp_path, wells("A1", "B2"), 0.0)
    assert not said["helps"]
    assert said["mask_ap"]["as_found"] == 1
    # truth lacks a cell for a frame of each well, which is no reason to invent it
    assert said["mask_ap"]["difference"] < 0
    assert said["tra"]["difference"] < 0
    assert "left as they were, mask AP is lower" in said["said"]
    assert same_bytes(tmp_path)


def test_few_images_say_nothing_and_masks_alone_no_tra(tmp_path: Path) -> None:
    truth = wells("A1")
    for cell in truth["annotations"]:
        del cell["track_id"], cell["parent_id"]
    few = {image["id"] for image in truth["images"][:5]}
    truth["images"] = truth["images"][:5]
    truth["annotations"] = [cell for cell in truth["annotations"] if cell["image_id"] in few]
    said = run_mended(tmp_path, truth, 0.2)
    assert said["tra"] is None
    assert said["mask_ap"]["difference"] > 0
    assert not said["helps"]
    assert "by 5 images, for 6 are needed" in said["said"]
    assert "TRA not known, truth has no tracks" in said["said"]
    assert same_bytes(tmp_path)


def test_two_time_lapses_show_nothing_however_many_images_stand_beside_them(tmp_path: Path) -> None:
    """They gain the same, so that their interval is a point; wells of one image each have no tracks."""
    lapses = [movie(well).truth(1 + 10 * n, 1 + 100 * n) for n, well in enumerate(("A1", "B0"))]  # the same cells
    alone = [
        Movie({1: (0, [(40.0, 40.0)], 0)}, f"C{n}").truth(100 + n, 1000 + n)  # a frame
        for n in range(6)
    ]
    truth = joined(*lapses, *alone)
    write_json(tmp_path / "val.json", truth)
    cells = found(truth, 0)
    gone = {(3, 1), (13, 1), (6, 4), (16, 4)}  # image and track
    missed = [
        one
        for one, cell in zip(cells, truth["annotations"], strict=True)
        if (cell["image_id"], cell["track_id"]) not in gone
    ]
    for name, some in (("mended", cells), ("as found", missed)):
        write_results(tmp_path / f"{name}.json", some)
    ways = {name: tmp_path / f"{name}.json" for name in ("mended", "as found")}
    tra = tra_gain(tmp_path / "val.json", ways, 0.5, PARAMS)
    assert tra is not None
    assert (tra["low"] or 0) > 0
    same: Gain = {"as_found": 1.0, "mended": 1.0, "difference": 0.0, "low": 0.0, "high": 0.0, "real": False}
    assert not verdict(tmp_path / "val.json", EVALUATE, {"mask AP": same, "TRA": tra})["helps"]


# ---- in params.yaml and in the workflow -------------------------------------------------------------------


def config(**track: Any) -> dict[str, Any]:
    loaded: dict[str, Any] = yaml.safe_load((ROOT / "params.yaml").read_text())
    loaded["track"] |= track
    return loaded


def test_a_mended_row_stands_beside_its_run() -> None:
    plain = load(config())
    assert plain.mended_runs == {}
    assert plain.scored_runs == plain.selected_runs
    assert "mend" not in plain.report_params.used["track"]
    some = load(config(mend=["unet"]))
    assert some.scored_runs[:4] == ["yolo", "unet", "unet_mended", "unet_el"]
    assert some.tracked["unet_mended"].settings == plain.tracked["unet"].settings
    assert some.report_params.used["track"]["mend"] == ["unet"]
    assert len(load(config(mend="all")).scored_runs) == 2 * len(plain.selected_runs)
    taken = config(mend="all")
    taken["runs"]["yolo_mended"] = taken["runs"]["yolo"]
    with pytest.raises(ParamsError, match="yolo_mended is the name of a run too"):
        load(taken)


@pytest.mark.workflow
def test_the_default_run_has_no_job_for_it(origin: Checkout, tmp_path: Path) -> None:
    checkout = origin.clone(tmp_path / "checkout")

    def jobs() -> dict[str, str]:
        plan = checkout.snakemake("--dry-run", "--forceall").stdout
        return dict(re.findall(r"^(\w+) +(\d+)$", plan, re.MULTILINE))

    before = jobs()
    assert "mend" not in before
    params = checkout.params()
    params["track"]["mend"] = "all"
    checkout.set_params(params)
    after = jobs()
    more = {rule: int(count) - int(before.get(rule, 0)) for rule, count in after.items()}
    assert {rule: n for rule, n in more.items() if n and rule != "total"} == {
        "mend": 1,
        "evaluate": 1,
        "measure": 1,
        "track": 1,
    }


def lay_out(checkout: Checkout) -> None:
    """A user's folder of six wells, and a tool that has missed a fifth of their cells."""
    images = checkout.folder / "my/images"
    images.mkdir(parents=True)
    truth = wells("A1", "B2", "C3", "D4", "E5", "F6")
    rng = np.random.default_rng(0)
    for image in truth["images"]:
        PillowImage.fromarray(rng.integers(0, 255, (SIZE, SIZE)).astype(np.uint8)).save(images / image["file_name"])
        for key in ("cell_line", "well", "timestamp", "split"):
            del image[key]  # type: ignore[misc]
    write_json(checkout.folder / "my/annotations.json", truth)
    params = checkout.params()
    params["datasets"]["own"] |= {
        "images": "my/images",
        "annotations": "my/annotations.json",
        "cell_line": "disk",
        "well": "regex:_(?P<well>[A-F][0-9])_",
        "time": "regex:_(?P<time>t[0-9]+)",
    }
    lab = {"family": "results", "tool": "by hand", "licence": "ours"}
    params["models"] = {"lab": lab | {"results": {split: f"my/{split}.json" for split in ("val", "test")}}}
    params["runs"] = {"lab": {"model": "lab", "lines": "all", "extension": None}}
    params["split"] |= {"val": 0.34, "test": 0.33, "group": "well"}
    checkout.set_params(params | {"selected": ["lab"]})
    checkout.snakemake("--", "results/own/splits/val.json")
    for split in ("val", "test"):
        part = json.loads((checkout.folder / f"results/own/splits/{split}.json").read_text())
        write_results(checkout.folder / f"my/{split}.json", found(part, 0.2))
    params = checkout.params()
    params["track"] |= {"mend": "all", "also": {"motile": {"tracker": "motile"}}}
    checkout.set_params(params)


@pytest.mark.slow
@pytest.mark.workflow
def test_a_mended_row_goes_all_the_way(origin: Checkout, tmp_path: Path) -> None:
    """Scores, cells and tracks of both rows, by both trackers, and a page that says what was gained on val."""
    pytest.importorskip("motile", reason="needs the extra motile")
    checkout = origin.clone(tmp_path / "checkout")
    lay_out(checkout)
    checkout.snakemake()
    results = checkout.folder / "results/own"
    scores = pd.read_csv(results / "metrics.csv").set_index(["run", "cell_line"])["mask_ap"]
    assert scores["lab_mended", "all"] > scores["lab", "all"]
    tracks = pd.read_csv(results / "tracks.csv").set_index(["run", "cell_line"])["tra"]
    assert tracks["lab_mended", "all"] > tracks["lab", "all"]
    assert tracks["lab_mended_motile", "all"] > tracks["lab_motile", "all"]
    assert tracks["truth_motile", "all"] == 1
    said = json.loads((results / "predictions/lab_mended/mended.json").read_text())["said"]
    assert f"lab_mended: {said}" in (results / "report.html").read_text().replace("&#39;", "'")
    assert checkout.nothing_to_do()
