"""A plate while the microscope writes it: its complete files become tables and page again and again, as at the end.

Each round is the workflow's own: planned, segmented, tabulated, shown. What was found stays noted, so that a round
costs the network no more than the files that are new.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from monolayer.files import InputError
from monolayer.params.plates import PlateFinding, PlateSettings
from monolayer.plates import plan, report, segment, tabulate
from monolayer.plates.parts import PART, PARTS
from monolayer.plates.plan import read_about
from monolayer.plates.segment import UnusableImagesError
from monolayer.plates.source import check_comes_by_files
from monolayer.service.settling import FileState, Looks

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class LivePlate:
    """A folder that grows, where its results go, and how."""

    path: Path
    output: Path
    settings: PlateSettings
    threads: int

    def round(self, ready: dict[str, FileState]) -> list[str]:
        """Make tables and page of these files; gives those that can't be used, which are left out from then on."""
        plan.plan(self.path, self.settings, self.output, only=set(ready))
        count = read_about(self.output).images
        try:
            # what is noted hangs on these settings alone, as where Snakemake asks for it
            finding = PlateFinding(**self.settings.model_dump(include=set(PlateFinding.model_fields)))
            segment.segment(self.output, finding, (1, count), self.threads)
        except UnusableImagesError as error:
            logger.warning("left out until they change: %s", error)
            return error.files
        tabulate.tabulate(self.output, count, self.settings)
        report.report(self.output, self.settings, self.output / "report.html")
        for old in (self.output / PARTS).glob(f"*{PART}"):  # of fewer images: all that it has is in the new one
            if old.name != f"1-{count}{PART}":
                old.unlink()
        return []


def follow(plate: LivePlate, settle_s: float, every_s: float, stop: Callable[[], bool]) -> None:
    """Go on until `stop()`."""
    check_comes_by_files(plate.path)
    looks, done = Looks(), dict[str, FileState]()
    while not stop():
        ready = {one.name: one.state for one in looks.settled(plate.path, settle_s)}
        if not ready or ready == done:
            time.sleep(every_s)
            continue
        try:
            unusable = plate.round(ready)
        except InputError as error:  # as a plate map that names wells to come
            logger.warning("nothing new is shown until files change: %s", error)
            unusable = []
        looks.faulty |= {name: ready[name] for name in unusable}
        done = {} if unusable else ready
