"""Other programs see in our files what we meant, as docs/other-programs.md says."""

from __future__ import annotations

import shutil
from pathlib import Path

import other_programs
import pytest
from other_programs import IMAGEJ, JAR, MEETINGS, Meeting

WITHOUT_IMAGEJ = pytest.mark.skipif(
    not JAR.exists() or shutil.which("javac") is None,
    reason="ImageJ is not installed: apt-get install imagej default-jdk-headless",
)


def with_mark(meeting: Meeting) -> object:
    marks = [WITHOUT_IMAGEJ] if meeting.program == IMAGEJ else [pytest.mark.slow] if meeting.isolated else []
    return pytest.param(meeting, marks=marks, id=f"{meeting.file} in {meeting.program}")


@pytest.mark.parametrize("meeting", [with_mark(meeting) for meeting in MEETINGS])
def test_meetings(meeting: Meeting, tmp_path: Path) -> None:
    meeting.check(tmp_path)


@WITHOUT_IMAGEJ
def test_shapes_in_imagej(tmp_path: Path) -> None:
    other_programs.shapes_in_imagej(tmp_path)
