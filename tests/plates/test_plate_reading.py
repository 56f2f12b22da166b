"""What files say of themselves: whose pixels they hold, which axis is which, the channel, the size of a pixel."""

from __future__ import annotations

import re
import unicodedata
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import plate_samples as made
import pytest
import tifffile
from monolayer.data import plane, reading
from monolayer.files import InputError
from monolayer.plates import plan
from numpy.typing import NDArray
from test_plate_sets import companion

SIDE = 64
LEVELS = (11, 22, 33)
UM: dict[str, Any] = {"imagej": True, "metadata": {"unit": "um"}}


def level(value: int) -> NDArray[np.uint8]:
    return np.full((SIDE, SIDE), value, np.uint8)


def stack() -> NDArray[np.uint8]:
    return np.stack([level(value) for value in LEVELS])


def levels(plate: Path, output: Path, **settings: Any) -> list[int]:
    """The mean of each image."""
    return [int(pixels.mean()) for pixels in made.pixels_of(plate, output, **settings)]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "scans").mkdir()
    return tmp_path / "scans"


def ome_tiff(path: Path, pixels: NDArray[Any], inner: str) -> None:
    """A series whose OME-XML calls its file `inner`."""
    block = "".join(
        f'<TiffData FirstT="{t}" IFD="{t}" PlaneCount="1"><UUID FileName="{inner}">urn:uuid:{inner}</UUID></TiffData>'
        for t in range(len(pixels))
    )
    text = (
        '<OME xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06"><Image ID="Image:0"><Pixels ID="Pixels:0"'
        f' DimensionOrder="XYCZT" Type="uint8" SizeX="{SIDE}" SizeY="{SIDE}" SizeC="1" SizeZ="1" SizeT="{len(pixels)}">'
        f'<Channel ID="Channel:0:0"/>{block}</Pixels></Image></OME>'
    )
    tifffile.imwrite(path, pixels, photometric="minisblack", metadata=None, description=text)


@pytest.mark.parametrize("tile", [SIDE, 40])
@pytest.mark.parametrize("frames", [1, 2])
def test_a_file_has_its_own_pixels_whatever_its_text_calls_it(
    frames: int, tile: int, folder: Path, tmp_path: Path
) -> None:
    """Two that swapped names, and a copy."""
    for name, value, inner in (("A1", 11, "A2"), ("A2", 22, "A1"), ("A3", 33, "A1")):
        ome_tiff(folder / f"{name}.ome.tif", np.stack([level(value)] * frames), f"{inner}.ome.tif")
    parts = 1 if tile == SIDE else 4
    expected = [value for value in LEVELS for _ in range(parts * frames)]
    assert levels(folder, tmp_path / "out", tile=tile) == expected


@pytest.mark.parametrize("tile", [SIDE, 40])
@pytest.mark.parametrize("kind", ["ome", "imagej", "unnamed"])
def test_a_series_is_read_in_parts_as_it_is_as_a_whole(kind: str, tile: int, folder: Path, tmp_path: Path) -> None:
    pixels = np.stack([np.arange(SIDE * SIDE, dtype=np.uint16).reshape(SIDE, SIDE) + time for time in range(3)])
    kinds: dict[str, dict[str, Any]] = {
        "ome": {"ome": True, "metadata": {"axes": "TYX"}},
        "imagej": {"imagej": True, "metadata": {"axes": "TYX"}},
        "unnamed": {"metadata": None},
    }
    name = "A1.ome.tif" if kind == "ome" else "A1.tif"
    tifffile.imwrite(folder / name, pixels, photometric="minisblack", **kinds[kind])
    found = made.pixels_of(folder, tmp_path / "out", tile=tile)
    images = plan.read_plan(tmp_path / "out")
    assert len(found) == 3 * (1 if tile == SIDE else 4)
    for image, seen in zip(images, found, strict=True):
        assert np.array_equal(seen, pixels[image.frame][image.region.place])


