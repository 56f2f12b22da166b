"""One time-lapse: its cells linked, its tracks described, written for other programs, and held against true ones."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from monolayer.coco.overlap import lying_in
from monolayer.coco.records import Rle
from monolayer.compiled import Flags, Floats, Ints
from monolayer.files import write_csv
from monolayer.measurement.measure import instances
from monolayer.params.tracking import TrackerParams
from monolayer.tracking import ctc, optimum
from monolayer.tracking.lineage import Lineage, WellCells, lineage, track_rows
from monolayer.tracking.linking import Linker, Links, follow, link
from monolayer.tracking.scores import FrameMatch, Scored, match, scores
from monolayer.tracking.timelapse import Timelapse

TRACKERS: dict[str, Linker] = {"laptrack": link, "motile": optimum.link}
Masks = list[tuple[float, Rle]]  # of an image: score and mask of each cell


class TrueFrame(NamedTuple):
    """Of an image: mask, track and mother's track of each true cell; the regions that nobody annotated."""

    cells: list[tuple[Rle, int, int]]
    crowds: list[Rle]


class Job(NamedTuple):
    """What is known of a time-lapse, image by image: the cells' rows in their table, what it says, masks and truth."""

    lapse: Timelapse
    rows: list[Ints]
    columns: list[dict[str, NDArray[Any]]]
    masks: list[Masks]
    true: list[TrueFrame] | None


class Tracked(NamedTuple):
    """What became of a job: the lineage of the cells in these rows, and rows of the tables."""

    rows: Ints
    found: Lineage
    tables: dict[str, list[dict[str, Any]]]


def track_well(job: Job, params: TrackerParams, folder: Path, true: bool) -> Tracked:
    """Link the cells of one time-lapse and write its files into `folder`; `true`: the cells are the truth's."""
    lapse, rows = job.lapse, np.concatenate(job.rows)
    cells, drift, links = linked(job, params)
    found = lineage(cells.frame, links)
    pixel_size = next((float(own["pixel_size_um"][0]) for own in job.columns if len(own["pixel_size_um"])), math.nan)
    tables = {
        "tracks": track_rows(lapse, cells, found, pixel_size),
        "frames": frame_rows(job, cells.frame, drift, links),
        "scores": [],
    }
    if job.true is not None or "ctc" in params.files:
        labels = Labels(lapse, job.masks)
        annotated = None if job.true is None else [[(1.0, rle) for rle, _, _ in one.cells] for one in job.true]
        true_labels = None if annotated is None else Labels(lapse, annotated)
        sight = look(labels, true_labels)
        parts = ctc.parts_of(cells.frame, found.track, found.parent, sight.seen)
        if "ctc" in params.files:
            ctc.write(folder / "ctc" / lapse.name, parts, labels.frames(), len(labels.numbers), true)
        if true_labels is not None:
            counted = sight.seen & ~ignored(job, labels.numbers, sight)
            pred = Scored(ctc.parts_of(cells.frame, found.track, found.parent, counted), labels.numbers)
            tables["scores"] = [score_row(job, true_labels.numbers, pred, sight, params)]
    if "napari" in params.files:
        write_csv(folder / "napari" / f"{lapse.name}.csv", napari_rows(job, cells.frame, found), NAPARI)
    return Tracked(rows, found, tables)


def linked(job: Job, params: TrackerParams) -> tuple[WellCells, Floats, Links]:
    """The cells in the order of frames, drift taken out; the drift (T, 2) of each frame; the links."""
    last = job.lapse.frames[-1]
    places: list[Floats] = [np.zeros((0, 2))] * (last + 1)
    areas: list[Floats] = [np.zeros(0)] * (last + 1)
    for frame, columns in zip(job.lapse.frames, job.columns, strict=True):
        places[frame] = np.c_[columns["centroid_x_px"], columns["centroid_y_px"]]
        areas[frame] = columns["area_px2"]
    links, drift, steady = follow(places, areas, params, TRACKERS[params.tracker])
    counts = [len(rows) for rows in job.rows]
    x, y = np.concatenate(steady).T
    at_edge = np.concatenate([columns["touches_border"] for columns in job.columns])
    when = np.repeat(job.lapse.frames, counts), np.repeat(job.lapse.times, counts)
    cells = WellCells(*when, x, y, np.concatenate(areas), at_edge)
    return cells, drift, links


