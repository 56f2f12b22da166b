"""Commit and versions that a result came from."""

from __future__ import annotations

import platform
import subprocess
from importlib.metadata import version
from pathlib import Path
from typing import Any


def provenance(code: Path) -> dict[str, Any]:
    """Commit that `code` lies in, whether it was changed since, and the versions of what decides the numbers.

    Tables and a dvc.lock that the workflow itself writes over change nothing that training depends on.
    """

    def git(*words: str) -> str | None:
        done = subprocess.run(["git", *words], capture_output=True, text=True, check=False, cwd=code)
        return done.stdout.strip() if done.returncode == 0 else None

    written = (":(top,exclude)results", ":(top,exclude)dvc.lock")
    changes = git("status", "--porcelain", "--untracked-files=no", "--", ":/", *written)
    return {
        "commit": git("rev-parse", "HEAD"),
        "uncommitted_changes": None if changes is None else bool(changes),
        "versions": {
            "python": platform.python_version(),
            **{name: version(name) for name in ("monolayer", "numpy", "torch", "torchvision", "ultralytics")},
        },
    }
