"""Rounds of annotation: of each, data and model in DVC, and a row of what it gained in a table that git keeps."""

from __future__ import annotations

import csv
import hashlib
import logging
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any

from monolayer.files import InputError, read_json, write_csv

logger = logging.getLogger(__name__)
TABLE = "rounds.csv"
AGAIN = "run snakemake again"


def keep_round(results: Path, run: str) -> None:
    """Add data and model of a run that was held against its base to DVC, and a row to rounds.csv; git is left to you.

    `results` is the folder of the dataset. Refused where a file is newer than what was made of it.
    """
    gain = results / "metrics" / f"{run}.gain.json"
    truth, weights = results / "data" / "annotations.json", results / "models" / run / "weights.pt"
    splits = [results / "splits" / f"{name}.json" for name in ("train", "val", "test")]
    _check_order([[truth], splits, [weights], [gain]])
    verdict = read_json(gain, "what `monolayer gain` wrote", AGAIN)
    if not isinstance(verdict, dict) or "scores" not in verdict:
        raise InputError(f"{gain} is of an earlier version and has no scores; delete it and {AGAIN}")
    known = read_rounds(results / TABLE)
    sums = {"annotations": _sum(truth), "weights": _sum(weights)}
    mine = [row for row in known if row["run"] == run]
    if same := next((row for row in mine if {name: row[name] for name in sums} == sums), None):
        raise InputError(f"{results / TABLE} has this data and model as round {same['round']}; annotate more first")
    row = {"round": len(mine) + 1, "run": run, **_counts(results / "splits"), **_scores(verdict), **sums}
    with _times_kept(results / "data", weights.parent):
        _add([results / "data", weights.parent])
    write_csv(results / TABLE, [*known, row])
    kept = f"{results / 'data.dvc'} {weights.parent.with_name(f'{run}.dvc')}"
    logger.info("round %d: %s", row["round"], verdict["said"])
    logger.info("then: git add %s %s && git commit; dvc push %s", results / TABLE, kept, kept)


def read_rounds(path: Path) -> list[dict[str, Any]]:
    """The rows of rounds.csv; none where there is no such file."""
    if not path.exists():
        return []
    cure = "take it out of git again, or remove it"
    try:
        with path.open(newline="", encoding="utf-8") as file:
            rows = list(csv.DictReader(file))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"{path} is not readable as a table ({error}); {cure}") from error
    needed = {"round", "run", "annotations", "weights"}
    if any(needed - row.keys() or None in row or None in row.values() for row in rows):
        raise InputError(f"{path} is no table that keep-round wrote; {cure}")
    return rows


def _check_order(steps: Sequence[Sequence[Path]]) -> None:
    """Refuse files that are not newer than those of the step before them, of which they are made."""
    for file in (file for files in steps for file in files):
        if not file.is_file():
            raise InputError(f"{file} is missing; give the folder results/DATASET of a run with a base, or {AGAIN}")
    for files, made in pairwise(steps):
        older, newer = max(files, key=_time), min(made, key=_time)
        if _time(older) > _time(newer):
            cure = f"{AGAIN} (with --forcerun train gain, if nothing is to be done: it passes over what is the same)"
            raise InputError(f"{older} is newer than {newer}, which is made of it; {cure}")


def _time(path: Path) -> int:
    return path.stat().st_mtime_ns


def _counts(splits: Path) -> dict[str, Any]:
    """Annotated images and cells that training saw or chose by."""
    parts = [read_json(splits / f"{name}.json", "a split's truth", AGAIN) for name in ("train", "val")]
    cells = [sum(not cell["iscrowd"] for cell in part["annotations"]) for part in parts]
    return {"images": sum(len(part["images"]) for part in parts), "cells": sum(cells)}


def _scores(verdict: dict[str, Any]) -> dict[str, Any]:
    """Mask AP of base and run on test with their intervals, and the difference."""
    base, run = (verdict["scores"][verdict[name]] for name in ("base", "run"))
    return {
        "base": verdict["base"],
        **{f"base_ap{end}": base[end] for end in ("", "_low", "_high")},
        **{f"ap{end}": run[end] for end in ("", "_low", "_high")},
        "difference": verdict["difference"],
        "difference_low": verdict["low"],
        "difference_high": verdict["high"],
        "exported": str(verdict["exported"]).lower(),
        "test_images": verdict["images"],
        "test_set": verdict["test_set"],
    }


def _sum(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()[:16]


@contextmanager
def _times_kept(*folders: Path) -> Iterator[None]:
    """DVC gives files that it takes into its cache the time of now, by which Snakemake would make all anew."""
    times = {path: path.stat() for folder in folders for path in [folder, *folder.rglob("*")] if not path.is_symlink()}
    try:
        yield
    finally:
        for path, was in times.items():
            os.utime(path, ns=(was.st_atime_ns, was.st_mtime_ns))


def _add(folders: Sequence[Path]) -> None:
    from dvc.exceptions import DvcException, NotDvcRepoError, OverlappingOutputPathsError
    from dvc.repo import Repo

    logging.getLogger("dvc").setLevel(logging.WARNING)  # what to give to git is said at the end
    try:
        with Repo() as repo:
            repo.add([str(folder) for folder in folders])
    except NotDvcRepoError as error:
        raise InputError(f"{error}; run this where dvc.yaml is") from error
    except OverlappingOutputPathsError as error:
        raise InputError(f"{error}; what dvc.yaml names is kept by `monolayer record`") from error
    except DvcException as error:
        raise InputError(f"DVC does not take {' and '.join(map(str, folders))}: {error}") from error
