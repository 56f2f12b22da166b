"""The proof that this commit makes its results again: a clone, a new run, and a verdict for each recorded file."""

from __future__ import annotations

import logging
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from monolayer.files import InputError

logger = logging.getLogger(__name__)
TIMED = re.compile(r"/(run\.json|card\.md|report\.html|benchmark/[^/]*)$")  # they tell dates and durations


def reproduce(folder: Path | None, cores: str) -> None:
    """Run the current commit anew in an empty `folder` (None: a temporary one) and compare with its dvc.lock.

    Raises InputError if a file differs. On one machine none does; on another the last digits of sums may.
    """
    with tempfile.TemporaryDirectory(prefix="monolayer-") as temporary:
        clone = Path(temporary) / "clone" if folder is None else folder
        commit = _run(Path.cwd(), "git", "rev-parse", "--short", "HEAD").strip()
        _run(Path.cwd(), "git", "clone", "--quiet", str(Path.cwd()), str(clone))
        if not (clone / "dvc.lock").exists():
            raise InputError("this commit has no dvc.lock; run snakemake and `monolayer record`, and commit them")
        logger.info("running commit %s anew in %s", commit, clone)
        _run(clone, sys.executable, "-m", "snakemake", "--cores", cores, shown=True)
        verdicts = compare(clone)
    for path, verdict in verdicts.items():
        logger.info("%-10s %s", verdict, path)
    different = [path for path, verdict in verdicts.items() if verdict in ("differs", "missing")]
    if different:
        raise InputError(f"{len(different)} of {len(verdicts)} files are not as commit {commit} recorded them")
    logger.info("every file is as commit %s recorded it", commit)


def compare(clone: Path) -> dict[str, str]:
    """For each path that dvc.lock records: `identical`, `differs` or `missing`; or what can't be the same.

    `timed` tells dates or durations. `rebuilt` is a folder with engines, in which TensorRT numbers its tensors anew.
    """
    from dvc.repo import Repo

    with Repo(str(clone)) as repo:
        return {out.def_path: _verdict(out) for out in repo.index.outs}


def _verdict(out: Any) -> str:
    if not out.exists:
        return "missing"
    if TIMED.search(out.def_path):
        return "timed"
    if any(Path(out.fs_path).glob("*.engine")):
        return "rebuilt"
    return "differs" if out.changed_checksum() else "identical"


def _run(folder: Path, *words: str, shown: bool = False) -> str:
    """What a command prints there, with the package of that folder; a command that fails is an error."""
    variables = {**os.environ, "PYTHONPATH": str(folder / "workflow")}
    output = None if shown else subprocess.PIPE
    done = subprocess.run(words, cwd=folder, stdout=output, stderr=output, text=True, check=False, env=variables)
    if done.returncode != 0:
        shown_words = " ".join(words[:6])
        raise InputError(f"`{shown_words}` failed in {folder}\n{(done.stderr or '').strip()[-2000:]}")
    return done.stdout or ""
