"""Chunks of an OME-Zarr that are not stored read as the fill value: no image is taken for black without a word."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import plate_samples as made
import pytest
from monolayer.files import InputError
from monolayer.plates import dictionary, plan, segment
from numpy.typing import NDArray
from test_plates import finish, run, table

NONE = "none of its chunks is stored"
HALF = made.WIDTH // 2


def image(path: Path, pixels: NDArray[Any], axes: str, **storage: Any) -> Path:
    """An OME-Zarr image, 0.5 with shards and 0.4 without; storage as zarr has it."""
    import zarr

    form: Any = 3 if "shards" in storage else 2
    kinds = {"t": {"type": "time", "unit": "hour"}, "z": {"type": "space"}}
    space = {"type": "space", "unit": "micrometer"}
    scale = [{"type": "scale", "scale": [1.0] * len(axes)}]
    about: dict[str, Any] = {
        "axes": [{"name": axis} | kinds.get(axis, space) for axis in axes],
        "datasets": [{"path": "0", "coordinateTransformations": scale}],
    }
    ome = {"multiscales": [about if form == 3 else about | {"version": "0.4"}]}
    attributes = {"ome": {"version": "0.5"} | ome} if form == 3 else ome
    group = zarr.create_group(path, zarr_format=form, attributes=attributes)
    group.create_array("0", data=pixels, **storage)
    return path


def series(times: int = 3) -> NDArray[np.uint8]:
    return np.stack([made.field(4 + 2 * time, time) for time in range(times)])


STORAGE = {
    "0.4": {"chunks": (1, made.HEIGHT, HALF)},
    "0.5, shards": {"chunks": (1, made.HEIGHT // 2, HALF), "shards": (1, made.HEIGHT, HALF)},
}
CHUNK = {"0.4": "0/{}.0.{}", "0.5, shards": "0/c/{}/0/{}"}


@pytest.mark.parametrize("kind", STORAGE)
def test_a_plane_without_a_chunk_is_missing_and_half_a_plane_is_flagged(
    kind: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = image(tmp_path / "p.ome.zarr", series(), "tyx", **STORAGE[kind])
    whole = table(run(path, tmp_path / "whole") / "images.parquet")
    assert whole["not_stored"].tolist() == [0, 0, 0]
    assert not whole["flags"].str.contains("not_stored").any()
    assert "stored" not in caplog.text
    for time, column in ((1, 0), (1, 1), (2, 1)):
        (path / CHUNK[kind].format(time, column)).unlink()
    found = table(run(path, tmp_path / "out") / "images.parquet")
    assert made.about(tmp_path / "out")["missing"] == [f"well p, field 1, time t001: {NONE}"]
    assert f"has no image of well p, field 1, time t001: {NONE}" in caplog.text
    assert found["timestamp"].tolist() == ["t000", "t002"]
    assert found["time_h"].tolist() == [0, 2]
    assert found["not_stored"].tolist() == [0, 0.5]
    assert found["flags"].str.contains("not_stored").tolist() == [False, True]
    assert found["cells"][0] == whole["cells"][0]
    assert found["cells"][1] < whole["cells"][2]
    said = "of 1 of 2 images some chunks are not stored and read as the fill value: well p, field 1, frame 1"
    assert f"{said} (.) lacks 1 of 2" in caplog.text


@pytest.mark.filterwarnings("ignore:Consolidated metadata")
@pytest.mark.parametrize("kind", STORAGE)
def test_frames_that_came_after_metadata_was_consolidated_are_read(kind: str, tmp_path: Path) -> None:
    """As while a microscope goes on with what a converter began."""
    import zarr

    path = image(tmp_path / "p.ome.zarr", series(2), "tyx", **STORAGE[kind])
    zarr.consolidate_metadata(path)
    zarr.open_array(path / "0", mode="r+").append(series(3)[2:])
    assert table(run(path, tmp_path / "out") / "images.parquet")["timestamp"].tolist() == ["t000", "t001", "t002"]


def forget(array: Path, channel: int) -> None:
    """Take away all chunks of a channel of TCYX: t.c.0.0, or c/t/c/0/0."""
    names = [name for time in range(6) for name in (f"{time}.{channel}.0.0", f"c/{time}/{channel}/0/0")]
    there = [array / name for name in names if (array / name).exists()]
    assert len(there) == 6
    for path in there:
        path.unlink()


@pytest.mark.parametrize("version", ["0.4", "0.5"])
def test_a_well_that_was_not_copied_is_missing_and_a_plate_refused(
    version: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = made.hcs_plate(tmp_path / "p.ome.zarr", version, ("A/1", "B/2"), 6)
    forget(path / "A/1/0/0", channel=1)
    plan.plan(path, made.reading(channel="Phase"), tmp_path / "out")
    lacks = [f"well A1, field 0, time t00{time}: {NONE}" for time in range(6)]
    assert made.about(tmp_path / "out")["missing"] == lacks
    assert f"has no image of 1 more; {tmp_path / 'out/plan.json'} lists them" in caplog.text
    assert {one.well for one in plan.read_plan(tmp_path / "out")} == {"B2"}
    plan.plan(path, made.reading(channel="GFP"), tmp_path / "other")
    assert made.about(tmp_path / "other")["missing"] == []
    forget(path / "B/2/0/0", channel=1)
    with pytest.raises(InputError, match=r"p\.ome\.zarr: no chunk of its 12 images is stored; copy it again"):
        plan.plan(path, made.reading(channel="Phase"), tmp_path / "none")


def test_of_other_planes_along_z_nothing_is_said(tmp_path: Path) -> None:
    pixels = np.stack([made.field(5, 1), np.zeros((made.HEIGHT, made.WIDTH), np.uint8)])
    path = image(tmp_path / "p.ome.zarr", pixels, "zyx", chunks=(1, made.HEIGHT, made.WIDTH))
    for z, share in ((1, 0), ("max", 0.5)):
        found = table(run(path, tmp_path / str(z), z=z) / "images.parquet")
        assert found["not_stored"].tolist() == [share]
    with pytest.raises(InputError, match="no chunk of its 1 images is stored"):
        plan.plan(path, made.reading(z=2), tmp_path / "2")


def test_an_empty_tile_of_a_mosaic_is_no_missing_image(tmp_path: Path) -> None:
    """Each field of a large image is looked at by itself, and one without a cell is one."""
    mosaic = np.zeros((made.HEIGHT, 3 * made.WIDTH), np.uint8)
    mosaic[:, : made.WIDTH] = made.field(5, 1)
    path = image(tmp_path / "p.ome.zarr", mosaic, "yx", chunks=(made.HEIGHT, made.WIDTH))
    found = table(run(path, tmp_path / "out", tile=made.WIDTH) / "images.parquet")
    assert made.about(tmp_path / "out")["missing"] == []
    assert found["not_stored"].tolist() == [0, 1, 1]
    assert found["cells"].tolist() == [5, 0, 0]


def test_parts_without_todays_columns_are_made_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = image(tmp_path / "p.ome.zarr", series(1), "tyx", chunks=(1, made.HEIGHT, HALF))
    with monkeypatch.context() as patch:
        patch.delitem(dictionary.QUALITY, "not_stored")
        measured = segment.Shard._measured

        def earlier(*given: Any) -> Any:
            row, cells = measured(*given)
            del row["not_stored"]
            return row, cells

        patch.setattr(segment.Shard, "_measured", earlier)
        plan.plan(path, made.reading(), tmp_path / "out")
        segment.segment(tmp_path / "out", made.finding(), (1, 1), 1)
    found = table(finish(tmp_path / "out") / "images.parquet")
    assert found["not_stored"].tolist() == [0]
