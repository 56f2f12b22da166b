"""The laws of an extension: how many cells of which area lie where in a synthetic image.

`poster` is the CS231n poster's idea, other densities and other positions; `matched` repeats the line's own images;
`growth` lets a culture divide until it covers a share of the image.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from monolayer.params import Extension, GrowthLaw, MatchedLaw, PosterLaw
from monolayer.synthesis.collage import PER_POSE, Plan, turned
from monolayer.synthesis.cutouts import Cutouts, pose_of
from monolayer.synthesis.scene import Placed

TURN = 0.3  # rad: how far a cell may be turned from the direction asked for (standard deviation)
Generator = np.random.Generator
Floats = NDArray[np.float64]


class Layout(NamedTuple):
    """The cells of one real image."""

    image_id: int
    size: tuple[int, int]  # height, width
    centres: Floats  # (N, 2) y, x
    areas: Floats  # (N,) px²
    axes: Floats  # (N,) direction of the longer axis, as of cutouts


class Line(NamedTuple):
    """What the laws know of a cell line."""

    density: float  # cells per px², over its images
    diameter: float  # px, of the disk with the median area
    layouts: Sequence[Layout]
    areas: Floats  # (K,) px², of whole cells


class Draw(NamedTuple):
    """Cells asked for: (N,) areas in px², (N,) directions of their longer axes, T places (y, x) to try (N, T, 2)."""

    areas: Floats
    axes: Floats
    tries: NDArray[np.int64]
    layout: int | None  # the image whose layout it is


def of(image_id: int, size: tuple[int, ...], cells: Sequence[Placed]) -> Layout:
    """The layout of an image with these cells."""
    poses = np.array([np.add(pose_of(mask), (y, x, 0)) for mask, x, y in cells]).reshape(-1, 3)
    areas = np.array([mask.sum() for mask, _, _ in cells], np.float64)
    return Layout(image_id, (size[0], size[1]), poses[:, :2], areas, poses[:, 2])


def draw(law: Extension, line: Line, base: Layout, step: int, rngs: tuple[Generator, Generator]) -> Draw:
    """Ask a law for the cells of an image on the background of `base`, the `step`-th with the first generator."""
    culture, own = rngs
    if isinstance(law, MatchedLaw):
        return matched(law, line, base, own)
    if isinstance(law, PosterLaw):
        return poster(law, line, base.size, own)
    return growth(law, line, base.size, (step + culture.random()) / law.factor, culture)


def matched(law: MatchedLaw, line: Line, base: Layout, rng: Generator) -> Draw:
    """The count, areas, directions and places of one of the line's images, mirrored, each place within a jitter.

    It is of the base's size and one of the three whose confluence is nearest: a background tells how dense it was.
    """
    alike = sorted(
        (layout for layout in line.layouts if layout.size == base.size),
        key=lambda layout: abs(layout.areas.sum() - base.areas.sum()),
    )[:3]
    layout = alike[rng.integers(len(alike))]
    largest_first = np.argsort(-layout.areas, kind="stable")
    mirror = rng.integers(0, 2, 2)
    centres = np.where(mirror, np.array(base.size) - 1 - layout.centres, layout.centres)[largest_first]
    axes = layout.axes[largest_first] * (-1 if mirror.sum() == 1 else 1)
    away = line.diameter * (law.jitter + 8 * np.linspace(0, 1, law.tries) ** 2)
    tries = centres[:, None] + away[:, None] * rng.standard_normal((len(centres), law.tries, 2))
    return Draw(layout.areas[largest_first], axes, pixels(tries, base.size), layout.image_id)


def poster(law: PosterLaw, line: Line, size: tuple[int, int], rng: Generator) -> Draw:
    """A count uniform between two multiples of the line's mean density, places uniform over the image."""
    count = round(rng.uniform(law.density.low, law.density.high) * line.density * size[0] * size[1])
    areas = rng.choice(line.areas, count)
    axes = rng.uniform(0, np.pi, count)
    tries = rng.uniform(0, 1, (count, law.tries, 2)) * size
    return Draw(-np.sort(-areas), axes, pixels(tries, size), None)


