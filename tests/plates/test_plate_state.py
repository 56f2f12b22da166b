"""What changes with the files of a plate, so that Snakemake and a shard see that they are others."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any

import plate_samples as made
import pytest
import zarr
from monolayer.plates import plan
from monolayer.plates.plan import read_about, read_plan
from monolayer.plates.reader import PlateReader
from monolayer.plates.state import plate_digest
from test_plate_sets import companion
from test_plates import run, table


def test_any_change_below_a_plate_is_seen(tmp_path: Path) -> None:
    folder = made.incucyte(tmp_path / "VID7", wells=1, fields=1, times=2)
    found = [plate_digest(folder)]
    assert plate_digest(Path(f"{folder}/")) == found[0]

    def changed() -> bool:
        found.append(plate_digest(folder))
        assert plate_digest(folder) == found[-1]
        return found[-1] not in found[:-1]

    (folder / "day1").mkdir()
    assert plate_digest(folder) == found[0], "an empty folder is no image"
    new = folder / "day1/VID7_A1_1_02d00h00m.tif"
    shutil.copy(next(folder.glob("*.tif")), new)
    assert changed()
    new.write_bytes(new.read_bytes() + b"0")
    assert changed()
    os.utime(new, ns=(1, 1))
    assert changed()
    new.rename(folder / "day1/VID7_A1_1_03d00h00m.tif")
    assert changed()
    (folder / "loop").symlink_to(folder)
    assert changed()


def test_files_beside_a_description_count(tmp_path: Path) -> None:
    path = companion(tmp_path / "plate7")
    first = plate_digest(path)
    other = path.with_name("b_c1.ome.tif")
    other.write_bytes(other.read_bytes() + b"0")
    assert plate_digest(path) != first
    alone = made.two_channels(tmp_path / "x.ome.tif", 1)
    first = plate_digest(alone)
    shutil.copy(alone, tmp_path / "y.ome.tif")
    assert plate_digest(alone) == first
    os.utime(alone, ns=(1, 1))
    assert plate_digest(alone) != first


@pytest.mark.parametrize("version", ["0.4", "0.5"])
def test_pixels_of_an_ome_zarr_that_are_written_anew_are_segmented_again(version: str, tmp_path: Path) -> None:
    path = made.hcs_plate(tmp_path / "p.ome.zarr", version, ("A/1",), 2)
    output = run(path, tmp_path / "out", channel=2)
    assert table(output / "images.parquet")["cells"].tolist() == [4, 6]
    pixels = zarr.open_array(path / "A/1/0/0", mode="r+")
    pixels[1, 1] = made.field(9, 5).astype("uint16") * 257
    run(path, output, channel=2)
    assert table(output / "images.parquet")["cells"].tolist() == [4, 9]


def test_a_frame_of_an_ome_zarr_hangs_on_its_own_chunks(tmp_path: Path) -> None:
    """Also where a shard has several of them, and where zeros have no file."""
    path = made.hcs_plate(tmp_path / "p.ome.zarr", "0.5", ("A/1",), 4)
    content: Any = zarr.open_array(path / "A/1/0/0", mode="r")[:]
    group = zarr.open_group(path / "A/1/0", mode="r+")
    whole: dict[str, Any] = {"chunks": (1, 1, 48, 64), "shards": (2, 2, 96, 64), "overwrite": True}
    group.create_array("0", shape=content.shape, dtype=content.dtype, **whole)[:] = content

    def states(**changes: int) -> list[list[int]]:
        plan.plan(path, made.reading(channel=2, **changes), tmp_path / "out")
        reader = PlateReader(read_about(tmp_path / "out"))
        return [reader.state(image) for image in read_plan(tmp_path / "out")]

    def touched(before: list[list[int]], after: list[list[int]]) -> list[int]:
        return [number for number, (one, other) in enumerate(zip(before, after, strict=True)) if one != other]

    first, parts = states(), states(tile=64)
    os.utime(path / "A/1/0/0/c/1/0/0/1", ns=(1, 1))
    assert touched(first, states()) == [2, 3]
    assert touched(parts, states(tile=64)) == [6, 7, 14, 15], "of four parts the right ones"
    second = states()
    (path / "A/1/0/0/c/0/0/0/0").unlink()
    assert touched(second, states()) == [0, 1]
