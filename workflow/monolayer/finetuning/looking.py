"""What a model makes of an image that nobody annotated: how sure it is of its cells, and what the image is like."""

from __future__ import annotations

import math
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from monolayer.backends.manifest import Manifest, read_manifest
from monolayer.coco.instances import Instances
from monolayer.data.images import Pixels, eight_bit, fingerprint
from monolayer.data.plane import ImagePlane
from monolayer.data.reading import read_frame
from monolayer.evaluation.matching import IOUS, match_labels
from monolayer.models import predictor
from monolayer.models.dihedral import turn, turn_back
from monolayer.models.predictor import Predictor
from monolayer.models.unet.patches import contrast
from monolayer.synthesis.features import FEATURES, features

WAYS = (1, 2, 3)  # quarter turns that an image is shown in besides
NEAR = 0.1  # a score that lies so near the threshold could as well lie on its other side


class Reading(NamedTuple):
    """How images are found cells in: an exported run, the cells' usual diameter in px if given, the plane to read."""

    model: Path
    diameter: float | None
    which: ImagePlane


class ImageLook(NamedTuple):
    """What a model makes of one image; `key` is the same for copies.

    views: 0 to 1, by how much the cells that it finds in the turned image differ. doubt: 0 to 1, the share of cells
    whose score is near the threshold. size: px, the median cell's diameter as the network sees it; NaN without cells.
    contrast: grey levels. features: those of FEATURES, in their order; NaN for what too few cells define.
    """

    key: str
    cells: int
    views: float
    doubt: float
    size: float
    contrast: float
    features: list[float]


@lru_cache(maxsize=2)
def loaded(reading: Reading, tta: int | None) -> tuple[Predictor, Manifest]:
    """The model on one thread: whatever the number of processes, an image's cells are the same bytes."""
    folder, manifest = read_manifest(reading.model)
    own = tta if manifest.family == "unet" else None  # the mean of turned views would hide that they differ
    return predictor.load(folder, threads=1, tta=own, diameter=reading.diameter), manifest


def read_pixels(reading: Reading, path: Path) -> Pixels:
    """An image as the network sees it."""
    _, manifest = loaded(reading, 1)
    return eight_bit(read_frame(path.read_bytes(), str(path), reading.which), str(path), manifest.percentiles)


def check(reading: Reading, path: Path) -> None:
    """Refuse an image that can't be used."""
    run, _ = loaded(reading, 1)
    pixels = read_pixels(reading, path)
    predictor.check_image(str(path), pixels, run.network(None, str(path)))


def look(reading: Reading, path: Path) -> ImageLook:
    run, manifest = loaded(reading, 1)
    scale = manifest.diameters.median / reading.diameter if manifest.diameters and reading.diameter else 1.0
    return look_at(run, manifest.score_threshold, read_pixels(reading, path), scale)


def look_at(run: Predictor, threshold: float, pixels: Pixels, scale: float = 1.0) -> ImageLook:
    """What a run that takes no turned views of its own makes of an image that its network sees `scale` times as large.

    Cells count from the score `threshold` up.
    """
    [found] = run.segment([pixels])
    labels = found.at_least(threshold).label_image()
    turned = (run.segment([turn(pixels, way)])[0].at_least(threshold).label_image() for way in WAYS)
    views = [1 - agreement(labels, turn_back(other, way)) for way, other in zip(WAYS, turned, strict=True)]
    known = features(pixels, labels)
    return ImageLook(
        key=fingerprint(pixels),
        cells=int(labels.max(initial=0)),
        views=float(np.mean(views)),
        doubt=doubtful(found, threshold),
        size=scale * 2 * math.sqrt(known["area"] / math.pi),
        contrast=contrast([pixels]),
        features=[known[name] for name in FEATURES],
    )


def agreement(one: NDArray[np.int32], other: NDArray[np.int32]) -> float:
    """Mean instance F1 over IoU .50:.05:.95 of two label images, 0 to 1; 1 where neither has a cell."""
    tp, fp, fn = match_labels(one, other, IOUS)
    return 2 * tp / (2 * tp + fp + fn) if tp + fp + fn else 1.0


def doubtful(found: Instances, threshold: float) -> float:
    """The share of cells whose score is near the threshold, of those from there up; 0 where there are none."""
    scores = found.ranking[found.ranking >= threshold - NEAR]
    return float((scores <= threshold + NEAR).mean()) if len(scores) else 0.0
