"""The user's own files as an input of the workflow: a hash of what they hold, whatever their times."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from monolayer.files import read_json, write_json

Known = dict[str, list[Any]]  # by path: bytes, time of change in ns, hash


def content(paths: Iterable[str], cache: Path) -> dict[str, str]:
    """By path a hash of the file, or of all names and files in the folder; `missing` where there is none.

    A file is read again only if its size or time differ from what `cache`, a JSON file, says.
    """
    before: Known = read_json(cache, "a cache", "delete it") if cache.exists() else {}
    now: Known = {}
    found = {path: _hash(Path(path), before, now) for path in paths}
    if not now.items() <= before.items():
        write_json(cache, before | now)
    return found


def _hash(path: Path, before: Known, now: Known) -> str:
    if path.is_file():
        return _of_file(path, before, now)
    if not path.is_dir():
        return "missing"
    files = sorted(file for file in path.rglob("*") if file.is_file())
    every = {file.relative_to(path).as_posix(): _of_file(file, before, now) for file in files}
    return hashlib.sha256(json.dumps(every).encode()).hexdigest()[:16]


def _of_file(path: Path, before: Known, now: Known) -> str:
    stat, name = path.stat(), str(path)
    size, time, digest = before.get(name, [None, None, ""])
    if (size, time) != (stat.st_size, stat.st_mtime_ns):
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()[:16]
    now[name] = [stat.st_size, stat.st_mtime_ns, digest]
    return str(digest)
