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
from functools import partial
from pathlib import Path

import pytest
from checkouts import Checkout, contents, copy_of

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
            # that of a terminal, also where the tests run in the background, which ignores it
            preexec_fn=partial(signal.signal, signal.SIGINT, signal.SIG_DFL),  # noqa: PLW1509, no thread runs here
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


def without(unbroken: Checkout, folder: Path, *results: str) -> Checkout:
    """A finished checkout that lacks these results."""
    checkout = copy_of(unbroken, folder)
    for pattern in results:
        found = list((checkout.folder / "results/own").glob(pattern))
        assert found, f"no {pattern}"
        for path in found:
            shutil.rmtree(path) if path.is_dir() else path.unlink()
    return checkout


def ends_as(unbroken: Checkout, checkout: Checkout) -> None:
    """The same command ends with the bytes of an unbroken run, and has then nothing to do, by contents."""
    checkout.snakemake()
    assert contents(checkout) == contents(unbroken)
    done = checkout.snakemake("--dry-run")
    assert "Nothing to be done" in done.stdout + done.stderr


def test_a_result_that_was_deleted_by_hand_comes_back(unbroken: Checkout, tmp_path: Path) -> None:
    """What the report shows by the same command; what that was made of by its name, which `record` asks for."""
    shown = ("metrics.csv", "tracks.csv", "tracks/unet1/*.parquet")
    ends_as(unbroken, without(unbroken, tmp_path / "shown", *shown))
    checkout = without(unbroken, tmp_path / "behind", "metrics/unet1.json")
    scores = "results/own/metrics/unet1.json"
    refused = checkout.run("monolayer", "record", check=False)
    assert refused.returncode == 1
    assert f"{scores} is missing; make it again: snakemake --cores all -- {scores}" in refused.stderr
    checkout.snakemake("--", scores)
    ends_as(unbroken, checkout)


@pytest.mark.parametrize("hours", [-30, 30])
def test_a_clock_that_was_wrong_changes_no_result(unbroken: Checkout, tmp_path: Path, hours: int) -> None:
    """Half of the results bear times of a clock that was so far ahead, or behind."""
    checkout = copy_of(unbroken, tmp_path)
    for path in sorted((checkout.folder / "results/own").rglob("*"))[::2]:
        status = path.stat()
        os.utime(path, (status.st_atime + 3600 * hours, status.st_mtime + 3600 * hours))
    ends_as(unbroken, checkout)


def test_two_runs_in_one_checkout_and_an_interrupt_in_training(unbroken: Checkout, tmp_path: Path) -> None:
    """The second run is refused and says why; Ctrl-C ends the first without a traceback, and the next goes on."""
    checkout = without(unbroken, tmp_path, "models/*", "report.html")
    run = Run(checkout)
    while not any(line.startswith("epoch 1 of") for line in run.text):
        assert run.process.poll() is None, "".join(run.text)
        time.sleep(0.01)
    os.killpg(run.process.pid, signal.SIGSTOP)  # the training would be over before the second run has begun
    second = checkout.snakemake(check=False)
    assert second.returncode != 0
    assert "locked" in (second.stderr + second.stdout).lower()
    for sign in (signal.SIGCONT, signal.SIGINT):
        os.killpg(run.process.pid, sign)
    run.process.wait(400)
    assert run.process.returncode != 0, "".join(run.text)
    assert "Traceback" not in "".join(run.text), "".join(run.text)
    ends_as(unbroken, checkout)


def test_results_on_another_file_system(unbroken: Checkout, origin: Checkout, tmp_path: Path) -> None:
    """No step renames from one file system to another."""
    checkout = origin.clone(tmp_path / "checkout")
    with small_disk(checkout.folder / "results", "200m"):
        ends_as(unbroken, checkout)


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
