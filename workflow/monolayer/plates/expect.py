"""Fit what F1 is to be expected of an image without truth, on val, and check it on test: `monolayer expect`.

Images of one study are alike, and those of a plate may be worse: each is taken as it is, and spoilt in ways in which
microscopes spoil images, one way an image. The interval comes from images that were left out of the fit.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np

from monolayer.coco.io import read_truth
from monolayer.coco.labels import label_image
from monolayer.compiled import Floats
from monolayer.data.dataset import Sample, samples
from monolayer.data.images import Pixels
from monolayer.files import InputError, write_json
from monolayer.models.predictor import Frame
from monolayer.params.plates import PlateFinding
from monolayer.plates.expected import (
    LEVEL,
    ExpectedCheck,
    ExpectedF1,
    FeatureWeight,
    finding_of,
    guess,
    looks,
    numbers,
    on_line,
)
from monolayer.plates.quality import certainty, measures
from monolayer.plates.segment import PlateModel, load_model
from monolayer.plates.views import f1_of
from monolayer.progress import track

logger = logging.getLogger(__name__)
LEAST = 10  # images of val that a fit needs
RIDGE = 1e-3  # of the features' own spread: a feature that says nothing new gets no wild weight
AS_IT_IS = "as it is"


def _defocused(image: Pixels) -> Pixels:
    return np.asarray(cv2.GaussianBlur(image, (0, 0), 1.5), np.uint8)


def _far_out_of_focus(image: Pixels) -> Pixels:
    return np.asarray(cv2.GaussianBlur(image, (0, 0), 3.0), np.uint8)


def _unevenly_lit(image: Pixels) -> Pixels:
    return np.asarray((image * np.linspace(0.5, 1.5, image.shape[1])).clip(0, 255), np.uint8)


def _noisy(image: Pixels) -> Pixels:
    noise = np.random.default_rng(0).normal(0, 15, image.shape)
    return np.asarray((image + noise).clip(0, 255), np.uint8)


SPOILT: dict[str, Callable[[Pixels], Pixels]] = {
    "defocused": _defocused,
    "unevenly lit": _unevenly_lit,
    "noisy": _noisy,
    "far out of focus": _far_out_of_focus,
}


class JudgedImage(NamedTuple):
    """An image with its true F1 and what the expectation goes by; those of one group are left out together."""

    group: str
    how: str
    f1: float
    values: dict[str, float]
    looks: dict[str, float]


Pair = tuple[JudgedImage, float]  # with what was expected of it


def expect(images: Path, splits: Path, settings: PlateFinding, output: Path, threads: int) -> ExpectedF1:
    """Write expected_f1.json for the model of the settings, from val.json and test.json in `splits`."""
    found = load_model(settings, threads)
    val, test = (
        list(judge(found, samples(read_truth(splits / f"{name}.json"), images), f"expect {name}"))
        for name in ("val", "test")
    )
    fitted = fit(val, test, found.sums, finding_of(settings))
    write_json(output, fitted.model_dump(), indent=1)
    for name, check in fitted.checks.items():
        logger.info("%s: %d images, rho %s, %.0f %% inside", name, check.images, check.spearman, 100 * check.covered)
    return fitted


def judge(model: PlateModel, listed: Sequence[Sample], label: str) -> Iterator[JudgedImage]:
    """Each image as it is and spoilt in one way, judged by its truth; without those that have no cell at all."""
    ways = list(SPOILT)
    todo = [(sample, how) for n, sample in enumerate(listed) for how in (AS_IT_IS, ways[n % len(ways)])]
    frames = [
        Frame(sample.image["file_name"], sample.image["cell_line"] or None, partial(_shown, sample, how))
        for sample, how in todo
    ]
    known = model.manifest.diameters
    for (sample, how), every in zip(todo, track(model.predictor.stream(frames), len(todo), label), strict=True):
        kept = every.at_least(model.score_min)
        labels, grey = kept.label_image(), _shown(sample, how)
        truth = label_image([cell["segmentation"] for cell in sample.annotations], *grey.shape)
        sizes: Floats = np.bincount(labels.ravel())[1:].astype(np.float64)
        row = measures(grey, sizes[sizes > 0]) | certainty(kept, every)
        group, f1 = f"{sample.image['cell_line']}/{sample.image['well']}", f1_of(truth, labels)
        if not math.isnan(f1):
            yield JudgedImage(group, how, f1, numbers(row, known, 1.0), looks(grey))


def _shown(sample: Sample, how: str) -> Pixels:
    image = sample.pixels()  # what nobody annotated is covered: cells there count neither way
    return image if how == AS_IT_IS else SPOILT[how](image)


def fit(
    val: Sequence[JudgedImage], test: Sequence[JudgedImage], networks: dict[str, str], finding: dict[str, Any]
) -> ExpectedF1:
    """A line through val's numbers, whose weights can't be above 0, and how well it holds on both splits."""
    val = [one for one in val if not any(math.isnan(value) for value in one.values.values())]
    groups, plain = {one.group for one in val}, [one for one in val if one.how == AS_IT_IS]
    if len(plain) < LEAST or len(groups) < 3:
        raise InputError(
            f"val has {len(plain)} images with cells, of {len(groups)} wells; expected F1 takes {LEAST} of three wells"
        )
    names = [name for name in val[0].values if np.ptp([one.values[name] for one in val]) > 0]
    left_out = np.array([_left_out(val, names, one) for one in val])
    errors = np.array([one.f1 for one in val]) - left_out
    tail = (1 - LEVEL) / 2 * (1 - 1 / len(val))  # a little wider for few images
    below, above = -float(np.quantile(errors, tail)), float(np.quantile(errors, 1 - tail))
    start, weights = _line(val, names)
    fitted = ExpectedF1(
        format=2,
        networks=networks,
        finding=finding,
        start=start,
        weights=weights,
        below=max(below, 0.0),
        above=max(above, 0.0),
        looks=_looks(plain),
        fitted_on=len(plain),
        checks={},
    )
    pairs = {"val, left out": list(zip(val, left_out.tolist(), strict=True)), "test": with_guess(fitted, test)}
    return fitted.model_copy(update={"checks": _checks(pairs, fitted)})


def with_guess(fitted: ExpectedF1, judged: Sequence[JudgedImage]) -> list[Pair]:
    """Images with what is expected of each; without those of which nothing is, as no cell was found."""
    pairs = [(one, guess(fitted, one.values).f1) for one in judged]
    return [pair for pair in pairs if not math.isnan(pair[1])]


def _line(val: Sequence[JudgedImage], names: Sequence[str]) -> tuple[float, dict[str, FeatureWeight]]:
    """Least squares with weights of at most 0."""
    from scipy.optimize import lsq_linear

    values = np.array([[one.values[name] for name in names] for one in val])
    low, high = values.min(0), values.max(0)
    scaled = (values - low) / np.where(high > low, high - low, 1.0)
    design = np.vstack([np.c_[np.ones(len(val)), scaled], RIDGE * len(val) * np.eye(len(names) + 1)[1:]])
    target = np.r_[[one.f1 for one in val], np.zeros(len(names))]
    ends = np.r_[np.inf, np.zeros(len(names))]
    solved = lsq_linear(design, target, (-np.inf, ends)).x
    weights = solved[1:] / np.where(high > low, high - low, 1.0)
    return float(solved[0]), {
        name: FeatureWeight(weight=float(weight), low=float(a), high=float(b))
        for name, weight, a, b in zip(names, weights, low, high, strict=True)
    }


def _left_out(val: Sequence[JudgedImage], names: Sequence[str], one: JudgedImage) -> float:
    """What the others of other groups expect of an image."""
    start, weights = _line([other for other in val if other.group != one.group], names)
    return on_line(start, weights, one.values)


def _looks(images: Sequence[JudgedImage]) -> dict[str, tuple[float, float]]:
    """Mean and standard deviation of each feature."""
    found = {}
    for name in images[0].looks:
        values = np.array([one.looks[name] for one in images])
        middle = float(values.mean())
        found[name] = middle, max(float(values.std()), 1e-3 * abs(middle), 1e-6)  # of images that are all alike
    return found


def _checks(pairs: Mapping[str, Sequence[Pair]], fitted: ExpectedF1) -> dict[str, ExpectedCheck]:
    """Each split over all images, and over those as they are."""
    found = {}
    for name, own in pairs.items():
        for kind, chosen in ((name, own), (f"{name}, as they are", [pair for pair in own if pair[0].how == AS_IT_IS])):
            if chosen:
                found[kind] = check_of(chosen, fitted)
    return found


def check_of(pairs: Sequence[Pair], fitted: ExpectedF1) -> ExpectedCheck:
    """How well the expectation holds on images, with what was expected of each."""
    from scipy import stats

    f1, expected = np.array([one.f1 for one, _ in pairs]), np.array([value for _, value in pairs])
    varies = len(f1) > 2 and np.ptp(f1) > 0 and np.ptp(expected) > 0
    error = expected - f1
    inside = (f1 >= expected - fitted.below - 1e-12) & (f1 <= expected + fitted.above + 1e-12)
    return ExpectedCheck(
        images=len(f1),
        spearman=round(float(stats.spearmanr(expected, f1)[0]), 3) if varies else None,
        mean_error=round(float(np.abs(error).mean()), 4),
        bias=round(float(error.mean()), 4),
        covered=round(float(inside.mean()), 4),
    )
