"""Each kind of truth and results at each entry point that takes it: the tables of docs/inputs.md."""

from __future__ import annotations

import json
import logging
import re
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import tifffile
from monolayer.data import download
from monolayer.evaluation import evaluate
from monolayer.files import InputError
from monolayer.measurement.measure import CellSource, measure
from monolayer.params.data import CocoSource
from monolayer.params.steps import EvaluateParams, MeasureParams, NeighbourParams
from PIL import Image as PillowImage
from truth_inputs import (
    ENTRIES,
    KINDS,
    SIDE,
    LabelsKind,
    ResultsKind,
    TruthKind,
    make_results,
    make_truth,
    of_another,
    said_by,
    write,
    write_labels,
)

EVALUATE = EvaluateParams(protocol="livecell", n_resamples=2, seed=0, resample="image")
MEASURE = MeasureParams(
    pixel_size_um={}, frame_hours={}, neighbours=NeighbourParams(gap=1, radius=40), files=["labels"]
)


def write_images(folder: Path, truth: dict[str, Any]) -> None:
    for image in truth["images"]:
        path = folder / image["file_name"].replace("\\", "/")
        if not path.is_absolute() or folder in path.parents:
            path.parent.mkdir(parents=True, exist_ok=True)
            noise = np.random.default_rng(0).integers(0, 255, (SIDE, SIDE), dtype=np.uint8)
            PillowImage.fromarray(noise).save(path)


def collected(folder: Path) -> int:
    """Cells that `source: coco` makes of truth.json; its findings are logged."""
    params = CocoSource.model_validate(
        {"source": "coco", "images": str(folder / "images"), "annotations": str(folder / "truth.json")}
        | {"cell_line": "line", "well": None, "time": None, "max_images": None}
        | {"percentiles": {"low": 0.5, "high": 99.8}}
    )
    download.download(params, folder / "data/images", folder / "data/annotations.json")
    return sum(
        not cell["iscrowd"] for cell in json.loads((folder / "data/annotations.json").read_text())["annotations"]
    )


def evaluated(folder: Path, results: Path, perfect: bool) -> int:
    """True cells; all that were found score 1."""
    scores = evaluate.evaluate((folder / "truth.json", results), None, EVALUATE, folder / "s.json", 1)
    assert (scores["mask_ap"] == scores["f1_50"] == 1) == perfect
    return int(scores["cells"])


def measured(folder: Path, results: Path | None, images: int, perfect: bool) -> int:
    """Cells in the table, each of 16 px², and in the label images, of which each image has one."""
    measure(folder / "images", folder / "truth.json", CellSource(results, 0), MEASURE, folder / "measured")
    cells = pd.read_parquet(folder / "measured/cells.parquet")
    labels = list((folder / "measured/masks").rglob("*.tif"))
    assert len(labels) == images
    assert sum(int(tifffile.imread(path).max()) for path in labels) == len(cells)
    assert (set(cells["area_px2"]) == {16}) == perfect
    return len(cells)


def run(kind: Any, entry: str, folder: Path) -> int:
    """Write files of that kind, and give the number of cells that come out."""
    truth, results = make_truth(), None
    if isinstance(kind, TruthKind):
        kind.change(truth)
        found: list[dict[str, Any]] = make_results(kind.cells)
        perfect = True
    elif isinstance(kind, LabelsKind):
        for image, name in zip(truth["images"], kind.images, strict=True):
            image["file_name"] = name
        write_labels(folder / "labels", kind)
        results, perfect = folder / "labels", not kind.binary
    else:
        kind.truth(truth)
        found = make_results()
        kind.change(found)
        results, perfect = write(folder / "r.json", found, kind.write), kind.cells == 4
    write(folder / "truth.json", truth, kind.write if isinstance(kind, TruthKind) else str.encode)
    write_images(folder / "images", truth)
    if entry == "source: coco":
        return collected(folder)
    if entry == "measure":
        return measured(
            folder, results, len(truth["images"]), perfect or (results is not None and not isinstance(kind, LabelsKind))
        )
    return evaluated(folder, results or write(folder / "r.json", found), perfect)


CASES = [(table, kind, entry) for table, kinds in KINDS.items() for kind in kinds for entry in ENTRIES[table]]


@pytest.mark.parametrize(("table", "kind", "entry"), CASES, ids=[f"{t}: {k.kind}, {e}" for t, k, e in CASES])
def test_what_is_said_is_done(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, table: str, kind: Any, entry: str
) -> None:
    outcome, words = said_by(kind, entry)
    if outcome == "refused":
        with pytest.raises(InputError, match=re.escape(words)) as error:
            run(kind, entry, tmp_path)
        assert "\n" not in str(error.value)
        assert not any(
            (tmp_path / made).exists()
            for made in ("data/images", "data/annotations.json", "s.json", "measured/cells.csv")
        )
        return
    cells = run(kind, entry, tmp_path)
    said = [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]
    assert any(words in text for text in said) if outcome == "finding" else not said
    if isinstance(kind, TruthKind):
        assert cells == len(kind.cells)
    elif isinstance(kind, ResultsKind):
        assert cells == (4 if entry == "evaluate" else kind.cells)
    else:
        assert cells == (2 if kind.binary and entry == "measure" else 4)


@pytest.mark.parametrize("protocol", ["livecell", "coco"])
def test_what_is_found_in_a_category_to_ignore_counts_neither_way(tmp_path: Path, protocol: Any) -> None:
    truth = make_truth()
    of_another("ignore")(truth)
    files = write(tmp_path / "truth.json", truth), write(tmp_path / "r.json", make_results())
    params = EVALUATE.model_copy(update={"protocol": protocol})
    scores = evaluate.evaluate(files, None, params, tmp_path / "s.json", 1)
    assert (scores["cells"], scores["mask_ap"], scores["f1_50"]) == (3, 1, 1)
