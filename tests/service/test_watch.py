"""Watch mode: complete files only, each once, whatever kills the process in between."""

from __future__ import annotations

import csv
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from monolayer.files import InputError
from monolayer.measurement import dictionary
from monolayer.service import watch as module
from monolayer.service.watch import Tables, Watching, watch
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
    import re

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
    what, content = watching(tmp_path, settle_s=1.0), tiff(field(9))
    path = tmp_path / "in/slow.tif"
    path.write_bytes(content[: len(content) // 2])
    watch(what, idle(what), 0)
    assert rows(tmp_path, "images") == []
    path.write_bytes(content)
    os.utime(path, (time.time() - 5, time.time() - 5))
    watch(what, idle(what), 0)
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


class Killed(BaseException):
    """What no handler of the program catches, as it catches no kill."""


def killed_at(number: int, patch: pytest.MonkeyPatch) -> list[str]:
    """Let call `number` of all that bring something to the disk end the program, with half of it written."""
    calls: list[str] = []
    fsync, replace = os.fsync, Path.replace

    def counted(name: str) -> bool:
        calls.append(name)
        return len(calls) - 1 == number

    def fsync_or_die(file: int) -> None:
        if counted("fsync"):
            os.ftruncate(file, os.fstat(file).st_size - 5)
            raise Killed
        fsync(file)

    def replace_or_die(path: Path, target: Path) -> Path:
        if counted(f"replace {target.name}"):
            raise Killed
        return replace(path, target)

    patch.setattr(os, "fsync", fsync_or_die)
    patch.setattr(Path, "replace", replace_or_die)
    return calls


def test_a_crash_at_any_write_costs_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def begin(name: str) -> Watching:
        (tmp_path / name).mkdir()
        what = watching(tmp_path / name)
        for number, count in enumerate(COUNTS[:3]):
            write(tmp_path / name, f"t{number}.png", png(field(count)))
            os.utime(what.folder / f"t{number}.png", (1_700_000_000 + number, 1_700_000_000 + number))
        return what

    def tables(what: Watching) -> list[bytes]:
        return [(what.output / name).read_bytes() for name in ("cells.csv", "images.csv", "done.jsonl", "growth.csv")]

    monkeypatch.setattr(module, "_chart", lambda *_: b"")  # drawn anew from the tables in any case
    unbroken = begin("unbroken")
    with monkeypatch.context() as patch:
        calls = killed_at(-1, patch)
        watch(unbroken, idle(unbroken), 0)
    assert calls.count("fsync") == 3 * 3, "both tables and the journal of each file are on the disk before the next"
    for number in range(len(calls)):
        what = begin(f"killed at {number}")
        with monkeypatch.context() as patch:
            killed_at(number, patch)
            with pytest.raises(Killed):
                watch(what, idle(what), 0)
        watch(what, idle(what), 0)
        assert tables(what) == tables(unbroken), f"killed at call {number}, {calls[number]}"


def test_a_table_that_lost_rows_is_an_error(tmp_path: Path) -> None:
    what = watching(tmp_path)
    write(tmp_path, "t.png", png(field(3)))
    watch(what, idle(what), 0)
    (tmp_path / "out/cells.csv").write_text("")
    with pytest.raises(InputError, match="shorter than"):
        Tables.open(tmp_path / "out")


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
    for name, count in names.items():
        write(tmp_path, name, png(field(count, light=250)))
    journal, kills = tmp_path / "out/done.jsonl", 0
    while not journal.exists() or len(journal.read_bytes().splitlines()) < len(names):
        done = len(journal.read_bytes().splitlines()) if journal.exists() else 0
        process = started(tmp_path)
        while not journal.exists() or len(journal.read_bytes().splitlines()) <= min(done + 7, len(names) - 1):
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
    assert [json.loads(line)["file"] for line in journal.read_text().splitlines()] == [r["file_name"] for r in images]


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
