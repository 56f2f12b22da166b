"""Whatever write fails on a plate's way, by a kill or a full disk, the same commands end as an unbroken run does."""

from __future__ import annotations

from pathlib import Path

import faults
import plate_samples as made
import pytest
from monolayer.plates import plan, segment, tabulate


@pytest.mark.slow
def test_a_fault_at_any_write_leaves_what_the_same_commands_mend(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scans = made.incucyte(tmp_path / "VID7", wells=1, fields=1, times=2)

    def run(output: Path) -> None:
        plan.plan(scans, made.reading(), output)
        for shard in ((1, 1), (2, 2)):
            segment.segment(output, made.finding(), shard, 1)
        tabulate.tabulate(output, 1, made.settings())

    count = faults.hold(run, tmp_path / "faults", monkeypatch)
    print(f"\nplates: {count} writes, each failed twice")
