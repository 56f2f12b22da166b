"""The layout policies of an extension: how many cells of which size lie where in a synthetic image.

`matched` repeats the line's own images; `poster` is the CS231n poster's idea, other densities and other places;
`growth` lets a culture divide until it covers a share of the image.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.random import Generator

from monolayer.coco.rle import Placed
from monolayer.compiled import Floats, Ints
from monolayer.params.extensions import GrowthLayout, MatchedLayout, PosterLayout, SynthesisParams
from monolayer.synthesis.composite import Plan, turned
from monolayer.synthesis.cutouts import Cutouts, pose_of


class Layout(NamedTuple):
    """The cells of one real image."""

    image_id: int
    size: tuple[int, int]  # height, width
    centres: Floats  # (N, 2) y, x
    areas: Floats  # (N,) px²
    axes: Floats  # (N,) direction of the longer axis, from x towards y, in radians


class Line(NamedTuple):
    """What the policies know of a cell line."""

    density: float  # cells per px², over its images
    diameter: float  # px, of the disk with the median area
    layouts: Sequence[Layout]
    areas: Floats  # (K,) px², of whole cells


class Wanted(NamedTuple):
    """The cells asked for, most important first."""

    centres: Floats  # (N, 2) y, x
    areas: Floats  # (N,) px²
    axes: Floats  # (N,) direction of the longer axis
    jitter: float  # of the centres, cell diameters (standard deviation)
    layout: int | None  # the image that is repeated


def of(image_id: int, size: tuple[int, ...], cells: Sequence[Placed]) -> Layout:
    """The layout of an image with these cells."""
    poses = np.array([np.add(pose_of(mask), (y, x, 0)) for mask, x, y in cells]).reshape(-1, 3)
    areas = np.array([mask.sum() for mask, _, _ in cells], np.float64)
    return Layout(image_id, (size[0], size[1]), poses[:, :2], areas, poses[:, 2])


Still = MatchedLayout | PosterLayout | GrowthLayout  # the policies whose images are each made by itself


def ask(layout_policy: Still, line: Line, base: Layout, step: int, rngs: tuple[Generator, Generator]) -> Wanted:
    """Ask a policy for the cells of the `step`-th image on the background of `base`.

    The first generator gives all images of a base the same numbers, the second each its own.
    """
    if isinstance(layout_policy, MatchedLayout):
        return matched(layout_policy, line, base, rngs[1])
    if isinstance(layout_policy, PosterLayout):
        return poster(layout_policy, line, base.size, rngs[1])
    return growth(layout_policy, line, base.size, (step + rngs[0].random()) / layout_policy.factor, rngs[0])


def matched(layout_policy: MatchedLayout, line: Line, base: Layout, rng: Generator) -> Wanted:
    """The cells of one of the line's images, mirrored.

    It is of the base's size, and its confluence is among the nearest: a background shows how crowded it was.
    """
    same_size = [layout for layout in line.layouts if layout.size == base.size]
    near = sorted(same_size, key=lambda layout: abs(layout.areas.sum() - base.areas.sum()))
    layout = near[rng.integers(min(len(near), layout_policy.nearest))]
    mirror = rng.random(2) < 0.5
    centres = np.where(mirror, np.array(base.size) - 1 - layout.centres, layout.centres)
    axes = layout.axes * (1 if mirror[0] == mirror[1] else -1)
    order = np.argsort(-layout.areas, kind="stable")  # the largest first: it finds room last
    return Wanted(centres[order], layout.areas[order], axes[order], layout_policy.jitter, layout.image_id)


def poster(layout_policy: PosterLayout, line: Line, size: tuple[int, int], rng: Generator) -> Wanted:
    """A number of cells uniform between two multiples of the line's mean density, anywhere in the image."""
    count = round(rng.uniform(layout_policy.density.low, layout_policy.density.high) * line.density * size[0] * size[1])
    areas = -np.sort(-rng.choice(line.areas, count))
    return Wanted(rng.random((count, 2)) * size, areas, rng.uniform(0, np.pi, count), 0.0, None)


