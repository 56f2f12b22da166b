"""AP and AR count the best predictions of an image up to the protocol's cap; nothing else knows of one."""

from __future__ import annotations

import csv
import json
import logging
from pathlib import Path
from typing import Any

import pytest
from monolayer.evaluation import evaluate
from monolayer.params.steps import EvaluateParams


def files_of(folder: Path, side: int, step: int) -> tuple[Path, Path]:
    """One image full of squares of 4 px, all of them found."""
    image = {"id": 1, "file_name": "a.png", "height": side, "width": side}
    squares = [[x, y, x + 4, y, x + 4, y + 4, x, y + 4] for x in range(0, side, step) for y in range(0, side, step)]
    cells = [{"image_id": 1, "category_id": 1, "segmentation": [square]} for square in squares]
    truth = {"images": [image], "annotations": cells, "categories": [{"id": 1, "name": "cell"}]}
    (folder / "truth.json").write_text(json.dumps(truth))
    (folder / "results.json").write_text(json.dumps([cell | {"score": 1} for cell in cells]))
    return folder / "truth.json", folder / "results.json"


def scored(folder: Path, files: tuple[Path, Path], protocol: Any) -> dict[str, Any]:
    params = EvaluateParams(protocol=protocol, n_resamples=5, seed=0, resample="image")
    return evaluate.evaluate(files, None, params, folder / "run.json", 1)


@pytest.mark.parametrize(("protocol", "side", "cap"), [("livecell", 300, 2000), ("coco", 170, 100)])
def test_only_ap_and_ar_know_the_cap(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, protocol: str, side: int, cap: int
) -> None:
    caplog.set_level(logging.INFO)
    scores = scored(tmp_path, files_of(tmp_path, side, 6), protocol)
    cells = len(range(0, side, 6)) ** 2
    for name in ("f1_50", "f1", "precision", "recall", "mean_accuracy", "accuracy_50", "pixel_f1"):
        assert scores[name] == 1, name
    assert (scores["cells"], scores["count_bias"], scores["count_mae"]) == (cells, 0, 0)
    assert scores[f"mask_ar_{cap}"] == pytest.approx(cap / cells)
    assert scores["mask_ap"] == pytest.approx(round(101 * cap / cells) / 101, abs=0.01)
    assert scores["capped_images"] == 1
    assert (
        f"AP and AR count the {cap} best predictions of an image (protocol {protocol}), and 1 of 1 images have more"
        in (caplog.text)
    )
    with (tmp_path / "run.images.csv").open() as file:
        assert [row["capped"] for row in csv.DictReader(file)] == ["true"]
    with (tmp_path / "run.errors.csv").open() as file:
        assert {row["lost_cells"] for row in csv.DictReader(file)} == {"0"}
    with (tmp_path / "run.curves.csv").open() as file:
        assert {float(row["y"]) for row in csv.DictReader(file) if row["curve"] == "f1_by_score"} == {1}


def test_without_a_capped_image_nothing_is_said(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    scores = scored(tmp_path, files_of(tmp_path, 60, 6), "coco")
    assert scores["cells"] == 100
    assert "capped_images" not in scores
    assert "AP and AR" not in caplog.text


def test_the_threshold_is_chosen_of_all_predictions(tmp_path: Path) -> None:
    """Beyond the cap all are true: the best F1 takes them too."""
    truth, results = files_of(tmp_path, 120, 6)
    found = json.loads(results.read_text())
    for number, cell in enumerate(found):
        cell["score"] = 1 - number / 1000
    results.write_text(json.dumps(found))
    scores = scored(tmp_path, (truth, results), "coco")
    assert scores["score_threshold"] == pytest.approx(1 - 399 / 1000)
    assert scores["recall"] == 1