def growth(law: GrowthLaw, line: Line, size: tuple[int, int], age: float, rng: Generator) -> Draw:
    """A culture at an age in [0, 1): from founders at the low confluence, each new cell beside its mother.

    Confluence grows exponentially to the high one. Ages of one culture share what `rng` gives: they are its series.
    """
    low, high = law.confluence.low, law.confluence.high
    room = size[0] * size[1]
    areas = rng.choice(line.areas, math.ceil(2 * high * room / line.areas.mean()) + 1)
    grown = np.cumsum(areas) / room
    founders = int(np.searchsorted(grown, low)) + 1
    count = min(int(np.searchsorted(grown, low * (high / low) ** age)) + 1, len(areas))
    centres = rng.uniform(0, 1, (len(areas), 2)) * size
    mothers = (rng.random(len(areas)) * np.arange(len(areas))).astype(np.int64)
    angles = rng.uniform(0, 2 * np.pi, len(areas))
    radii = np.sqrt(areas / np.pi)
    for cell in range(founders, count):
        away = law.spread * (radii[cell] + radii[mothers[cell]])
        side = away * np.array([np.sin(angles[cell]), np.cos(angles[cell])])
        centres[cell] = np.abs(np.mod(centres[mothers[cell]] + side, 2 * np.array(size)))
        centres[cell] = np.where(centres[cell] < size, centres[cell], 2 * np.array(size) - centres[cell])
    away = line.diameter * 8 * np.linspace(0, 1, law.tries) ** 2
    tries = centres[:count, None] + away[:, None] * rng.standard_normal((count, law.tries, 2))
    return Draw(areas[:count], angles[:count], pixels(tries, size), None)


def pixels(places: Floats, size: tuple[int, int]) -> NDArray[np.int64]:
    """The pixels nearest to places (..., 2), within the image."""
    return places.round().astype(np.int64).clip(0, np.array(size) - 1)


def plan(law: Extension, draw: Draw, cutouts: Cutouts, own: NDArray[np.int64], rng: Generator) -> Plan:
    """Choose cutouts of about the areas asked for, and how each is mirrored, turned, scaled and set in contrast.

    `own` are those of the image whose background it is: a share `mix` comes from others, more if it has too few.
    """
    shape = (len(draw.areas), law.tries // PER_POSE)
    anyone = np.arange(len(cutouts.areas))
    cells = alike(anyone, draw.areas, cutouts.areas, shape, rng)
    if len(own):
        kept = rng.random(shape) >= max(law.mix, 1 - len(own) / max(len(draw.areas), 1))
        cells = np.where(kept, alike(own, draw.areas, cutouts.areas, shape, rng), cells)
    flips = rng.random(shape) < 0.5
    turns = draw.axes[:, None] - np.where(flips, -1, 1) * cutouts.axes[cells]
    turns += np.pi * rng.integers(0, 2, shape) + rng.normal(0, TURN, shape)  # an axis has two ends
    scales = rng.uniform(1 - law.scale, 1 + law.scale, shape)
    gains = rng.uniform(1 - law.gain, 1 + law.gain, shape[0])
    return Plan(draw.areas, draw.tries, cells, turned(turns, scales, flips), gains)


def alike(
    among: NDArray[np.int64], asked: Floats, areas: NDArray[np.int64], shape: tuple[int, int], rng: Generator
) -> NDArray[np.int64]:
    """For each of N areas asked for, K options (N, K) out of the cells `among` all whose area is about the same."""
    order = among[np.argsort(areas[among], kind="stable")]
    about = max(PER_POSE, len(order) // 20)
    rank = np.searchsorted(areas[order], asked)[:, None] + rng.integers(-about, about + 1, shape)
    found: NDArray[np.int64] = order[rank.clip(0, len(order) - 1)]
    return found
