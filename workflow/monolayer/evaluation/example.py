"""Images one pixel high, drawn as text: the examples of this package's documentation, which the tests run."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from monolayer.coco.records import CELL
from monolayer.coco.rle import box_xywh, rle_area, rle_from_mask
from monolayer.coco.table import read_results, read_truth
from monolayer.evaluation.evaluate import gather
from monolayer.evaluation.metrics import Evidence
from monolayer.files import write_json
from monolayer.params.steps import EvaluateParams


def example(true: Sequence[str], pred: Sequence[str], scores: Mapping[str, float], threshold: float = 0.0) -> Evidence:
    """Evidence of images in which each letter is a cell and a dot is background; scores of predicted letters."""
    params = EvaluateParams(protocol="livecell", n_resamples=1, seed=0, resample="image")
    sizes = [{"id": i, "file_name": f"{i}.png", "height": 1, "width": len(row)} for i, row in enumerate(true)]
    with tempfile.TemporaryDirectory() as folder:
        truth, results = Path(folder) / "truth.json", Path(folder) / "results.json"
        write_json(truth, {"images": sizes, "annotations": list(_records(true)), "categories": [CELL]})
        write_json(results, [record | {"score": scores[record["letter"]]} for record in _records(pred)])
        images, cells = read_truth(truth)
        return gather((images, cells, read_results(results, images)), params, threshold, threads=1)


def _records(rows: Sequence[str]) -> Iterator[dict[str, Any]]:
    for image, row in enumerate(rows):
        for letter in sorted(set(row) - {"."}):
            rle = rle_from_mask(np.array([list(row)]) == letter)
            record = {"image_id": image, "category_id": 1, "segmentation": rle, "bbox": box_xywh(rle), "iscrowd": 0}
            yield record | {"area": rle_area(rle), "letter": letter}


evidence = example(["aaaabbbb...cc"], ["ddddee..fff.."], {"d": 0.9, "e": 0.8, "f": 0.7})  # described in metrics.py
