"""Each file for another program is opened by that program's own reader, or its format's, and holds the same cells."""

from __future__ import annotations

import io
import uuid
import xml.etree.ElementTree as ET
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from drawn_cells import cells_of, four_cells
from geojson_pydantic import FeatureCollection, MultiPolygon, Polygon
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from monolayer.coco.instances import Instances
from monolayer.coco.rle import Mask
from monolayer.measurement.dictionary import TABLES
from monolayer.measurement.files import arrow
from monolayer.measurement.formats import FORMATS, FoundCells
from monolayer.measurement.geojson import MeasuredFrame, geojson, polygons
from monolayer.measurement.measure import cell_columns, with_um
from monolayer.measurement.ome import ome_tiff
from monolayer.params.steps import NeighbourParams
from shapely import contains_xy
from shapely.geometry import shape

masks = arrays.arrays(np.bool_, st.tuples(st.integers(1, 9), st.integers(1, 9)))
NEAR = NeighbourParams(gap=1, radius=50)


@pytest.fixture
def found() -> Instances:
    return cells_of(four_cells())


def measured(found: Instances, pixel_size_um: float | None = 0.5) -> FoundCells:
    labels = found.label_image()
    grey = np.full(labels.shape, 7, np.uint16)
    columns = with_um(cell_columns(found, labels, grey, NEAR), pixel_size_um)
    return FoundCells(MeasuredFrame(found, columns), labels, pixel_size_um, "plate/a.png", "HeLa")


def read(text: bytes) -> list[Any]:
    """The features, by the types of the standard."""
    collection: FeatureCollection[Any] = FeatureCollection.model_validate_json(text)
    return list(collection.features)


def pixels_in(geometry: Any, size: tuple[int, int]) -> Mask:
    y, x = np.mgrid[: size[0], : size[1]]
    return np.asarray(contains_xy(shape(geometry), x + 0.5, y + 0.5))


@given(masks)
def test_polygons_are_valid_and_hold_the_mask(mask: Mask) -> None:
    """Whatever the mask, with pixels that meet at corners: valid by the standard of simple features, as GEOS has it."""
    parts = [shape({"type": "Polygon", "coordinates": rings}) for rings in polygons(mask)]
    assert all(part.is_valid for part in parts)
    assert sum(part.area for part in parts) == mask.sum()
    whole = {"type": "MultiPolygon", "coordinates": [[ring.tolist() for ring in part] for part in polygons(mask)]}
    assert np.array_equal(pixels_in(whole, mask.shape), mask)


def test_qupaths_file_by_the_standards_types(found: Instances) -> None:
    features = read(FORMATS["geojson"].make(measured(found)))
    _, ring, pair, corner = features
    assert isinstance(pair.geometry, MultiPolygon)
    assert isinstance(ring.geometry, Polygon)
    assert len(ring.geometry.coordinates) == 2  # its hole
    for number, feature in enumerate(features, start=1):
        assert np.array_equal(pixels_in(feature.geometry, (60, 80)), found.label_image() == number)
        assert feature.properties is not None
        assert feature.properties["objectType"] == "detection"
        assert feature.properties["classification"] == {"name": "HeLa"}
        area = feature.properties["measurements"]["area_px2"]
        assert area == (found.label_image() == number).sum()
        assert feature.properties["measurements"]["area_um2"] == area / 4

        assert feature.properties["measurements"]["intensity_mean"] == 7
        assert str(uuid.UUID(str(feature.id))) == feature.id
    assert corner.properties is not None
    assert corner.properties["measurements"]["touches_border"] == 1


def test_an_id_is_the_cells_own(found: Instances) -> None:
    """Others may come and go; in another frame or file it is another cell."""

    def ids(instances: Instances, name: str = "a.png", frames: int = 1) -> list[str]:
        text = geojson([MeasuredFrame(instances, {})] * frames, name)
        return [str(feature.id) for feature in read(text)]

    every = ids(found)
    assert len(set(every)) == 4
    assert ids(found.take(np.array([3, 1]))) == [every[3], every[1]]
    assert not set(ids(found, "b.png")) & set(every)
    assert len(set(ids(found, frames=3))) == 12


