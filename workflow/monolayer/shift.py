"""How far synthetic images lie from the originals, line by line: in a space of image features, and in what they count.

The poster's analysis, with numbers: principal components of the originals' features, synthetic images projected,
energy distance between the two clouds (Székely and Rizzo 2013) and a permutation test.
"""

from __future__ import annotations

import csv
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from monolayer.coco import label_image, read_truth, whole_file
from monolayer.dataset import Sample, read_image, samples
from monolayer.features import FEATURES, features
from monolayer.parallel import each
from monolayer.params import ShiftParams
from monolayer.progress import track

Floats = NDArray[np.float64]
KINDS = ("original", "synthetic")


class Plane(NamedTuple):
    """Principal components of the originals: features are scaled, then turned."""

    centre: Floats  # (F,)
    scale: Floats  # (F,) 0 for a feature that does not vary among the originals, which is left out
    components: Floats  # (C, F) orthonormal rows
    explained: float  # share of the originals' variance


class Cloud(NamedTuple):
    """The images of one line and kind."""

    samples: list[Sample]
    values: Floats  # (N, F), in the order of FEATURES


def shift(images: Path, truth: Path, extension: Path, params: ShiftParams, output: Path, workers: int) -> None:
    """Compare an extension with the training images that it was made from; write tables and figures into `output`."""
    from monolayer import figures

    parts = (
        samples(read_truth(truth), images),
        samples(read_truth(extension / "annotations.json"), extension / "images"),
    )
    every = [*parts[0], *parts[1]]
    values = np.array(list(track(each(measure, every, workers), len(every), "shift")))
    lines = {
        line: tuple(
            Cloud(part, found)
            for part, found in (
                of_line(parts[0], values[: len(parts[0])], line),
                of_line(parts[1], values[len(parts[0]) :], line),
            )
        )
        for line in sorted({sample.image["cell_line"] for sample in every})
    }


def of_line(part: Sequence[Sample], values: Floats, line: str) -> Cloud:
    mine = [sample.image["cell_line"] == line for sample in part]
    return Cloud([sample for sample, is_mine in zip(part, mine, strict=True) if is_mine], values[np.array(mine, bool)])


def measure(sample: Sample) -> list[float]:
    """The FEATURES of one sample, in their order."""
    pixels = read_image(sample.path)
    found = features(pixels, label_image([cell["segmentation"] for cell in sample.annotations], *pixels.shape))
    return [found[name] for name in FEATURES]


# ---- the space -----------------------------------------------------------------------------------


def fit(originals: Floats, variance: float) -> Plane:
    """Principal components of (N, F) features, as many as explain that share of their variance."""
    centre = np.nan_to_num(np.nanmean(originals, 0))
    spread = np.nan_to_num(np.nanstd(originals, 0))
    scale = np.where(spread > 1e-9 * np.maximum(np.abs(centre), 1), spread, 0)
    _, singular, components = np.linalg.svd(scaled(originals, centre, scale), full_matrices=False)
    shares = np.cumsum(singular**2) / max(float((singular**2).sum()), 1e-12)
    count = min(int(np.searchsorted(shares, variance)) + 1, len(shares))
    components = components[:count]
    # the sign of a component is arbitrary: its largest entry is positive
    largest = components[np.arange(count), np.abs(components).argmax(1)]
    return Plane(centre, scale, components * np.sign(largest)[:, None], float(shares[count - 1]))


def scaled(values: Floats, centre: Floats, scale: Floats) -> Floats:
    """Features in standard deviations of the originals; what an image does not define is as the originals' mean."""
    return np.nan_to_num((values - centre) / np.where(scale > 0, scale, np.inf))


def project(values: Floats, plane: Plane) -> tuple[Floats, Floats]:
    """Scores (N, C) on the components, and the mean square (N,) per feature that they leave out."""
    points = scaled(values, plane.centre, plane.scale)
    scores = points @ plane.components.T
    return scores, ((points - scores @ plane.components) ** 2).sum(1) / max(int((plane.scale > 0).sum()), 1)


def energy(distances: Floats, first: NDArray[np.bool_]) -> Floats:
    """Energy distance 2E|X-Y| - E|X-X'| - E|Y-Y'| for P ways (P, N) to call some of N points X, the rest Y.

    distances is (N, N). 0 is for equal clouds; the unit is that of the distances.
    """
    x, y = first.astype(np.float64), (~first).astype(np.float64)
    n, m = x.sum(1), y.sum(1)
    to_x = x @ distances
    between, within = (to_x * y).sum(1) / (n * m), (to_x * x).sum(1) / n**2
    return 2 * between - within - ((y @ distances) * y).sum(1) / m**2


def energy_test(one: Floats, other: Floats, permutations: int, rng: np.random.Generator) -> dict[str, float]:
    """Energy distance of two clouds (N, C) and (M, C), its mean under exchange of their points, and the p-value."""
    points = np.concatenate([one, other])
    distances = np.sqrt(((points[:, None] - points[None]) ** 2).sum(-1))
    named = np.arange(len(points)) < len(one)
    found = float(energy(distances, named[None])[0])
    shuffled = energy(distances, rng.permuted(np.tile(named, (permutations, 1)), axis=1))
    at_least = int((shuffled >= found * (1 - 1e-9)).sum())
    return {
        "energy_distance": found,
        "null_distance": float(shuffled.mean()),
        "p_value": (at_least + 1) / (permutations + 1),
    }


def kolmogorov_smirnov(one: Floats, other: Floats) -> float:
    """The largest difference between two distribution functions, 0 to 1."""
    at = np.concatenate([one, other])
    ranks = [np.searchsorted(np.sort(part), at, side="right") / len(part) for part in (one, other)]
    return float(np.abs(ranks[0] - ranks[1]).max())
