"""Whatever breaks a run (kill -9, a full or read-only disk), the same command goes on and ends with the same bytes."""

from __future__ import annotations

import itertools
import os
import random
import re
import shutil
import signal
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from checkouts import Checkout, contents

pytestmark = pytest.mark.workflow
COMMAND = ("snakemake", "--cores", "2")
RULES = (
    *("download", "audit", "split", "train", "predict", "evaluate", "measure"),
    *("track", "compare_tracks"),
    *("compare", "export", "card", "benchmark", "report"),
)
SEEDS = 24


@contextmanager
def small_disk(folder: Path, size: str) -> Iterator[None]:
    """A file system of that size at `folder`; `remount` changes it."""
    folder.mkdir(parents=True)
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(folder)], check=False)
    if mounted.returncode != 0:
        pytest.skip("can't mount a file system here (needs root)")
    try:
        yield
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


def remount(folder: Path, options: str) -> None:
    subprocess.run(["mount", "-o", f"remount,{options}", str(folder)], check=True)


def test_a_full_disk_and_a_read_only_one(origin: Checkout, unbroken: Checkout, tmp_path: Path) -> None:
    checkout = origin.clone(tmp_path / "checkout")
    results = checkout.folder / "results"
    room = sum(map(len, contents(unbroken).values())) // 2048  # KiB: half of what it needs
    with small_disk(results, f"{room}k"):
        done = checkout.snakemake(check=False)
        assert done.returncode != 0
        assert "No space left on device" in done.stderr
        assert "free some space and give the same command again" in done.stderr
        whole = contents(checkout)
        assert whole.items() <= contents(unbroken).items(), "what is there is complete"
        remount(results, "size=200m,ro")
        done = checkout.snakemake(check=False)
        assert done.returncode != 0
        assert "Read-only file system" in done.stderr
        assert contents(checkout) == whole
        remount(results, "size=200m,rw")
        checkout.snakemake()
        assert contents(checkout) == contents(unbroken)
        assert checkout.nothing_to_do()


# ---- kill -9 ----------------------------------------------------------------------------------------------


class Run:
    """The workflow as a process of its own; what it prints tells which job starts when."""

    def __init__(self, checkout: Checkout) -> None:
        self.process = subprocess.Popen(
            COMMAND,
            cwd=checkout.folder,
            env=checkout.environment(),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        self.starts: list[tuple[str, float]] = []
        self.text: list[str] = []
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        assert self.process.stderr is not None
        for line in self.process.stderr:
            self.text.append(line)
            if match := re.match(r"(?:local)?rule (\w+):", line):
                self.starts.append((match[1], time.monotonic()))

    def wait_for(self, rules: tuple[str, ...]) -> bool:
        """Wait until a job of one of the rules starts; False if the run ends first."""
        while not any(rule in rules for rule, _ in self.starts):
            if self.process.poll() is not None:
                return False
            time.sleep(0.01)
        return True

    def kill(self, everything: bool) -> None:
        """kill -9 of Snakemake and its jobs, or of Snakemake alone."""
        if everything:
            os.killpg(self.process.pid, signal.SIGKILL)
        else:
            self.process.kill()
        self.process.wait()


def durations(checkout: Checkout) -> dict[str, float]:
    """Seconds from the start of a rule's job to that of the next, in one unbroken run."""
    run = Run(checkout)
    assert run.process.wait() == 0, "".join(run.text)
    starts = [*run.starts, ("", time.monotonic())]
    return {rule: max(after - start, 0.1) for (rule, start), (_, after) in itertools.pairwise(starts)}


@pytest.mark.slow
@pytest.mark.timeout(7200)
def test_kills(origin: Checkout, unbroken: Checkout, tmp_path: Path) -> None:
    """Each seed kills the same checkout in another stage, at a random moment; odd ones leave the jobs as orphans."""
    seconds = durations(origin.clone(tmp_path / "timed"))
    checkout = origin.clone(tmp_path / "checkout")
    kills = list[str]()
    attempts = itertools.count()  # one that comes too late, say on a machine that has become faster, is no kill
    while len(kills) < SEEDS:
        chosen = random.Random(next(attempts))
        at = len(kills) * len(RULES) // SEEDS
        run = Run(checkout)
        if run.wait_for(RULES[at:]):
            rule = run.starts[-1][0]
            time.sleep(chosen.uniform(0, seconds[rule]))
        if run.process.poll() is None:
            run.kill(everything=len(kills) % 2 == 0)
            kills.append(run.starts[-1][0])
            print(f"kill {len(kills)} in {kills[-1]}")
        else:
            assert run.process.returncode == 0, "".join(run.text[-100:])
            shutil.rmtree(checkout.folder / "results")
    checkout.snakemake()
    assert contents(checkout) == contents(unbroken)
    assert checkout.nothing_to_do()
    assert not list((checkout.folder / "results").rglob("*.partial"))
    assert set(kills) <= set(RULES)
    assert len(set(kills)) >= len(RULES) // 2, kills  # which of the later ones starts first differs
