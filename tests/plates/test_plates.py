"""Plates of each kind become the same tables, whatever the shards; what can't be used is told, and the rest goes on."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import plate_samples as made
import pytest
import tifffile
from monolayer.files import InputError
from monolayer.params.plates import shards
from monolayer.plates import labels, parts, plan, segment, tabulate
from monolayer.plates.crate import CRATE
from monolayer.plates.labels import STORE, label_plane
from monolayer.plates.layout import natural
from monolayer.plates.parts import JOURNAL, PartJournal
from monolayer.plates.plan import read_plan
from monolayer.plates.reader import PlateReader
from pyarrow import parquet


def run(plate: Path, output: Path, size: int = 100, **changes: Any) -> Path:
    """Plan, segment in shards of so many images, tabulate."""
    plan.plan(plate, made.reading(**changes), output)
    return finish(output, size, **changes)


def finish(output: Path, size: int = 100, **changes: Any) -> Path:
    for shard in shards(made.about(output)["images"], size):
        first, last = map(int, shard.split("-"))
        segment.segment(output, made.finding(**changes), (first, last), 1)
    tabulate.tabulate(output, size, made.settings(**changes))
    return output


def table(path: Path) -> Any:
    import pandas as pd

    return pd.read_parquet(path) if path.suffix == ".parquet" else pd.read_csv(path)


@pytest.fixture(scope="module")
def plate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return made.incucyte(tmp_path_factory.mktemp("scans") / "VID7", wells=2, fields=1, times=4)


@pytest.fixture(scope="module")
def results(plate: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return run(plate, tmp_path_factory.mktemp("results") / "VID7")


def test_no_byte_depends_on_the_shards(plate: Path, results: Path, tmp_path: Path) -> None:
    whole = made.contents(results)
    assert any(name.startswith(f"{STORE}/A/1/0/labels/cells/0/c/") for name in whole)
    for size in (1, 7):
        assert made.contents(run(plate, tmp_path / str(size), size)) == whole


def test_an_incucytes_names_tell_well_field_and_time(results: Path) -> None:
    images = table(results / "images.parquet")
    assert images["well"].tolist() == ["A1"] * 4 + ["B1"] * 4
    assert images["time_h"].tolist() == [0, 12, 24, 36] * 2
    assert images["cells"].tolist() == [made.count(well, time) for well in range(2) for time in range(4)]
    cells = table(results / "cells.parquet")  # a dataset: a file for each well
    assert len(cells) == images["cells"].sum()
    assert sorted(path.name for path in (results / "cells.parquet").iterdir()) == ["A1.parquet", "B1.parquet"]
    for row in images.itertuples():
        labels = label_plane(results, f"{row.well[0]}/1/0", row.frame)
        own = cells[cells["image_id"] == row.image_id]
        assert np.bincount(labels.ravel())[1:].tolist() == own["area_px2"].tolist()


def test_columns_bear_their_units(results: Path) -> None:
    import polars
    from pyarrow import parquet

    schema = parquet.read_schema(results / "cells.parquet" / "A1.parquet")
    assert schema.field("area_px2").metadata[b"unit"].decode() == "px²"
    assert all(schema.field(name).metadata[b"meaning"] for name in schema.names)
    assert polars.read_parquet(results / "cells.parquet" / "*.parquet").columns == schema.names


KINDS: dict[str, Callable[[Path], Path]] = {
    "ome-tiff": lambda folder: made.two_channels(folder / "A1.ome.tif"),
    "0.5": lambda folder: made.hcs_plate(folder / "p.ome.zarr", "0.5", ("A/1",)),
    "0.4": lambda folder: made.hcs_plate(folder / "p.ome.zarr", "0.4", ("A/1",)),
}


@pytest.fixture(scope="module")
def same(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Results of the images of KINDS as plain files."""
    folder = tmp_path_factory.mktemp("same")
    plain = folder / "plain"
    plain.mkdir()
    for time in range(3):
        tifffile.imwrite(
            plain / f"V_A1_1_00d{2 * time:02d}h00m.tif", made.field(4 + 2 * time, time).astype(np.uint16) * 257
        )
    return run(plain, folder / "results", pixel_size_um=made.PIXEL_UM)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("channel", [2, "Phase"])
