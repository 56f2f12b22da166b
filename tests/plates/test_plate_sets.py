"""OME-TIFF sets: one description of planes in many files gives the cells of the same images in one file."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import plate_samples as made
import pytest
import tifffile
from monolayer.files import InputError
from monolayer.plates import plan
from monolayer.plates.plan import read_plan
from monolayer.plates.reader import PlateReader
from test_plates import run, table

OME = 'xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06"'


def phase(time: int) -> np.ndarray:
    return made.field(4 + 2 * time, time).astype(np.uint16)


def pixels(number: int, blocks: str, order: str = "XYCZT") -> str:
    return (
        f'<Image ID="Image:{number}" Name="field {number}"><Pixels ID="Pixels:{number}" DimensionOrder="{order}"'
        f' Type="uint16" SizeX="{made.WIDTH}" SizeY="{made.HEIGHT}" SizeC="2" SizeZ="1" SizeT="3"'
        f' PhysicalSizeX="{made.PIXEL_UM}" TimeIncrement="7200">'
        f'<Channel ID="Channel:{number}:0" Name="GFP"/><Channel ID="Channel:{number}:1" Name="Phase"/>'
        f"{blocks}</Pixels></Image>"
    )


def block(file: str, ifd: int = 0, **first: int) -> str:
    places = "".join(f' First{axis}="{n}"' for axis, n in first.items())
    return f'<TiffData IFD="{ifd}"{places} PlaneCount="1"><UUID FileName="{file}">urn:uuid:{file}</UUID></TiffData>'


def companion(folder: Path) -> Path:
    """A plate of two wells: a file for each plane in the first, a file for each channel in the second."""
    folder.mkdir()
    blocks = {0: "", 1: ""}
    for time in range(3):
        for channel, plane in enumerate((np.full_like(phase(0), 7), phase(time))):
            name = f"a_t{time}_c{channel}.ome.tif"
            tifffile.imwrite(folder / name, plane, photometric="minisblack", metadata=None)
            blocks[0] += block(name, T=time, C=channel)
            blocks[1] += block(f"b_c{channel}.ome.tif", time, T=time, C=channel)
    for channel in range(2):
        stack = np.stack([phase(time) if channel else np.full_like(phase(0), 7) for time in range(3)])
        tifffile.imwrite(folder / f"b_c{channel}.ome.tif", stack, photometric="minisblack", metadata=None)
    wells = "".join(
        f'<Well ID="Well:{n}" Row="{row}" Column="{column}"><WellSample ID="WellSample:{n}" Index="0">'
        f'<ImageRef ID="Image:{n}"/></WellSample></Well>'
        for n, (row, column) in enumerate(((0, 0), (1, 2)))
    )
    text = f"<OME {OME}><Plate ID='Plate:0'>{wells}</Plate>{''.join(pixels(n, blocks[n]) for n in blocks)}</OME>"
    path = folder / "plate7.companion.ome"
    path.write_text(text)
    return path


@pytest.mark.parametrize("given", ["file", "folder"])
def test_a_companion_file_tells_wells_channels_and_times(given: str, tmp_path: Path) -> None:
    path = companion(tmp_path / "plate7")
    found = run(path if given == "file" else path.parent, tmp_path / "out", channel="Phase")
    about = made.about(found)
    assert (about["channel"], about["channels"], about["pixel_size_um"]) == (2, ["GFP", "Phase"], made.PIXEL_UM)
    images = table(found / "images.parquet")
    assert images["well"].tolist() == ["A1"] * 3 + ["B3"] * 3
    assert images["time_h"].tolist() == [0, 2, 4] * 2
    one_file = run(made.two_channels(tmp_path / "A1.ome.tif"), tmp_path / "same", channel="Phase")
    same = table(one_file / "images.parquet")
    names = ["cells", "confluence", "median_area_px2", "median_intensity_mean"]
    assert images[names].equals(
        type(same)([*same[names].values.tolist() * 2], columns=names).astype(images[names].dtypes)
    )


def test_a_file_that_names_others_is_a_set(tmp_path: Path) -> None:
    """As Bio-Formats writes it: each TIFF describes all of them."""
    blocks = "".join(block(f"t{time}.ome.tif", c, T=time, C=c) for time in range(3) for c in range(2))
    text = f"<OME {OME}>{pixels(0, blocks)}</OME>"
    for time in range(3):
        stack = np.stack([np.full_like(phase(0), 7), phase(time)])
        tifffile.imwrite(
            tmp_path / f"t{time}.ome.tif", stack, description=text, metadata=None, photometric="minisblack"
        )
    plan.plan(tmp_path / "t1.ome.tif", made.reading(channel=2), tmp_path / "out")
    reader = PlateReader(plan.read_about(tmp_path / "out"))
    images = read_plan(tmp_path / "out")
    assert [image.well for image in images] == ["field 0"] * 3
    for time, image in enumerate(images):
        assert np.array_equal(reader.read(image), phase(time))


def test_a_file_whose_companion_describes_it_is_its_set(tmp_path: Path) -> None:
    path = companion(tmp_path / "plate7")
    text = f'<OME {OME}><BinaryOnly MetadataFile="{path.name}" UUID="urn:uuid:1"/></OME>'
    part = path.with_name("a_t0_c0.ome.tif")
    tifffile.imwrite(part, phase(0), description=text, metadata=None, photometric="minisblack")
    plan.plan(part, made.reading(channel=2), tmp_path / "out")
    assert [image.well for image in read_plan(tmp_path / "out")] == ["A1"] * 3 + ["B3"] * 3
    path.unlink()
    with pytest.raises(InputError, match=r"part of a set that plate7\.companion\.ome describes; put all files"):
        plan.plan(part, made.reading(channel=2), tmp_path / "other")


def test_order_and_count_of_planes_are_the_descriptions(tmp_path: Path) -> None:
    """A single TiffData for all pages, time before channels."""
    stack = np.concatenate([np.stack([phase(time) for time in range(3)]), np.zeros((3, made.HEIGHT, made.WIDTH))])
    tifffile.imwrite(tmp_path / "all.tif", stack.astype(np.uint16), metadata=None, photometric="minisblack")
    one = '<TiffData><UUID FileName="all.tif">urn:uuid:1</UUID></TiffData>'
    path = tmp_path / "x.companion.ome"
    path.write_text(f"<OME {OME}>{pixels(0, one, 'XYTCZ')}</OME>")
    plan.plan(path, made.reading(channel=1), tmp_path / "out")
    reader = PlateReader(plan.read_about(tmp_path / "out"))
    for time, image in enumerate(read_plan(tmp_path / "out")):
        assert np.array_equal(reader.read(image), phase(time))


def test_what_a_set_lacks_is_named_and_the_rest_is_done(tmp_path: Path) -> None:
    path = companion(tmp_path / "plate7")
    (path.parent / "a_t1_c1.ome.tif").unlink()
    whole = (path.parent / "a_t2_c1.ome.tif").read_bytes()
    (path.parent / "a_t2_c1.ome.tif").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(InputError) as told:
        run(path, tmp_path / "out", channel="Phase")
    said = str(told.value)
    assert "well A1, field 1, frame 1 (Image:0): " in said
    assert "a_t1_c1.ome.tif" in said
    assert "a_t2_c1.ome.tif is cut short" in said
    assert "The other 4 of 6 images are done" in said


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (("</OME>", ""), "is not readable as an image"),
        (("Image:1", "Image:9"), r"well B3 names Image:9, which it lacks|well B3 names Image:1, which it lacks"),
        (('Row="0"', 'Row="A"'), "Well:0 is in row A, column 0; they are whole numbers"),
        (('Row="0"', 'Row="-1"'), "Well:0 is in row -1, column 0; they are whole numbers"),
        (('Row="0"', 'Row="702"'), "Well:0 is in row 702, column 0; they are whole numbers"),
        ((OME, ""), "describes no image"),
        (('FileName="a_t0_c0', 'FileName="elsewhere/a_t0_c0'), r"names elsewhere/a_t0_c0.*put all files"),
    ],
)
def test_a_description_that_does_not_fit_is_refused(change: tuple[str, str], said: str, tmp_path: Path) -> None:
    path = companion(tmp_path / "plate7")
    text: Any = path.read_text()
    path.write_text(text.replace(change[0], change[1], 1))
    with pytest.raises(InputError, match=said):
        plan.plan(path, made.reading(channel="Phase"), tmp_path / "out")


def test_two_sets_in_a_folder_are_refused(tmp_path: Path) -> None:
    path = companion(tmp_path / "plate7")
    path.with_name("other.companion.ome").write_text(path.read_text())
    with pytest.raises(InputError, match="holds 2 sets"):
        plan.plan(path.parent, made.reading(channel="Phase"), tmp_path / "out")


WELL = "<Well ID='Well:{0}' Row='0' Column='{1}'><WellSample ID='S:{0}'><ImageRef ID='Image:{0}'/></WellSample></Well>"


def test_images_are_never_taken_for_times_of_another(tmp_path: Path) -> None:
    """Neither those of two plates in one description, nor those of one name."""
    path = companion(tmp_path / "plate7")
    whole = path.read_text()
    first, last = whole.index("<Plate"), whole.index("</Plate>") + len("</Plate>")
    path.write_text(whole[:first] + "".join(f"<Plate>{WELL.format(n, 0)}</Plate>" for n in (0, 1)) + whole[last:])
    with pytest.raises(InputError, match="Image:0 and Image:1 are both well A1, field 1; export each plate by itself"):
        plan.plan(path, made.reading(channel="Phase"), tmp_path / "out")
    path.write_text((whole[:first] + whole[last:]).replace('Name="field 1"', 'Name="field 0"'))
    plan.plan(path, made.reading(channel="Phase"), tmp_path / "out")
    assert [image.well for image in read_plan(tmp_path / "out")] == ["Image:0"] * 3 + ["Image:1"] * 3


def test_a_folder_of_files_of_one_set_says_what_to_give(tmp_path: Path) -> None:
    blocks = block("t0.ome.tif") + block("t1.ome.tif", T=1)
    for time in range(2):
        text = f"<OME {OME}>{pixels(0, blocks)}</OME>"
        tifffile.imwrite(tmp_path / f"t{time}.ome.tif", phase(time), description=text, metadata=None)
    with pytest.raises(InputError, match=r"t0\.ome\.tif is one of a set of files; give it, not its folder"):
        plan.plan(tmp_path, made.reading(), tmp_path / "out")


def test_a_companion_is_found_whatever_its_name(tmp_path: Path) -> None:
    path = companion(tmp_path / "plate7")
    path = path.rename(path.with_name("R&D.companion.ome"))
    text = f'<OME {OME}><BinaryOnly MetadataFile="R&amp;D.companion.ome" UUID="urn:uuid:1"/></OME>'
    part = path.with_name("a_t0_c0.ome.tif")
    tifffile.imwrite(part, phase(0), description=text, metadata=None, photometric="minisblack")
    plan.plan(part, made.reading(channel=2), tmp_path / "out")
    assert plan.read_about(tmp_path / "out").path == str(path)


@pytest.mark.parametrize("size", ["SizeT", "SizeX"])
def test_sizes_of_nothing_are_refused(size: str, tmp_path: Path) -> None:
    path = companion(tmp_path / "plate7")
    path.write_text(re.sub(f'{size}="[0-9]+"', f'{size}="0"', path.read_text()))
    with pytest.raises(InputError, match=r"Image:0 says that it has .*; export it again"):
        plan.plan(path, made.reading(channel="Phase"), tmp_path / "out")
