"""A lock goes with its holder and what the holder started, and only then."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
from monolayer.provenance import dead_runs

HOLD = """
import subprocess, sys, time
from pathlib import Path
from monolayer.provenance import dead_runs
folder = Path(sys.argv[1])
dead_runs.release_dead(folder)
(folder / "locks").mkdir(exist_ok=True)
(folder / "locks/0.input.lock").write_text("data.csv")
job = subprocess.Popen(["sleep", "600"])
print(job.pid, flush=True)
time.sleep(600)
"""


def hold(folder: Path) -> tuple[subprocess.Popen[str], psutil.Process]:
    """A process that holds the folder's lock as a run of Snakemake does, and a job of its."""
    running = subprocess.Popen([sys.executable, "-c", HOLD, str(folder)], stdout=subprocess.PIPE, text=True)
    assert running.stdout is not None
    job = psutil.Process(int(running.stdout.readline()))
    while dead_runs.RUN not in job.environ():  # it may still be becoming `sleep`, of which nobody can tell the run
        time.sleep(0.01)
    return running, job


def test_the_lock_of_a_killed_run_goes(tmp_path: Path) -> None:
    running, job = hold(tmp_path)
    dead_runs.release_dead(tmp_path)
    assert (tmp_path / "locks/0.input.lock").exists(), "its holder is alive"
    assert job.is_running()
    running.send_signal(signal.SIGKILL)
    running.wait()
    assert job.is_running(), "kill -9 reaches the holder alone"
    dead_runs.release_dead(tmp_path)
    assert not (tmp_path / "locks/0.input.lock").exists()
    assert not job.is_running() or job.status() == psutil.STATUS_ZOMBIE
    assert [file.name.split(",")[1] for file in (tmp_path / "alive").iterdir()] == [str(os.getpid())]


def test_a_run_is_alive_when_the_clock_was_set(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Linux gives the time of boot by today's clock, and psutil adds a process's start to it."""
    if not psutil.LINUX:
        pytest.skip("the start of a process is given otherwise here")
    running, job = hold(tmp_path)
    boot, started = psutil.boot_time(), psutil.Process.create_time
    monkeypatch.setattr(psutil, "boot_time", lambda: boot + 3600)
    monkeypatch.setattr(psutil.Process, "create_time", lambda process: started(process) + 3600)
    dead_runs.release_dead(tmp_path)
    alive = job.is_running()
    running.kill()
    running.wait()
    job.kill()
    assert alive
    assert (tmp_path / "locks/0.input.lock").exists()


def test_what_a_killed_run_was_writing_goes(tmp_path: Path) -> None:
    snakemake, cells = tmp_path / ".snakemake", tmp_path / "results/own/cells"
    cells.mkdir(parents=True)
    running, job = hold(snakemake)
    half, others = cells / f".cells.csv.{job.pid}.partial", cells / f".cells.csv.{os.getpid()}.partial"
    download, whole = cells / "images.zip.partial", cells / "cells.csv"
    for file in (half, others, download, whole):
        file.touch()
    dead_runs.release_dead(snakemake)
    assert half.exists(), "its run is alive"
    running.send_signal(signal.SIGKILL)
    running.wait()
    dead_runs.release_dead(snakemake)
    assert sorted(cells.iterdir()) == sorted([others, download, whole])


def test_a_job_whose_number_another_process_had_is_ended(tmp_path: Path) -> None:
    """Of an earlier look at all processes, which knows that number as another's."""
    last = Path("/proc/sys/kernel/ns_last_pid")
    if not os.access(last, os.W_OK):
        pytest.skip("can't choose the number of a process here (needs root)")
    earlier = subprocess.Popen(["sleep", "600"])
    dead_runs.release_dead(tmp_path)
    (own,) = (tmp_path / "alive").iterdir()
    dead = own.with_name(f"{own.name}0")
    dead.touch()
    list(psutil.process_iter())
    earlier.kill()
    earlier.wait()
    time.sleep(0.1)  # a process's start is known to a hundredth of a second
    for _ in range(100):  # other processes begin, too
        last.write_text(str(earlier.pid - 1))
        job = subprocess.Popen(["sleep", "600"], env=os.environ | {dead_runs.RUN: dead.name})
        if job.pid == earlier.pid:
            break
        job.kill()
        job.wait()
    dead_runs.release_dead(tmp_path)
    left = psutil.pid_exists(job.pid)
    job.kill()
    if job.pid != earlier.pid:
        pytest.skip("a process of somebody else took the number, and keeps it")
    assert not left


def test_the_lock_of_another_host_stays(tmp_path: Path) -> None:
    (tmp_path / "locks").mkdir()
    (tmp_path / "locks/0.input.lock").touch()
    (tmp_path / "alive").mkdir()
    (tmp_path / "alive/node17,4242,1700000000.00").touch()
    dead_runs.release_dead(tmp_path)
    assert (tmp_path / "locks/0.input.lock").exists()


def test_a_number_used_again_is_no_holder(tmp_path: Path) -> None:
    """The process of that number is not the one that held the lock."""
    dead_runs.release_dead(tmp_path)
    (own,) = (tmp_path / "alive").iterdir()
    own.rename(own.with_name(f"{own.name}0"))
    (tmp_path / "locks").mkdir()
    (tmp_path / "locks/0.input.lock").touch()
    dead_runs.release_dead(tmp_path)
    assert not (tmp_path / "locks/0.input.lock").exists()