def test_every_kind_of_file_gives_the_same_cells(kind: str, channel: int | str, same: Path, tmp_path: Path) -> None:
    """One of two channels, 16 bits; axes, pixel size and times are those that the file says."""
    found = run(KINDS[kind](tmp_path), tmp_path / "found", channel=channel)
    about = made.about(found)
    assert (about["channel"], about["pixel_size_um"], about["pixel_size_from"]) == (2, made.PIXEL_UM, "the files")
    names = ["frame", "time_h", "cells", "confluence", "median_area_um2"]
    ours, theirs = table(found / "images.parquet"), table(same / "images.parquet")
    assert ours[names].equals(theirs[names])
    grey = ours["median_intensity_mean"] * (257 if kind == "ome-tiff" else 1)  # it holds the 8-bit values themselves
    assert np.allclose(grey, theirs["median_intensity_mean"])


def test_a_channel_is_asked_for(tmp_path: Path) -> None:
    path = made.two_channels(tmp_path / "x.ome.tif")
    with pytest.raises(InputError, match=r"2 channels \(1 GFP, 2 Phase\).*plate_settings.channel"):
        plan.plan(path, made.reading(), tmp_path / "out")
    with pytest.raises(InputError, match=r"plate_settings\.channel is Red"):
        plan.plan(path, made.reading(channel="Red"), tmp_path / "out")


def test_a_pixel_that_no_microscope_has_is_not_believed(tmp_path: Path) -> None:
    """As of a TIFF whose 72 dots an inch a program wrote in centimetres, or whose nanometres are called µm."""
    folder = tmp_path / "plate"
    folder.mkdir()
    tifffile.imwrite(folder / "V_A1_1_00d00h00m.tif", made.field(3, 0), resolution=(28.3, 28.3), resolutionunit=3)
    plan.plan(folder, made.reading(), tmp_path / "out")
    about = made.about(tmp_path / "out")
    assert about["pixel_size_um"] is None
    assert about["pixel_size_from"].startswith("nowhere, for the files say 353.357 µm, which no microscope has")


def test_a_setting_is_said_where_it_overrides_the_file(tmp_path: Path) -> None:
    path = made.two_channels(tmp_path / "x.ome.tif")
    plan.plan(path, made.reading(channel=2, pixel_size_um=0.5, frame_hours=1), tmp_path / "out")
    about = made.about(tmp_path / "out")
    assert (about["pixel_size_um"], about["pixel_size_from"]) == (0.5, "setting")
    assert about["times_from"] == "plate_settings.frame_hours"
    assert [image.time_h for image in read_plan(tmp_path / "out")] == [0, 1, 2]


def test_labels_are_valid_ome_zarr(results: Path) -> None:
    import yaozarrs

    yaozarrs.validate_zarr_store(str(results / STORE))
    kinds = {
        "": "Plate",
        "A/1": "Well",
        "A/1/0": "Image",
        "A/1/0/labels": "LabelsGroup",
        "A/1/0/labels/cells": "LabelImage",
    }
    for place, kind in kinds.items():
        found: Any = yaozarrs.validate_ome_uri(str(results / STORE / place))
        assert type(found.attributes.ome).__name__ == kind


