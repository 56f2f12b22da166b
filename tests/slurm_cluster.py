"""A Slurm cluster of one machine with two GPUs in name only: `python tests/slurm_cluster.py` as root, Ctrl-C ends it.

Debian: apt-get install --no-install-recommends slurm-wlm slurm-wlm-basic-plugins slurmctld slurmd munge
"""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch", "srun", "scancel", "sinfo")
CONFIG = Path("/etc/slurm")  # the only place where jobs find it: Snakemake's plugin removes SLURM_CONF from them
MARK = "ClusterName=monolayer-test"
# No cgroups (containers have none to give), no accounting. The node claims more than the machine has, so that the
# profile's requests fit; nothing here enforces them.
SLURM = """\
{mark}
SlurmctldHost={host}(127.0.0.1)
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
CredType=cred/munge
AuthInfo=socket={folder}/munge.socket
SlurmctldPort=16817
SlurmdPort=16818
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.log
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
SlurmdParameters=config_overrides
SchedulerParameters=sched_min_interval=100000,bf_interval=2
MpiDefault=none
ReturnToService=2
MinJobAge=86400
KillWait=2
GresTypes=gpu
AccountingStorageType=accounting_storage/none
NodeName={host} NodeAddr=127.0.0.1 CPUs=32 RealMemory=256000 Gres=gpu:2 State=UNKNOWN
PartitionName=cpu Nodes={host} Default=YES MaxTime=1-0 State=UP
PartitionName=gpu Nodes={host} MaxTime=2-0 State=UP
"""


def missing() -> list[str]:
    """What this machine lacks for a cluster."""
    places = f"{os.environ['PATH']}:/usr/sbin:/sbin"
    lacking = [name for name in PROGRAMS if shutil.which(name, path=places) is None]
    if os.getuid() != 0:
        lacking.append("root")
    if (file := CONFIG / "slurm.conf").exists() and MARK not in file.read_text():
        lacking.append(f"a free {file} (there is one of a real cluster)")
    return lacking


@contextmanager
def cluster() -> Iterator[Path]:
    """Start munged, slurmctld and slurmd, wait until the node is idle, stop them at the end; gives their log folder."""
    with tempfile.TemporaryDirectory(prefix="slurm-") as name:
        folder = Path(name)
        folder.chmod(0o755)
        _configure(folder)
        running = [
            _start(folder, "munged", "--foreground", "--force", *_munge_options(folder)),
            _start(folder, "slurmctld", "-D", "-c"),
            _start(folder, "slurmd", "-D", "-c"),
        ]
        try:
            _wait_until_idle(folder, running)
            yield folder
        finally:
            for process in reversed(running):
                process.send_signal(signal.SIGTERM)
                try:
                    process.wait(20)
                except subprocess.TimeoutExpired:
                    process.kill()
            for file in ("slurm.conf", "gres.conf"):
                (CONFIG / file).unlink(missing_ok=True)


def _configure(folder: Path) -> None:
    host = socket.gethostname().split(".")[0]
    for number in range(2):  # gres.conf with Count= alone drains the node: GPUs are files
        subprocess.run(["mknod", str(folder / f"gpu{number}"), "c", "1", "3"], check=True)
    CONFIG.mkdir(exist_ok=True)
    (CONFIG / "slurm.conf").write_text(SLURM.format(mark=MARK, host=host, folder=folder))
    (CONFIG / "gres.conf").write_text(f"NodeName={host} Name=gpu File={folder}/gpu[0-1]\n")
    (folder / "munge.key").write_bytes(os.urandom(128))
    (folder / "munge.key").chmod(0o400)


def _munge_options(folder: Path) -> list[str]:
    files = {"key-file": "munge.key", "socket": "munge.socket", "pid-file": "munge.pid"}
    files |= {"log-file": "munge.log", "seed-file": "munge.seed"}
    return [f"--{option}={folder / file}" for option, file in files.items()]


def _start(folder: Path, program: str, *words: str) -> subprocess.Popen[bytes]:
    path = shutil.which(program, path=f"{os.environ['PATH']}:/usr/sbin:/sbin")
    assert path is not None
    with (folder / f"{program}.out").open("wb") as out:
        started = subprocess.Popen([path, *words], stdout=out, stderr=out)
    if program == "munged":  # the others fail at once without it
        _wait((folder / "munge.socket").exists, folder, "munged")
    return started


def _wait(done: Callable[[], bool], folder: Path, what: str, seconds: float = 60) -> None:
    until = time.monotonic() + seconds
    while not done():
        if time.monotonic() > until:
            logs = "\n".join(
                f"{f.name}: {f.read_text()[-1000:]}" for f in (*folder.glob("*.out"), *folder.glob("*.log"))
            )
            raise TimeoutError(f"{what} did not come up in {seconds:.0f} s:\n{logs}")
        time.sleep(0.2)


def _wait_until_idle(folder: Path, running: list[subprocess.Popen[bytes]]) -> None:
    def idle() -> bool:
        for process in running:
            if process.poll() is not None:
                raise RuntimeError(f"{process.args!r} ended: {[f.read_text()[-500:] for f in folder.glob('*.out')]}")
        command = ["timeout", "5", "sinfo", "-h", "-o", "%T"]
        states = subprocess.run(command, capture_output=True, text=True, check=False).stdout.split()
        return bool(states) and set(states) == {"idle"}

    _wait(idle, folder, "the node")


def main() -> None:
    if lacking := missing():
        raise SystemExit(f"this machine lacks {', '.join(lacking)}")
    with cluster() as folder:
        print(subprocess.run(["sinfo", "-l"], capture_output=True, text=True, check=True).stdout)
        print(f"logs in {folder}; Ctrl-C ends it")
        with suppress(KeyboardInterrupt):
            signal.pause()


if __name__ == "__main__":
    main()
