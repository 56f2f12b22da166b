"""An exported run held against torch on the same images: cell by cell, and by mask AP."""

from __future__ import annotations

import logging
import tempfile
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray
from pycocotools import mask as rle_codec

from monolayer.backends.manifest import EngineFile, Manifest, read_manifest
from monolayer.coco.io import read_truth, stream, write_results
from monolayer.coco.records import Result, Rle
from monolayer.data.dataset import Sample, samples
from monolayer.evaluation import cells, matching
from monolayer.evaluation.matching import PROTOCOLS
from monolayer.evaluation.metrics import precision_curve
from monolayer.files import InputError
from monolayer.models import predict, predictor
from monolayer.params.steps import Dtype, ParityLimits

logger = logging.getLogger(__name__)
SAME = 0.5  # IoU above which two masks can be one cell; two of an image's cells never both have it with a third


@dataclass
class Agreement:
    """How far two runs find the same cells; weights are the first one's scores."""

    matched: int = 0
    weight: float = 0.0  # of all cells of the first
    lost: float = 0.0  # of those without a partner
    extra: int = 0  # cells of the second without a partner
    ious: dict[int, float] = field(default_factory=dict)  # by image: the mean over its pairs

    @property
    def worst(self) -> int | None:
        """The image whose masks differ most."""
        return min(self.ious, key=lambda image: self.ious[image], default=None)


def check(
    folder: Path, images: Path, truth: Path, reference: Path, limits: Mapping[Dtype, ParityLimits]
) -> dict[str, Any]:
    """What each backend and dtype of an exported run finds beside `reference`, torch's results; an error beyond limits.

    An engine that can't run here is listed with the reason.
    """
    folder, manifest = read_manifest(folder)
    todo = samples(read_truth(truth), images)
    ap_torch = mask_ap(truth, reference)
    rows = []
    for backend, dtype in variants(manifest):
        row: dict[str, Any] = {"backend": backend, "dtype": dtype}
        try:
            run = predictor.load(folder, backend, dtype)
        except InputError as error:
            if backend == "onnxruntime":
                raise
            rows.append(row | {"not_run": str(error)})
            continue
        with tempfile.TemporaryDirectory() as place:
            found = Path(place) / "results.json.gz"
            write_results(found, predict.results(run, todo, f"parity {backend} {dtype}"))
            row |= compared(todo, reference, found) | {"ap_torch": ap_torch, "ap": mask_ap(truth, found)}
        logger.info("%s", row)
        check_limits(row, manifest.run, limits[dtype])
        rows.append(row)
    return {
        "run": manifest.run,
        "images": len(todo),
        "limits": {d: v.model_dump() for d, v in limits.items()},
        "rows": rows,
    }


def variants(manifest: Manifest) -> list[tuple[str, Dtype]]:
    """Backends and dtypes that an exported run has files for."""
    engines: Iterable[EngineFile] = manifest.engines
    return [("onnxruntime", dtype) for dtype in manifest.dtypes] + [
        ("tensorrt", dtype) for dtype in dict.fromkeys(engine.dtype for engine in engines)
    ]


def check_limits(row: Mapping[str, Any], run: str, limits: ParityLimits) -> None:
    """Raise an error that names the worst image where a row is beyond its limits."""
    what = f"run {run}, {row['backend']} {row['dtype']}: "
    cure = "leave the dtype out of export.dtypes or widen export.parity"
    if row["mask_iou"] < limits.mask_iou:
        raise InputError(
            f"{what}masks of {row['worst_image']} have a mean IoU of {row['mask_iou']:.4f} with torch's, "
            f"less than {limits.mask_iou}; {cure}"
        )
    if row["lost"] > limits.lost:
        raise InputError(
            f"{what}{row['lost']:.2%} of torch's cells, by score, are not found, more than {limits.lost:.2%}; most on "
            f"{row['worst_image']}; {cure}"
        )
    if abs(row["ap"] - row["ap_torch"]) > limits.ap:
        raise InputError(
            f"{what}mask AP is {row['ap']:.4f}, torch's {row['ap_torch']:.4f}, more than {limits.ap} apart; masks "
            f"differ most on {row['worst_image']}; {cure}"
        )


def compared(todo: Sequence[Sample], reference: Path, found: Path) -> dict[str, Any]:
    """The numbers of Agreement over all images, and the least mean IoU of an image with its name."""
    names = {sample.image["id"]: sample.image["file_name"] for sample in todo}
    ours, theirs = by_image(found), by_image(reference)
    total = Agreement()
    for image in names:
        add(total, image, theirs[image], ours[image])
    worst = total.worst
    return {
        "matched": total.matched,
        "extra": total.extra,
        "lost": total.lost / max(total.weight, 1e-9),
        "mask_iou": 1.0 if worst is None else total.ious[worst],
        "mask_iou_mean": float(np.mean(list(total.ious.values()))) if total.ious else 1.0,
        "worst_image": None if worst is None else names[worst],
    }


def add(total: Agreement, image: int, reference: Sequence[Result], found: Sequence[Result]) -> None:
    """Count one image: pairs are each other's best partner, with an IoU above 0.5."""
    weights = np.array([result.get("mask_score", result["score"]) for result in reference])
    total.weight += float(weights.sum())
    pairs = partners([r["segmentation"] for r in reference], [r["segmentation"] for r in found])
    alone = np.ones(len(reference), np.bool_)
    alone[[i for i, _, _ in pairs]] = False
    total.matched += len(pairs)
    total.lost += float(weights[alone].sum()) if len(reference) else 0.0
    total.extra += len(found) - len(pairs)
    if pairs:
        total.ious[image] = float(np.mean([iou for _, _, iou in pairs]))


def partners(one: Sequence[Rle], other: Sequence[Rle]) -> list[tuple[int, int, float]]:
    """(i, j, IoU) of masks that are each other's best, above 0.5."""
    if not one or not other:
        return []
    ious: NDArray[np.float64] = rle_codec.iou(cast(Any, list(one)), cast(Any, list(other)), [0] * len(other))
    forth, back = ious.argmax(1), ious.argmax(0)
    return [(i, int(j), float(ious[i, j])) for i, j in enumerate(forth.tolist()) if back[j] == i and ious[i, j] > SAME]


def by_image(results: Path) -> dict[int, list[Result]]:
    found: dict[int, list[Result]] = defaultdict(list)
    for result in cast(Iterable[Result], stream(results)):
        found[result["image_id"]].append(result)
    return found


def mask_ap(truth: Path, results: Path) -> float:
    """Mask AP with LIVECell's constants."""
    images, true = cells.read_truth(truth)
    pred = cells.read_results(results, images)
    setting = matching.setting(true, pred, images, PROTOCOLS["livecell"], 1)
    pairs, _ = matching.mask_pairs(true, pred, setting)
    matches = matching.match(true, pairs, pred.mask_score, pred.pixels.astype(np.float64), setting)
    return float(precision_curve(matches, 0, np.arange(len(images))).mean())