def test_planes_are_the_bytes_that_zarr_writes(plate: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In chunks that the image doesn't fill, of which some hold no cell; a plane takes another's place."""
    monkeypatch.setattr(labels, "SIDE", 50)
    drawn = np.zeros((made.HEIGHT, made.WIDTH), np.int32)
    drawn[60:90, 45:110] = np.arange(65)
    for name in ("ours", "zarr"):
        plan.plan(plate, made.reading(), tmp_path / name)
    labels.open_labels(tmp_path / "zarr", "A/1/0")[2] = drawn
    labels.write_plane(tmp_path / "ours", "A/1/0", 2, np.full_like(drawn, 7))
    labels.write_plane(tmp_path / "ours", "A/1/0", 2, drawn)
    ours, theirs = (made.contents(tmp_path / name / STORE) for name in ("ours", "zarr"))
    assert len([name for name in theirs if "/c/2/" in name]) == 3
    assert ours == theirs
    assert np.array_equal(label_plane(tmp_path / "ours", "A/1/0", 2), drawn)


# ---- what can't be used --------------------------------------------------------------------------------


def test_a_broken_file_is_named_and_the_rest_is_done(plate: Path, results: Path, tmp_path: Path) -> None:
    scans, output = tmp_path / "VID7", tmp_path / "out"
    shutil.copytree(plate, scans)
    [bad] = scans.glob("*_B1_1_00d12h00m.tif")
    whole = bad.read_bytes()
    bad.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(InputError, match=r"well B1, field 1, frame 1 \(VID7_B1_1_00d12h00m.tif\).*other 7 of 8 images"):
        run(scans, output)
    assert not (output / "images.parquet").exists()
    assert list((output / "parts").glob(f"*{JOURNAL}"))
    before = (output / STORE / "A/1/0/labels/cells/0/c/0/0/0").stat().st_mtime_ns
    bad.write_bytes(whole)
    finish(output)
    assert (output / STORE / "A/1/0/labels/cells/0/c/0/0/0").stat().st_mtime_ns == before, "it went on"
    assert not list((output / "parts").glob(f"*{JOURNAL}"))
    ours, theirs = made.contents(output), made.contents(results)
    for name in theirs:
        assert name in ("plan.json", "manifest.json", CRATE) or ours[name] == theirs[name], name


def test_a_killed_shard_goes_on(plate: Path, results: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A journal whose last entry is cut short, as a power cut leaves it, is gone on with from the entry before."""
    output = tmp_path / "VID7"
    plan.plan(plate, made.reading(), output)
    add, added = PartJournal.add, list[str]()

    def killed(self: PartJournal, key: str, *rest: Any) -> None:
        if len(added) == 3:
            raise KeyboardInterrupt
        added.append(key)
        add(self, key, *rest)

    with monkeypatch.context() as patch:
        patch.setattr(PartJournal, "add", killed)
        with pytest.raises(KeyboardInterrupt):
            finish(output)
    [journal] = (output / "parts").glob(f"*{JOURNAL}")
    journal.write_bytes(journal.read_bytes()[:-5])
    again = noted(monkeypatch)
    assert made.contents(finish(output)) == made.contents(results)
    assert again == ["A/1/0 2", "A/1/0 3", *(f"B/1/0 {frame}" for frame in range(4))]


def noted(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Field and frame of each image that is segmented from now on."""
    add, found = PartJournal.add, list[str]()

    def listed(self: PartJournal, key: str, *rest: Any) -> None:
        found.append("{} {}".format(*json.loads(key)))
        add(self, key, *rest)

    monkeypatch.setattr(PartJournal, "add", listed)
    return found


def test_a_new_plan_segments_what_is_new(plate: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """More frames, one less, shards of another size: the rest is taken from the parts, and all ends as at once."""
    scans, output = tmp_path / "VID7", tmp_path / "out"
    shutil.copytree(plate, scans)
    last = scans / "VID7_B1_1_01d12h00m.tif"
    content = last.read_bytes()
    last.unlink()
    run(scans, output)
    last.write_bytes(content)
    again = noted(monkeypatch)
    run(scans, output, 3)
    assert again == ["B/1/0 3"]
    whole = made.contents(run(scans, tmp_path / "at once"))
    assert made.contents(output) == whole
    again.clear()
    (scans / "VID7_A1_1_00d00h00m.tif").unlink()
    run(scans, output)
    assert again == ["A/1/0 0", "A/1/0 1", "A/1/0 2"], "its frames have other numbers now"
    assert not (output / STORE / "A/1/0/labels/cells/0/c/3").exists()
    assert made.contents(output) == made.contents(run(scans, tmp_path / "less"))
    shutil.rmtree(output / STORE)
    again.clear()
    run(scans, output)
    assert len(again) == 7, "label images that are gone are made again"


def labelled(output: Path) -> list[int]:
    """Cells of each label image."""
    return [len(np.unique(label_plane(output, one.labels, one.frame))) - 1 for one in read_plan(output)]


def test_what_other_settings_found_is_no_part_of_the_result(tmp_path: Path) -> None:
    """Tables and label images are of one run, whatever shards other settings were tried in, and where they stopped."""
    scans = made.incucyte(tmp_path / "VID7", wells=1, fields=1, times=4)
    output = run(scans, tmp_path / "out")
    whole = table(output / "images.parquet")["cells"].tolist()
    strict: dict[str, Any] = {"score_min": 0.946}
    finish(output, 2, **strict)
    less = table(output / "images.parquet")["cells"].tolist()
    assert less != whole
    assert labelled(output) == less
    assert not (output / "parts/1-4.json").exists(), "Snakemake has to make it again"
    finish(output)
    assert table(output / "images.parquet")["cells"].tolist() == labelled(output) == whole


def test_settings_that_were_tried_in_vain_leave_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An aborted shard of other settings has drawn over label images, and may go on later."""
    scans = made.incucyte(tmp_path / "VID7", wells=1, fields=1, times=4)
    output = run(scans, tmp_path / "out")
    whole = table(output / "images.parquet")["cells"].tolist()
    add = PartJournal.add

    def killed(self: PartJournal, key: str, *rest: Any) -> None:
        if len(self.noted) == 2:
            raise KeyboardInterrupt
        add(self, key, *rest)

    with monkeypatch.context() as patch:
        patch.setattr(PartJournal, "add", killed)
        with pytest.raises(KeyboardInterrupt):
            segment.segment(output, made.finding(score_min=0.946), (1, 3), 1)
    assert [path.name for path in (output / "parts").iterdir()] == [f"1-3{JOURNAL}"]
    finish(output)
    assert table(output / "images.parquet")["cells"].tolist() == labelled(output) == whole
    finish(output, 3, score_min=0.946)
    assert table(output / "images.parquet")["cells"].tolist() == labelled(output) != whole


def test_settings_are_not_changed_under_a_shard_that_runs(plate: Path, tmp_path: Path) -> None:
    plan.plan(plate, made.reading(), tmp_path)
    place = {("A/1/0", 0)}
    one = json.dumps(["A/1/0", 0])
    none = parts.table_of("images", [])
    with parts.part_journal(tmp_path / "parts", "1-2", {"settings": 1}, place) as journal:
        journal.add(one, {"cells": 0}, none)
        with (
            pytest.raises(InputError, match="is being written by a job with other settings; let it end first"),
            parts.part_journal(tmp_path / "parts", "1-1", {"settings": 2}, place),
        ):
            pass
        with parts.part_journal(tmp_path / "parts", "2-2", {"settings": 2}, {("A/1/0", 1)}):
            pass
        journal.finish([one])
    assert (tmp_path / "parts/1-2.json").exists()


def test_a_shard_looks_through_no_part_of_other_fields(
    plate: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else all shards together would read the square of what there is."""
    run(plate, tmp_path, 4)
    index, looked = parts._index, list[str]()

    def listed(file: Any, path: Path, head: bytes) -> Any:
        looked.append(path.name)
        return index(file, path, head)

    monkeypatch.setattr(parts, "_index", listed)
    (tmp_path / "parts/5-8.part").unlink()
    segment.segment(tmp_path, made.finding(), (5, 8), 1)
    assert looked == ["5-8.journal"]
    looked.clear()
    segment.segment(tmp_path, made.finding(), (3, 6), 1)
    assert looked == ["1-4.part", "5-8.part", "3-6.journal"]
    looked.clear()
    (tmp_path / "parts/1-4.json").write_text("{}")
    segment.segment(tmp_path, made.finding(), (5, 8), 1)
    assert looked == ["1-4.part", "3-6.part", "5-8.part", "5-8.journal"], "what is not known is read"


def test_a_shard_reads_its_rows_of_the_plan(plate: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plan, "GROUP", 3)
    plan.plan(plate, made.reading(), tmp_path)
    numbers = [image.number for image in read_plan(tmp_path)]
    assert numbers == list(range(1, 9))
    for first in numbers:
        for last in numbers[first - 1 :]:
            assert [one.number for one in read_plan(tmp_path, first, last)] == numbers[first - 1 : last]


def test_what_differs_is_a_fault_of_its_field(tmp_path: Path) -> None:
    folder = tmp_path / "mixed"
    for well in ("A1", "A2", "A3"):
        made.two_channels(folder / f"{well}.ome.tif", 1)
    pixels = made.field(4, 0)
    how: dict[str, Any] = {"ome": True, "photometric": "minisblack"}
    tifffile.imwrite(folder / "A4.ome.tif", pixels, metadata={"axes": "YX"}, **how)
    about = {"axes": "CYX", "PhysicalSizeX": 2.48, "Channel": {"Name": ["GFP", "Phase"]}}
    tifffile.imwrite(
        folder / "A5.ome.tif", np.stack([pixels, pixels]), ome=True, metadata=about, photometric="minisblack"
    )
    settings: dict[str, Any] = {"channel": "Phase", "pattern": r"regex:^(?P<well>\w+)"}
    with pytest.raises(InputError) as told:
        run(folder, tmp_path / "out", **settings)
    assert "well A4, field 1, frame 0 (A4.ome.tif): it has the channels (), 1, where most have (GFP, Phase)" in str(
        told.value
    )
    assert "well A5, field 1, frame 0 (A5.ome.tif): it has pixels of 2.48 µm, where most have 1.24" in str(told.value)
    assert "The other 3 of 5 images are done" in str(told.value)
    for well in ("A4", "A5"):
        (folder / f"{well}.ome.tif").unlink()
    assert len(table(run(folder, tmp_path / "out", **settings) / "wells.csv")) == 3


def test_missing_frames_are_told(plate: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    scans = tmp_path / "VID7"
    shutil.copytree(plate, scans)
    (scans / "VID7_B1_1_00d12h00m.tif").unlink()
    plan.plan(scans, made.reading(), tmp_path / "out")
    assert made.about(tmp_path / "out")["missing"] == ["well B1, field 1, time 00d12h00m"]
    assert "has no image of well B1, field 1, time 00d12h00m" in caplog.text


@pytest.mark.parametrize(
    ("names", "said"),
    [
        (("V1_A1_1_00d00h00m.tif", "V2_A1_1_00d00h00m.tif"), "holds 2 plates or channels"),
        (
            ("V1_a1_1_00d00h00m.tif", "V1_a1_1_00d12h00m.tif"),
            r"V1_a1_1_00d00h00m\.tif tells a time, and no well and field",
        ),
        (("V1_A1_1_00d00h00m.tif", "note.tif"), "note.tif is not named as the others are"),
        (("V1_A1_1_00d00h00m.tif", "V1_A1_1_00d00h00m.png"), "are both well A1, field 1, time 00d00h00m"),
        (
            ("V1_A1_1_00d00h00m.tif", "V1_A01_1_00d12h00m.tif"),
            r"A01 \(V1_A01_1_00d12h00m.tif\) and A1 \(V1_A1_1_00d00h00m.tif\) are one well, written in two ways",
        ),
        ((), "holds no image"),
    ],
)
def test_a_folder_that_is_no_plate_is_refused(names: tuple[str, ...], said: str, tmp_path: Path) -> None:
    (tmp_path / "scans").mkdir()
    for name in names:
        tifffile.imwrite(tmp_path / "scans" / name, made.field(2, 0))
    with pytest.raises(InputError, match=said):
        plan.plan(tmp_path / "scans", made.reading(), tmp_path / "out")


@pytest.mark.parametrize(
    ("names", "said"),
    [
        (("dish1_f1_t0.tif", "dish01_f1_t1.tif"), r"dish01 \(dish01_f1_t1.tif\) and dish1 .* are one well"),
        (("dish1_f1_t0.tif", "dish1_f01_t1.tif"), r"f01 \(dish1_f01_t1.tif\) and f1 .* are one field"),
        (("dish1_f1_t1.tif", "dish1_f1_t01.tif"), r"t01 \(dish1_f1_t01.tif\) and t1 .* are one time"),
    ],
)
def test_what_a_pattern_finds_in_two_spellings_is_refused(names: tuple[str, ...], said: str, tmp_path: Path) -> None:
    (tmp_path / "scans").mkdir()
    for name in (*names, "dish2_f1_t0.tif"):
        tifffile.imwrite(tmp_path / "scans" / name, made.field(2, 0))
    pattern = r"regex:(?P<well>dish\d+)_(?P<field>f\d+)_(?P<time>t\d+)"
    with pytest.raises(InputError, match=said):
        plan.plan(tmp_path / "scans", made.reading(pattern=pattern, frame_hours=1), tmp_path / "out")


def test_a_pattern_finds_what_names_say(tmp_path: Path) -> None:
    (tmp_path / "scans").mkdir()
    for well in ("r01c02", "r01c10"):
        for time in (0, 1):
            for channel in ("ch1", "ch2"):
                tifffile.imwrite(tmp_path / "scans" / f"{well}f1-{channel}t{time}.tif", made.field(3, time))
    pattern = r"regex:(?P<well>r\d+c\d+)f(?P<field>\d+)-(?P<channel>ch\d)t(?P<time>\d+)"
    with pytest.raises(InputError, match="has the channels ch1, ch2; say which"):
        plan.plan(tmp_path / "scans", made.reading(pattern=pattern), tmp_path / "out")
    plan.plan(tmp_path / "scans", made.reading(pattern=pattern, channel="ch2", frame_hours=3), tmp_path / "out")
    found = read_plan(tmp_path / "out")
    assert [(one.well, one.time_h) for one in found] == [("r01c02", 0), ("r01c02", 3), ("r01c10", 0), ("r01c10", 3)]
    assert all("ch2" in one.file for one in found)


def test_a_wells_images_stand_together(tmp_path: Path) -> None:
    """Tables are made well by well, also of wells that sort alike."""
    (tmp_path / "scans").mkdir()
    for name in ("dish1_1", "dish01_1", "dish1_2", "dish01_2"):
        tifffile.imwrite(tmp_path / "scans" / f"{name}.tif", made.field(2, 0))
    pattern = r"regex:(?P<well>dish\d+)_(?P<field>\d)"
    plan.plan(tmp_path / "scans", made.reading(pattern=pattern), tmp_path / "out")
    assert [one.well for one in read_plan(tmp_path / "out")] == ["dish01", "dish01", "dish1", "dish1"]


@pytest.mark.parametrize(
    ("name", "pattern"), [("V_A1_1_00d01h00m", None), ("A1-t1", r"regex:(?P<well>A1)-(?P<time>t\d)")]
)
def test_a_series_in_a_file_that_is_named_for_one_time_is_refused(
    name: str, pattern: str | None, tmp_path: Path
) -> None:
    (tmp_path / "in").mkdir()
    frames = np.stack([made.field(3, time) for time in (0, 1)])
    tifffile.imwrite(tmp_path / "in" / f"{name}.tif", frames, imagej=True, metadata={"axes": "TYX"})
    plan.plan(tmp_path / "in", made.reading(pattern=pattern), tmp_path / "out")
    [image] = read_plan(tmp_path / "out")
    with pytest.raises(InputError, match="holds 2 frames, and its name tells the time of one"):
        PlateReader(plan.read_about(tmp_path / "out")).read(image)


def test_planes_along_z_follow_a_rule(tmp_path: Path) -> None:
    from scipy import ndimage

    sharp = made.field(6, 0)
    stack = np.stack([ndimage.gaussian_filter(sharp, 3), sharp, ndimage.gaussian_filter(sharp, 2)])
    tifffile.imwrite(tmp_path / "A1.tif", stack, imagej=True, metadata={"axes": "ZYX"})
    for rule, expected in (("focus", sharp), ("max", stack.max(0)), (3, stack[2])):
        plan.plan(tmp_path / "A1.tif", made.reading(z=rule), tmp_path / "out")
        [image] = read_plan(tmp_path / "out")
        assert np.array_equal(PlateReader(plan.read_about(tmp_path / "out")).read(image), expected)


def test_a_plan_of_another_version_is_to_be_made_again(plate: Path, tmp_path: Path) -> None:
    plan.plan(plate, made.reading(), tmp_path)
    about = json.loads((tmp_path / plan.ABOUT).read_text())
    about["is_zarr"] = about.pop("kind") == "zarr"
    (tmp_path / plan.ABOUT).write_text(json.dumps(about))
    with pytest.raises(InputError, match=r"plan\.json is no plan of this version; plan the plate again"):
        plan.read_about(tmp_path)
    rows = parquet.read_table(tmp_path / plan.TABLE)
    parquet.write_table(rows.drop_columns(["tiled"]), tmp_path / plan.TABLE)
    with pytest.raises(InputError, match=r"plan\.parquet is not readable .*tiled.*; plan the plate again"):
        read_plan(tmp_path)


def test_a_name_with_a_raised_number_is_sorted() -> None:
    """² is a digit to Python, and no number."""
    assert sorted(["5²_10", "5²_9"], key=natural) == ["5²_9", "5²_10"]


def test_a_shard_beyond_the_plan_is_refused(plate: Path, tmp_path: Path) -> None:
    plan.plan(plate, made.reading(), tmp_path)
    with pytest.raises(InputError, match=r"the shard ends at image 99, and the plan has \d+; end it there"):
        segment.segment(tmp_path, made.finding(), (1, 99), 1)
    assert not (tmp_path / "parts").exists()


def test_tables_of_shards_of_another_size_say_which_part_is_lacking(plate: Path, tmp_path: Path) -> None:
    plan.plan(plate, made.reading(), tmp_path)
    segment.segment(tmp_path, made.finding(), (1, 8), 1)
    with pytest.raises(InputError, match="lacks the part 1-4, of shards of 4 images; segment that shard, or give --im"):
        tabulate.tabulate(tmp_path, 4, made.settings())
    tabulate.tabulate(tmp_path, 8, made.settings())
