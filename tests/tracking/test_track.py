"""Track: from measured cells of time-lapses to tables, files for other programs, and scores against true tracks."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import faults
import numpy as np
import pandas as pd
import pytest
import tifffile
from ctc_metrics.scripts.evaluate import evaluate_sequence
from monolayer.__main__ import main
from monolayer.coco.io import write_results
from monolayer.coco.records import CELL, Result, Truth
from monolayer.coco.rle import annotation, mask_from_rle, rle_from_mask
from monolayer.files import InputError, write_json
from monolayer.measurement.measure import CellSource, measure
from monolayer.params.steps import MeasureParams, NeighbourParams
from monolayer.tracking import dictionary
from monolayer.tracking.track import Measured, track
from paths import ROOT
from PIL import Image as PillowImage
from timelapse import LINKS, SIZE, Movie, movie, read_sequence

PARAMS = LINKS.model_copy(update={"files": ["ctc", "napari"]})
MEASURE = MeasureParams(
    pixel_size_um={"disk": 2.0}, frame_hours={"disk": 0.5}, neighbours=NeighbourParams(gap=1, radius=40), files=[]
)
PSC = ROOT.parent / "shared/data/psc"


def joined(*truths: Truth) -> Truth:
    return Truth(
        images=[image for truth in truths for image in truth["images"]],
        annotations=[cell for truth in truths for cell in truth["annotations"]],
        categories=[CELL],
    )


def prepared(
    folder: Path, truth: Truth, results: list[Result] | None = None
) -> tuple[Path, tuple[Measured, CellSource]]:
    """Truth, images and measured cells in a folder: what `track` is given."""
    (folder / "images").mkdir(parents=True)
    for image in truth["images"]:
        blank = np.full((image["height"], image["width"]), 90, np.uint8)
        PillowImage.fromarray(blank).save(folder / "images" / image["file_name"])
    write_json(folder / "truth.json", truth)
    if results is not None:
        write_results(folder / "cells.json", results)
    source = CellSource(None if results is None else folder / "cells.json", 0.5)
    measure(folder / "images", folder / "truth.json", source, MEASURE, folder / "cells")
    return folder / "truth.json", (Measured(folder / "cells"), source)


@pytest.fixture(scope="module")
def two_wells() -> Truth:
    """Two time-lapses: one on a drifting stage, one without an image of its frame 7."""
    first = movie(drift=(6.0, -2.0)).truth()
    return joined(first, movie("B2", without={7}).truth(100, 1 + len(first["annotations"])))


@pytest.fixture(scope="module")
def tracked(two_wells: Truth, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tracked")
    truth, cells = prepared(folder, two_wells)
    track(truth, cells, PARAMS, folder / "tracks")
    return folder


def read(folder: Path, name: str) -> pd.DataFrame:
    return pd.read_parquet(folder / "tracks" / f"{name}.parquet")


def test_the_true_tracks_are_found(tracked: Path, two_wells: Truth) -> None:
    cells = read(tracked, "cells")
    assert list(cells) == list(dictionary.TABLES["cells"])
    measured = pd.read_parquet(tracked / "cells" / "cells.parquet")
    pd.testing.assert_frame_equal(cells[list(measured)], measured)
    cells = cells.assign(true=[cell["track_id"] for cell in two_wells["annotations"]])
    for _, well in cells.groupby("well"):
        assert well.groupby("true")["track"].nunique().eq(1).all()  # the gap too keeps its track
        assert well.groupby("track")["true"].nunique().eq(1).all()
        assert set(well.loc[well["generation"] == 1, "true"]) == {9, 12}
        mothers = well.loc[well["generation"] == 1, "parent"]
        assert set(mothers) == set(well.loc[well["true"] == 2, "track"])
    scores = read(tracked, "scores")
    assert scores["tra"].tolist() == scores["det"].tolist() == scores["seg"].tolist() == [1, 1]
    assert scores[["division_tp", "division_fp", "division_fn"]].to_numpy().tolist() == [[1, 0, 0]] * 2
    assert scores["complete_tracks"].tolist() == [1, 1]


def test_tables_of_tracks_frames_and_divisions(tracked: Path) -> None:
    tracks, frames = read(tracked, "tracks"), read(tracked, "frames")
    for name in ("tracks", "frames", "divisions", "scores"):
        assert list(read(tracked, name)) == list(dictionary.TABLES[name])
    first = tracks[tracks["timelapse"] == "disk_A1"].set_index("track")
    [mother] = first.index[first["ends"] == "divides"]
    assert first.loc[mother, "lifetime"] == 2.5  # five frames of half an hour
    assert first.loc[mother, "censored"]  # its birth was not seen
    assert np.isnan(first.loc[mother, "division_time"])
    assert set(first.loc[first["parent"] == mother, "first_frame"]) == {5}
    assert first["missing_frames"].sum() == 1
    np.testing.assert_allclose(first["path_um"], 2 * first["path_px"], atol=1e-5)
    assert (first["speed_px_per_time"] < 6).all()  # 13 px an hour are the stage's
    assert frames.loc[frames["timelapse"] == "disk_B2", "frame"].tolist() == [0, 1, 2, 3, 4, 5, 6, 8, 9]
    drift = frames[frames["timelapse"] == "disk_A1"].set_index("frame").loc[9, ["drift_x_px", "drift_y_px"]]
    np.testing.assert_allclose(drift.astype(float), [54, -18], atol=4)
    lines = (tracked / "tracks" / "dictionary.csv").read_text().splitlines()
    assert len(lines) == 1 + sum(map(len, dictionary.TABLES.values()))


def test_the_challenge_evaluates_the_folder_to_the_same_scores(tracked: Path, two_wells: Truth, tmp_path: Path) -> None:
    """Truth is a folder of true masks, results one of worse ones: its own program reads both, and says what we say."""
    rng = np.random.default_rng(5)
    results = worse(two_wells, rng)
    truth, cells = prepared(tmp_path / "pred", two_wells, results)
    track(truth, cells, PARAMS, tmp_path / "pred/tracks")
    scores = pd.read_parquet(tmp_path / "pred/tracks/scores.parquet").set_index("timelapse")
    assert 0.3 < scores["tra"].min() < 1
    exact = Movie(movie("B2").tracks, "B2", (0, 0), {7})
    for name, frames in {"disk_A1": movie(drift=(6.0, -2.0)), "disk_B2": exact}.items():
        gt = tmp_path / name / "TRA"
        write_ctc_truth(gt, frames)
        shutil.copytree(gt, tmp_path / name / "SEG")
        for mask in (tmp_path / name / "SEG").glob("*.tif"):
            mask.rename(mask.with_name(mask.name.replace("man_track", "man_seg")))
        files = tmp_path / "pred/tracks/files/ctc" / name
        said = evaluate_sequence(str(files), str(tmp_path / name), ["Valid", "SEG", "DET", "TRA", "CT"], 1)
        assert said["Valid"] == 1
        ours = scores.loc[[name], ["seg", "det", "tra", "complete_tracks"]].to_numpy()[0]
        np.testing.assert_allclose(ours, [said[key] for key in ("SEG", "DET", "TRA", "CT")], atol=1e-6)


def write_ctc_truth(folder: Path, frames: Movie) -> None:
    """As the challenge has it: a gap parts a track."""
    folder.mkdir(parents=True)
    truth = frames.truth()
    of_frame = {int(image["timestamp"][1:]): image["id"] for image in truth["images"] if image["timestamp"]}
    rows: dict[int, list[int]] = {}
    last: dict[int, tuple[int, int]] = {}  # of a track: last frame and number
    for frame in range(frames.frames):
        labels = np.zeros((SIZE, SIZE), np.uint16)
        for cell in truth["annotations"]:
            if cell["image_id"] != of_frame.get(frame):
                continue
            own, mother = cell["track_id"], cell["parent_id"]
            seen, number = last.get(own, (-2, 0))
            if seen != frame - 1:
                before = number or (last[mother][1] if mother else 0)
                number = len(rows) + 1
                rows[number] = [number, frame, frame, before]
            rows[number][2] = frame
            last[own] = frame, number
            labels[mask_from_rle(cell["segmentation"])] = number
        tifffile.imwrite(folder / f"man_track{frame:03d}.tif", labels)
    (folder / "man_track.txt").write_text("".join(" ".join(map(str, row)) + "\n" for row in rows.values()))


def worse(truth: Truth, rng: np.random.Generator) -> list[Result]:
    """Cells shifted by up to 2 px, some missing, one spurious in each image."""
    found = []
    for image in truth["images"]:
        masks = [mask_from_rle(c["segmentation"]) for c in truth["annotations"] if c["image_id"] == image["id"]]
        spurious = np.zeros((SIZE, SIZE), bool)
        spurious[2:9, 150:157] = True
        masks = [np.roll(mask, rng.integers(-2, 3, 2), (0, 1)) for mask in masks if rng.random() < 0.9] + [spurious]
        for mask in masks:
            cell = annotation(1, image["id"], rle_from_mask(mask))
            common = {"image_id": image["id"], "category_id": 1, "segmentation": cell["segmentation"]}
            found.append(Result(**common, bbox=cell["bbox"], score=round(float(rng.uniform(0.6, 1)), 4)))  # type: ignore[typeddict-item]
    return found


def test_files_for_other_programs(tracked: Path) -> None:
    files = tracked / "tracks/files"
    masks = sorted((files / "ctc/disk_B2").glob("man_track*.tif"))
    assert len(masks) == 10  # also of the missing frame, which is empty
    assert not tifffile.imread(masks[7]).any()
    table = np.loadtxt(files / "ctc/disk_B2/man_track.txt", dtype=int)
    for number, first, last, parent in table:
        assert all(number in tifffile.imread(masks[frame]) for frame in range(first, last + 1))
        assert not parent or table[table[:, 0] == parent][0, 2] < first
    rows = pd.read_csv(files / "napari/disk_A1.csv")
    assert list(rows) == ["track_id", "t", "y", "x", "parent"]
    assert rows.sort_values(["track_id", "t"]).index.tolist() == list(rows.index)  # as its Tracks layer asks
    cells = read(tracked, "cells")
    assert len(rows) == (cells["well"] == "A1").sum()


def digests(folder: Path) -> dict[str, str]:
    files = (path for path in sorted(folder.rglob("*")) if path.is_file())
    return {path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def test_any_number_of_workers_gives_the_same_bytes(tracked: Path, two_wells: Truth, tmp_path: Path) -> None:
    cells = Measured(tracked / "cells"), CellSource(None, 0)
    track(tracked / "truth.json", cells, PARAMS, tmp_path / "tracks", workers=2)
    assert digests(tmp_path / "tracks") == digests(tracked / "tracks")


def test_images_without_a_time_have_no_tracks(two_wells: Truth, tmp_path: Path) -> None:
    still = json.loads(json.dumps(two_wells))
    for image in still["images"]:
        image["timestamp"] = None
    truth, cells = prepared(tmp_path, still)
    track(truth, cells, PARAMS, tmp_path / "tracks")
    assert read(tmp_path, "cells")["track"].isna().all()
    assert all(len(read(tmp_path, name)) == 0 for name in ("tracks", "frames", "divisions", "scores"))


def test_nothing_found_is_a_score_of_nothing(two_wells: Truth, tmp_path: Path) -> None:
    truth, cells = prepared(tmp_path, two_wells, [])
    track(truth, cells, PARAMS, tmp_path / "tracks")
    scores = read(tmp_path, "scores")
    assert scores["tra"].tolist() == [0, 0]
    assert scores["division_fn"].tolist() == [1, 1]
    assert len(read(tmp_path, "tracks")) == 0


def test_without_true_tracks_there_are_no_scores(
    two_wells: Truth, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    part = json.loads(json.dumps(two_wells))
    del part["annotations"][3]["track_id"]
    truth, cells = prepared(tmp_path, part)
    track(truth, cells, PARAMS, tmp_path / "tracks")
    assert len(read(tmp_path, "scores")) == 0
    assert len(read(tmp_path, "tracks")) > 0
    assert "1 of 102 true cells have no track_id: tracks are not scored" in caplog.text


def test_other_cells_than_those_measured_are_refused(tracked: Path, two_wells: Truth, tmp_path: Path) -> None:
    results = worse(two_wells, np.random.default_rng(1))
    write_results(tmp_path / "cells.json", results)
    cells = Measured(tracked / "cells"), CellSource(tmp_path / "cells.json", 0.9)
    with pytest.raises(InputError, match=r"has 5 cells of disk_A1_t000.png, and \d were given"):
        track(tracked / "truth.json", cells, PARAMS, tmp_path / "tracks")
    assert not (tmp_path / "tracks").exists() or not any((tmp_path / "tracks").iterdir())


def test_as_many_other_cells_are_refused_too(tracked: Path, two_wells: Truth, tmp_path: Path) -> None:
    """Of another version of the results; here a cell lies elsewhere, which has the number and the area of the true."""
    results = found(two_wells)
    cell = next(one for one in results if one["image_id"] == 3)
    cell["segmentation"] = rle_from_mask(np.roll(mask_from_rle(cell["segmentation"]), 1, 0))
    write_results(tmp_path / "cells.json", results)
    cells = Measured(tracked / "cells"), CellSource(tmp_path / "cells.json", 0.5)
    with pytest.raises(InputError, match=r"has 5 cells of disk_A1_t002.png, 1 of which .* measure the same ones"):
        track(tracked / "truth.json", cells, PARAMS, tmp_path / "tracks")
    assert not (tmp_path / "tracks").exists() or not any((tmp_path / "tracks").iterdir())


def found(truth: Truth) -> list[Result]:
    """The true cells as results, without regions that nobody annotated."""
    common = {"category_id": 1, "score": 0.9}
    cells = [cell for cell in truth["annotations"] if not cell["iscrowd"]]
    return [Result(**{name: c[name] for name in ("image_id", "segmentation", "bbox")}, **common) for c in cells]  # type: ignore[typeddict-item]


def test_a_true_track_twice_in_an_image_is_refused(two_wells: Truth, tmp_path: Path) -> None:
    part = json.loads(json.dumps(two_wells))
    cells = [cell for cell in part["annotations"] if cell["image_id"] == 2]
    cells[1]["track_id"] = cells[0]["track_id"]
    truth, measured = prepared(tmp_path, part)
    told = r"disk_A1_t001.png has 2 true cells of track 1 \(annotations \d+ and \d+\); give each cell of an image"
    with pytest.raises(InputError, match=told):
        track(truth, measured, PARAMS, tmp_path / "tracks")
    assert not (tmp_path / "tracks").exists() or not any((tmp_path / "tracks").iterdir())


def test_micrometres_are_known_where_the_first_frame_has_no_cell(tmp_path: Path) -> None:
    late = Movie({1: (0, [None, (40, 40), (43, 40), (46, 44)], 0)})
    truth, cells = prepared(tmp_path, late.truth())
    track(truth, cells, PARAMS, tmp_path / "tracks")
    [row] = read(tmp_path, "tracks").to_dict("records")
    assert row["speed_um_per_time"] == 2 * row["speed_px_per_time"]
    assert row["path_um"] == pytest.approx(16, abs=1)


def with_region(truth: Truth, top: int, bottom: int, left: int, right: int) -> Truth:
    """Nobody annotated this part of each image; true cells in it stay."""
    more: Truth = json.loads(json.dumps(truth))
    region = np.zeros((SIZE, SIZE), bool)
    region[top:bottom, left:right] = True
    for number, image in enumerate(truth["images"], start=10_000):
        crowd = annotation(number, image["id"], rle_from_mask(region))
        crowd["iscrowd"] = 1
        more["annotations"].append(crowd)
    return more


def scored(folder: Path, truth: Truth, results: list[Result]) -> pd.DataFrame:
    path, cells = prepared(folder, truth, results)
    track(path, cells, PARAMS, folder / "tracks")
    return read(folder, "scores").drop(columns="timelapse")


def test_cells_where_nobody_annotated_count_neither_way(two_wells: Truth, tmp_path: Path) -> None:
    """Neither cells that are found there, nor one that goes through; outside, half out too, they are wrong."""

    def at(x: float, y: float) -> list[Result]:
        """A cell that truth does not have, there in each image."""
        rows, columns = np.mgrid[:SIZE, :SIZE]
        made = annotation(1, 0, rle_from_mask((columns - x) ** 2 + (rows - y) ** 2 <= 25))
        common = {"category_id": 1, "segmentation": made["segmentation"], "bbox": made["bbox"], "score": 0.9}
        return [Result(image_id=image["id"], **common) for image in two_wells["images"]]  # type: ignore[typeddict-item]

    truth, exact = with_region(two_wells, 140, SIZE, 100, SIZE), found(two_wells)
    perfect = scored(tmp_path / "perfect", truth, exact)
    assert perfect[["seg", "det", "tra", "complete_tracks"]].to_numpy().tolist() == [[1] * 4] * 2
    inside = scored(tmp_path / "inside", truth, exact + at(120, 150) + at(150, 141))
    pd.testing.assert_frame_equal(inside, perfect)
    for name, place in (("outside", (120, 100)), ("mostly outside", (150, 138))):
        assert (scored(tmp_path / name, truth, exact + at(*place))["det"] < 1).all()
    # a true cell that somebody drew in such a region counts as ever
    all_over = with_region(two_wells, 0, SIZE, 0, SIZE)
    pd.testing.assert_frame_equal(scored(tmp_path / "all over", all_over, exact), perfect)
    assert (scored(tmp_path / "missed", all_over, exact[::2])["det"] < 1).all()


def test_images_that_were_not_measured_are_named(tracked: Path, two_wells: Truth, tmp_path: Path) -> None:
    more = joined(two_wells, movie("C3").truth(200, 500))
    write_json(tmp_path / "truth.json", more)
    with pytest.raises(InputError, match=r"does not know disk_C3_t000.png, which .*; measure it first"):
        track(tmp_path / "truth.json", (Measured(tracked / "cells"), CellSource(None, 0)), PARAMS, tmp_path / "tracks")


def test_the_verb(tracked: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    params = PARAMS.model_dump_json()
    words = ["track", "--truth", str(tracked / "truth.json"), "--params", params, "--output", str(tmp_path / "truth")]
    assert main([*words, "--cells", str(tracked / "cells")]) == 0
    assert digests(tmp_path / "truth") == digests(tracked / "tracks")
    assert main([*words, "--cells", str(tmp_path / "none")]) == 1
    assert "is not a table of `measure`" in capsys.readouterr().err
    table = tmp_path / "tracks.csv"
    words = ["compare-tracks", "--tracks", str(tmp_path / "truth"), "--output", str(table)]
    assert main([*words, "--params", '{"n_resamples": 50, "seed": 0}']) == 0
    assert pd.read_csv(table)["tra"].tolist() == [1, 1]


def test_a_fault_at_any_write_leaves_what_the_same_command_mends(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    short = Movie({1: (0, [(40, 40), (42, 40)], 0), 2: (0, [(90, 80), (91, 82)], 0)})
    truth, cells = prepared(tmp_path / "made", short.truth())

    def run(output: Path) -> None:
        track(truth, cells, PARAMS, output)

    count = faults.hold(run, tmp_path / "faults", monkeypatch)
    print(f"\ntrack: {count} writes, each failed twice")


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_kills(tracked: Path, tmp_path: Path) -> None:
    """kill -9 at any moment, of all processes: the same command, once more, ends with the bytes of a quiet run."""
    words = ["track", "--truth", tracked / "truth.json", "--cells", tracked / "cells", "--workers", "2"]
    words += ["--params", PARAMS.model_dump_json(), "--output", tmp_path / "tracks"]
    command = [sys.executable, "-m", "monolayer", *map(str, words)]

    def begun() -> subprocess.Popen[bytes]:
        return subprocess.Popen(command, stderr=subprocess.DEVNULL, start_new_session=True)

    def seen() -> bool:
        return any((tmp_path / "tracks").rglob("*"))

    rng = np.random.default_rng(0)
    started = time.monotonic()
    running = begun()
    while not seen():
        time.sleep(0.01)
    before = time.monotonic() - started  # imports and reading
    assert running.wait() == 0
    writing = time.monotonic() - started - before
    shutil.rmtree(tmp_path / "tracks")
    kills = 0
    while kills < 10:
        running = begun()
        time.sleep(float(rng.uniform(0.8 * before, before + writing)))
        if running.poll() is None:
            os.killpg(running.pid, signal.SIGKILL)
            kills += 1
        running.wait()
    assert begun().wait() == 0
    assert digests(tmp_path / "tracks") == digests(tracked / "tracks")
    assert not list((tmp_path / "tracks").rglob("*.partial"))


@pytest.mark.skipif(not PSC.is_dir(), reason="needs the real sequence")
def test_true_masks_of_a_real_sequence_are_tracked(tmp_path: Path) -> None:
    truth, _ = read_sequence(PSC)
    path, cells = prepared(tmp_path, truth)
    track(path, cells, PARAMS, tmp_path / "tracks")
    [row] = read(tmp_path, "scores").to_dict("records")
    assert row["tra"] >= 0.995
    assert row["det"] == 1
    assert row["branching"] >= 0.75
