"""A real Slurm on this machine runs the workflow with the slurm profile; its training is killed twice."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import slurm_cluster
import yaml
from checkouts import make_checkout
from culture import Culture
from paths import ROOT
from plate_samples import contents, incucyte

PROFILE = yaml.safe_load((ROOT / "profiles/slurm/config.yaml").read_text())
FAST = ("--slurm-status-command", "squeue", "--slurm-init-seconds-before-status-checks", "1", "--latency-wait", "10")
TABLES = ("metrics.csv", "pairs.csv", "models/unet1/history.csv", "models/unet1/weights.pt", "metrics/unet1.json")


# Prints each rule of the Snakefile, and whether it runs where Snakemake was started.
RULES = """
import contextlib, io, sys
from snakemake.cli import main
from snakemake.workflow import Workflow

made, execute = [], Workflow.execute
Workflow.execute = lambda self, *given, **named: [made.append(self), execute(self, *given, **named)][1]
with contextlib.suppress(SystemExit), contextlib.redirect_stdout(io.StringIO()):
    words = ["--workflow-profile", "profiles/slurm", "--runtime-source-cache-path", sys.argv[1]]
    main([*words, "--dry-run", "--quiet", "all"])
Workflow.local_exec = False  # as it is in a run, but not in a dry run
for rule in made[0].rules:
    print(rule.name, made[0].is_local(rule))
"""


@pytest.fixture(scope="module")
def local(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bool]:
    """All rules, and whether they are local ones where the profile's executor runs the others."""
    fresh = str(tmp_path_factory.mktemp("sources"))  # else Snakemake reads the rules as they once were
    done = subprocess.run([sys.executable, "-c", RULES, fresh], cwd=ROOT, capture_output=True, text=True, check=True)
    return {name: is_local == "True" for name, is_local in map(str.split, done.stdout.splitlines())}


@pytest.mark.workflow
def test_the_profile_names_rules_that_exist(local: dict[str, bool]) -> None:
    named = {*PROFILE["set-resources"], *PROFILE["set-threads"], *PROFILE["groups"]}
    assert named <= set(local), f"no such rules: {sorted(named - set(local))}"


def test_the_profile_stays_in_the_working_directory() -> None:
    assert not [value for value in PROFILE.values() if str(value).startswith(("/", "~", "$"))]


@pytest.mark.workflow
def test_what_needs_the_network_stays_on_this_machine(local: dict[str, bool]) -> None:
    assert {name for name, is_local in local.items() if is_local} == {"all", "download"}


@pytest.fixture(scope="module")
def slurm() -> Iterator[Path]:
    if lacking := slurm_cluster.missing():
        pytest.skip(f"no cluster here: this machine lacks {', '.join(lacking)}")
    with slurm_cluster.cluster() as folder:
        yield folder


def slurm_jobs() -> list[dict[str, str]]:
    """Every job that the cluster still remembers, oldest first."""
    text = subprocess.run(["scontrol", "-o", "show", "job"], capture_output=True, text=True, check=True).stdout
    jobs = [dict(re.findall(r"(\w+)=(\S*)", line)) for line in text.splitlines() if "JobId=" in line]
    return sorted(jobs, key=lambda job: int(job["JobId"]))


def of_rule(name: str) -> list[dict[str, str]]:
    return [job for job in slurm_jobs() if name in job["Comment"]]


def wait_for(done: Callable[[], bool], running: subprocess.Popen[bytes]) -> None:
    while not done():
        assert running.poll() is None, "the workflow ended before"
        time.sleep(0.1)


