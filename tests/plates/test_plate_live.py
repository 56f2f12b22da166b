"""A plate that grows: rounds give the tables of the whole plate, once each file is complete."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import plate_samples as made
import pytest
from monolayer.files import InputError
from monolayer.plates.live import LivePlate, follow
from monolayer.plates.parts import PartJournal
from test_plates import noted, run, table


def nothing() -> None:
    """Of a step."""


def live(plate: Path, output: Path) -> LivePlate:
    return LivePlate(plate, output, made.settings(), 1)


def steps(*work: Callable[[], object]) -> Callable[[], bool]:
    """A `stop` that does one of these before each look at the folder after the first two, and then says yes."""
    left = [nothing, nothing, *work]

    def stop() -> bool:
        if left:
            left.pop(0)()
            return False
        return True

    return stop


def test_a_plate_that_grows_ends_as_the_whole_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = made.incucyte(tmp_path / "whole/VID7", wells=2, fields=1, times=3)
    plate, output = tmp_path / "VID7", tmp_path / "out"
    shutil.copytree(whole, plate)
    late = sorted(plate.glob("*_01d00h00m.tif"))
    for path in late:
        path.unlink()
    images: list[int] = []

    def comes() -> None:
        images.append(len(table(output / "images.parquet")))
        for path in late:
            shutil.copy2(whole / path.name, path)

    again = noted(monkeypatch)
    follow(live(plate, output), 0.0, 0.01, steps(comes, nothing, nothing))
    assert images == [4]
    assert again == ["A/1/0 0", "A/1/0 1", "B/1/0 0", "B/1/0 1", "A/1/0 2", "B/1/0 2"], "each once"
    assert "<html" in (output / "report.html").read_text()[:200]
    assert len(list((output / "parts").glob("*.part"))) == 1
    ours, theirs = made.contents(output), made.contents(run(plate, tmp_path / "at once"))
    del ours["report.html"]
    assert ours == theirs
    again.clear()
    run(plate, output, 3)
    assert not again, "shards take what was found"


def test_a_plate_map_may_name_wells_to_come(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    whole = made.incucyte(tmp_path / "whole/VID7", wells=2, fields=1, times=1)
    plate, output = tmp_path / "VID7", tmp_path / "out"
    plate.mkdir()
    first, second = sorted(whole.iterdir())
    shutil.copy2(first, plate)
    (tmp_path / "map.csv").write_text("well,dose\nA1,0\nB1,3\n")
    settings = made.settings(conditions=str(tmp_path / "map.csv"))

    def comes() -> None:
        assert "nothing new is shown until files change" in caplog.text
        shutil.copy2(second, plate)

    follow(LivePlate(plate, output, settings, 1), 0.0, 0.01, steps(comes, nothing, nothing))
    assert table(output / "wells.csv")["condition"].tolist() == ["dose 0", "dose 3"]


def test_half_a_file_waits_for_its_other_half(tmp_path: Path) -> None:
    plate, output = made.incucyte(tmp_path / "VID7", wells=1, fields=1, times=3), tmp_path / "out"
    path = plate / "VID7_A1_1_00d12h00m.tif"
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])
    images: list[int] = []

    def ends() -> None:
        images.append(len(table(output / "images.parquet")))
        path.write_bytes(content)

    follow(live(plate, output), 0.0, 0.01, steps(nothing, ends, nothing, nothing))
    assert images == [2], "the others are shown meanwhile"
    assert len(table(output / "images.parquet")) == 3


def test_a_file_that_changes_is_not_complete(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plate = made.incucyte(tmp_path / "VID7", wells=1, fields=1, times=2)
    monkeypatch.setattr(PartJournal, "add", lambda *_: pytest.fail("a file is taken before it is complete"))
    follow(live(plate, tmp_path / "out"), 60.0, 0.01, steps())
    assert not (tmp_path / "out").exists()


def test_what_does_not_come_file_by_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="is no folder"):
        follow(live(tmp_path / "none", tmp_path / "out"), 0.0, 0.01, steps())
    plate = made.hcs_plate(tmp_path / "p.ome.zarr", wells=("A/1",))
    made.incucyte(plate / "more", wells=1, fields=1, times=1)
    with pytest.raises(InputError, match="does not come file by file"):
        follow(live(plate, tmp_path / "out"), 0.0, 0.01, steps())
