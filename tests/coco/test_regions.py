"""What is around others: regions, regions in regions, and not the same cell drawn several times."""

from __future__ import annotations

import numpy as np
from monolayer.coco.regions import around_others, shared
from monolayer.coco.rle import Placed


def box(x: int, y: int, width: int, height: int) -> Placed:
    return np.ones((height, width), np.bool_), x, y


LEFT, RIGHT, BELOW = box(5, 5, 10, 10), box(20, 5, 10, 10), box(5, 25, 10, 10)


def found(*masks: Placed) -> set[int]:
    return set(around_others(masks, [""] * len(masks)))


def test_shared_pixels_are_those_of_the_image() -> None:
    assert shared(box(0, 0, 10, 10), box(8, 7, 10, 10)) == 2 * 3
    assert shared(LEFT, RIGHT) == 0


def test_a_region_is_around_two_that_stand_apart() -> None:
    assert found(box(0, 0, 40, 40), LEFT, RIGHT) == {0}
    assert found(LEFT, box(0, 0, 40, 40), RIGHT, BELOW, box(0, 0, 32, 16)) == {1, 4}
    assert found(box(0, 0, 40, 40), LEFT) == set()


def test_a_cell_drawn_several_times_is_around_nothing() -> None:
    assert found(LEFT, LEFT, LEFT) == set()
    assert found(box(4, 4, 12, 12), LEFT, box(5, 5, 10, 9), box(6, 6, 8, 8)) == set()  # one in another


def test_what_is_held_by_less_than_nine_tenths_stands_beside() -> None:
    assert found(box(0, 0, 29, 40), LEFT, RIGHT) == {0}
    assert found(box(0, 0, 28, 40), LEFT, RIGHT) == set()


def test_nothing_is_around_nothing() -> None:
    assert found() == set()