@pytest.mark.parametrize("tile", [SIDE, 40])
@pytest.mark.parametrize(("z", "expected"), [("max", [33]), (2, [22]), (None, [11, 22, 33])])
def test_unnamed_pages_are_planes_for_who_asks_for_one(
    z: str | int | None, expected: list[int], tile: int, folder: Path, tmp_path: Path
) -> None:
    tifffile.imwrite(folder / "A1.tif", stack(), photometric="minisblack", metadata=None)
    found = levels(folder, tmp_path / "out", tile=tile, z=z)
    assert found == expected * (len(found) // len(expected))
    assert len(found) == len(expected) * (1 if tile == SIDE else 4)


@pytest.mark.parametrize("kind", ["pages", "samples", "colour", "png"])
def test_a_channel_is_chosen_where_the_file_names_none(kind: str, folder: Path, tmp_path: Path) -> None:
    path, seen = folder / ("A1.png" if kind == "png" else "A1.tif"), np.moveaxis(stack(), 0, -1)
    if kind == "png":
        from PIL import Image as PillowImage

        PillowImage.fromarray(seen).save(path)
    elif kind == "pages":
        tifffile.imwrite(path, stack(), photometric="minisblack", metadata=None)
    else:
        colours = "rgb" if kind == "colour" else "minisblack"
        tifffile.imwrite(path, seen, photometric=colours, planarconfig="contig", metadata=None)
    assert levels(folder, tmp_path / "out", channel=2) == [22]
    if kind in ("colour", "png"):
        assert levels(folder, tmp_path / "blue", channel="blue") == [33]


def test_a_thumbnail_is_not_the_picture(folder: Path, tmp_path: Path) -> None:
    with tifffile.TiffWriter(folder / "A1.tif") as writer:
        writer.write(level(99)[:16, :16], subfiletype=1, metadata=None)
        writer.write(level(11), metadata=None)
    assert levels(folder, tmp_path / "out") == [11]
    assert levels(folder, tmp_path / "parts", tile=40) == [11] * 4


@pytest.mark.parametrize("tile", [SIDE, 40])
def test_a_series_that_is_cut_short_is_not_taken_for_its_first_frame(tile: int, folder: Path, tmp_path: Path) -> None:
    path = folder / "A1.tif"
    tifffile.imwrite(path, stack(), imagej=True, metadata={"axes": "TYX"})
    path.write_bytes(path.read_bytes()[: -SIDE * SIDE])
    with pytest.raises(InputError, match="is cut short: it announces more pages than it has; copy it again"):
        made.pixels_of(folder, tmp_path / "out", tile=tile)


def test_a_series_that_is_too_large_as_a_whole_is_read_frame_by_frame(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tifffile.imwrite(folder / "A1.tif", stack(), photometric="minisblack", metadata=None)
    limits = plane.OWN._replace(pixels=2 * SIDE * SIDE)
    monkeypatch.setattr(reading.read_frames, "__defaults__", (plane.ANY, limits))
    with pytest.raises(plane.TooLargeError):
        reading.read_frames((folder / "A1.tif").read_bytes(), "A1.tif")
    assert levels(folder, tmp_path / "out") == [*LEVELS]


def test_a_part_of_a_set_whose_description_is_gone_is_named(folder: Path, tmp_path: Path) -> None:
    text = '<OME xmlns="x"><BinaryOnly MetadataFile="x.companion.ome" UUID="urn:uuid:1"/></OME>'
    tifffile.imwrite(folder / "A1.tif", level(1), metadata=None, description=text)
    with pytest.raises(InputError, match=r"A1\.tif is a part of a set; put the \.companion\.ome file"):
        plan.plan(folder, made.reading(), tmp_path / "out")


def test_a_channel_by_name_is_the_files_or_none(folder: Path, tmp_path: Path) -> None:
    about: Any = {"axes": "YX", "Channel": {"Name": ["GFP"]}}
    tifffile.imwrite(folder / "A1.ome.tif", level(11), ome=True, metadata=about)
    with pytest.raises(InputError, match=r"1 channel \(1 GFP\), and plate_settings\.channel is Phase; give one"):
        plan.plan(folder, made.reading(channel="Phase"), tmp_path / "out")
    for channel in (None, 1, "GFP"):
        assert levels(folder, tmp_path / "out", channel=channel) == [11]
    pattern = r"regex:(?P<channel>\w)(?P<well>\d)"
    assert levels(folder, tmp_path / "out", channel="A", pattern=pattern) == [11]


@pytest.mark.parametrize(
    ("numbers", "channel", "expected"),
    [
        (("1", "2"), 1, 11),
        (("1", "2"), 2, 22),
        (("1", "2"), "2", 22),
        (("00", "01"), "00", 11),
        (("00", "01"), "01", 22),
        (("00", "01"), 1, 22),
        (("00", "01"), 0, 11),
        (("1", "01"), "01", 22),
        (("1", "01"), 1, 11),
    ],
)
def test_channels_that_are_numbers_in_names(
    numbers: tuple[str, str], channel: int | str, expected: int, folder: Path, tmp_path: Path
) -> None:
    for number, value in zip(numbers, LEVELS, strict=False):
        tifffile.imwrite(folder / f"A1_w{number}.tif", level(value))
    pattern = r"regex:(?P<well>A1)_w(?P<channel>\d+)"
    assert levels(folder, tmp_path / "out", channel=channel, pattern=pattern) == [expected]
    with pytest.raises(InputError, match=r"has the channels .*, and plate_settings\.channel is 7; say which"):
        plan.plan(folder, made.reading(channel=7, pattern=pattern), tmp_path / "out")


def test_a_name_without_its_well_is_refused(folder: Path, tmp_path: Path) -> None:
    for name in ("A1", "overview"):
        tifffile.imwrite(folder / f"{name}_t1.tif", level(1))
    with pytest.raises(InputError, match=r"finds no well in overview_t1\.tif; correct it"):
        plan.plan(folder, made.reading(pattern=r"regex:(?P<well>[A-H]\d)?_t(?P<time>\d)"), tmp_path / "out")


def test_a_well_is_called_as_its_file_without_suffixes(folder: Path, tmp_path: Path) -> None:
    for name in ("A1.ome.tif", "A2.tif"):
        tifffile.imwrite(folder / name, level(1))
    plan.plan(folder, made.reading(), tmp_path / "out")
    assert [image.well for image in plan.read_plan(tmp_path / "out")] == ["A1", "A2"]


def test_a_channel_whose_name_is_a_number_is_asked_for_by_it(folder: Path, tmp_path: Path) -> None:
    about: Any = {"axes": "CYX", "Channel": {"Name": ["405", "488", "3"]}}
    tifffile.imwrite(folder / "A1.ome.tif", stack(), ome=True, metadata=about, photometric="minisblack")
    for channel, expected in ((488, 22), ("405", 11), (3, 33), (1, 11)):
        assert levels(folder, tmp_path / "out", channel=channel) == [expected]


@pytest.mark.parametrize(
    ("unit", "hours"), [("sec", 1 / 3600), ("minutes", 1 / 60), ("hours", 1.0), ("hrs", 1.0), ("days", 24.0)]
)
def test_units_of_time_as_people_write_them_in_imagej(unit: str, hours: float, folder: Path, tmp_path: Path) -> None:
    about: dict[str, Any] = {"axes": "TYX", "finterval": 2.0, "tunit": unit, "unit": "microns"}
    tifffile.imwrite(folder / "A1.tif", stack(), imagej=True, resolution=(2, 2), metadata=about)
    plan.plan(folder, made.reading(), tmp_path / "out")
    times = [image.time_h for image in plan.read_plan(tmp_path / "out")]
    assert times == pytest.approx([0, 2 * hours, 4 * hours])
    assert made.about(tmp_path / "out")["pixel_size_um"] == 0.5


def test_one_well_in_two_ways_of_writing_a_letter_is_refused(folder: Path, tmp_path: Path) -> None:
    for time, form in enumerate(("NFC", "NFD")):
        tifffile.imwrite(folder / unicodedata.normalize(form, f"Kälte_t{time}.tif"), level(1))  # type: ignore[arg-type]
    with pytest.raises(InputError, match="are one well, written in two ways"):
        plan.plan(folder, made.reading(pattern=r"regex:(?P<well>.+)_t(?P<time>\d)"), tmp_path / "out")


def zarr_plate(path: Path, images: list[NDArray[Any]], scans: tuple[int, ...] = (), well: str = "A/1") -> Path:
    """A plate of one well in 0.4, ZYX, a micrometre a pixel."""
    import zarr

    row, column = well.split("/")
    plate: dict[str, Any] = {"version": "0.4", "rows": [{"name": row}], "columns": [{"name": column}]}
    plate |= {"wells": [{"path": well, "rowIndex": 0, "columnIndex": 0}]}
    plate |= {"acquisitions": [{"id": scan} for scan in sorted(set(scans))]} if scans else {}
    zarr.open_group(path, mode="w", zarr_format=2).attrs["plate"] = plate
    listed = [{"path": str(n)} | ({"acquisition": scans[n]} if scans else {}) for n in range(len(images))]
    zarr.open_group(path / well, mode="w", zarr_format=2).attrs["well"] = {"version": "0.4", "images": listed}
    axes: Any = [{"name": name, "type": "space", "unit": "micrometer"} for name in "zyx"]
    scale: Any = [{"type": "scale", "scale": [1.0, 1.0, 1.0]}]
    for number, pixels in enumerate(images):
        group = zarr.open_group(path / well / str(number), mode="w", zarr_format=2)
        group.attrs["multiscales"] = [
            {"version": "0.4", "axes": axes, "datasets": [{"path": "0", "coordinateTransformations": scale}]}
        ]
        group.create_array("0", data=pixels, chunks=(1, *pixels.shape[1:]))
    return path


def test_a_plane_that_an_ome_zarr_lacks_is_refused(tmp_path: Path) -> None:
    path = zarr_plate(tmp_path / "p.zarr", [stack(), stack()[:1]])
    with pytest.raises(InputError, match="has 1 plane along z, and z is 3; leave it out"):
        made.pixels_of(path, tmp_path / "out", z=3)
    assert levels(path, tmp_path / "out", z=1) == [11, 11]
    assert levels(path, tmp_path / "out", z="max") == [33, 11]


def test_scans_of_one_spot_are_not_fields_of_a_well(tmp_path: Path) -> None:
    path = zarr_plate(tmp_path / "two.zarr", [stack()] * 2, (0, 1))
    with pytest.raises(InputError, match=r"holds 2 acquisitions \(A/1/0, A/1/1\).*; export each by itself"):
        plan.plan(path, made.reading(z=1), tmp_path / "out")
    assert levels(zarr_plate(tmp_path / "one.zarr", [stack()] * 2, (0, 0)), tmp_path / "out", z=1) == [11, 11]


def test_scans_of_a_set_are_not_fields_of_a_well(tmp_path: Path) -> None:
    path = companion(tmp_path / "plate7")
    scan = "<PlateAcquisition ID='Scan:{0}'><WellSampleRef ID='WellSample:{0}'/></PlateAcquisition>"
    text = path.read_text()
    path.write_text(text.replace("</Plate>", scan.format(0) + "</Plate>"))
    plan.plan(path, made.reading(channel=2), tmp_path / "out")
    path.write_text(text.replace("</Plate>", scan.format(0) + scan.format(1) + "</Plate>"))
    with pytest.raises(InputError, match=r"Plate:0 was scanned 2 times \(Scan:0, Scan:1\); export each scan by itself"):
        plan.plan(path, made.reading(channel=2), tmp_path / "out")


def test_rows_that_are_numbers_are_told_from_columns(tmp_path: Path) -> None:
    path = zarr_plate(tmp_path / "p.zarr", [stack()], well="1/11")
    plan.plan(path, made.reading(z=1), tmp_path / "out")
    assert [image.well for image in plan.read_plan(tmp_path / "out")] == ["1/11"]


@pytest.mark.parametrize(
    ("pixels", "said"),
    [
        (stack()[:1].astype(np.complex64), "it holds complex64 pixels; save it with real numbers"),
        (np.full((1, SIDE, SIDE), np.nan, np.float32), "it has pixels that are NaN or infinite"),
    ],
)
def test_an_ome_zarr_without_real_numbers_is_refused(pixels: NDArray[Any], said: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=said):
        made.pixels_of(zarr_plate(tmp_path / "p.zarr", [pixels]), tmp_path / "out")


def test_a_mask_in_an_ome_zarr_is_black_and_white(tmp_path: Path) -> None:
    path = zarr_plate(tmp_path / "p.zarr", [stack()[:1] > 5])
    [found] = made.pixels_of(path, tmp_path / "out")
    assert found.dtype == np.uint8
    assert (found == 255).all()


def size_of(plate: Path, output: Path, **settings: Any) -> tuple[float | None, str]:
    plan.plan(plate, made.reading(**settings), output)
    about = made.about(output)
    return about["pixel_size_um"], about["pixel_size_from"]


@pytest.mark.parametrize("dots", [72, 96, 150, 300, 600])
def test_a_printers_dots_are_no_pixels(dots: int, folder: Path, tmp_path: Path) -> None:
    """As programs write them in centimetres, and others take them over into OME-XML."""
    tifffile.imwrite(folder / "A1.tif", level(1), resolution=(dots / 2.54, dots / 2.54), resolutionunit="CENTIMETER")
    um, of = size_of(folder, tmp_path / "out")
    assert um is None
    assert f"which is a printer's {dots} dots an inch" in of
    about = {"axes": "YX", "PhysicalSizeX": 25400 / dots, "PhysicalSizeY": 25400 / dots}
    tifffile.imwrite(folder / "A1.tif", level(1), ome=True, metadata=about)
    assert size_of(folder, tmp_path / "out")[0] is None
    assert size_of(folder, tmp_path / "out", pixel_size_um=84.67) == (84.67, "setting")


@pytest.mark.parametrize("kind", ["ome", "imagej", "cm", "zarr"])
def test_pixels_that_are_not_square_are_refused(kind: str, tmp_path: Path) -> None:
    path = tmp_path / "A1.tif"
    if kind == "zarr":
        path = made.hcs_plate(tmp_path / "p.ome.zarr", "0.5", ("A/1",), 1)
        about = path / "A/1/0/zarr.json"
        scale = re.compile(rf"{made.PIXEL_UM},(\s*){made.PIXEL_UM}")
        text, changes = scale.subn(rf"2.48,\g<1>{made.PIXEL_UM}", about.read_text())
        assert changes == 1
        about.write_text(text)
        wrong = "1.24x2.48"
    elif kind == "ome":
        tifffile.imwrite(path, level(1), ome=True, metadata={"axes": "YX", "PhysicalSizeX": 0.5, "PhysicalSizeY": 1.0})
        wrong = "0.5x1"
    elif kind == "imagej":
        tifffile.imwrite(path, level(1), resolution=(2, 1), **UM)
        wrong = "0.5x1"
    else:
        tifffile.imwrite(path, level(1), resolution=(20000, 10000), resolutionunit="CENTIMETER")
        wrong = "0.5x1"
    channel = 2 if kind == "zarr" else None
    with pytest.raises(InputError, match=f"it has pixels of {wrong} µm; save it with square ones, or set"):
        plan.plan(path, made.reading(channel=channel), tmp_path / "out")
    assert size_of(path, tmp_path / "out", channel=channel, pixel_size_um=0.7) == (0.7, "setting")


def test_a_pixel_size_that_is_rounded_is_the_same(folder: Path, tmp_path: Path) -> None:
    for well, um in (("A1", 0.65), ("A2", 0.65), ("A3", 0.650001)):
        tifffile.imwrite(folder / f"{well}.tif", level(1), resolution=(1 / um, 1 / um), **UM)
    assert size_of(folder, tmp_path / "out")[0] == pytest.approx(0.65, rel=1e-5)
    assert not any(image.fault for image in plan.read_plan(tmp_path / "out"))


def test_a_pixel_of_one_micrometre_is_known(folder: Path, tmp_path: Path) -> None:
    tifffile.imwrite(folder / "A1.tif", level(1), resolution=(1, 1), **UM)
    assert size_of(folder, tmp_path / "out") == (1.0, "the files")


def test_a_later_frame_with_other_pixels_is_a_fault(folder: Path, tmp_path: Path) -> None:
    for hour, um in enumerate((0.65, 0.65, 1.3)):
        how: dict[str, Any] = {"resolution": (1e4 / um, 1e4 / um), "resolutionunit": "CENTIMETER"}
        tifffile.imwrite(folder / f"V_A1_1_00d0{hour}h00m.tif", level(1), **how)
    with pytest.raises(
        InputError, match=r"it has pixels of 1\.3 µm, where most have 0\.65; give it a plate of its own"
    ):
        made.pixels_of(folder, tmp_path / "out")
    assert len(made.pixels_of(folder, tmp_path / "out", pixel_size_um=0.65)) == 3


def test_a_description_is_parsed_once_for_all_its_images(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    parsed, parse = list[str](), ElementTree.fromstring

    def counted(text: str) -> ElementTree.Element:
        parsed.append(text)
        return parse(text)

    monkeypatch.setattr(ElementTree, "fromstring", counted)
    plan.plan(companion(tmp_path / "plate7"), made.reading(channel=2), tmp_path / "out")
    assert len(parsed) == 1


def test_images_that_a_set_does_not_name_are_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = companion(tmp_path / "plate7")
    plan.plan(path.parent, made.reading(channel=2), tmp_path / "out")
    assert "left out" not in caplog.text
    tifffile.imwrite(path.with_name("B1.tif"), level(1))
    plan.plan(path.parent, made.reading(channel=2), tmp_path / "out")
    assert "plate7: left out, for plate7.companion.ome names none of them: B1.tif" in caplog.text
