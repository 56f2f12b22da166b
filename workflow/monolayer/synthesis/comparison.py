"""Two clouds of images in a space of features: principal components, energy distance, and what they count."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.stats import ks_2samp

from monolayer.compiled import Floats
from monolayer.data.dataset import Sample
from monolayer.params.extensions import DomainShiftParams
from monolayer.synthesis.features import FEATURES

Row = dict[str, str | float]
KINDS = ("original", "synthetic")


class Cloud(NamedTuple):
    """The images of one line and kind."""

    samples: list[Sample]
    values: Floats  # (N, F), in the order of FEATURES


class Plane(NamedTuple):
    """Principal components of the originals, none where these are alike: features are scaled, then turned."""

    centre: Floats  # (F,)
    scale: Floats  # (F,); 0 for a feature that does not vary among the originals: it is left out
    components: Floats  # (C, F) orthonormal rows
    explained: float  # share of the originals' variance; NaN where there is none


class Comparison(NamedTuple):
    """One line's originals and synthetic images."""

    clouds: tuple[Cloud, Cloud]
    scores: tuple[Floats, Floats]  # (N, C) and (M, C)
    row: Row


def of_line(part: Sequence[Sample], values: Floats, line: str) -> Cloud:
    mine = [index for index, sample in enumerate(part) if sample.image["cell_line"] == line]
    return Cloud([part[index] for index in mine], values[mine])


def compare(clouds: tuple[Cloud, Cloud], params: DomainShiftParams) -> Comparison:
    """The shift of one line, and the distributions of what is counted, as Kolmogorov-Smirnov distances."""
    rng = np.random.default_rng(params.seed)
    plane = fit(clouds[0].values, params.variance)
    (original, left), (synthetic, left_synthetic) = (project(cloud.values, plane) for cloud in clouds)
    chosen = [rng.permutation(part)[: params.max_images] for part in (original, synthetic)]
    row: Row = {
        "originals": len(original),
        "synthetic": len(synthetic),
        "components": len(plane.components),
        "explained": plane.explained,
        **energy_test(chosen[0], chosen[1], params.permutations, rng),
        "left_out_original": float(left.mean()),
        "left_out_synthetic": float(left_synthetic.mean()),
    }
    for name in quantities(clouds[0]):
        one, other = (quantities(cloud)[name] for cloud in clouds)
        for kind, values in zip(KINDS, (one, other), strict=True):
            row[f"{name}_{kind}"] = float(np.median(values)) if len(values) else math.nan
        row[f"{name}_ks"] = kolmogorov_smirnov(one, other)
    return Comparison(clouds, (original, synthetic), row)


def fit(originals: Floats, variance: float) -> Plane:
    """Principal components of (N, F) features, as many as explain that share of their variance."""
    known = np.where(np.isnan(originals).all(0), 0, originals)  # a feature that none defines is left out
    centre, spread = np.nanmean(known, 0), np.nanstd(known, 0)
    scale = np.where(spread > 1e-9 * np.maximum(np.abs(centre), 1), spread, 0)
    _, singular, components = np.linalg.svd(scaled(originals, centre, scale), full_matrices=False)
    if not scale.any():  # of one original, or of copies
        return Plane(centre, scale, components[:0], math.nan)
    shares = np.cumsum(singular**2) / float((singular**2).sum())
    count = min(int(np.searchsorted(shares, variance)) + 1, len(shares))
    # the sign of a component is arbitrary: its largest entry is made positive
    largest = components[np.arange(count), np.abs(components[:count]).argmax(1)]
    return Plane(centre, scale, components[:count] * np.where(largest < 0, -1, 1)[:, None], float(shares[count - 1]))


def scaled(values: Floats, centre: Floats, scale: Floats) -> Floats:
    """Features in standard deviations of the originals; what an image does not define is as the originals' mean."""
    away: Floats = np.nan_to_num((values - centre) / np.where(scale > 0, scale, np.inf))
    return away


def project(values: Floats, plane: Plane) -> tuple[Floats, Floats]:
    """Scores (N, C) on the components, and the mean square (N,) of what these leave out of a feature that varies."""
    points = scaled(values, plane.centre, plane.scale)
    scores = points @ plane.components.T
    rest: Floats = ((points - scores @ plane.components) ** 2).sum(1) / (int((plane.scale > 0).sum()) or math.nan)
    return scores, rest


def energy_test(one: Floats, other: Floats, permutations: int, rng: np.random.Generator) -> Row:
    """Energy distance of two clouds (N, C) and (M, C), its mean when their points are exchanged, and the p-value.

    All NaN where no component tells points apart.
    """
    points = np.concatenate([one, other])
    if not points.shape[1]:
        return dict.fromkeys(("energy_distance", "null_distance", "p_value"), math.nan)
    distances = np.sqrt(((points[:, None] - points[None]) ** 2).sum(-1))
    named = np.arange(len(points)) < len(one)
    found = float(energy(distances, named[None])[0])
    exchanged = energy(distances, rng.permuted(np.tile(named, (permutations, 1)), axis=1))
    at_least = int((exchanged >= found * (1 - 1e-9)).sum())
    p_value = (at_least + 1) / (permutations + 1)
    return {"energy_distance": found, "null_distance": float(exchanged.mean()), "p_value": p_value}


def energy(distances: Floats, first: NDArray[np.bool_]) -> Floats:
    """Energy distance 2E|X-Y| - E|X-X'| - E|Y-Y'| for each of P ways (P, N) to call some of N points X, the rest Y.

    distances is (N, N); the result (P,) has their unit, and is 0 for clouds that are alike.
    """
    x, y = first.astype(np.float64), (~first).astype(np.float64)
    n, m = x.sum(1), y.sum(1)
    to_x, to_y = x @ distances, y @ distances
    apart: Floats = 2 * (to_x * y).sum(1) / (n * m) - (to_x * x).sum(1) / n**2 - (to_y * y).sum(1) / m**2
    return apart


def quantities(cloud: Cloud) -> dict[str, Floats]:
    """Cells and covered share of each image, and the area of each cell in px²."""
    areas = [[cell["area"] for cell in sample.annotations] for sample in cloud.samples]
    return {
        "count": np.array([len(cells) for cells in areas], np.float64),
        "confluence": cloud.values[:, list(FEATURES).index("confluence")],
        "area": np.array([area for cells in areas for area in cells], np.float64),
    }


def kolmogorov_smirnov(one: Floats, other: Floats) -> float:
    """The largest difference between two distribution functions, 0 to 1; NaN if one has no values."""
    return float(ks_2samp(one, other, method="asymp").statistic) if len(one) and len(other) else math.nan
