"""Sections on tracks: which tracker links the cells, other settings as rows, and what mends a run's cells by time."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, NamedTuple

from pydantic import ValidationError, model_validator

from monolayer.params.section import Name, Section, faults, unset
from monolayer.params.steps import EvaluateParams, TrackParams


class TrackerParams(TrackParams):
    """What `monolayer track` is given: how cells are linked, scored and written."""

    tracker: Literal["laptrack", "motile"] = unset("laptrack")
    """What chooses the links: laptrack, frame by frame; or motile, of all frames at once (the extra `motile`)."""


class TrackedRow(NamedTuple):
    """A row of tracks.csv: whose cells, and how they are linked."""

    source: str
    settings: TrackerParams


class TrackSettings(TrackerParams):
    """Of the rows of the results table; other settings as rows besides, and runs whose cells are mended by time."""

    also: dict[Name, dict[str, Any]] = unset({})
    """Other settings of the same cells, by name, each a row {source}_{name} in tracks.csv: what differs from above."""
    mend: Literal["all"] | list[Name] = unset([])
    """all, or a list of runs, beside which stands a row {run}_mended: its cells mended by time, if val says that this
    helps."""

    @model_validator(mode="after")
    def _others_are_settings_too(self) -> TrackSettings:
        for name in self.also:
            try:
                self.of(name)
            except ValidationError as error:
                raise ValueError(f"also.{name}: {'; '.join(faults(error))}") from None
        return self

    def of(self, name: str | None = None) -> TrackerParams:
        """The settings of a row of `also`; None: the ones above."""
        own = {key: getattr(self, key) for key in TrackerParams.model_fields}
        return TrackerParams(**own | (self.also[name] if name else {}))

    def rows(self, sources: Sequence[str]) -> dict[str, TrackedRow]:
        """What is tracked of these sources of cells, by the row's name."""
        ways = [(source, way) for source in sources for way in (None, *self.also)]
        names = [f"{source}_{way}" if way else source for source, way in ways]
        if twice := next((name for name in names if names.count(name) > 1), None):
            raise ValueError(f"track.also: two rows would be called {twice}; call these settings otherwise")
        return {name: TrackedRow(source, self.of(way)) for name, (source, way) in zip(names, ways, strict=True)}

    def mends(self, run: str) -> bool:
        return self.mend == "all" or run in self.mend


class MendParams(Section):
    """What `monolayer mend-run` is given: how cells are linked, and how both ways are scored on val."""

    track: TrackerParams
    evaluate: EvaluateParams
