"""What eight annotated images are worth on cells and optics that the model in the package never saw."""

from __future__ import annotations

import logging
import time
from pathlib import Path
from typing import cast

import few_images
import pytest
import torch
import yaml
from monolayer.coco.io import write_results
from monolayer.coco.records import CELL, Image, Truth
from monolayer.data import dataset
from monolayer.data.dataset import Sample
from monolayer.data.download import write_images
from monolayer.data.sources import coco
from monolayer.data.split import SPLITS, assign
from monolayer.evaluation import evaluate
from monolayer.files import write_json
from monolayer.models.unet import family
from monolayer.params.data import CocoSource
from monolayer.params.families import UnetPredict, UnetTrain
from monolayer.params.params import load
from monolayer.params.steps import EvaluateParams
from paths import DATA, ROOT, needs_data
from snakemake.utils import update_config

PARAMS = EvaluateParams(protocol="livecell", n_resamples=1000, seed=0, resample="image")
log = logging.getLogger(__name__)


@needs_data("psc")
@pytest.mark.slow
def test_eight_images_make_the_ready_model_better_and_beat_training_from_scratch(tmp_path: Path) -> None:
    """In 40 steps; the figures of docs/finetune.md are those that it logs."""
    torch.set_num_threads(1)
    config = yaml.safe_load((ROOT / "params.yaml").read_text())
    update_config(config, yaml.safe_load((ROOT / "workflow/studies/few_images.yaml").read_text()))
    params = load(config)
    few_images.write(DATA, "psc", tmp_path / "few.json")
    source = cast(CocoSource, params.datasets["psc"]).model_copy(update={"annotations": str(tmp_path / "few.json")})
    truth, read = coco.collect(source, tmp_path)
    splits = assign(truth, params.split)
    parts = {name: [image for image in truth["images"] if splits[image["id"]] == name] for name in SPLITS}
    assert [len(images) for images in parts.values()] == [6, 2, 12]
    (tmp_path / "images").mkdir()
    for images in parts.values():
        write_images(images, read, tmp_path / "images")
    shown = {name: samples(truth, images, tmp_path) for name, images in parts.items()}
    draws = {}
    for run in params.selected_runs:
        started = time.process_time()
        trained = family.train(
            shown["train"],
            shown["val"],
            cast(UnetTrain, params.train_params(run).settings),
            params.seed,
            tmp_path / run,
        )
        log.warning("%s: %.0f CPU s of training", run, time.process_time() - started)
        network = family.build(cast(UnetTrain, params.train_params(run).settings), trained.state, "cpu")
        settings = cast(UnetPredict, params.predict_params(run).settings)
        results = tmp_path / f"{run}.results.json"
        cells = ((one.image["id"], family.predict(network, [one.pixels()], settings)[0]) for one in shown["test"])
        write_results(results, (cell for number, found in cells for cell in found.results(number)))
        scores = evaluate.evaluate((tmp_path / "test.json", results), None, PARAMS, tmp_path / f"{run}.json", 1)
        log.warning("%s: mask AP %.3f (%.3f to %.3f)", run, *(scores[f"mask_ap{end}"] for end in ("", "_low", "_high")))
        draws[run] = evaluate.read_draws(tmp_path / f"{run}.bootstrap.npz")
    for base, least in (("ready", 0.05), ("untuned", 0.10)):
        rows = evaluate.pair_rows(("tuned", draws["tuned"]), (base, draws[base]))
        [row] = [row for row in rows if (row["metric"], row["cell_line"]) == ("mask_ap", "all")]
        log.warning("tuned - %s: %.3f (%.3f to %.3f)", base, row["difference"], row["low"], row["high"])
        assert row["difference"] > least
        assert row["low"] > 0


def samples(truth: Truth, images: list[Image], folder: Path) -> list[Sample]:
    """These images; their truth is written to test.json, so the last ones are those to judge by."""
    ids = {image["id"] for image in images}
    part = Truth(
        images=images, annotations=[a for a in truth["annotations"] if a["image_id"] in ids], categories=[CELL]
    )
    write_json(folder / "test.json", part)
    return dataset.samples(part, folder / "images")
