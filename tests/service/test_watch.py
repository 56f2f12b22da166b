"""Watch mode: complete files only, each once, whatever kills the process in between."""

from __future__ import annotations

import csv
import json
import math
import os
import re
import shutil
import signal
import subprocess
import sys
import time
import warnings
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from faults import Killed, disk_full, fail_at
from monolayer.__main__ import main
from monolayer.files import PIXEL_BYTES, InputError
from monolayer.measurement import dictionary
from monolayer.service import growth_chart
from monolayer.service import watch as watch_module
from monolayer.service.journal import Tables
from monolayer.service.watch import Watching, watch
from service_fixtures import by_threshold, field, model, png, tiff

COUNTS = [3, 5, 8, 13, 21]


def watching(folder: Path, **how: object) -> Watching:
    values = {"pattern": None, "pixel_size_um": None, "frame_hours": None, "settle_s": 0.0, "model": model()} | how
    (folder / "in").mkdir(exist_ok=True)
    return Watching(folder=folder / "in", output=folder / "out", **values)  # type: ignore[arg-type]


def idle(what: Watching, calls: int = 9) -> Callable[[], bool]:
    """A `stop` for `watch` once so many calls of it found nothing more done; it is asked before each look and file."""
    done: list[int] = []

    def stop() -> bool:
        journal = what.output / "done.jsonl"
        done.append(len(journal.read_bytes()) if journal.exists() else 0)
        return len(done) > calls and done[-1] == done[-calls]

    return stop


def rows(folder: Path, table: str) -> list[dict[str, str]]:
    return list(csv.DictReader((folder / "out" / f"{table}.csv").open(encoding="utf-8")))


def files_done(folder: Path) -> list[str]:
    """As the journal's whole lines tell; the first one is about settings."""
    journal = folder / "out/done.jsonl"
    lines = journal.read_bytes().splitlines(keepends=True)[1:] if journal.exists() else []
    return [json.loads(line)["file"] for line in lines if line.endswith(b"\n")]


def write(folder: Path, name: str, content: bytes) -> None:
    path = folder / "in" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    os.utime(path, (time.time() - 5, time.time() - 5))


def test_every_file_once_with_its_cells(tmp_path: Path) -> None:
    what = watching(tmp_path)
    for number, count in enumerate(COUNTS):
        write(tmp_path, f"A1/t{number}.png", png(field(count)))
    watch(what, idle(what), 0)
    assert [int(row["cells"]) for row in rows(tmp_path, "images")] == [
        sum(row["file_name"] == f"A1/t{n}.png" for row in rows(tmp_path, "cells")) for n in range(5)
    ]
    assert {row["well"] for row in rows(tmp_path, "images")} == {"A1"}
    before = (tmp_path / "out/cells.csv").read_bytes()
    watch(what, idle(what), 0)
    assert (tmp_path / "out/cells.csv").read_bytes() == before
    assert list(rows(tmp_path, "cells")[0]) == list(dictionary.TABLES["cells"])
    write(tmp_path, "A1/t9.png", png(field(2)))
    watch(what, idle(what), 0)
    assert (tmp_path / "out/cells.csv").read_bytes().startswith(before)
    assert len(rows(tmp_path, "images")) == 6


