"""The report's section on tracks, of a time-lapse whose true tracks are known and of one run that misses cells."""

from __future__ import annotations

from pathlib import Path
from typing import get_args

import numpy as np
import pandas as pd
import pytest
from culture import Culture
from monolayer.coco.records import CELL, Truth
from monolayer.files import write_json
from monolayer.measurement.measure import CellSource
from monolayer.params.steps import TrackScoresParams
from monolayer.params.tracking import TrackerParams
from monolayer.reporting import tracks as section
from monolayer.reporting.lineages import families, trees, undivided
from monolayer.reporting.pictures import Album
from monolayer.reporting.report import report
from monolayer.reporting.study import Study
from monolayer.tracking.comparison import compare
from monolayer.tracking.divisions import division_rows
from monolayer.tracking.track import Measured, track
from PIL import Image as PillowImage
from test_report import Page, params, section_html, write_study
from timelapse import LINKS, SIZE, movie

PARAMS = LINKS
RUN = "unet"


def write_tracks(folder: Path) -> None:
    """What `track` and `compare-tracks` leave of the truth and one run."""
    for source in ("truth", RUN):
        results = folder / "predictions" / source / "test.json.gz" if source == RUN else None
        cells = Measured(folder / "cells" / source), CellSource(results, 0.2)
        track(folder / "splits" / "test.json", cells, PARAMS, folder / "tracks" / source)
    sources = [folder / "tracks" / source for source in ("truth", RUN)]
    compare(sources, TrackScoresParams(n_resamples=20, seed=0), folder / "tracks.csv")


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Study:
    folder = tmp_path_factory.mktemp("tracks")
    truth = Truth(**movie().truth())
    truth["categories"] = [CELL]
    (folder / "images").mkdir()
    rng = np.random.default_rng(0)
    for image in truth["images"]:
        pixels = rng.integers(60, 90, (SIZE, SIZE)).astype(np.uint8)
        PillowImage.fromarray(pixels).save(folder / "images" / image["file_name"])
    for split in ("train", "val", "test"):
        write_json(folder / "splits" / f"{split}.json", truth)
    culture = Culture(folder, folder / "images", folder / "none.json", truth, folder / "splits")
    results = write_study(folder / "results", culture, [RUN])
    write_tracks(results)
    return Study(results, [RUN], params())


def test_rows_and_scores(study: Study) -> None:
    content = section.tracks(study, Album(study.folder / "data" / "images", True))
    assert content is not None
    rows = {row["source"]: row for row in content["rows"]}
    assert rows["truth"]["tracks"] == 7
    assert rows["truth"]["divisions"] == 1
    assert rows["truth"]["lost"] == 0
    assert rows["truth"]["linked"] == 100
    assert rows[RUN]["linked"] < 100
    scores = {(row["run"], row["line"]): row["cells"] for row in content["scores"]}
    tra = content["names"].index("TRA")
    assert scores["truth", "disk"][tra]["value"] == 1
    assert 0 < scores[RUN, "all"][tra]["value"] < 1
    [shown] = content["lines"].values()
    assert shown["timelapse"] == "disk_A1"
    assert shown["strips"][0].title.startswith("truth: track ")
    true_tail = shown["tails"][0]
    assert sum(layer.count for layer in true_tail.layers) == 6  # of the last frame
    assert {layer.kind for layer in true_tail.layers} == {"tail tail-0", "tail tail-1"}


def test_a_division_time_that_was_not_reached_is_not_called_infinite(study: Study) -> None:
    """One of nine divides, and the others are seen for a while: half of them may do so a frame later."""
    born = {"cell_line": "disk", "well": "A1", "time_unit": "frame", "parent": 1}
    cells = [born | {"lifetime": 4 + number, "censored": number > 0} for number in range(9)]
    found = study.tracked("truth", "tracks"), study.tracked("truth", "frames"), pd.DataFrame(division_rows(cells))
    made = section.row(study, "disk", "truth", found)
    assert (made["division_time"], made["seen"]) == (None, (1, 9))


def test_the_page_has_the_section(study: Study, tmp_path: Path) -> None:
    report(study.folder, [RUN], params(), tmp_path / "report.html")
    html = (tmp_path / "report.html").read_text()
    page = Page(html)
    assert "tracks" in [a.get("id") for a in page.all("section")]
    assert html.count('class="strip"') == 2
    assert "no tracks: nothing is scored here" not in html
    again, plain = (section_html("tracks", Study(study.folder, [RUN], params()), shown) for shown in (True, False))
    assert again is not None
    assert again in html, "the same bytes"
    assert plain is not None
    assert "data:image/webp" in plain  # outlines on a plain ground
    assert plain != again


@pytest.mark.parametrize("tracker", [*get_args(TrackerParams.model_fields["tracker"].annotation), None])
def test_the_tracker_that_was_used_is_named(study: Study, tracker: str | None) -> None:
    """laptrack where the settings name none."""
    settings = params()
    settings.used["track"] = {} if tracker is None else {"tracker": tracker}
    html = section_html("tracks", Study(study.folder, [RUN], settings), False)
    assert html is not None
    named = tracker or "laptrack"
    assert f'/{named}">{named}</a>' in html
    assert not {"laptrack", "motile"} - {named} & {word for word in ("laptrack", "motile") if f">{word}</a>" in html}


def test_families_lie_apart_and_mothers_between_their_daughters() -> None:
    tracks = pd.DataFrame(
        {
            "track": [1, 2, 3, 4, 5, 6],
            "parent": [None, 1, 1, 2, 2, None],
            "start_time": 0.0,
            "lifetime": 1.0,
        }
    )
    [tree] = families(tracks)
    heights = {item["row"]["track"]: item["height"] for item in tree}
    assert heights == {4: 0, 5: 1, 2: 0.5, 3: 2, 1: 1.25}
    curve = pd.DataFrame({"time": [0.0], "undivided": [1.0]})
    assert undivided("a", "disk", {"truth": curve}) is None


def test_without_time_lapses_there_is_no_section(study: Study, tmp_path: Path) -> None:
    (tmp_path / "tracks").mkdir()
    album = Album(tmp_path, True)
    assert section.tracks(Study(tmp_path / "none", [RUN], params()), album) is None


def test_where_nothing_divides_it_is_said_on_the_same_axis_of_time() -> None:
    tracks = pd.DataFrame({"track": [1, 2, 3], "parent": [np.nan, 1, 1], "start_time": [0, 40, 40]})
    tracks = tracks.assign(lifetime=[40, 50, 50], time_unit="h")
    drawn = trees("trees", "line", {"truth": tracks, "run": tracks[tracks["track"] == 1]})
    assert drawn is not None
    assert drawn.count(">no division<") == 1
    assert drawn.count(">80<") == 2
    assert trees("trees", "line", {"truth": tracks[tracks["track"] == 1]}) is None
