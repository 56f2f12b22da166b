"""Expected F1 of an image without truth: what the numbers of its quality tell, as `monolayer expect` has learnt it.

A line through few numbers, each of which can only lower it, with an interval out of the fit's errors on images that it
was not fitted on. It stands in a file of the model's folder and holds for its networks and settings alone.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
from pydantic import ValidationError

from monolayer.backends.manifest import CellDiameters
from monolayer.data.images import Pixels
from monolayer.files import InputError, read_json
from monolayer.params.plates import PlateFinding
from monolayer.params.section import Fraction, Section, Sha256, faults
from monolayer.plates.model import EXPECTED
from monolayer.synthesis.features import intensity, texture

LEVEL = 0.9  # of the interval
NONE = math.nan


class FeatureWeight(Section):
    """How much a number changes the F1, for each unit above `low`; above `high` it changes no more."""

    weight: float
    low: float
    high: float


class ExpectedCheck(Section):
    """How well the expectation holds on images, of which the fit saw none."""

    images: int
    spearman: float | None
    """Rank correlation of expected and true F1; null for fewer than three images."""
    mean_error: float
    """Mean of |expected - true F1|."""
    bias: float
    """Mean of expected less true F1."""
    covered: Fraction
    """Share of the images whose F1 lies in the interval, whose level is 0.9."""


class ExpectedF1(Section):
    """expected_f1.json of a model's folder."""

    format: Literal[2]  # 1 took doubt of cells above the threshold alone
    networks: dict[str, Sha256]
    """The files of the networks that it was fitted for."""
    finding: dict[str, Any]
    """Of plate_settings tta, score_min and mirror: with others nothing is expected."""
    start: float
    """Expected F1 where each number is at its lowest."""
    weights: dict[str, FeatureWeight]
    below: float
    """How far below the expectation the interval begins, and how far above it ends."""
    above: float
    looks: dict[str, tuple[float, float]]
    """Mean and standard deviation of the grey values' features of the images that it was fitted on."""
    fitted_on: int
    """Images."""
    checks: dict[str, ExpectedCheck]


class Guess(NamedTuple):
    """An expected F1 with its interval; NaN where nothing is expected.

    beyond: a number is worse than in any image that was fitted on, so that the F1 may be any lower.
    """

    f1: float = NONE
    low: float = NONE
    high: float = NONE
    beyond: bool = False


def read_expected(folder: Path, settings: PlateFinding, networks: Mapping[str, str]) -> ExpectedF1 | None:
    """What a model's folder expects with these settings; None where nothing was fitted for them."""
    path = folder / EXPECTED
    if not path.exists():
        return None
    cure = f"fit it again with `monolayer expect`, or remove {path}"
    try:
        found = ExpectedF1.model_validate(read_json(path, "an expected F1", cure))
    except ValidationError as error:
        raise InputError(f"{path} is no expected F1 ({'; '.join(faults(error))}); {cure}") from error
    if found.networks != networks:
        raise InputError(f"{path} was fitted for other networks than those beside it; {cure}")
    return found if found.finding == finding_of(settings) else None


def finding_of(settings: PlateFinding) -> dict[str, Any]:
    """The settings that an expectation hangs on; cells that are brought to the model's scale are as good as others."""
    return settings.model_dump(mode="json", include={"tta", "score_min", "mirror"})


def looks(grey: Pixels) -> dict[str, float]:
    """What the image looks like: the features of grey values that domain shift is measured with."""
    return intensity(grey) | texture(grey)


def distance(found: Mapping[str, float], known: Mapping[str, tuple[float, float]]) -> float:
    """How far an image lies from those that were fitted on: root mean square of its features in their spreads."""
    return float(np.sqrt(np.mean([((found[name] - middle) / spread) ** 2 for name, (middle, spread) in known.items()])))


def numbers(row: Mapping[str, Any], known: CellDiameters | None, factor: float) -> dict[str, float]:
    """What the expectation goes by, of the row of an image; `factor` is how much larger the network sees its cells.

    Each lowers the F1: how much views disagree, how unsure the network is, how far the cells' size is from the usual.
    """
    size = row["median_diameter_px"] * factor
    values = {"disagreement": row["disagreement"], "doubt": row["doubt"]}
    return values | ({"size": abs(math.log(size / known.median))} if known is not None else {})


def expectation(
    fitted: ExpectedF1 | None, row: Mapping[str, Any], known: CellDiameters | None, factor: float
) -> dict[str, float]:
    """The columns of an image that hang on what was fitted, NaN where nothing was, and whether it is `beyond` that."""
    far, found = NONE, Guess()
    if fitted is not None:
        far, found = distance(row["looks"], fitted.looks), guess(fitted, numbers(row, known, factor))
    columns = {"expected_f1": found.f1, "expected_f1_low": found.low, "expected_f1_high": found.high}
    return {"distance": far, **columns, "beyond": found.beyond}


def guess(fitted: ExpectedF1, values: Mapping[str, float]) -> Guess:
    """The expectation for an image; none where a number is missing, as of an image without a cell."""
    if any(math.isnan(values.get(name, NONE)) for name in fitted.weights):
        return Guess()
    f1 = on_line(fitted.start, fitted.weights, values)
    beyond = any(values[name] > one.high for name, one in fitted.weights.items())
    return Guess(f1, 0.0 if beyond else max(0.0, f1 - fitted.below), min(1.0, f1 + fitted.above), beyond)


def on_line(start: float, weights: Mapping[str, FeatureWeight], values: Mapping[str, float]) -> float:
    """The expected F1 of an image with these numbers."""
    lowered = sum(one.weight * (min(max(values[name], one.low), one.high) - one.low) for name, one in weights.items())
    return min(max(start + lowered, 0.0), 1.0)
