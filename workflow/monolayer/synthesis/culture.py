"""A culture over time: cells that grow, wander, make room for each other and divide, and look the same all along.

Areas grow exponentially, all at one rate, so that confluence goes from the first frame's to the last one's; a cell
divides when it has reached the size that it was given at birth, into halves that lie along its axis.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.random import Generator

from monolayer.compiled import Floats, Ints
from monolayer.params.extensions import SynthesisParams, TimelapseLayout
from monolayer.synthesis.composite import Plan, turned
from monolayer.synthesis.policies import Line, Pool, alike

PUSHES = 12  # of cells apart, in a frame
TRIES = 8  # places for a cell that finds no room at its own, up to half a diameter away
LATE = (0.85, 1.15)  # size at which a cell divides, times the line's


@dataclass
class Grown:
    """A cell: its look stays the same; `area` px² is what it measures now, `ripe` when it divides."""

    number: int
    parent: int
    place: Floats  # (2,) y, x
    axis: float  # of the longer axis, from x towards y
    area: float
    ripe: float
    cutout: int
    flip: bool
    gain: float


class Film(NamedTuple):
    """A frame to put together: its plan, and the number and the mother's of each cell of the plan."""

    plan: Plan
    numbers: Ints
    parents: Ints


@dataclass
class Culture:
    """The cells of one time-lapse, and what they are made of."""

    layout: TimelapseLayout
    line: Line
    pool: Pool
    params: SynthesisParams
    size: Floats  # (2,) height, width
    rng: Generator
    born: int = 0

    def film(self) -> Iterator[Film]:
        """All frames, one after the other."""
        low, high = self.layout.confluence.low, self.layout.confluence.high
        rate = math.log(high / low) / max(1, self.layout.factor - 1)
        cells = self.founders(low * float(self.size.prod()))
        for frame in range(self.layout.factor):
            if frame:
                cells = self.next_frame(cells, math.exp(rate))
            yield self.shown(cells)

    def founders(self, area: float) -> list[Grown]:
        """Cells of any age anywhere, until they cover an area."""
        cells = list[Grown]()
        while not cells or sum(cell.area for cell in cells) < area:
            place = self.rng.random(2) * (self.size - 1)
            axis, age = float(self.rng.uniform(0, math.pi)), float(self.rng.random())
            ripe = self.ripe()
            cells.append(self.cell(0, place, axis, ripe * 2 ** (age - 1), ripe))
        self.make_room(cells)
        return cells

    def ripe(self) -> float:
        """The area at which a cell divides: its mean over a life is that of the line's cells."""
        return float(self.rng.choice(self.line.areas) * math.sqrt(2) * self.rng.uniform(*LATE))

    def cell(self, parent: int, place: Floats, axis: float, area: float, ripe: float) -> Grown:
        """A new cell, whose look is that of a real one of about its mean area."""
        self.born += 1
        mean = np.array([ripe / math.sqrt(2)])
        own = len(self.pool.own) and self.rng.random() >= self.params.mix
        choice = self.pool.own if own else np.arange(len(self.pool.cutouts.areas))
        picked = alike(mean, self.pool.cutouts.areas[choice], 1, self.params.similar, self.rng)[0, 0]
        flip, gain = bool(self.rng.random() < 0.5), float(self.rng.uniform(1 - self.params.gain, 1 + self.params.gain))
        return Grown(self.born, parent, place, axis, area, ripe, int(choice[picked]), flip, gain)

    def next_frame(self, cells: list[Grown], growth: float) -> list[Grown]:
        """The same cells a frame later, larger and elsewhere; ripe ones as their daughters."""
        step = self.layout.move * self.pool.diameter
        later = list[Grown]()
        for cell in cells:
            cell.area *= growth
            cell.place = cell.place + self.rng.normal(0, step, 2)
            cell.axis += float(self.rng.normal(0, self.layout.turn))
            later += self.daughters(cell) if cell.area >= cell.ripe else [cell]
        self.make_room(later)
        return later

    def daughters(self, mother: Grown) -> list[Grown]:
        share = float(self.rng.uniform(0.45, 0.55))
        areas = (share * mother.area, (1 - share) * mother.area)
        away = self.layout.spread * sum(math.sqrt(area / math.pi) for area in areas)
        along = away / 2 * np.array([math.sin(mother.axis), math.cos(mother.axis)])
        found = []
        for sign, area in zip((-1, 1), areas, strict=True):
            axis = mother.axis + float(self.rng.normal(0, self.params.turn))
            ripe = max(self.ripe(), 1.3 * area)
            found.append(self.cell(mother.number, mother.place + sign * along, axis, area, ripe))
        return found

    def make_room(self, cells: list[Grown]) -> None:
        """Push apart cells that lie on each other, as disks of their areas, and back those that have left the image."""
        from scipy.spatial import cKDTree

        places = np.array([cell.place for cell in cells])
        radii = np.sqrt(np.array([cell.area for cell in cells]) / math.pi)
        for _ in range(PUSHES):
            pairs = cKDTree(places).query_pairs(2 * float(radii.max()), output_type="ndarray")
            between = places[pairs[:, 1]] - places[pairs[:, 0]]
            length = np.maximum(np.hypot(*between.T), 1e-6)
            push = np.maximum(radii[pairs].sum(1) - length, 0) / 2
            move = between * (push / length)[:, None]
            np.add.at(places, pairs[:, 1], move)
            np.add.at(places, pairs[:, 0], -move)
            places = places.clip(0, self.size - 1)
        for cell, place in zip(cells, places, strict=True):
            cell.place = place

    def shown(self, cells: list[Grown]) -> Film:
        """A frame's plan: each cell at its place, or where there is room nearby."""
        areas = np.array([cell.area for cell in cells])
        chosen = np.array([cell.cutout for cell in cells])
        flips = np.array([cell.flip for cell in cells])
        own = self.pool.cutouts.axes[chosen]
        turns = np.array([cell.axis for cell in cells]) - np.where(flips, -1, 1) * own
        poses = turned(turns, np.sqrt(areas / self.pool.cutouts.areas[chosen]), flips)
        away = self.pool.diameter / 2 * np.linspace(0, 1, TRIES)[None, :, None]
        tries = np.array([cell.place for cell in cells])[:, None] + away * self.rng.uniform(
            -1, 1, (len(cells), TRIES, 2)
        )
        plan = Plan(
            areas=areas,
            tries=tries.round().astype(np.int64),
            cells=chosen[:, None],
            poses=poses[:, None],
            gains=np.array([cell.gain for cell in cells]),
        )
        return Film(plan, np.array([cell.number for cell in cells]), np.array([cell.parent for cell in cells]))
