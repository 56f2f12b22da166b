"""Which images are chosen: what the model needs first, and nothing twice, in whatever order they are given."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from monolayer.backends.manifest import CellDiameters, pretrained, read_manifest
from monolayer.finetuning import alike
from monolayer.finetuning.choosing import Learned, choose, distance_of, learned, spread, standardised
from monolayer.finetuning.looking import ImageLook, agreement
from monolayer.params.params import load
from paths import ROOT

NOTHING = Learned(None, [])


def look(feature: float, **changed: Any) -> ImageLook:
    """An image that one feature tells of."""
    made = ImageLook("", cells=9, views=0.3, doubt=0.3, size=20.0, contrast=15.0, features=[feature, 1.0])
    return made._replace(**changed)


def places(looks: list[ImageLook], count: int, annotated: list[ImageLook] | None = None) -> list[int]:
    return [one.place for one in choose(looks, annotated or [], NOTHING, count)]


def test_of_alike_images_the_least_sure_comes_first() -> None:
    looks = [look(n % 2, views=0.3 + 0.1 * (n == 3)) for n in range(6)]
    assert places(looks, 1) == [3]


def test_of_images_as_sure_the_odd_one_comes_first() -> None:
    looks = [look(n / 10) for n in range(6)]
    looks[2] = look(5.0)
    assert places(looks, 1) == [2]


def test_no_two_alike_are_chosen_while_others_are_left() -> None:
    looks = [look(n // 2, views=0.9 if n < 2 else 0.2) for n in range(8)]
    assert len({n // 2 for n in places(looks, 4)}) == 4


def test_nothing_like_what_is_annotated_is_chosen() -> None:
    looks = [look(n) for n in range(5)]
    assert places(looks, 4, annotated=[look(2.0)])[-1] != 2
    assert 2 not in places(looks, 4, annotated=[look(2.0)])


def test_frames_of_one_field_are_not_both_chosen_however_they_differ() -> None:
    looks = [look(n) for n in (0.0, 9.0, 4.0, 5.0)]
    copies = np.zeros((5, 5), bool)
    copies[0, 1] = copies[1, 0] = copies[3, 4] = copies[4, 3] = True  # the last is annotated
    chosen = [one.place for one in choose(looks, [look(20.0)], NOTHING, 2, copies)]
    assert 2 in chosen
    assert len({0, 1} & set(chosen)) == 1


def test_cells_of_other_sizes_are_far_from_what_the_model_learned_from() -> None:
    of = Learned(CellDiameters(low=10, median=16, high=20), [15.0])
    assert [distance_of(look(0, size=size), of) for size in (10, 15, 20)] == [0, 0, 0]
    assert [distance_of(look(0, size=size), of) for size in (5, 40)] == [0.5, 0.5]
    assert distance_of(look(0, size=80), of) == 0.75
    assert [distance_of(look(0, contrast=contrast), of) for contrast in (7.5, 30, 60)] == [0, 0, 0.5]
    assert distance_of(look(0, size=math.nan), of) == 0, "of no cells the size is not known"
    assert distance_of(look(0, size=40, contrast=1), NOTHING) == 0
    assert choose([look(0), look(0, size=40)], [look(1)], of, 1)[0].place == 1


def test_an_empty_image_comes_last_and_one_whose_cells_are_not_found_does_not() -> None:
    of = Learned(CellDiameters(low=10, median=16, high=20), [15.0])
    nothing = {"cells": 0, "views": 0.0, "doubt": 0.0, "size": math.nan}
    empty, bright = look(9.0, **nothing, contrast=1), look(5.0, **nothing, contrast=90)
    assert distance_of(empty, of) == 0
    assert distance_of(bright, of) > 0.5, "something is there"
    assert distance_of(look(0, contrast=1), of) > 0.5, "faint cells are cells"
    looks = [empty, *(look(n / 10) for n in range(4)), bright]
    ranks = [one.place for one in choose(looks, [], of, 6)]
    assert ranks[-1] == 0
    assert ranks[0] == 5


def test_where_nothing_is_found_anywhere_images_are_chosen_by_how_they_differ() -> None:
    looks = [look(n, cells=0, views=0.0, doubt=0.0, size=math.nan, contrast=1) for n in (0.0, 0.1, 0.2, 9.0)]
    assert [one.place for one in choose(looks, [], Learned(None, [15.0]), 2)] == [3, 0]


def test_the_model_in_the_package_says_what_it_learned_from() -> None:
    of = learned(read_manifest(pretrained())[1])
    assert of.sizes is not None
    assert of.sizes.low < of.sizes.median < of.sizes.high
    assert len(of.contrasts) == 1


def test_what_an_image_does_not_define_is_as_the_mean() -> None:
    points = standardised([[1, math.nan, 7], [3, math.nan, 7], [math.nan, math.nan, 7]])
    assert points.tolist() == [[-1, 0, 0], [1, 0, 0], [0, 0, 0]]
    assert np.abs(standardised([[0.0]] * 99 + [[1.0]])).max() == 3.0, "no image is as odd as all others together"


@given(st.permutations(range(9)), st.integers(1, 9))
def test_the_order_in_which_images_are_given_changes_nothing(order: list[int], count: int) -> None:
    rng = np.random.default_rng(3)
    points, need = rng.normal(size=(9, 4)), rng.uniform(0.1, 1, 9)
    known = points[:0]
    first = [place for place, _ in spread(points, known, need, count)]
    again = [order[place] for place, _ in spread(points[order], known, need[order], count)]
    assert first == again
    assert len(set(first)) == count


def test_each_choice_is_the_largest_need_times_distance() -> None:
    rng = np.random.default_rng(4)
    points, need, known = rng.normal(size=(7, 3)), rng.uniform(0, 1, 7), rng.normal(size=(2, 3))
    taken = [*known]
    for place, new in spread(points, known, need, 5):
        distances = [min(np.sqrt(((point - other) ** 2).mean()) for other in taken) for point in points]
        assert new == pytest.approx(distances[place])
        assert need[place] * new == pytest.approx(max(n * d for n, d in zip(need, distances, strict=True)))
        taken.append(points[place])


def test_agreement_is_1_for_the_same_cells_and_0_for_others() -> None:
    cells = np.zeros((20, 20), np.int32)
    cells[2:8, 2:8], cells[10:18, 10:18] = 1, 2
    assert agreement(cells, cells) == 1
    assert agreement(cells, np.where(cells == 2, 0, cells)) == pytest.approx(2 / 3)
    assert agreement(cells, np.roll(cells, 9, 0)) < 0.1
    assert agreement(np.zeros_like(cells), np.zeros_like(cells)) == 1
    assert agreement(cells, np.zeros_like(cells)) == 0


def test_copies_are_what_audit_takes_for_them() -> None:
    assert load(yaml.safe_load((ROOT / "params.yaml").read_text())).audit.near_copy == alike.LEAST
