"""An exported run held against torch on the same images: cell by cell, and by mask AP."""

from __future__ import annotations

import logging
import tempfile
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from monolayer.backends.manifest import Manifest, onnx_name, read_manifest
from monolayer.coco import table
from monolayer.coco.io import read_truth, write_results
from monolayer.coco.table import CellTable, Images
from monolayer.compiled import Floats, Ints
from monolayer.data.dataset import Sample, evenly, of_lines, samples
from monolayer.deployment import arithmetic
from monolayer.deployment.calibration import record
from monolayer.evaluation import matching
from monolayer.evaluation.matching import PROTOCOLS
from monolayer.evaluation.metrics import precision_curve
from monolayer.evaluation.pairs import Pairs
from monolayer.files import InputError
from monolayer.models import predict, predictor
from monolayer.models.predictor import Predictor
from monolayer.params.steps import Dtype, ExportSettings, ParityLimits

logger = logging.getLogger(__name__)
SAME = 0.5  # IoU above which two masks can be one cell; two of an image's cells never both have it with a third


def check(folder: Path, images: Path, splits: Path, reference: Path, settings: ExportSettings) -> dict[str, Any]:
    """What each backend and dtype of an exported run finds beside `reference`, torch's results; an error beyond limits.

    An engine that can't run here is listed with the reason. Values in half precision are looked at on images of train.
    """
    limits, truth = settings.parity, splits / "test.json"
    train = samples(read_truth(splits / "train.json"), images)
    folder, manifest = read_manifest(folder)
    todo = samples(read_truth(truth), images)
    listed, true = table.read_truth(truth)
    torchs = table.read_results(reference, listed)
    ap_torch = mask_ap(listed, true, torchs)
    rows = []
    for backend, dtype in manifest.variants():
        row: dict[str, Any] = {"backend": backend, "dtype": dtype}
        try:
            run = predictor.load(folder, backend, dtype)
        except InputError as error:
            if backend == "onnxruntime":
                raise
            rows.append(row | {"not_run": str(error)})
            continue
        with tempfile.TemporaryDirectory() as place:
            path = Path(place) / "results.json.gz"
            write_results(path, predict.results(run, todo, f"parity {backend} {dtype}"))
            found = table.read_results(path, listed)
        row |= compared(listed, torchs, found) | {"ap_torch": ap_torch, "ap": mask_ap(listed, true, found)}
        if backend == "onnxruntime":
            row |= arithmetic_of((folder, manifest), dtype, run, train, settings)
        logger.info("%s", row)
        check_limits(row, manifest.run, limits[dtype])
        rows.append(row)
    allowed = {dtype: limit.model_dump() for dtype, limit in limits.items()}
    return {"run": manifest.run, "images": len(todo), "limits": allowed, "rows": rows}


def arithmetic_of(
    exported: tuple[Path, Manifest], dtype: Dtype, run: Predictor, train: Sequence[Sample], settings: ExportSettings
) -> dict[str, Any]:
    """In which dtype the products run here; of fp16 besides the largest value, which must leave room on a GPU."""
    folder, manifest = exported
    count: Counter[str] = Counter()
    largest: dict[str, tuple[float, str]] = {}
    for name, network in run.networks.items():
        feeds = {}
        if dtype == "fp16":
            shown = train if name == "all" else of_lines(train, [name])
            feeds = record(network.pipeline, network.backend, evenly(shown, settings.calibration))
        for graph in manifest.networks[name].graphs:
            file = folder / onnx_name(name, graph, dtype)
            count.update(arithmetic.products(file))
            if feeds.get(graph):
                largest[f"{name} {graph}"] = arithmetic.largest_half(file, feeds[graph])
    arithmetic.check_range(largest, manifest.run, settings.fp16_range)
    return {"products": dict(count)} | ({"largest": max(largest.values())[0]} if largest else {})


