"""Shifted, brightened and later frames of one field are found; strangers of one culture are not."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from monolayer.coco.records import Image
from monolayer.data.near_copies import Pair, near_copies, together
from monolayer.finetuning.alike import LEAST
from numpy.typing import NDArray
from PIL import Image as PillowImage

HEIGHT, WIDTH, MARGIN = 260, 352, 60
Places = NDArray[np.float64]  # (N, 2) y, x of cells


def culture(seed: int, count: int = 90) -> Places:
    """Where the cells of a field are, which is wider than a frame."""
    return np.random.default_rng(seed).uniform(0, (HEIGHT + 2 * MARGIN, WIDTH + 2 * MARGIN), (count, 2))


def frame(places: Places, seed: int, shift: tuple[int, int] = (0, 0)) -> NDArray[np.uint8]:
    """Cells as dark rings with a bright halo on uneven light, with the camera's noise."""
    rng = np.random.default_rng(seed)
    plane = np.zeros((HEIGHT + 2 * MARGIN, WIDTH + 2 * MARGIN), np.float32)
    for y, x in places:
        cv2.circle(plane, (round(x), round(y)), 8, -35.0, 2, cv2.LINE_AA)
        cv2.circle(plane, (round(x), round(y)), 10, 25.0, 1, cv2.LINE_AA)
    top, left = MARGIN + shift[0], MARGIN + shift[1]
    lit = plane[top : top + HEIGHT, left : left + WIDTH] + np.linspace(100, 140, WIDTH)
    return np.asarray((lit + rng.normal(0, 4, lit.shape)).clip(0, 255), np.uint8)


def listed(folder: Path, frames: dict[str, Any], line: str = "a") -> list[Image]:
    for name, pixels in frames.items():
        PillowImage.fromarray(pixels).save(folder / name)
    return [
        Image(
            id=number,
            file_name=name,
            height=pixels.shape[0],
            width=pixels.shape[1],
            cell_line=line,
            well=name,
            timestamp=None,
            split=None,
        )
        for number, (name, pixels) in enumerate(frames.items(), start=1)
    ]


@pytest.fixture(scope="module")
def field() -> dict[str, NDArray[np.uint8]]:
    """One field six times, and ten strangers of the same culture."""
    places = culture(0)
    rng = np.random.default_rng(1)
    first = frame(places, 10)
    later = places + rng.normal(0, 0.8, places.shape)  # crawled
    grown = np.concatenate([places[:80], culture(2, 20)])  # a tenth gone, a fifth new
    return {
        "first.png": first,
        "shifted.png": frame(places, 11, (-25, 40)),
        "brightened.png": np.asarray((first * 0.6 + 90).clip(0, 255), np.uint8),
        "later.png": frame(later, 12, (7, -5)),
        "grown.png": frame(grown, 13),
        **{f"stranger{k}.png": frame(culture(100 + k), k) for k in range(10)},
        "blank.png": np.full((HEIGHT, WIDTH), 128, np.uint8),
    }


def test_shifted_brightened_and_later_frames_are_one_field(field: dict[str, Any], tmp_path: Path) -> None:
    images = listed(tmp_path, field)
    pairs = near_copies(images, tmp_path, LEAST)
    names = {tuple(sorted(images[index]["file_name"] for index in pair[:2])) for pair in pairs}
    of_field = sorted(name for name in field if "stranger" not in name and name != "blank.png")
    assert names <= {(a, b) for a in of_field for b in of_field if a < b}, "a stranger was taken for a copy"
    [together_] = together(pairs)
    assert sorted({images[index]["file_name"] for pair in together_ for index in pair[:2]}) == of_field
    of_pair = {tuple(images[index]["file_name"] for index in pair[:2]): pair.correlation for pair in pairs}
    assert of_pair["first.png", "brightened.png"] > 0.9  # rounding aside, the same
    assert LEAST <= of_pair["first.png", "later.png"] < of_pair["first.png", "brightened.png"]


def test_neither_workers_nor_order_change_what_is_found(field: dict[str, Any], tmp_path: Path) -> None:
    images = listed(tmp_path, field)
    pairs = near_copies(images, tmp_path, LEAST)
    assert near_copies(images, tmp_path, LEAST, workers=2) == pairs
    turned = near_copies(images[::-1], tmp_path, LEAST)
    last = len(images) - 1
    assert sorted((last - pair.second, last - pair.first) for pair in turned) == [pair[:2] for pair in pairs]


def test_other_lines_and_sizes_are_not_compared(field: dict[str, Any], tmp_path: Path) -> None:
    images = listed(tmp_path, {"first.png": field["first.png"]})
    images += listed(tmp_path, {"other.png": field["brightened.png"]}, line="b")
    images += listed(tmp_path, {"cut.png": field["brightened.png"][:-8]})
    assert near_copies(images, tmp_path, LEAST) == []


def test_fields_are_chains_of_pairs() -> None:
    pairs = [Pair(0, 1, 0.5), Pair(2, 3, 0.4), Pair(5, 6, 0.3), Pair(1, 2, 0.2)]
    assert together(pairs) == [[Pair(0, 1, 0.5), Pair(1, 2, 0.2), Pair(2, 3, 0.4)], [Pair(5, 6, 0.3)]]
    assert together([]) == []
