"""The examples of evaluation's documentation say what its code gives, and each metric has one."""

from __future__ import annotations

import doctest
from types import ModuleType

import pytest
from monolayer.deployment import parity
from monolayer.evaluation import bootstrap, breakdown, definitions, matching, metrics

MODULES = [metrics, bootstrap, breakdown, definitions, matching, parity]


@pytest.mark.parametrize("module", MODULES)
def test_examples_hold(module: ModuleType) -> None:
    failed, tried = doctest.testmod(module)
    assert tried > 0
    assert failed == 0


@pytest.mark.parametrize(
    "metric",
    [
        *(metrics.precision_curve, metrics.mean_precision, metrics.recall, metrics.best_threshold, metrics.detection),
        *(metrics.by_image, metrics.image_means, metrics.headline, metrics.details, metrics.f1, metrics.ratio),
        *(bootstrap.draws, bootstrap.interval, bootstrap.drawn, bootstrap.difference),
        *(breakdown.f1_by_score, breakdown.error_kinds, matching.match_labels),
    ],
)
def test_what_computes_a_metric_has_an_example(metric: object) -> None:
    assert doctest.DocTestFinder().find(metric)[0].examples