def check_limits(row: Mapping[str, Any], run: str, limits: ParityLimits) -> None:
    """Raise an error that names the image to look at where a row is beyond its limits."""
    worst, lost, iou = (row[name] for name in ("worst_image", "lost", "mask_iou"))
    fault = ""
    if iou < limits.mask_iou:
        fault = f"masks of {worst} have a mean IoU of {iou:.4f} with torch's, less than {limits.mask_iou}"
    elif lost > limits.lost:
        fault = f"{lost:.2%} of torch's cells, by score, are not found, more than {limits.lost:.2%}; "
        fault += f"most on {row['lost_image']}"
    elif abs(row["ap"] - row["ap_torch"]) > limits.ap:
        values = f"mask AP is {row['ap']:.4f}, torch's {row['ap_torch']:.4f}, more than {limits.ap} apart"
        fault = f"{values}; masks differ most on {worst}"
    if fault:
        cure = "leave the dtype out of export.dtypes or widen export.parity"
        raise InputError(f"run {run}, {row['backend']} {row['dtype']}: {fault}; {cure}")


def compared(images: Images, reference: CellTable, found: CellTable) -> dict[str, Any]:
    """How far two runs find the same cells; what `reference` alone has weighs by its scores, in each image."""
    setting = matching.setting(reference, found, images, PROTOCOLS["livecell"], 1)
    cells, iou = partners(matching.mask_pairs(reference, found, setting)[0])
    alone = np.ones(len(reference), np.bool_)
    alone[cells] = False
    weight = 0.0
    lost: dict[str, float] = {}  # by image
    ious: dict[str, float] = {}  # by image: the mean over its pairs
    for index, name in enumerate(images.names):
        own, here = reference.image == index, reference.image[cells] == index
        weight += float(reference.mask_score[own].sum())
        lost[name] = float(reference.mask_score[own & alone].sum())
        if here.any():
            ious[name] = float(iou[here].mean())
    worst = min(ious, key=lambda name: ious[name], default=None)  # the image whose masks differ most
    return {
        "matched": len(cells),
        "extra": len(found) - len(cells),
        "lost": sum(lost.values()) / max(weight, 1e-9),
        "lost_image": max(lost, key=lambda name: lost[name]) if any(lost.values()) else None,
        "mask_iou": 1.0 if worst is None else ious[worst],
        "mask_iou_mean": float(np.mean(list(ious.values()))) if ious else 1.0,
        "worst_image": worst,
    }


def partners(pairs: Pairs) -> tuple[Ints, Floats]:
    """True cells, and their IoU, that have a partner: the masks are each other's best, above 0.5; of equals the first.

    >>> true, iou = partners(Pairs(np.array([0, 2, 3]), np.array([0, 1, 1], np.int32), np.array([0.6, 0.7, 0.8])))
    >>> true.tolist(), iou.tolist()  # 1 is nearest to both predicted cells, of which the second is its best
    ([1], [0.8])
    """
    pred = np.repeat(np.arange(len(pairs.first) - 1), np.diff(pairs.first))

    def best(of: Ints, other: Ints) -> Ints:
        order = np.lexsort((other, -pairs.iou, of))
        return order[np.unique(of[order], return_index=True)[1]]

    true = pairs.true.astype(np.int64)
    mutual = np.intersect1d(best(true, pred), best(pred, true))
    mutual = mutual[pairs.iou[mutual] > SAME]
    mutual = mutual[np.argsort(true[mutual])]
    return true[mutual], pairs.iou[mutual]


def mask_ap(images: Images, true: CellTable, pred: CellTable) -> float:
    """Mask AP with LIVECell's constants."""
    setting = matching.setting(true, pred, images, PROTOCOLS["livecell"], 1)
    matches = matching.match_masks(true, pred, matching.mask_pairs(true, pred, setting)[0], setting)
    return float(precision_curve(matches, 0, np.arange(len(images))).mean())