def test_frames_lie_along_time_and_what_is_not_known_is_left_out(found: Instances) -> None:
    first = measured(found, None).frame
    text = geojson([first, first], "a.tif")
    features = read(text)
    assert b'"plane":{"c":-1,"z":0,"t":1}' in text
    assert len(features) == 8
    assert all("area_um2" not in (feature.properties or {})["measurements"] for feature in features)
    assert geojson([MeasuredFrame(found.take(np.array([], np.int64)), {})], "a") == (
        b'{"type":"FeatureCollection","features":[]}'
    )


def test_ome_tiff_has_the_pixels_size(found: Instances) -> None:
    content = FORMATS["ome-tiff"].make(measured(found))
    with tifffile.TiffFile(io.BytesIO(content)) as tif:
        assert tif.is_ome
        assert tif.series[0].axes == "YX"
        assert np.array_equal(tif.asarray(), found.label_image())
        [pixels] = [one for one in ET.fromstring(tif.ome_metadata or "").iter() if one.tag.endswith("}Pixels")]
    assert (pixels.get("PhysicalSizeX"), pixels.get("PhysicalSizeXUnit")) == ("0.5", "µm")
    assert pixels.get("SizeT") == "1"
    assert content == FORMATS["ome-tiff"].make(measured(found))
    labels = found.label_image()
    for count in (2, 3, 4):  # never colours
        with tifffile.TiffFile(io.BytesIO(ome_tiff([labels] * count, None, "a"))) as tif:
            assert tif.series[0].axes == "TYX"
            assert tif.asarray().shape == (count, 60, 80)
            assert "PhysicalSize" not in (tif.ome_metadata or "")
    many = np.arange(70_000, dtype=np.int32).reshape(200, 350)
    assert tifffile.imread(io.BytesIO(ome_tiff([many], None, "a"))).max() == 69_999


def test_every_form_has_a_name_of_its_own(found: Instances) -> None:
    suffixes = [form.suffix for form in FORMATS.values()]
    assert len(set(suffixes)) == len(suffixes)
    cells = measured(replace(found))
    for form in FORMATS.values():
        assert form.make(cells) == form.make(cells)


def test_cellposes_file_is_of_the_image(found: Instances, tmp_path: Path) -> None:
    (tmp_path / "a_seg.npy").write_bytes(FORMATS["seg-npy"].make(measured(found)))
    content = np.load(tmp_path / "a_seg.npy", allow_pickle=True).item()
    assert content["filename"] == "a.png"
    assert np.array_equal(content["masks"], found.label_image())


def test_faint_grey_values_keep_their_digits(found: Instances) -> None:
    """Of floats in metres, say: with six decimals all of them were 0."""
    labels = found.label_image()
    grey = np.where(labels > 0, 1.23456789e-7 * labels, 0)
    columns = cell_columns(found, labels, grey, NEAR)
    wanted = [1.23457e-7 * number for number in range(1, 5)]
    table = arrow({name: TABLES["cells"][name] for name in columns}, columns)
    assert table["intensity_mean"].to_pylist() == pytest.approx(wanted, rel=1e-5)
    assert table["intensity_median"].to_pylist() == pytest.approx(wanted, rel=1e-5)
    features = read(geojson([MeasuredFrame(found, columns)], "a.tif"))
    told = [feature.properties["measurements"]["intensity_max"] for feature in features]
    assert told == pytest.approx(wanted, rel=1e-5)
    length = {"feret_um": TABLES["cells"]["feret_um"]}
    assert arrow(length, {"feret_um": [1.23456789e-7]})["feret_um"].to_pylist() == [0]  # no noise of sums