def frame_rows(job: Job, frame_of: Ints, drift: Floats, links: Links) -> list[dict[str, Any]]:
    """A row for each image."""
    linked = np.bincount(frame_of[np.unique(links.before)], minlength=len(drift))
    return [
        {
            "cell_line": job.lapse.cell_line,
            "well": job.lapse.well,
            "timelapse": job.lapse.name,
            "image_id": image["id"],
            "file_name": image["file_name"],
            "frame": frame,
            "drift_x_px": drift[frame, 0],
            "drift_y_px": drift[frame, 1],
            "cells": len(rows),
            "linked": int(linked[frame]),
        }
        for image, frame, rows in zip(job.lapse.images, job.lapse.frames, job.rows, strict=True)
    ]


class Labels:
    """The label images of a time-lapse's frames, one at a time; cells are numbered over all frames, from 0 on."""

    def __init__(self, lapse: Timelapse, masks: Sequence[Masks]) -> None:
        image = lapse.images[0]
        self.size = image["height"], image["width"]
        self.masks: list[Masks] = [[]] * (lapse.frames[-1] + 1)
        for frame, found in zip(lapse.frames, masks, strict=True):
            self.masks[frame] = found
        first = np.cumsum([0, *map(len, self.masks)])
        self.numbers = [np.arange(a, b) for a, b in pairwise(first)]

    def frame(self, number: int) -> NDArray[np.int32]:
        return instances(self.masks[number], *self.size).label_image()

    def frames(self) -> Any:
        """Each frame's label image and the cells that its values stand for."""
        return ((self.frame(number), cells) for number, cells in enumerate(self.numbers))


class Sight(NamedTuple):
    """Which cells have a pixel of their own, since others may cover one altogether; and the true ones they match."""

    seen: Flags
    true_seen: Flags
    matches: list[FrameMatch]


def look(labels: Labels, true: Labels | None) -> Sight:
    """Look at each frame once."""
    seen, true_seen, matches = [np.zeros(0, bool)], [np.zeros(0, bool)], list[FrameMatch]()
    for frame, numbers in enumerate(labels.numbers):
        own = labels.frame(frame)
        seen.append(np.bincount(own.ravel(), minlength=len(numbers) + 1)[1:] > 0)
        if true is not None:
            there = true.frame(frame)
            true_seen.append(np.bincount(there.ravel(), minlength=len(true.numbers[frame]) + 1)[1:] > 0)
            matches.append(match(there, own))
    return Sight(np.concatenate(seen), np.concatenate(true_seen), matches)


def ignored(job: Job, numbers: list[Ints], sight: Sight) -> Flags:
    """Which found cells (N,) count neither way: half or more of them lies where nobody annotated, on no true cell.

    As in the evaluation of masks: one that finds a true cell is that before it is anything else.
    """
    assert job.true is not None
    found = np.zeros(len(sight.seen), np.bool_)
    for frame, true, masks in zip(job.lapse.frames, job.true, job.masks, strict=True):
        if true.crowds and masks:
            found[numbers[frame]] = lying_in([rle for _, rle in masks], true.crowds)
            found[numbers[frame][sight.matches[frame].pred - 1]] = False
    return found


def score_row(job: Job, numbers: list[Ints], pred: Scored, sight: Sight, params: TrackerParams) -> dict[str, Any]:
    """The row of the table `scores`; `numbers` are those of the true cells of each frame."""
    assert job.true is not None
    frame_of = np.repeat(np.arange(len(numbers)), [len(cells) for cells in numbers])
    track, parent = (np.array([cell[n] for frame in job.true for cell in frame.cells], np.int64) for n in (1, 2))
    parts = ctc.parts_of(frame_of, track, parent, sight.true_seen)
    common = {"cell_line": job.lapse.cell_line, "well": job.lapse.well, "timelapse": job.lapse.name}
    found = scores(Scored(parts, numbers), pred, sight.matches, params.division_tolerance)
    return common | {"tracker": params.tracker} | found


NAPARI = ("track_id", "t", "y", "x", "parent")


def napari_rows(job: Job, frame_of: Ints, found: Lineage) -> list[dict[str, Any]]:
    """Rows of napari's Tracks layer, in px of the images, track by track, each with its mother's or 0."""
    y, x = (np.concatenate([columns[f"centroid_{axis}_px"] for columns in job.columns]) for axis in "yx")
    order = np.lexsort((frame_of, found.track))
    columns = (found.track, frame_of, y, x, found.parent)
    return [dict(zip(NAPARI, row, strict=True)) for row in zip(*(c[order].tolist() for c in columns), strict=True)]
