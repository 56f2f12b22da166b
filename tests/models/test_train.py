"""What a training says of the code that it ran with."""

from __future__ import annotations

import subprocess
from pathlib import Path

from monolayer.provenance.commit import provenance


def test_tables_that_the_workflow_writes_over_are_no_changes_of_its_code(tmp_path: Path) -> None:
    code, scores, lock = tmp_path / "workflow/train.py", tmp_path / "results/demo/metrics.csv", tmp_path / "dvc.lock"
    for file in (code, scores, lock):
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text("before")
    user = ("-c", "user.name=test", "-c", "user.email=test@localhost")
    for words in (("init", "-q"), ("add", "-A"), (*user, "commit", "-q", "-m", "all")):
        subprocess.run(["git", *words], cwd=tmp_path, check=True)
    for file in (scores, lock):
        file.write_text("after")
    assert provenance(code.parent)["uncommitted_changes"] is False
    assert len(provenance(code.parent)["commit"]) == 40
    code.write_text("after")
    assert provenance(code.parent)["uncommitted_changes"] is True


def test_code_outside_of_git_has_no_commit(tmp_path: Path) -> None:
    found = provenance(tmp_path)
    assert (found["commit"], found["uncommitted_changes"]) == (None, None)
