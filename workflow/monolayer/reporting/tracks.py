"""The report's section on tracks: numbers, scores, tails over micrographs, lineage trees, one cell through time."""

from __future__ import annotations

import math
from collections import defaultdict
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from monolayer.coco.records import Rle
from monolayer.coco.rle import rle_area
from monolayer.params.tracking import TrackerParams
from monolayer.reporting import lineages
from monolayer.reporting.biology import TRUTH, UNITS, doubling
from monolayer.reporting.pictures import Album, Layer, Picture, data_uri, outline, polyline
from monolayer.reporting.study import Study, of_line, read_table
from monolayer.tracking.comparison import SCORES
from monolayer.tracking.dictionary import SCORE
from monolayer.tracking.divisions import Survival

TAIL = 10  # frames, of the track that is drawn behind a cell
GENERATIONS = 3  # from which on cells share a colour
STRIP = 12  # frames of a strip at most
AROUND = 1.6  # of a strip, its cell's largest box
GAP = 2  # px between its frames
PLACES = ("image_id", "cell", "cell_line", "centroid_x_px", "centroid_y_px", "track", "generation")
TRACKERS = {"laptrack": "https://github.com/yfukai/laptrack", "motile": "https://github.com/funkelab/motile"}
NAMES = {"tra": "TRA", "det": "DET", "seg": "SEG", "division_f1": "division F1"}


class StripFrame(NamedTuple):
    """A frame of a strip: where it begins, the part of the image that it shows, and the cell's outline there."""

    x: int
    left: int
    top: int
    path: str
    time: str


class Strip(NamedTuple):
    """One cell through time: crops side by side in one picture."""

    title: str
    uri: str
    side: int
    width: int
    frames: list[StripFrame]


def tracks(study: Study, album: Album) -> dict[str, Any] | None:
    """What became of the cells of the test images' time-lapses; None where there are none."""
    if not (study.folder / "tracks").is_dir() or not len(found := study.tracked(TRUTH, "tracks")):
        return None
    best = study.ranking[0]["run"]
    by_source = {source: study.tracked(source, "tracks") for source in (TRUTH, *study.runs)}
    frames = {source: study.tracked(source, "frames") for source in by_source}
    divisions = {source: study.tracked(source, "divisions") for source in by_source}
    lines = sorted(set(found["cell_line"]))
    shown: dict[str, dict[str, Any]] = {}
    for n, line in enumerate(lines):
        name = str(of_line(found, line).groupby("timelapse")["frames"].sum().idxmax())
        pair = {source: _of(by_source[source], name) for source in (TRUTH, best)}
        curves = {source: _pooled(of_line(divisions[source], line)) for source in (TRUTH, best)}
        shown[line] = {
            "timelapse": name,
            "tails": [tails(study, album, source, _of(frames[source], name)) for source in pair],
            "trees": lineages.trees(f"trees-{n}", line, pair),
            "undivided": lineages.undivided(f"undivided-{n}", line, curves),
            "strips": [made for source in pair if (made := strip(study, album, source, pair[source], frames[source]))],
        }
    linker = study.params.used.get("track", {}).get("tracker", TrackerParams.model_fields["tracker"].default)
    return {
        "best": best,
        "parted": len(study.test_regions),
        "tracker": linker,
        "tracker_url": TRACKERS[linker],
        "rows": [
            row(study, line, source, (by_source[source], frames[source], divisions[source]))
            for line in lines
            for source in by_source
        ],
        "scores": scores(study),
        "names": [NAMES.get(name, name.replace("_", " ")) for name in SCORES],
        "about": {NAMES.get(name, name.replace("_", " ")): SCORE[name].meaning for name in SCORES if name in SCORE},
        "lines": shown,
        "tail": TAIL,
    }


def _of(rows: pd.DataFrame, name: str) -> pd.DataFrame:
    return rows[rows["timelapse"] == name]


def _pooled(rows: pd.DataFrame) -> pd.DataFrame:
    """The curve of all wells of a line."""
    return rows[rows["well"] == "all"] if rows["well"].nunique() > 1 else rows


def row(study: Study, line: str, source: str, found: tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame]) -> dict[str, Any]:
    """Tracks, links, divisions, speed and division time of a line in one source."""
    own, frames, divisions = (of_line(rows, line) for rows in found)
    last = frames.groupby("timelapse")["frame"].transform("max")
    followed = frames[frames["frame"] < last]
    um = own["speed_um_per_time"].notna().any()
    unit = UNITS[own["time_unit"].iloc[0]].removesuffix("s") if len(own) else ""
    speed = own["speed_um_per_time" if um else "speed_px_per_time"].median() if len(own) else math.nan
    curve = _pooled(divisions)
    points = (curve[name].to_numpy(float) for name in ("time", "undivided", "undivided_low", "undivided_high"))
    median = Survival(*points).median() if len(curve) > 1 else None
    return {
        "line": line,
        "source": source,
        "tracks": len(own),
        "linked": 100 * followed["linked"].sum() / followed["cells"].sum() if followed["cells"].sum() else math.nan,
        "divisions": int((own["ends"] == "divides").sum()),
        "lost": int((own["ends"] == "lost").sum()),
        "frames": float(own["frames"].median()) if len(own) else math.nan,
        "speed": float(speed),
        "speed_unit": f"{'µm' if um else 'px'}/{unit}",
        "division_time": median if median and math.isfinite(median[0]) else None,
        "seen": (int(curve["divided"].iloc[0]), int(curve["born"].iloc[0])) if len(curve) else (0, 0),
        "doubling": doubling(of_line(study.measured(source, "growth"), line)),
        "unit": UNITS[own["time_unit"].iloc[0]] if len(own) else "",
    }


