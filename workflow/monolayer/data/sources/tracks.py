"""True tracks: the table that the Cell Tracking Challenge calls man_track.txt, and ids that COCO annotations bear."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

from monolayer.coco.records import Annotation
from monolayer.files import InputError

TABLE = "man_track.txt"


class TrueTrack(NamedTuple):
    """A row: first and last frame, and the mother's track, 0 for none."""

    begin: int
    end: int
    parent: int


def read_tracks(path: Path) -> dict[int, TrueTrack]:
    """By the number of a track what man_track.txt says of it: number, first frame, last frame, parent."""
    try:
        rows = [line.split() for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
        numbers = [[int(word) for word in row] for row in rows]
    except (OSError, ValueError) as error:
        raise InputError(f"{path} is not readable as a table of tracks ({error}); copy it again") from error
    if bad := next((n for n, row in enumerate(numbers, start=1) if len(row) != 4 or min(row) < 0 or row[0] < 1), None):
        raise InputError(f"{path}, line {bad}: a track is four whole numbers, number, first frame, last frame, parent")
    found = {row[0]: TrueTrack(*row[1:]) for row in numbers}
    if len(found) < len(numbers):
        raise InputError(f"{path} has a track twice; give each a number of its own")
    for number, track in found.items():
        if track.parent and (track.parent not in found or found[track.parent].end >= track.begin):
            raise InputError(f"{path}: the parent {track.parent} of track {number} does not end before it; correct it")
    return found


def tracked(record: dict[str, Any], annotation: Annotation, name: str) -> Annotation:
    """The annotation with the track and the parent that its record in a COCO file names, if any."""
    for key in ("track_id", "parent_id"):
        if key in record:
            number = record[key]
            if type(number) is not int or number < (key == "track_id"):
                where = f"{name}: annotation {annotation['id']}"
                raise InputError(f"{where}: {key} is {number!r}; a track has a whole number from 1 on")
            annotation[key] = number
    return annotation


def with_parents(annotations: list[Annotation], table: Path) -> None:
    """Give annotations that bear a track, and no parent, the parent of a man_track.txt, where there is one."""
    if not any("track_id" in cell for cell in annotations) or not table.is_file():
        return
    known = read_tracks(table)
    for cell in annotations:
        if "track_id" in cell and "parent_id" not in cell:
            if cell["track_id"] not in known:
                raise InputError(f"{table} has no track {cell['track_id']}, which annotation {cell['id']} bears")
            cell["parent_id"] = known[cell["track_id"]].parent
