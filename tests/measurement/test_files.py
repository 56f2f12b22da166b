"""What other programs open: read back by tifffile, roifile and pycocotools, it holds the same cells."""

from __future__ import annotations

import io
import zipfile
from csv import DictReader
from pathlib import Path

import numpy as np
import pytest
import roifile
import tifffile
from drawn_cells import cells_of, four_cells
from matplotlib.path import Path as Polygon
from monolayer.coco import rle
from monolayer.coco.instances import Instances
from monolayer.coco.labels import label_tiff
from monolayer.files import write_csv
from monolayer.measurement import files
from monolayer.measurement.dictionary import TABLES
from pyarrow import parquet


@pytest.fixture
def found() -> Instances:
    return cells_of(four_cells())


def test_label_tiff_holds_the_numbers(found: Instances) -> None:
    labels = found.label_image()
    content = label_tiff([labels], 0.5)
    with tifffile.TiffFile(io.BytesIO(content)) as tif:
        assert np.array_equal(tif.asarray(), labels)
        assert tif.pages.first.dtype == np.uint16
        assert tif.pages.first.tags["XResolution"].value == (2, 1)  # px per µm
        assert tif.imagej_metadata == {"ImageJ": "1.53t", "unit": "micron"}
    assert content == label_tiff([labels], 0.5)


def test_a_series_is_a_stack(found: Instances) -> None:
    labels = found.label_image()
    assert tifffile.imread(io.BytesIO(label_tiff([labels, 0 * labels], None))).shape == (2, 60, 80)


def test_more_cells_than_16_bits_hold() -> None:
    labels = np.arange(70_000, dtype=np.int32).reshape(250, 280)
    assert tifffile.imread(io.BytesIO(label_tiff([labels], None))).max() == 69_999


def test_of_overlapping_cells_the_smaller_one_is_seen() -> None:
    large, small = np.ones((6, 6), np.bool_), np.ones((2, 2), np.bool_)
    corners = np.array([[1, 1], [2, 2]], np.int32)
    found = Instances(9, 9, [large, small], corners, np.zeros((2, 4), np.float32), np.ones(2, np.float32))
    labels = found.label_image()
    assert (labels == 2).sum() == 4
    assert (labels == 1).sum() == 32


def drawn(roi: roifile.ImagejRoi, shape: tuple[int, int]) -> rle.Mask:
    """The pixels that a ROI selects, as ImageJ fills it: even-odd."""
    paths = roi.coordinates(multi=True)
    y, x = np.mgrid[: shape[0], : shape[1]]
    inside = np.zeros(y.size, np.bool_)
    for path in paths if isinstance(paths, list) else [paths]:
        inside ^= Polygon(np.asarray(path, float)).contains_points(np.c_[x.ravel() + 0.5, y.ravel() + 0.5])
    return inside.reshape(shape)


def test_rois_select_the_same_pixels(found: Instances) -> None:
    content = files.roi_zip([found])
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        rois = [roifile.ImagejRoi.frombytes(archive.read(name)) for name in archive.namelist()]
    assert len(rois) == 4
    for roi, mask, (x, y) in zip(rois, found.masks, found.offsets_xy, strict=True):
        whole = np.zeros((60, 80), np.bool_)
        whole[y : y + mask.shape[0], x : x + mask.shape[1]] = mask
        assert np.array_equal(drawn(roi, whole.shape), whole)
        assert (roi.left, roi.top, roi.right, roi.bottom) == (x, y, x + mask.shape[1], y + mask.shape[0])
    assert content == files.roi_zip([found])


def test_rois_of_a_series_know_their_frame(found: Instances) -> None:
    with zipfile.ZipFile(io.BytesIO(files.roi_zip([found, found]))) as archive:
        assert len(archive.namelist()) == 8
        assert roifile.ImagejRoi.frombytes(archive.read("0002-00001.roi")).position == 2


def test_coco_annotations_are_the_masks(found: Instances) -> None:
    for cell, mask in zip(files.coco_annotations(found, 7, 11), found.masks, strict=True):
        x, y, width, height = (int(v) for v in cell["bbox"])
        assert np.array_equal(rle.mask_from_rle(cell["segmentation"])[y : y + height, x : x + width], mask)
        assert (cell["image_id"], cell["area"]) == (7, mask.sum())


def test_csv_says_nothing_where_nothing_is_known() -> None:
    row = {
        name: {"text": 'a, "b"', "whole": 3, "number": np.nan, "flag": True}[c.type]
        for name, c in TABLES["images"].items()
    }
    text = files.csv_bytes("images", {name: [value] for name, value in row.items()}).decode().splitlines()
    assert text[0] == ",".join(TABLES["images"])
    assert '"a, ""b""",' in text[1]
    assert "nan" not in text[1].lower()


def test_rows_of_many_images_share_their_groups(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "GROUP", 300)
    row = {column: ["" if about.type == "text" else 0] for column, about in TABLES["images"].items()}
    with files.growing("images", tmp_path / "images") as append:
        for number in range(700):
            append(row | {"image_id": [number]})
    file = parquet.ParquetFile(tmp_path / "images.parquet")
    assert [file.metadata.row_group(index).num_rows for index in range(file.num_row_groups)] == [300, 300, 100]
    assert file.read()["image_id"].to_pylist() == list(range(700))
    assert (tmp_path / "images.csv").read_text().count("\n") == 701


def test_no_text_of_a_table_is_a_formula(tmp_path: Path) -> None:
    """In CSV, which spreadsheets open; Parquet holds the names as they are."""
    names = ["=1+1", "+a", "-b", "@c", "\td", "plain-name=ok", "a,=b"]
    columns = {
        name: names if name == "file_name" else ["x"] * 7 if column.type == "text" else [1] * 7
        for name, column in TABLES["images"].items()
    }
    with files.growing("images", tmp_path / "images") as append:
        append(columns)
    safe = [f"'{name}" for name in names[:5]] + names[5:]
    tables = [
        DictReader(io.StringIO(text))
        for text in ((tmp_path / "images.csv").read_text(), files.csv_bytes("images", columns).decode())
    ]
    assert [row["file_name"] for row in tables[0]] == [row["file_name"] for row in tables[1]] == safe
    assert parquet.read_table(tmp_path / "images.parquet")["file_name"].to_pylist() == names
    write_csv(tmp_path / "other.csv", [{"name": name, "number": -1.5} for name in names])
    with (tmp_path / "other.csv").open(newline="") as file:
        assert [(row["name"], row["number"]) for row in DictReader(file)] == [(name, "-1.5") for name in safe]
