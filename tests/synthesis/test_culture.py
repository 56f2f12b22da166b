"""Synthetic time-lapses: true tracks that agree with what is seen, growth as asked for, the same bytes every time."""

from __future__ import annotations

import json
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from culture import Culture
from faults import contents
from monolayer.measurement.measure import CellSource, measure
from monolayer.params.extensions import ExtendParams
from monolayer.params.steps import MeasureParams, NeighbourParams
from monolayer.synthesis.extend import extend
from monolayer.tracking.track import Measured, track
from test_extend import SYNTHESIS
from timelapse import LINKS

LOW, HIGH, FRAMES = 0.04, 0.25, 40


def params(frames: int = FRAMES, backgrounds: int = 1) -> ExtendParams:
    layout = {"layout": "timelapse", "factor": frames, "backgrounds": backgrounds, "spread": 1.0}
    layout |= {"confluence": {"low": LOW, "high": HIGH}, "move": 0.15, "turn": 0.1}
    return ExtendParams.model_validate({"name": "film", "extension": layout, "synthesis": SYNTHESIS, "seed": 1})


@pytest.fixture(scope="module")
def film(culture: Culture, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("film")
    extend(culture.images, culture.splits / "train.json", params(), folder, workers=1)
    return folder


def truth_of(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((folder / "annotations.json").read_text())
    return found


def test_each_line_has_its_time_lapses(film: Path) -> None:
    wells: dict[str, list[str]] = defaultdict(list)
    for image in truth_of(film)["images"]:
        wells[image["cell_line"]].append(image["timestamp"])
        assert image["file_name"] == f"{image['well']}_{image['timestamp']}.png"
        assert (film / "images" / image["file_name"]).is_file()
    assert {line: len(stamps) for line, stamps in wells.items()} == {"round": FRAMES, "long": FRAMES}


def test_a_mother_ends_where_her_two_daughters_begin(film: Path) -> None:
    truth = truth_of(film)
    frame_of = {image["id"]: (image["well"], int(image["timestamp"][1:])) for image in truth["images"]}
    seen: dict[tuple[str, int], dict[int, float]] = defaultdict(dict)
    parents: dict[tuple[str, int], int] = {}
    for cell in truth["annotations"]:
        well, frame = frame_of[cell["image_id"]]
        seen[well, cell["track_id"]][frame] = cell["area"]
        parents[well, cell["track_id"]] = cell["parent_id"]
    daughters = defaultdict(list)
    for (well, number), mother in parents.items():
        if mother:
            daughters[well, mother].append(number)
    assert len(daughters) > 10
    for (well, mother), both in daughters.items():
        assert len(both) <= 2
        begin = min(min(seen[well, number]) for number in both)
        assert begin > max(seen[well, mother])
    # whole cells keep their area from frame to frame, but for growth and what others hide
    ratios = [
        areas[frame + 1] / areas[frame]
        for areas in seen.values()
        for frame in areas
        if frame + 1 in areas and min(areas[frame], areas[frame + 1]) > 40
    ]
    assert 1 < np.median(ratios) < 1.1


def test_confluence_grows_as_asked_for(film: Path) -> None:
    truth = truth_of(film)
    for line in ("round", "long"):
        asked = [image["recipe"]["asked"]["confluence"] for image in truth["images"] if image["cell_line"] == line]
        assert LOW <= asked[0] < 2 * LOW + 0.02
        np.testing.assert_allclose(asked[-1] / asked[0], HIGH / LOW, rtol=0.02)
        assert (np.diff(asked) > 0).all()


def test_the_same_seed_gives_the_same_bytes(film: Path, culture: Culture, tmp_path: Path) -> None:
    extend(culture.images, culture.splits / "train.json", params(), tmp_path, workers=2)
    assert contents(tmp_path) == contents(film)


def test_several_backgrounds_are_several_wells(culture: Culture, tmp_path: Path) -> None:
    extend(culture.images, culture.splits / "train.json", params(3, backgrounds=3), tmp_path, workers=1)
    images = truth_of(tmp_path)["images"]
    assert len({image["well"] for image in images}) == 6
    assert len({image["file_name"] for image in images}) == len({image["id"] for image in images}) == 18


def test_a_hundred_frames_are_tracked(culture: Culture, tmp_path: Path) -> None:
    extend(culture.images, culture.splits / "train.json", params(100), tmp_path, workers=1)
    truth, images = tmp_path / "annotations.json", tmp_path / "images"
    settings = MeasureParams(pixel_size_um={}, frame_hours={}, neighbours=NeighbourParams(gap=1, radius=40), files=[])
    measure(images, truth, CellSource(None, 0), settings, tmp_path / "cells")
    track(truth, (Measured(tmp_path / "cells"), CellSource(None, 0)), LINKS, tmp_path / "tracks")
    scores = pd.read_parquet(tmp_path / "tracks" / "scores.parquet")
    assert scores["tra"].min() >= 0.95
    assert scores["true_divisions"].sum() > 20