def test_the_growth_curve_follows(tmp_path: Path) -> None:
    pattern = re.compile(r"(?P<line>[^_/]+)_(?P<well>[^_]+)_(?P<time>t\d+)")
    what = watching(tmp_path, pattern=pattern, frame_hours=2.0, model=model())
    for number in range(6):
        write(tmp_path, f"HeLa_B2_t{number:02d}.png", png(field(2 * 2**number, light=255) // 2 * 2))
    watch(what, idle(what), 0)
    (fit,) = [row for row in rows(tmp_path, "growth") if row["quantity"] == "confluence"]
    assert (fit["cell_line"], fit["well"], fit["time_unit"]) == ("HeLa", "B2", "h")
    assert float(fit["doubling_time"]) == pytest.approx(2, rel=0.1)
    assert "<svg" in (tmp_path / "out/growth.svg").read_text()


def test_half_written_files_wait(tmp_path: Path) -> None:
    what, content = watching(tmp_path, settle_s=1.0), tiff(field(9)[::-1])
    path = tmp_path / "in/slow.tif"
    path.write_bytes(content[: len(content) // 2])
    os.utime(path, (time.time() - 5, time.time() - 5))  # the clock of the camera tells nothing
    watch(what, idle(what), 0.05)
    assert rows(tmp_path, "images") == []
    path.write_bytes(content)
    os.utime(path, (time.time() + 3600, time.time() + 3600))
    watch(what, idle(what, 30), 0.05)
    assert [row["cells"] for row in rows(tmp_path, "images")] == ["9"]


def test_a_broken_file_is_named_and_tried_again_when_it_changes(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    what = watching(tmp_path)
    write(tmp_path, "a.tif", tiff(field(3))[:300])
    write(tmp_path, "b.png", png(field(3)))
    with caplog.at_level("WARNING"):
        watch(what, idle(what), 0)
    assert [record.message.split(":")[0] for record in caplog.records] == ["a.tif is left out until it changes"]
    assert [row["file_name"] for row in rows(tmp_path, "images")] == ["b.png"]
    write(tmp_path, "a.tif", tiff(field(3)))
    watch(what, idle(what), 0)
    assert [row["file_name"] for row in rows(tmp_path, "images")] == ["b.png", "a.tif"]


@pytest.mark.parametrize("cut", ["cells", "images", "done.jsonl"])
def test_what_a_crash_leaves_is_cut_off_and_done_again(tmp_path: Path, cut: str) -> None:
    what = watching(tmp_path)
    for number, count in enumerate(COUNTS):
        write(tmp_path, f"t{number}.png", png(field(count)))
    watch(what, idle(what), 0)
    tables = [(tmp_path / "out" / f"{name}.csv").read_bytes() for name in ("cells", "images")]
    journal = (tmp_path / "out/done.jsonl").read_bytes().splitlines(keepends=True)
    # the last file's rows were written, in part, but not that it is done
    (tmp_path / "out/done.jsonl").write_bytes(
        b"".join(journal[:-1]) + (journal[-1][:20] if cut == "done.jsonl" else b"")
    )
    if cut in ("cells", "images"):
        path = tmp_path / "out" / f"{cut}.csv"
        path.write_bytes(path.read_bytes()[:-7])
    watch(what, idle(what), 0)
    assert [(tmp_path / "out" / f"{name}.csv").read_bytes() for name in ("cells", "images")] == tables


OUTPUT = ("cells.csv", "images.csv", "done.jsonl", "growth.csv", "dictionary.csv")
OLD = 1_700_000_000


def two_files(folder: Path) -> Watching:
    folder.mkdir()
    what = watching(folder)
    for number, count in enumerate(COUNTS[:2]):
        write(folder, f"t{number}.png", png(field(count)))
        os.utime(what.folder / f"t{number}.png", (OLD + number, OLD + number))
    return what


def change_the_first(what: Watching) -> None:
    (what.folder / "t0.png").write_bytes(png(field(7)))
    os.utime(what.folder / "t0.png", (OLD + 9, OLD + 9))


FAULTS: list[Callable[[], BaseException]] = [Killed, disk_full]


@pytest.mark.parametrize("of", [2, pytest.param(1, marks=pytest.mark.slow)])
def test_a_fault_at_any_write_costs_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, of: int) -> None:
    """Two files are done, and one of them again because it changed: with a fault at the n-th write, for all n.

    A kill and a full disk in turn, or both at each write.
    """
    monkeypatch.setattr(growth_chart, "_chart", lambda *_: b"")  # drawn anew from the tables in any case

    def run(what: Watching) -> None:
        watch(what, idle(what, 5), 0)
        change_the_first(what)
        watch(what, idle(what, 5), 0)

    def tables(what: Watching) -> list[bytes]:
        return [(what.output / name).read_bytes() for name in OUTPUT]

    unbroken = two_files(tmp_path / "unbroken")
    with monkeypatch.context() as patch:
        calls = fail_at(-1, patch, unbroken.output)
        run(unbroken)
    assert calls.count("fsync done.jsonl") >= 3, "each file's line is on the disk before the next"
    assert len(rows(tmp_path / "unbroken", "images")) == 2
    for number, fault in [(n, f) for n in range(len(calls)) for f in FAULTS[n % of :: of]]:
        what = two_files(tmp_path / f"{fault.__name__} at {number}")
        with monkeypatch.context() as patch:
            assert fail_at(number, patch, what.output, fault) == []
            with pytest.raises((Killed, OSError)):
                run(what)
        run(what)
        assert tables(what) == tables(unbroken), f"{fault.__name__} at call {number}, {calls[number]}"
        left = {path.name for path in what.output.iterdir()}
        assert left == {*OUTPUT, "growth.svg", "lock"}, f"{fault.__name__} at call {number}, {calls[number]}"
    print(f"\n{len(calls)} writes, {2 // of} faults at each: the tables of an unbroken run")


def test_a_table_that_lost_rows_is_an_error(tmp_path: Path) -> None:
    what = watching(tmp_path)
    write(tmp_path, "t.png", png(field(3)))
    watch(what, idle(what), 0)
    (tmp_path / "out/cells.csv").write_text("")
    with pytest.raises(InputError, match="shorter than"):
        Tables.open(tmp_path / "out", what.settings)


def test_a_series_has_a_row_for_each_frame(tmp_path: Path) -> None:
    what = watching(tmp_path, frame_hours=0.5)
    write(tmp_path, "series.tif", tiff(np.stack([field(count) for count in COUNTS])))
    watch(what, idle(what), 0)
    assert [float(row["time_h"]) for row in rows(tmp_path, "images")] == [0, 0.5, 1, 1.5, 2]


SCRIPT = """
import sys
from pathlib import Path
sys.path[:0] = {paths!r}
from test_watch import watching
from monolayer.service.watch import watch
import logging
logging.basicConfig(level=logging.INFO)
watch(watching(Path({folder!r})), lambda: False, 0.01)
"""


def started(folder: Path) -> subprocess.Popen[bytes]:
    paths = [str(Path(__file__).parent), *sys.path]
    return subprocess.Popen([sys.executable, "-c", SCRIPT.format(paths=paths, folder=str(folder))])


def test_killed_again_and_again_it_does_every_file_once(tmp_path: Path) -> None:
    watching(tmp_path)
    names = {f"t{number:02d}.png": 5 + number % 20 for number in range(28)}
    kills = written = 0
    while (done := len(files_done(tmp_path))) < len(names):
        for name, count in list(names.items())[written : done + 9]:  # no more: a late look would find all done
            write(tmp_path, name, png(field(count, light=250)))
        written = max(written, done + 9)
        process = started(tmp_path)
        while len(files_done(tmp_path)) <= min(done + 7, len(names) - 1):
            assert process.poll() is None, "it ended by itself"
            time.sleep(0.02)
        time.sleep(0.013 * kills)  # at another moment each time
        process.send_signal(signal.SIGKILL)
        process.wait()
        kills += 1
        assert kills < 10
    what = watching(tmp_path)
    watch(what, idle(what), 0)
    assert kills >= 3
    images, cells = rows(tmp_path, "images"), rows(tmp_path, "cells")
    assert sorted(row["file_name"] for row in images) == sorted(names)
    expected = {name: len(by_threshold([field(count, light=250)], None)[0].masks) for name, count in names.items()}
    for row in images:
        own = [cell for cell in cells if cell["file_name"] == row["file_name"]]
        assert [int(cell["cell"]) for cell in own] == list(range(1, int(row["cells"]) + 1))
        assert 0 < len(own) <= expected[row["file_name"]]
    assert files_done(tmp_path) == [row["file_name"] for row in images]


def test_two_at_once_are_refused(tmp_path: Path) -> None:
    what = watching(tmp_path)
    process = started(tmp_path)
    try:
        while not (tmp_path / "out/done.jsonl").exists():
            assert process.poll() is None, "it ended by itself"
            time.sleep(0.02)
        with pytest.raises(InputError, match="belongs to another"):
            watch(what, lambda: True, 0)
    finally:
        process.kill()
        process.wait()


# ---- files that are not as they should be, and the rest goes on ------------------------------------------------


def test_a_name_that_is_no_utf_8_is_reported(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    what = watching(tmp_path)
    write(tmp_path, "a.png", png(field(3)))
    (Path(os.fsdecode(os.fsencode(what.folder) + b"/\xff.png"))).write_bytes(png(field(2)))
    for _ in range(2):
        with caplog.at_level("WARNING"):
            watch(what, idle(what), 0)
    assert {record.message for record in caplog.records} == {
        "\\udcff.png is left out until it changes: its name is no UTF-8; rename it"
    }
    assert [row["file_name"] for row in rows(tmp_path, "images")] == ["a.png"]


def test_what_is_moved_away_meanwhile_is_no_fault(tmp_path: Path) -> None:
    what = watching(tmp_path)
    for name in ("a.png", "b.png", "sub/c.png"):
        write(tmp_path, name, png(field(3)))
    os.utime(what.folder / "a.png", (OLD, OLD))

    def segment(*given: Any) -> Any:  # the first one moves all others away
        (what.folder / "b.png").unlink(missing_ok=True)
        shutil.rmtree(what.folder / "sub", ignore_errors=True)
        return by_threshold(*given)

    what = replace(what, model=replace(what.model, segment=segment))
    watch(what, idle(what), 0)
    assert [row["file_name"] for row in rows(tmp_path, "images")] == ["a.png"]


def test_an_image_larger_than_the_memory_is_set_aside(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def segment(images: Any, *given: Any) -> Any:
        if images[0].shape[0] == 200:
            raise MemoryError
        return by_threshold(images, *given)

    what = watching(tmp_path, model=replace(model(), segment=segment))
    monkeypatch.setattr(watch_module, "_free_memory", lambda: 10_000_000)
    write(tmp_path, "a.png", png(field(3, (200, 200))))
    write(tmp_path, "b.png", png(field(3)))
    write(tmp_path, "c.png", png(field(3, (1000, 1000))))
    with caplog.at_level("WARNING"):
        watch(what, idle(what), 0)
    assert sorted(record.message for record in caplog.records) == [
        "a.png is left out until it changes: it does not fit into memory; cut it into tiles",
        "c.png is left out until it changes: it has 1,000,000 pixels, which take 0.1 GB of memory, and 0.0 are free; "
        "cut it into tiles",
    ]
    assert [row["file_name"] for row in rows(tmp_path, "images")] == ["b.png"]


DEADLY = """
import os, sys
from dataclasses import replace
from pathlib import Path
sys.path[:0] = {paths!r}
from service_fixtures import by_threshold, model
from test_watch import idle, watching
from monolayer.service.watch import watch
def segment(images, *given):
    if images[0].shape[0] == 200:
        os.kill(os.getpid(), 9)  # as the kernel does where the memory is full
    return by_threshold(images, *given)
what = watching(Path({folder!r}), model=replace(model(), segment=segment))
for _ in range(4):
    if (child := os.fork()) == 0:
        watch(what, idle(what, 20), 0.01)
        os._exit(0)
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
"""


def test_a_file_that_ends_the_process_again_and_again_is_set_aside(tmp_path: Path) -> None:
    watching(tmp_path)
    write(tmp_path, "a.png", png(field(3, (200, 200))))
    write(tmp_path, "b.png", png(field(3)))
    os.utime(tmp_path / "in/a.png", (OLD, OLD))  # it comes first
    script = DEADLY.format(paths=[str(Path(__file__).parent), *sys.path], folder=str(tmp_path))
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["-9", "-9", "-9", "0"], done.stderr
    assert "a.png is left out until it changes: the process ended 3 times at it" in done.stderr
    assert [row["file_name"] for row in rows(tmp_path, "images")] == ["b.png"]


def test_it_stops_between_the_tiles_of_an_image(tmp_path: Path) -> None:
    told: list[bool] = []

    def segment(images: Any, line: Any, check: Callable[[], None]) -> Any:
        told.append(True)
        check()
        raise AssertionError("it was told to stop")

    what = watching(tmp_path, model=replace(model(), segment=segment))
    write(tmp_path, "a.png", png(field(3)))
    watch(what, lambda: bool(told), 0)
    assert rows(tmp_path, "images") == []
    what = watching(tmp_path)
    watch(what, idle(what), 0)
    assert [row["cells"] for row in rows(tmp_path, "images")] == ["3"]


# ---- files that grow and change --------------------------------------------------------------------------------


def test_a_copy_with_room_taken_beforehand_waits_and_is_then_right(tmp_path: Path) -> None:
    """Its size is that of the whole from the start; where it stalls for very long, its rows are replaced."""
    what = watching(tmp_path, settle_s=0.05)
    whole = tiff(np.ascontiguousarray(field(12)[::-1]))
    half = whole[: len(whole) // 2] + bytes(len(whole) - len(whole) // 2)
    write(tmp_path, "a.tif", half)
    watch(what, idle(what, 12), 0.05)
    assert rows(tmp_path, "images") == [], "30 times as long as others"
    write(tmp_path, "b.png", png(field(5))[:100] + bytes(len(png(field(5))) - 100))
    watch(what, idle(what, 50), 0.05)
    assert [row["cells"] for row in rows(tmp_path, "images")] == ["0"], "and a PNG without its end never"
    write(tmp_path, "a.tif", whole)
    watch(what, idle(what, 12), 0.05)
    assert [(row["file_name"], row["cells"]) for row in rows(tmp_path, "images")] == [("a.tif", "12")]


def test_a_replaced_file_and_an_appended_stack_get_new_rows(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    what = watching(tmp_path, frame_hours=1.0)
    for name in ("a.tif", "b.tif"):
        write(tmp_path, name, tiff(field(3)))
    watch(what, idle(what), 0)
    before = (tmp_path / "out/growth.csv").read_bytes()
    os.utime(what.folder / "b.tif", (OLD, OLD))  # touched, but the same
    write(tmp_path, "a.tif", tiff(np.stack([field(3), field(6), field(9)])))
    with caplog.at_level("WARNING"):
        watch(what, idle(what), 0)
    warned = [record.message for record in caplog.records if record.levelname == "WARNING"]
    assert warned == ["a.tif has changed: its rows are replaced"]
    assert [(row["file_name"], row["cells"]) for row in rows(tmp_path, "images")] == [
        ("b.tif", "3"),
        ("a.tif", "3"),
        ("a.tif", "6"),
        ("a.tif", "9"),
    ]
    assert len(rows(tmp_path, "cells")) == 21
    assert len({row["image_id"] for row in rows(tmp_path, "images")}) == 4
    assert (tmp_path / "out/growth.csv").read_bytes() == before, "hours and pages are no one axis: growth waits"
    write(tmp_path, "b.tif", tiff(np.stack([field(4), field(8)])))
    watch(what, idle(what), 0)
    assert {row["time_unit"] for row in rows(tmp_path, "growth")} == {"h"}
    assert [int(row["cells"]) for row in rows(tmp_path, "images")] == [3, 6, 9, 4, 8]
    assert files_done(tmp_path) == ["a.tif", "b.tif"]


# ---- one table, one measure --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("other", "told"),
    [
        ({"pixel_size_um": 0.5}, "pixel_size_um None, not 0.5"),
        ({"frame_hours": 2.0}, "frame_hours None, not 2.0"),
        ({"pattern": re.compile("(?P<well>.)")}, r"pattern None, not \(\?P<well>\.\)"),
        ({"model": replace(model(), score_min=0.9)}, "score_min 0.5, not 0.9"),
        ({"model": model("other")}, "model squares, not other"),
        ({"model": replace(model(), digest="2")}, "digest , not 2"),
    ],
)
def test_other_settings_are_refused(tmp_path: Path, other: dict[str, Any], told: str) -> None:
    what = watching(tmp_path)
    write(tmp_path, "a.png", png(field(3)))
    watch(what, idle(what), 0)
    tables = [(tmp_path / "out" / name).read_bytes() for name in OUTPUT]
    with pytest.raises(InputError, match=told):
        watch(replace(what, **other), idle(what), 0)
    assert [(tmp_path / "out" / name).read_bytes() for name in OUTPUT] == tables


@pytest.mark.parametrize("name", OUTPUT)
def test_tables_of_others_and_a_lost_journal_stop_it(tmp_path: Path, name: str) -> None:
    what = watching(tmp_path)
    what.output.mkdir()
    (what.output / name).write_text("theirs")
    with pytest.raises(InputError, match="give an empty folder"):
        watch(what, lambda: True, 0)
    assert (what.output / name).read_text() == "theirs"


# ---- time ----------------------------------------------------------------------------------------------------------


def test_an_older_file_that_comes_late_bends_no_growth(tmp_path: Path) -> None:
    """A doubling of 24 h stays one: times are counted from the file that was done first."""
    what = watching(tmp_path)
    for number in (2, 3, 4, 5, 0, 1):
        write(tmp_path, f"t{number}.png", png(field(3 * 2**number, (400, 400))))
        os.utime(what.folder / f"t{number}.png", (OLD + 86400 * number,) * 2)
        watch(what, idle(what), 0)
    assert [float(row["time_h"]) for row in rows(tmp_path, "images")] == [0, 24, 48, 72, -48, -24]
    (fit,) = [row for row in rows(tmp_path, "growth") if row["quantity"] == "cells"]
    assert float(fit["doubling_time"]) == pytest.approx(24)
    assert "by the time of each file" in (tmp_path / "out/growth.svg").read_text()


INCUCYTE = re.compile(r"(?P<well>[A-P]\d+)_\d+_(?P<time>\d+d\d\dh\d\dm|\d{4}y\d\dm\d\dd_\d\dh\d\dm)")


def test_an_incucytes_dates_are_hours_from_the_file_that_was_done_first(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Over the end of a month, whenever the files were written, in the order in which they come, started again."""
    what = watching(tmp_path, pattern=INCUCYTE)
    for number in (1, 2, 3, 0):
        day, clock = divmod(12 * number, 24)
        date = f"2021y{('03m31d', '04m01d')[day]}_{clock:02d}h30m"
        write(tmp_path, f"VID7_A1_1_{date}.png", png(field(3 * 2**number)))
        with caplog.at_level("INFO"):
            watch(what, idle(what), 0)
    assert [float(row["time_h"]) for row in rows(tmp_path, "images")] == [0, 12, 24, -12]
    assert "times come from the date that the group `time` of --pattern finds" in caplog.text
    (fit,) = [row for row in rows(tmp_path, "growth") if row["quantity"] == "cells"]
    assert fit["time_unit"] == "h"
    assert float(fit["doubling_time"]) == pytest.approx(12)
    chart = (tmp_path / "out/growth.svg").read_text().replace("&#160;", " ")
    assert "h from 2021-03-31 12:30, by the files' names" in chart
    other = "VID7_A1_1_02d00h00m.png"
    write(tmp_path, other, png(field(3)))
    watch(what, idle(what), 0)
    assert f"{other} is left out until it changes: its time would come from the group `time`" in caplog.text
    assert len(rows(tmp_path, "images")) == 4


def test_a_clock_that_is_ahead_is_told_and_not_waited_for(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    what = watching(tmp_path, settle_s=0.2)
    write(tmp_path, "a.png", png(field(3)))
    os.utime(what.folder / "a.png", (time.time() + 3600,) * 2)
    with caplog.at_level("INFO"):
        watch(what, idle(what, 20), 0.05)
    assert [row["cells"] for row in rows(tmp_path, "images")] == ["3"]
    said = [record.message for record in caplog.records]
    assert "times come from when each file was written" in said
    assert any("its clock is ahead of this machine's" in line for line in said)


def test_two_sources_of_time_are_not_mixed(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    what = watching(tmp_path, frame_hours=1.0)
    write(tmp_path, "a.png", png(field(3)))
    watch(what, idle(what), 0)
    write(tmp_path, "stack.tif", tiff(np.stack([field(3), field(6)])))
    with caplog.at_level("WARNING"):
        watch(what, idle(what), 0)
    assert "its time would come from the number of a page in its file" in caplog.text
    assert [row["file_name"] for row in rows(tmp_path, "images")] == ["a.png"]


@pytest.mark.parametrize(
    ("name", "content", "told"),
    [
        ("A1_8h30.png", png(field(3)), "its time is '8h30'; correct the pattern so that it is"),
        ("A1_20210318.png", png(field(3)), "its time is '20210318'; correct the pattern so that it is"),
        ("A1_.png", png(field(3)), "its time is ''; correct the pattern"),
        ("A1_t3.tif", tiff(np.stack([field(3)] * 2)), "it has 2 pages, to all of which the pattern gives the time t3"),
    ],
)
def test_a_time_that_tells_nothing_is_said(
    name: str, content: bytes, told: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Growth would be empty, or all pages of one moment, without a word."""
    pattern = re.compile(r"(?P<well>[A-H]\d)_(?P<time>t\d+|8h30|\d{8})?")
    what = watching(tmp_path, pattern=pattern, frame_hours=1.0)
    write(tmp_path, "A1_t1.png", png(field(3)))
    write(tmp_path, name, content)
    with caplog.at_level("WARNING"):
        watch(what, idle(what), 0)
    assert f"{name} is left out until it changes: {told}" in caplog.text
    assert [row["file_name"] for row in rows(tmp_path, "images")] == ["A1_t1.png"]


@pytest.mark.parametrize("group", ["Well", "field"])
def test_a_group_that_nothing_reads_is_refused(group: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["watch", "--folder", "a", "--output", "b", "--pattern", rf"(?P<{group}>[A-H]\d+)_(?P<time>\d+)"])
    assert f"has the group {group}; there are line, well and time" in capsys.readouterr().err


def test_what_is_too_small_or_grows_too_large_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    what = watching(tmp_path, model=replace(model(), stride=32, enlarged=16.0))
    monkeypatch.setattr(watch_module, "_free_memory", lambda: PIXEL_BYTES * 15 * field(1).size)
    write(tmp_path, "large.png", png(field(1)))
    write(tmp_path, "small.png", png(field(1, (8, 64))))
    with caplog.at_level("WARNING"):
        watch(what, idle(what), 0)
    assert "small.png is left out until it changes: it is 64x8 px; this network needs 32" in caplog.text
    assert "large.png is left out until it changes: it, at the model's scale (4 times as wide), has" in caplog.text


def test_the_chart_of_a_plate_has_room(tmp_path: Path) -> None:
    times, cells = np.arange(4.0), [10, 20, 40, 80]
    names = [f"{row}{column}" for row in "ABCDEFGH" for column in range(1, 13)]
    plate = [
        {"cell_line": "", "well": well, "time_h": hour, "frame": math.nan, "cells": count, "confluence": 0.1}
        for well in names
        for hour, count in zip(times, cells, strict=True)
    ]
    tables = Tables(tmp_path, {}, {}, plate, 0, None)
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # matplotlib warns where axes collapse
        growth_chart.draw_growth(tables, tmp_path)
    assert "96 wells; growth.csv has the numbers" in (tmp_path / "growth.svg").read_text().replace("&#160;", " ")
