"""Sections on tracks: what stands in params.yaml besides what `track` is given, and what mends a run's cells."""

from __future__ import annotations

from typing import Literal

from monolayer.params.section import Name, Section, unset
from monolayer.params.steps import EvaluateParams, TrackParams


class TrackSettings(TrackParams):
    """How cells are linked, scored and written; and of which runs they are mended by time."""

    mend: Literal["all"] | list[Name] = unset([])
    """all, or a list of runs, beside which stands a row {run}_mended: its cells mended by time, if val says that this
    helps."""

    def mends(self, run: str) -> bool:
        return self.mend == "all" or run in self.mend


class MendParams(Section):
    """What `monolayer mend-run` is given: how cells are linked, and how both ways are scored on val."""

    track: TrackParams
    evaluate: EvaluateParams