def scores(study: Study) -> list[dict[str, Any]]:
    """tracks.csv as it stands, over all lines and for each; empty where truth has no tracks."""
    table = read_table(study.folder / "tracks.csv", ["run", "cell_line", "timelapses", *SCORES])
    marks = {"value": "", "low": "_low", "high": "_high"}
    return [
        {
            "run": row["run"],
            "line": row["cell_line"],
            "timelapses": int(row["timelapses"]),
            "cells": [{end: row[f"{name}{mark}"] for end, mark in marks.items()} for name in SCORES],
        }
        for row in table.to_dict("records")
    ]


def tails(study: Study, album: Album, source: str, frames: pd.DataFrame) -> Picture:
    """The last frame of a time-lapse, and behind each of its cells the track of the last frames, by generation."""
    shown = frames.sort_values("frame").tail(TAIL + 1)
    last = shown.iloc[-1]
    cells = study.tracked(source, "cells", PLACES)
    cells = cells.merge(shown[["image_id", "frame", "drift_x_px", "drift_y_px"]], on="image_id").sort_values("frame")
    image, _ = study.true_cells("test", {int(last["image_id"])})[int(last["image_id"])]
    present = set(cells.loc[cells["image_id"] == last["image_id"], "track"])
    paths: dict[int, list[str]] = {n: [] for n in range(GENERATIONS + 1)}
    for _, own in cells[cells["track"].isin(present)].groupby("track"):
        moved = own[["drift_x_px", "drift_y_px"]].to_numpy() - last[["drift_x_px", "drift_y_px"]].to_numpy(float)
        points = own[["centroid_x_px", "centroid_y_px"]].to_numpy() - moved + 0.5
        paths[min(GENERATIONS, int(own["generation"].iloc[-1]))].append(polyline(points))
    names = [*(f"of generation {n}" for n in range(GENERATIONS)), f"of generation {GENERATIONS} and more"]
    layers = [Layer(f"tail tail-{n}", names[n], len(lines), "".join(lines)) for n, lines in paths.items() if lines]
    return album.picture(image, source, layers, {"tracks": len(present)})


def strip(study: Study, album: Album, source: str, own: pd.DataFrame, frames: pd.DataFrame) -> Strip | None:
    """The cell that is seen in most frames, from frame to frame, and from then on its first daughter and so on."""
    if not len(own):
        return None
    tracks = _longest_line(own)
    of_frame = frames[frames["timelapse"] == own["timelapse"].iloc[0]].set_index("image_id")
    cells = study.tracked(source, "cells", PLACES)
    cells = cells[cells["image_id"].isin(of_frame.index) & cells["track"].isin(tracks)]
    cells = cells.assign(frame=of_frame.loc[cells["image_id"], "frame"].to_numpy()).sort_values("frame")
    chosen = cells.iloc[np.unique(np.linspace(0, len(cells) - 1, STRIP).round().astype(int))]
    ids = {int(image_id) for image_id in chosen["image_id"]}
    true = study.true_cells("test", ids)
    masks = {i: one.cells for i, (_, one) in true.items()} if source == TRUTH else study.predicted_cells(source, ids)
    boxes: list[Rle] = []
    for image_id, number in zip(chosen["image_id"], chosen["cell"], strict=True):
        boxes.append([rle for rle in masks[int(image_id)] if rle_area(rle)][int(number) - 1])
    widest = max(2 * math.sqrt(rle_area(rle) / math.pi) for rle in boxes)
    side = round(2 * AROUND * widest)
    parts, made = [], []
    for n, (cell, rle) in enumerate(zip(chosen.to_dict("records"), boxes, strict=True)):
        image = true[int(cell["image_id"])][0]
        left, top = round(cell["centroid_x_px"]) - side // 2, round(cell["centroid_y_px"]) - side // 2
        padded = np.pad(album.ground(image), side)
        parts.append(padded[top + side : top + 2 * side, left + side : left + 2 * side])
        made.append(StripFrame(n * (side + GAP), left, top, outline(rle, 0.5), f"{int(cell['frame'])}"))
    gap = np.full((side, GAP), 255, np.uint8)
    pixels = np.hstack([piece for part in parts for piece in (part, gap)][:-1])
    numbers = ", ".join(str(track) for track in tracks)
    return Strip(f"{source}: track {numbers}", data_uri(pixels), side, pixels.shape[1], made)


def _longest_line(own: pd.DataFrame) -> list[int]:
    """The tracks of one cell, its first daughter's, and so on: those that cover most frames."""
    frames = own.set_index("track")["frames"].to_dict()
    children: dict[int, list[int]] = defaultdict(list)
    for track, parent in own.dropna(subset="parent")[["track", "parent"]].astype(int).itertuples(index=False):
        children[parent].append(track)

    def best(track: int) -> tuple[int, list[int]]:
        length, line = max((best(child) for child in children[track]), default=(0, []), key=lambda one: one[0])
        return length + int(frames[track]), [track, *line]

    roots = own.loc[own["parent"].isna(), "track"]
    return max((best(int(root)) for root in roots), key=lambda one: one[0])[1]
