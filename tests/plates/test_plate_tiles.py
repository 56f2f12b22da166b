"""Images that are too large to be taken at once: cut into fields, of which one is in memory at a time."""

from __future__ import annotations

import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import plate_samples as made
import pytest
import tifffile
from hypothesis import given
from hypothesis import strategies as st
from monolayer.files import InputError
from monolayer.plates import plan
from monolayer.plates.plan import read_plan
from monolayer.plates.reader import PlateReader
from monolayer.plates.region import tiles
from test_plates import run, table

MEGABYTE = 1 << 20


@given(st.integers(1, 300), st.integers(1, 300), st.integers(1, 120))
def test_tiles_cover_each_pixel_once(height: int, width: int, side: int) -> None:
    seen = np.zeros((height, width), np.int64)
    for tile in tiles(height, width, side):
        seen[tile.place] += 1
        assert 1 <= tile.height <= side
        assert 1 <= tile.width <= side
    assert (seen == 1).all()


def part(row: int, column: int) -> np.ndarray:
    return made.field(3 + 2 * row + column, 10 * row + column)


def mosaic() -> np.ndarray:
    """2 x 3 fields side by side, of which each has its own number of cells."""
    return np.block([[part(row, column) for column in range(3)] for row in range(2)])


@pytest.mark.parametrize("kind", ["strips.tif", "tiles.tif", "x.png", "stack.tif"])
def test_the_parts_of_a_large_image_are_fields(kind: str, tmp_path: Path) -> None:
    """Six parts of 96 x 128 px give the cells of six images of that size."""
    large, folder = mosaic(), tmp_path / "parts"
    path = tmp_path / kind
    if kind == "x.png":
        from PIL import Image as PillowImage

        PillowImage.fromarray(large).save(path)
    elif kind == "stack.tif":
        stack = np.stack([np.full_like(large, 7), large])
        tifffile.imwrite(path, stack, imagej=True, metadata={"axes": "CYX"})
    else:
        tifffile.imwrite(path, large, compression="zlib", tile=(64, 64) if kind == "tiles.tif" else None)
    folder.mkdir()
    for row, column in np.ndindex(2, 3):
        tifffile.imwrite(folder / f"V_A1_{3 * row + column + 1}_00d00h00m.tif", part(row, column))
    cut: dict[str, Any] = {"tile": made.WIDTH, "channel": 2 if kind == "stack.tif" else None}
    found, same = (
        table(run(plate, tmp_path / name, **settings) / "images.parquet")
        for plate, name, settings in ((path, "cut", cut), (folder, "same", {}))
    )
    assert found["field"].tolist() == [f"1.{n}" for n in range(1, 7)]
    assert found["left_px"].tolist() == [0, 128, 256] * 2
    assert found["top_px"].tolist() == [0] * 3 + [96] * 3
    names = ["cells", "confluence", "median_area_px2", "median_intensity_mean"]
    assert found[names].equals(same[names])


def large_tiff(path: Path, side: int) -> Path:
    tifffile.imwrite(path, np.arange(side * side, dtype=np.uint16).reshape(side, side), tile=(256, 256))
    return path


def large_zarr(path: Path, side: int) -> Path:
    import zarr

    made.hcs_plate(path, "0.5", ("A/1",), 1)
    array = zarr.open_group(path / "A/1/0", mode="r+").create_array(
        "0", shape=(1, 1, side, side), chunks=(1, 1, 256, 256), dtype=np.uint16, overwrite=True
    )
    array[:] = np.arange(side * side, dtype=np.uint16).reshape(1, 1, side, side)
    return path


@pytest.mark.parametrize("kind", ["x.tif", "p.ome.zarr"])
def test_memory_goes_with_the_part(kind: str, tmp_path: Path) -> None:
    """Of an image of 32 MB, parts of half a megabyte are read in less than 6."""
    side, tile = 4096, 512
    path = (large_zarr if kind.endswith("zarr") else large_tiff)(tmp_path / kind, side)
    plan.plan(path, made.reading(tile=tile), tmp_path / "out")
    images = read_plan(tmp_path / "out")
    assert len(images) == (side // tile) ** 2
    whole = np.arange(side * side, dtype=np.uint16).reshape(side, side)
    reader = PlateReader(plan.read_about(tmp_path / "out"))
    reader.read(images[0])  # what is imported stays
    tracemalloc.start()
    try:
        for image in images:
            assert np.array_equal(reader.read(image), whole[image.top :, image.left :][:tile, :tile])
        assert tracemalloc.get_traced_memory()[1] < 6 * MEGABYTE
    finally:
        tracemalloc.stop()


def test_a_large_file_that_is_cut_short_is_named(tmp_path: Path) -> None:
    path = large_tiff(tmp_path / "x.tif", 1024)
    with path.open("r+b") as file:
        file.truncate(path.stat().st_size // 2)
    with pytest.raises(InputError, match=r"well x, field 1\.1, frame 0 \(x\.tif\): .*cut short"):
        run(path, tmp_path / "out", tile=512)


def spoilt_parts(kind: str, folder: Path) -> None:
    grey = np.arange(64 * 64, dtype=np.uint16).reshape(64, 64)
    path = folder / ("V_A1_1_00d00h00m.tif" if kind == "two frames" else "x.tif")
    if kind == "two frames":
        tifffile.imwrite(path, np.stack([grey, grey + 1]), photometric="minisblack")
    elif kind == "turned":
        tifffile.imwrite(path, grey, extratags=[(274, 3, 1, 6, True)], metadata=None)
    elif kind == "two pictures":
        with tifffile.TiffWriter(path) as writer:
            writer.write(grey, metadata=None)
            writer.write(grey[:48, :60], metadata=None)
    else:
        tifffile.imwrite(path, np.where(grey == 9, np.nan, grey).astype(np.float32), metadata=None)


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        ("two frames", r"holds 2 frames, and its name tells the time of one"),
        ("turned", r"is to be shown turned \(TIFF orientation\)"),
        ("two pictures", r"holds several pictures"),
        ("NaN", r"has pixels that are NaN or infinite"),
    ],
)
@pytest.mark.parametrize("tile", [40, 64])
def test_what_is_refused_as_a_whole_is_refused_in_parts(kind: str, said: str, tile: int, tmp_path: Path) -> None:
    folder = tmp_path / "plate"
    folder.mkdir()
    spoilt_parts(kind, folder)
    with pytest.raises(InputError, match=said):
        made.pixels_of(folder, tmp_path / "out", tile=tile)


def test_a_part_never_lies_where_another_field_does(tmp_path: Path) -> None:
    """A crop 1.1, as LIVECell names them, and the first part of field 1."""
    for name, side in (("V_A1_1_00d00h00m.tif", 64), ("V_A1_1_00d00h00m_1.tif", 32)):
        large_tiff(tmp_path / name, side)
    with pytest.raises(InputError, match=r"well A1 has a field 1\.1, and another one is cut into parts of that name"):
        plan.plan(tmp_path, made.reading(tile=40), tmp_path / "out")
