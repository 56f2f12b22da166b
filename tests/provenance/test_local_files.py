"""A hash of the user's files follows what they hold, not when they were touched."""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import pytest
from monolayer.provenance.local_files import content


@pytest.fixture
def own(tmp_path: Path) -> Path:
    (tmp_path / "own" / "plate").mkdir(parents=True)
    (tmp_path / "own" / "truth.json").write_text("{}")
    (tmp_path / "own" / "plate" / "a.png").write_bytes(b"aaaa")
    return tmp_path / "own"


def test_every_change_of_content_is_seen(own: Path, tmp_path: Path) -> None:
    asked, cache = [str(own / "truth.json"), str(own / "plate"), str(own / "not there")], tmp_path / "cache.json"
    states = [content(asked, cache)]
    assert states[0][str(own / "not there")] == "missing"
    image = own / "plate" / "a.png"
    changes: list[Callable[[], object]] = [
        lambda: image.write_bytes(b"aaab"),
        lambda: image.rename(own / "plate" / "b.png"),
        lambda: (own / "plate" / "c.png").write_bytes(b"c"),
        (own / "plate" / "c.png").unlink,
        lambda: (own / "truth.json").write_text("[]"),
    ]
    for change in changes:
        before = image.stat().st_mtime_ns if image.exists() else 0
        change()
        if image.exists():
            os.utime(image, ns=(before + 1, before + 1))  # clocks are coarse
        states.append(content(asked, cache))
    assert [a != b for a, b in pairwise(states)] == [True] * 5
    assert states[3][str(own / "plate")] != states[2][str(own / "plate")]


def test_times_do_not_count_and_unchanged_files_are_not_read_again(
    own: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache = tmp_path / "cache.json"
    first = content([str(own)], cache)
    os.utime(own / "truth.json", ns=(1, 1))
    assert content([str(own)], cache) == first
    monkeypatch.setattr(hashlib, "file_digest", None)
    assert content([str(own)], cache) == first
    monkeypatch.undo()
    copied = Path(shutil.copytree(own, tmp_path / "copy"))
    assert list(content([str(copied)], cache).values()) == list(first.values())
