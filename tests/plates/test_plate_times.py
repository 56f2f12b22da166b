"""The times of a plate: one unit for all, gaps that stay gaps, one time for what was taken at one moment."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import plate_samples as made
import pytest
import tifffile
from monolayer.files import InputError
from monolayer.plates import growth, plan
from monolayer.plates.plan import PlateImage, described, read_plan
from monolayer.plates.times import _moments

FIELDS = r"regex:(?P<well>[A-H]\d+)_(?P<field>\d+)\."
NUMBERS = r"regex:(?P<well>[A-H]\d+)_f(?P<field>\d+)_(?P<time>\w+)\."
FRAME = np.full((8, 8), 9, np.uint8)


def named(folder: Path, *names: str) -> Path:
    folder.mkdir(exist_ok=True)
    for name in names:
        tifffile.imwrite(folder / f"{name}.tif", FRAME)
    return folder


def series(folder: Path, name: str, seconds: Sequence[object], **about: object) -> None:
    """An OME-TIFF whose planes bear these times."""
    folder.mkdir(exist_ok=True)
    planes = {"Plane": {"DeltaT": list(seconds), "DeltaTUnit": ["s"] * len(seconds)}}
    stack = np.stack([FRAME] * len(seconds))
    tifffile.imwrite(folder / f"{name}.ome.tif", stack, ome=True, metadata={"axes": "TYX"} | planes | about)


def imagej(folder: Path, name: str, seconds: float | None) -> None:
    folder.mkdir(exist_ok=True)
    every = {} if seconds is None else {"finterval": seconds}
    tifffile.imwrite(folder / f"{name}.tif", np.stack([FRAME] * 3), imagej=True, metadata={"axes": "TYX"} | every)


def planned(folder: Path, output: Path, **changes: Any) -> list[PlateImage]:
    plan.plan(folder, made.reading(**changes), output)
    return read_plan(output)


def grown(images: Sequence[PlateImage], output: Path, count: Callable[[PlateImage], float]) -> tuple[Any, Any]:
    """Curves and wells of images with so many cells."""
    unknown = {"confluence": 0.1, "expected_f1": math.nan, "expected_f1_low": math.nan, "flags": ""}
    rows = [described(image, None) | unknown | {"cells": round(count(image))} for image in images]
    points = growth.curves(rows, made.about(output)["time_unit"])
    return points, {row["well"]: row for row in growth.wells(rows, points, {})}


def test_frames_that_are_skipped_change_no_rate(tmp_path: Path) -> None:
    """Numbers of names are times, and not how many files there are before: with a gap growth is the same."""
    names = [f"A1_f1_t{time:02d}" for time in (0, 1, 2, 3, 8, 9, 10)] + [f"B1_f1_t{time:02d}" for time in range(11)]
    images = planned(named(tmp_path / "in", *names), tmp_path / "out", pattern=NUMBERS)
    points, wells = grown(images, tmp_path / "out", lambda image: 2000 * math.exp(0.1 * int(image.timestamp[1:])))
    assert made.about(tmp_path / "out")["time_unit"] == "frame"
    assert [point["time"] for point in points if point["well"] == "A1"] == [0, 1, 2, 3, 8, 9, 10]
    assert wells["A1"]["rate_per_time"] == pytest.approx(0.1, rel=0.01)
    assert wells["B1"]["rate_per_time"] == pytest.approx(0.1, rel=0.01)
    assert [image.frame for image in images[:7]] == list(range(7)), "its label image has no gap"


def test_fields_are_averaged_at_the_same_number(tmp_path: Path) -> None:
    names = [f"A1_f1_t{time}" for time in range(8)] + [f"A1_f2_t{time}" for time in (0, 1, 5, 6, 7)]
    images = planned(named(tmp_path / "in", *names), tmp_path / "out", pattern=NUMBERS)
    points, _ = grown(images, tmp_path / "out", lambda image: 10 * int(image.timestamp[1:]))
    assert [(point["time"], point["images"], point["cells_per_image"]) for point in points] == [
        (time, 1 if time in (2, 3, 4) else 2, 10 * time) for time in range(8)
    ]


def test_each_frame_has_the_time_that_its_plane_bears(tmp_path: Path) -> None:
    """Also where they are irregular, and whatever the first is written like."""
    series(tmp_path / "in", "A1", ["0.000", 3600.0, 7200.0, 108000.0])
    images = planned(tmp_path / "in", tmp_path / "out")
    assert [image.time_h for image in images] == [0, 1, 2, 30]
    assert made.about(tmp_path / "out")["times_from"] == "the files"
    _, wells = grown(images, tmp_path / "out", lambda image: 1000 * 2 ** (image.time_h / 10))
    assert wells[images[0].well]["doubling_time"] == pytest.approx(10, rel=0.01)


@pytest.mark.parametrize("seconds", [[0.0, 0.0, 0.0], [0.0, 7200.0, 3600.0], [0.0, "x", 3600.0]])
def test_times_that_do_not_rise_are_not_believed(seconds: list[object], tmp_path: Path) -> None:
    """As of writers that put zeros there: what the file says of its step counts, else nothing is known."""
    for name, about in (("in", {}), ("step", {"TimeIncrement": 3600.0, "TimeIncrementUnit": "s"})):
        series(tmp_path / name, "A1", seconds, **about)
    assert all(math.isnan(image.time_h) for image in planned(tmp_path / "in", tmp_path / "out"))
    assert made.about(tmp_path / "out")["times_from"] == "nowhere: growth is per frame"
    assert [image.time_h for image in planned(tmp_path / "step", tmp_path / "out2")] == [0, 1, 2]


def test_fields_of_a_moment_are_one_time(tmp_path: Path) -> None:
    series(tmp_path / "in", "A1_1", [0.0, 3600.0, 7200.0])
    series(tmp_path / "in", "A1_2", [0.0, 3600.4, 7200.8])
    images = planned(tmp_path / "in", tmp_path / "out", pattern=FIELDS)
    points, wells = grown(images, tmp_path / "out", lambda image: 10 if image.field == "1" else 30)
    assert [(point["time"], point["images"], point["cells_per_image"]) for point in points] == [
        (0, 2, 20),
        (1, 2, 20),
        (2, 2, 20),
    ]
    assert (wells["A1"]["times"], wells["A1"]["last_cells_per_image"]) == (3, 20)
    assert images[4].time_h == pytest.approx(3600.4 / 3600), "the table of images has the time that was said"


def test_wells_that_are_scanned_one_after_the_other_share_no_time(tmp_path: Path) -> None:
    """A scan that takes the whole step has no moments; each well has, and its fields are not torn apart."""
    for number in range(10):
        for field in (1, 2):
            offset = 360.0 * number + field
            series(tmp_path / "in", f"A{number + 1}_{field}", [0.0, *(3600.0 * n + offset for n in (1, 2, 3))])
    images = planned(tmp_path / "in", tmp_path / "out", pattern=FIELDS)
    points, wells = grown(images, tmp_path / "out", lambda _: 10)
    assert all(row["times"] == 4 for row in wells.values())
    assert all(point["images"] == 2 for point in points)


def test_two_frames_of_a_field_are_no_moment() -> None:
    """However irregular a plate is."""
    short = [0.0, 0.01, 10.0, 20.0]
    found = _moments([short, [0.0005, 10.0005, 20.0]])
    assert found is not None
    assert [found[time] for time in short] == [0, 0.01, 10, 20]
    assert found[0.0005] == 0
    assert _moments([[0.0]]) == {0.0: 0.0}
    assert _moments([[0.0, 1.0], [n / 11 for n in range(12)]]) is not None, "a step of its own"
    assert _moments([[0.0, 1.0], *([n / 11] for n in range(12))]) is None, "nobody knows where a moment ends"


@pytest.mark.parametrize(("known", "said"), [(3600.0, "does not say"), (None, "says")])
def test_series_without_times_are_no_plate_with_others(known: float | None, said: str, tmp_path: Path) -> None:
    """Hours beside numbers of frames would be one culture with two doubling times."""
    imagej(tmp_path / "in", "A1", known)
    imagej(tmp_path / "in", "A2", known and 7200.0)
    imagej(tmp_path / "in", "A3", None if known else 3600.0)
    images = planned(tmp_path / "in", tmp_path / "out")
    faults = {image.well: image.fault for image in images}
    assert faults["A1"] == faults["A2"] == ""
    assert faults["A3"].startswith(f"it {said} the times of its frames, where most do")
    assert "give it a plate of its own, or all of them plate_settings.frame_hours" in faults["A3"]
    if known:
        points, wells = grown(images[:6], tmp_path / "out", lambda image: 1000 * 2 ** (image.time_h / 10))
        assert {point["time_unit"] for point in points} == {"h"}
        assert [row["doubling_time"] for row in wells.values()] == pytest.approx([10, 10], rel=0.01)
    hours = planned(tmp_path / "in", tmp_path / "out", frame_hours=2)
    assert [(image.fault, image.time_h) for image in hours[-3:]] == [("", 0), ("", 2), ("", 4)]


def test_a_single_frame_beside_series_is_their_first(tmp_path: Path) -> None:
    imagej(tmp_path / "in", "A1", 3600.0)
    named(tmp_path / "in", "A2")
    images = planned(tmp_path / "in", tmp_path / "out")
    assert [(image.well, image.time_h, image.fault) for image in images] == [
        ("A1", 0, ""),
        ("A1", 1, ""),
        ("A1", 2, ""),
        ("A2", 0, ""),
    ]


@pytest.mark.parametrize(
    ("names", "changes", "said"),
    [
        (
            ("V_A1_1_00d00h00m", "V_A1_1_00d01h00m"),
            {"frame_hours": 2},
            r"file names tell hours, and plate_settings\.frame_hours \(2\) would tell others; set it to null",
        ),
        (
            ("A1_f1_pre1", "A1_f1_pre2", "A1_f1_post1"),
            {"pattern": NUMBERS, "frame_hours": 1},
            "the times '(pre1' and 'post1|post1' and 'pre1)' are numbered in 2 ways",
        ),
        (
            ("A1_f1_20210331", "A1_f1_20210401"),
            {"pattern": NUMBERS, "frame_hours": 24},
            "the time '20210331' is a date, which counts no frames",
        ),
        (
            ("A1_f1_31032021", "A1_f1_01042021"),
            {"pattern": NUMBERS, "frame_hours": 24},
            "the time '01042021|31032021' is a date, which counts no frames",
        ),
        (
            ("A1_f1_24h00m", "A1_f1_1d00h00m"),
            {"pattern": NUMBERS},
            r"A1_f1_\w+\.tif and A1_f1_\w+\.tif are both well A1, field 1, time 24; take one away",
        ),
        (("A1_f1_t1", "A1_f1_01h00m"), {"pattern": NUMBERS}, "has times of several kinds"),
    ],
)
def test_times_that_contradict_each_other_are_refused(
    names: tuple[str, ...], changes: dict[str, Any], said: str, tmp_path: Path
) -> None:
    with pytest.raises(InputError, match=said):
        planned(named(tmp_path / "in", *names), tmp_path / "out", **changes)
    assert not (tmp_path / "out").exists()


def test_a_long_number_that_is_no_date_counts_frames(tmp_path: Path) -> None:
    images = planned(named(tmp_path / "in", "A1_f1_00000001", "A1_f1_00000003"), tmp_path / "out", pattern=NUMBERS)
    assert [image.time for image in images] == [1, 3]
    assert json.loads((tmp_path / "out/plan.json").read_text())["time_unit"] == "frame"