def growth(layout_policy: GrowthLayout, line: Line, size: tuple[int, int], age: float, rng: Generator) -> Wanted:
    """A culture at an age in [0, 1): from founders at the low confluence, each new cell beside its mother.

    Confluence grows exponentially to the high one. Ages of one culture share what `rng` gives: they are its series.
    """
    room, (low, high) = size[0] * size[1], (layout_policy.confluence.low, layout_policy.confluence.high)
    areas = rng.choice(line.areas, math.ceil(2 * high * room / line.areas.mean()) + 1)
    covered = np.cumsum(areas) / room
    founders, count = (
        min(int(np.searchsorted(covered, share)) + 1, len(areas)) for share in (low, low * (high / low) ** age)
    )
    centres = rng.random((len(areas), 2)) * size
    mothers = (rng.random(len(areas)) * np.arange(len(areas))).astype(np.int64)
    angles = rng.uniform(0, 2 * np.pi, len(areas))
    away = layout_policy.spread * (np.sqrt(areas / np.pi) + np.sqrt(areas[mothers] / np.pi))
    for cell in range(founders, count):
        side = away[cell] * np.array([np.sin(angles[cell]), np.cos(angles[cell])])
        # who would leave the image is mirrored at its edge
        folded = np.mod(centres[mothers[cell]] + side, 2 * np.array(size))
        centres[cell] = np.minimum(folded, 2 * np.array(size) - folded)
    return Wanted(centres[:count], areas[:count], angles[:count], 0.0, None)


class Pool(NamedTuple):
    """Where cells come from."""

    cutouts: Cutouts
    own: Ints  # those of the image whose background it is
    diameter: float  # px, of the line's median cell


def plan(wanted: Wanted, pool: Pool, params: SynthesisParams, rng: Generator) -> Plan:
    """Choose cutouts of about the areas asked for, their poses, and places farther and farther from those asked for.

    A share `mix` comes from other images, more if the image has fewer cells than are wanted.
    """
    shape = (len(wanted.areas), params.tries // params.tries_per_pose)
    areas, (_, poses) = pool.cutouts.areas, shape
    cells = alike(wanted.areas, areas, poses, params.similar, rng)
    if len(pool.own):
        kept = rng.random(shape) >= max(params.mix, 1 - len(pool.own) / max(shape[0], 1))
        own = pool.own[alike(wanted.areas, areas[pool.own], poses, params.similar, rng)]
        cells = np.where(kept, own, cells)
    flips = rng.random(shape) < 0.5
    turns = wanted.axes[:, None] - np.where(flips, -1, 1) * pool.cutouts.axes[cells]
    turns += np.pi * rng.integers(0, 2, shape) + rng.normal(0, params.turn, shape)  # an axis has two ends
    scales = rng.uniform(1 - params.scale, 1 + params.scale, shape)
    away = pool.diameter * (wanted.jitter + params.wander * np.linspace(0, 1, params.tries) ** 2)
    places = wanted.centres[:, None] + away[:, None] * rng.standard_normal((shape[0], params.tries, 2))
    return Plan(
        areas=wanted.areas,
        tries=places.round().astype(np.int64),
        cells=cells,
        poses=turned(turns, scales, flips),
        gains=rng.uniform(1 - params.gain, 1 + params.gain, shape[0]),
    )


def alike(asked: Floats, areas: Ints, count: int, similar: float, rng: Generator) -> Ints:
    """For each of N areas asked for, so many of the cells (N, count) whose area is about the same.

    About the same are the nearest on either side: a share `similar` of all cells, at least `count`.
    """
    order = np.argsort(areas, kind="stable")
    about = max(count, int(similar * len(order)))
    rank = np.searchsorted(areas[order], asked)[:, None] + rng.integers(-about, about + 1, (len(asked), count))
    found: Ints = order[rank.clip(0, len(order) - 1)]
    return found