@pytest.mark.slow
@pytest.mark.slurm
@pytest.mark.workflow
@pytest.mark.timeout(1800)
def test_a_killed_training_is_retried_and_goes_on(slurm: Path, culture: Culture, tmp_path: Path) -> None:
    """scancel, then the time limit: three attempts, each with more memory and from the last checkpoint."""
    checkout = make_checkout(tmp_path / "checkout", culture)
    params = checkout.params()
    train = params["models"]["unet"]["quick"]["train"]
    train["patches"] = 32
    train["fit"] |= {"epochs": 2000, "patience": 2000}  # Slurm looks at the time limit every 30 s
    checkout.set_params(params)
    checkout.commit("a longer training")
    alone = checkout.clone(tmp_path / "alone")
    alone.snakemake("--", "results/own/metrics.csv")
    (tmp_path / "home").mkdir()
    command = ["snakemake", "--workflow-profile", "profiles/slurm", *FAST]
    environment = checkout.environment(HOME=str(tmp_path / "home"))
    results = checkout.folder / "results/own"
    with (tmp_path / "log").open("wb") as log:
        running = subprocess.Popen(command, cwd=checkout.folder, env=environment, stdout=log, stderr=log)
        try:
            for attempt, kill in enumerate((scancel, let_time_run_out), start=1):
                wait_for(lambda n=attempt: len(of_rule("train")) == n, running)  # type: ignore[misc]
                before = last_write(results)
                wait_for(lambda t=before: last_write(results) > t, running)  # type: ignore[misc]
                kill(of_rule("train")[-1]["JobId"])
            assert running.wait(900) == 0, (tmp_path / "log").read_text()[-4000:]
        finally:
            running.kill()
    trained = of_rule("train")
    assert [job["JobState"] for job in trained] == ["CANCELLED", "TIMEOUT", "COMPLETED"]
    assert [job["Partition"] for job in trained] == ["gpu"] * 3
    assert [job["TresPerJob"] for job in trained] == ["gres:gpu:1"] * 3
    assert [memory(job) for job in trained] == [32000, 64000, 96000]
    assert "going on after epoch" in (results / "logs/train/unet1.log").read_text()
    others = [job for job in slurm_jobs() if job not in trained]
    assert {job["JobState"] for job in others} == {"COMPLETED"}
    assert len(others) == 4, "audit and split; predictions and scores; speed; table and page: a job for each group"
    for table in TABLES:
        assert (results / table).read_bytes() == (alone.folder / "results/own" / table).read_bytes(), table
    assert (results / "report.html").exists()
    written = [path for path in (tmp_path / "home").rglob("*") if path.is_file()]
    assert not written, "nothing is written to $HOME"  # Snakemake makes an empty folder there, where it is started
    assert checkout.nothing_to_do()


@pytest.mark.slow
@pytest.mark.slurm
@pytest.mark.workflow
@pytest.mark.timeout(1800)
def test_a_killed_shard_of_a_plate_is_made_again_alone(slurm: Path, tmp_path: Path) -> None:
    """Beside a run without Slurm in shards of another size: the same bytes."""
    plate = incucyte(tmp_path / "VID7", wells=2, fields=1, times=4)
    folders = [tmp_path / name for name in ("local", "cluster")]
    for folder in folders:
        folder.mkdir()
        for name in ("Snakefile", "profiles", "workflow", "envs", "params.yaml"):
            (folder / name).symlink_to(ROOT / name)
    environment = os.environ | {"PYTHONPATH": str(ROOT / "workflow")}
    config = ("--config", f"plate={plate}", "images_per_shard")
    local = ["snakemake", "--cores", "2", *config[:-1], f"{config[-1]}=8"]
    subprocess.run(local, cwd=folders[0], env=environment, check=True, capture_output=True)
    before = len(of_rule("segment"))
    command = ["snakemake", "--workflow-profile", "profiles/slurm", *FAST, *config[:-1], f"{config[-1]}=4"]
    with (tmp_path / "log").open("wb") as log:
        running = subprocess.Popen(command, cwd=folders[1], env=environment, stdout=log, stderr=log)
        try:
            wait_for(lambda: len(of_rule("segment")) == before + 2, running)
            scancel(of_rule("segment")[before]["JobId"])
            assert running.wait(1200) == 0, (tmp_path / "log").read_text()[-4000:]
        finally:
            running.kill()
    states = [job["JobState"] for job in of_rule("segment")[before:]]
    assert states == ["CANCELLED", "COMPLETED", "COMPLETED"]
    ours, theirs = (contents(folder / "results/plates/VID7") for folder in folders)
    for name in theirs:
        assert name.startswith("logs/") or ours[name] == theirs[name], name


def last_write(results: Path) -> int:
    """When the checkpoint was last written (ns); 0 before there is one."""
    return max((os.stat(file).st_mtime_ns for file in results.glob("models/unet1/checkpoint/*/all/*.pt")), default=0)


def scancel(job: str) -> None:
    subprocess.run(["scancel", job], check=True)


def let_time_run_out(job: str) -> None:
    subprocess.run(["scontrol", "update", f"JobId={job}", "TimeLimit=00:00:01"], check=True)


def memory(job: dict[str, str]) -> int:
    """MB that were asked for, of TRES=cpu=2,mem=500M,node=1."""
    match = re.search(r"mem=([\d.]+)([MG])", job["TRES"])
    assert match, job
    return round(float(match[1]) * (1024 if match[2] == "G" else 1))
