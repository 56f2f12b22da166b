"""What a killed run leaves: Snakemake's lock, jobs, half-written files. All of it goes once the run is seen dead."""

from __future__ import annotations

import atexit
import os
import re
import socket
from contextlib import suppress
from pathlib import Path

import psutil

RUN = "MONOLAYER_RUN"  # in the environment of a run's jobs: the run's name
HALF = re.compile(r"\..+\.(\d+)\.partial")  # files.atomic_write's; a download's has no process in its name and goes on


def release_dead(folder: Path = Path(".snakemake")) -> None:
    """Note that this run is alive; end what dead runs left, jobs and files, and remove the locks if no other is alive.

    A run is a file in `folder/alive`, named by host, process and its start, by a clock that nobody sets. Whether a
    process of another host (of a shared file system) is alive can't be seen from here: its locks stay, and `snakemake
    --unlock` is the user's call.
    """
    alive = folder / "alive"
    alive.mkdir(parents=True, exist_ok=True)
    own = alive / _name(psutil.Process())
    own.touch()
    atexit.register(own.unlink, missing_ok=True)
    os.environ[RUN] = own.name
    others = [other for other in alive.iterdir() if other != own]
    dead = [other for other in others if _is_dead(other.name)]
    for other in dead:
        _end_jobs(other.name)
    if dead:
        _remove_halves(folder.parent / "results")
    for other in dead:
        other.unlink(missing_ok=True)
    if list(alive.iterdir()) == [own]:
        for lock in (folder / "locks").glob("*"):
            lock.unlink(missing_ok=True)


def _name(process: psutil.Process) -> str:
    start = process.create_time()
    if psutil.LINUX:  # which counts from a boot whose time moves when the clock is set: a living run would look dead
        start -= psutil.boot_time()
    return f"{socket.gethostname()},{process.pid},{start:.2f}"


def _is_dead(run: str) -> bool:
    host, pid, _ = run.rsplit(",", 2)
    if host != socket.gethostname():
        return False
    try:
        return _name(psutil.Process(int(pid))) != run
    except psutil.NoSuchProcess:
        return True


def _end_jobs(run: str) -> None:
    """Kill what a dead run's jobs still do: they would write beside the jobs of this one."""
    left = []
    psutil.process_iter.cache_clear()  # whose processes are refused to be killed where another has their number by now
    for process in psutil.process_iter():
        with suppress(psutil.Error):  # another user's, or gone by now
            if process.environ().get(RUN) == run:
                process.kill()
                left.append(process)
    psutil.wait_procs(left, timeout=60)


def _remove_halves(results: Path) -> None:
    """Remove the files that a process which is gone was writing."""
    for file in results.rglob(".*.partial"):
        found = HALF.fullmatch(file.name)
        if found and _is_gone(int(found[1])):
            file.unlink(missing_ok=True)


def _is_gone(pid: int) -> bool:
    try:
        status: str = psutil.Process(pid).status()
    except psutil.NoSuchProcess:
        return True
    return status in (psutil.STATUS_ZOMBIE, psutil.STATUS_DEAD)  # ended, and not yet taken off the list
