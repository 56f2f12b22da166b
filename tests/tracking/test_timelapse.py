"""Time-lapses: which images are frames of one, in which order, and where one is missing."""

from __future__ import annotations

import numpy as np
import pytest
from monolayer.coco.records import Image
from monolayer.files import InputError
from monolayer.measurement.growth import moment
from monolayer.tracking import timelapse
from monolayer.tracking.timelapse import Timelapse, field_names, numbered


def image(number: int, name: str, stamp: str | None, well: str = "A1", side: int = 8) -> Image:
    return Image(
        id=number,
        file_name=name,
        width=side,
        height=8,
        cell_line="A172",
        well=well,
        timestamp=stamp,
        split=None,
    )


def timelapses(images: list[Image], hours: float | None = None) -> list[Timelapse]:
    return timelapse.timelapses(images, {one["id"]: moment(one["timestamp"], hours) for one in images})


def test_fields_of_one_well_are_time_lapses_of_their_own() -> None:
    names = [
        f"A172_Phase_A7_1_{day}d{hour}h00m_{crop}.png" for crop in (1, 2) for day, hour in (("00", "20"), ("01", "00"))
    ]
    images = [image(n, name, name.split("_")[4]) for n, name in enumerate(names)]
    found = timelapses(images[::-1])
    assert sorted(lapse.name for lapse in found) == ["A172_Phase_A7_1_1", "A172_Phase_A7_1_2"]
    assert {lapse.name: [one["id"] for one in lapse.images] for lapse in found}["A172_Phase_A7_1_1"] == [0, 1]
    assert found[0].times == [20, 24]
    assert found[0].time_unit == "h"


def test_names_without_their_time() -> None:
    assert field_names([image(1, "HeLa_f1_t007.png", "t007")]) == ["HeLa_f1"]
    assert field_names([image(1, "7_7.png", "7")]) == ["7"]  # alone: the last place where it stands
    assert field_names([image(1, "img.png", "t3", well="B 2")]) == ["A172_B_2"]


@pytest.mark.parametrize(
    ("names", "stamps"),
    [
        ([f"exp_t{n}_spot1" for n in range(1, 5)], [f"t{n}" for n in range(1, 5)]),
        ([f"A1_{hours}h_well12h" for hours in (12, 24, 36)], ["12h", "24h", "36h"]),
        ([f"well12h_A1_{hours}h" for hours in (12, 24, 36)], ["12h", "24h", "36h"]),
        ([f"{n}_{n // 10}1" for n in range(1, 5)], ["1", "2", "3", "4"]),
    ],
)
def test_a_time_that_stands_in_a_name_twice_loses_no_frame(names: list[str], stamps: list[str]) -> None:
    images = [image(n, f"{name}.png", stamp) for n, (name, stamp) in enumerate(zip(names, stamps, strict=True))]
    [lapse] = timelapses(images)
    assert [one["id"] for one in lapse.images] == list(range(len(names)))
    assert lapse.frames == list(range(len(names)))


def test_fields_whose_numbers_are_times_too_are_kept_apart() -> None:
    pairs = [(time, spot) for spot in range(1, 4) for time in range(1, 4)]
    images = [image(n, f"exp_t{time}_t{spot}.png", f"t{time}") for n, (time, spot) in enumerate(pairs)]
    found = {lapse.name: [one["file_name"] for one in lapse.images] for lapse in timelapses(images)}
    assert found == {f"exp_t{spot}": [f"exp_t{time}_t{spot}.png" for time in range(1, 4)] for spot in range(1, 4)}


def test_a_missing_image_keeps_its_number() -> None:
    assert numbered(np.array([0.0, 5, 10, 20, 25])).tolist() == [0, 1, 2, 4, 5]
    assert numbered(np.array([64.0, 68, 72, 80])).tolist() == [0, 1, 2, 4]
    assert numbered(np.array([0.0, 1, 1.25])).tolist() == [0, 4, 5]  # irregular: the shortest is a frame


def test_images_without_a_time_or_alone_are_of_no_time_lapse(caplog: pytest.LogCaptureFixture) -> None:
    images = [
        image(1, "a.png", None),
        image(2, "b_t0.png", "t0"),
        image(3, "c_t0.png", "t0"),
        image(4, "c_t1.png", "t1"),
    ]
    found = timelapses(images, 0.5)
    assert [[one["id"] for one in lapse.images] for lapse in found] == [[3, 4]]
    assert found[0].times == [0, 0.5]
    [warning] = [record for record in caplog.records if record.levelname == "WARNING"]
    assert warning.getMessage() == "2 images belong to no time-lapse, and have no tracks: a.png, b_t0.png"
    caplog.clear()
    assert timelapses(images[:3]) == []
    assert not [one for one in caplog.records if one.levelname == "WARNING"], "images alone are no fault"


def test_an_image_that_is_listed_twice_is_one_frame(caplog: pytest.LogCaptureFixture) -> None:
    images = [image(1, "c_t0.png", "t0"), image(2, "c_t0.png", "t0"), image(3, "c_t1.png", "t1")]
    [lapse] = timelapses(images)
    assert [one["id"] for one in lapse.images] == [1, 3]
    assert "1 images of a time that another has are left out" in caplog.text


def test_what_is_no_time_lapse_is_refused() -> None:
    with pytest.raises(InputError, match="of 2 sizes"):
        timelapses([image(1, "c_t0.png", "t0"), image(2, "c_t1.png", "t1", side=9)])
    with pytest.raises(InputError, match="time stamps of two kinds"):
        timelapses([image(1, "c_t0.png", "t0"), image(2, "c_01h00m.png", "01h00m")])
    same = [image(n, "x.png", f"t{n}", well=well) for n, well in enumerate(["a b", "a b", "a_b", "a_b"])]
    with pytest.raises(InputError, match="two wells have file names that begin with A172_a_b"):
        timelapses(same)


def test_steps_that_tables_round_to_two_are_one_step() -> None:
    """Of a seventh of an hour, 0.142857 and 0.142858 h: neither is as common as that over a missing frame."""
    frames = [0, 2, 3, 4, 6, 7, 9, 10, 11, 13]
    assert numbered(np.round(np.array(frames) / 7, 6)).tolist() == frames
