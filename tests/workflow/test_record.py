"""dvc.yaml says what the rules say; Snakemake's and DVC's ways end the same; nothing stale is recorded or restored."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml
from checkouts import Checkout, contents, copy_of, stages_of
from dvc.repo import Repo
from monolayer.provenance import record
from paths import ROOT
from ruamel.yaml import YAML

pytestmark = pytest.mark.workflow

# ---- dvc.yaml against the rules -------------------------------------------------------------------------

# Parameters that rules look names up by; they decide which values are passed and are not passed themselves.
# And how many cores a job takes, which Snakemake counts with.
LOOKED_UP = {"dataset", "selected", "scale", "model", "extension", "weights", "base", "runs", "mend"}
LOOKED_UP |= {"cpu_threads", "threads"}
# Runs snakemake with a params.yaml whose values are their own names, so that a job's command tells what it was given.
NAMED = f"""
import sys
from monolayer.params import params
from snakemake.cli import main

def named(value, path):
    if isinstance(value, params.Section):
        fields = {{key: named(getattr(value, key), path + [key]) for key in type(value).model_fields}}
        return type(value).model_construct(**fields)
    if isinstance(value, dict):
        return {{key: named(item, path + [key]) for key, item in value.items()}}
    return value if path[-1] in {LOOKED_UP} else "@" + ".".join(path) + "@"

def unchecked(self, **values):
    object.__setattr__(self, "__dict__", values)
    object.__setattr__(self, "__pydantic_fields_set__", set(values))
    object.__setattr__(self, "__pydantic_extra__", None)
    object.__setattr__(self, "__pydantic_private__", None)

load = params.load

def load_named(config, files):
    loaded = load(config, files)
    params.Section.__init__ = unchecked
    return named(loaded, [])

params.load = load_named
main(sys.argv[1:])
"""


@dataclass(frozen=True)
class Job:
    """A job of `snakemake all`: its rule, files, and the keys of params.yaml whose values its command contains."""

    rule: str
    inputs: set[str]
    outputs: set[str]
    params: set[str]


@cache
def jobs() -> list[Job]:
    """Every job of the default run."""
    words = ["--cores", "1", "--dry-run", "--forceall", "--printshellcmds"]
    done = subprocess.run([sys.executable, "-c", NAMED, *words], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"a value that a rule looks up belongs into LOOKED_UP: {done.stdout[-2000:]}"
    found = []
    for block in re.split(r"^(?:local)?(?:rule|checkpoint) ", done.stdout, flags=re.MULTILINE)[1:]:
        rule = block.split(":")[0]
        if rule != "all":
            params = set(re.findall(r"@([\w.-]+)@", block))
            found.append(Job(rule, listed(block, "input"), listed(block, "output"), params))
    assert found
    return found


def listed(block: str, kind: str) -> set[str]:
    """The files of a job's line `input: a, b`."""
    match = re.search(rf"^    {kind}: (.*)$", block, re.MULTILINE)
    return set(match[1].split(", ")) if match else set()


@dataclass(frozen=True)
class Stage:
    """A stage of dvc.yaml with its templates filled in."""

    name: str
    command: list[str]
    deps: set[str]
    outs: set[str]
    params: set[str]

    @property
    def rule(self) -> str:
        return self.command[self.command.index("--allowed-rules") + 1]

    @property
    def targets(self) -> set[str]:
        return set(self.command[self.command.index("--") + 1 :])


@cache
def stages() -> list[Stage]:
    found = []
    for stage in Repo(str(ROOT)).index.stages:
        params = {key for dep in stage.deps if hasattr(dep, "params") for key in dep.params}
        deps = {dep.def_path for dep in stage.deps if not hasattr(dep, "params")}
        found.append(
            Stage(stage.addressing, shlex.split(stage.cmd), deps, {out.def_path for out in stage.outs}, params)
        )
    return found


def covers(path: str, other: str) -> bool:
    """Whether `path` is `other` or a folder that holds it."""
    return other == path or other.startswith(f"{path}/")


def in_key(key: str, other: str) -> bool:
    return other == key or other.startswith(f"{key}.")


def its_jobs(stage: Stage) -> list[Job]:
    return [job for job in jobs() if job.outputs & stage.outs]


def test_every_output_of_a_rule_is_the_out_of_a_stage() -> None:
    made = {(job.rule, path) for job in jobs() for path in job.outputs}
    recorded = {(stage.rule, path) for stage in stages() for path in stage.outs}
    rules = {rule for rule, _ in made} - {rule for rule, _ in recorded}
    assert not rules, f"these rules have no stage in dvc.yaml: {sorted(rules)}"
    assert not made - recorded, f"add these to the outs of their rule's stage: {sorted(made - recorded)}"
    assert not recorded - made, f"no job of `snakemake all` makes these; a stage has them: {sorted(recorded - made)}"


@pytest.mark.parametrize("stage", stages(), ids=lambda stage: stage.name)
def test_a_stage_depends_on_what_its_rule_reads(stage: Stage) -> None:
    inputs = {path for job in its_jobs(stage) for path in job.inputs}
    missing = {path for path in inputs if not any(covers(dep, path) for dep in stage.deps)}
    assert not missing, f"add to the deps of stage {stage.name}: {sorted(missing)}"
    file = next(str(f.relative_to(ROOT)) for f in rule_files() if f"rule {stage.rule}:\n" in f.read_text())
    assert file in stage.deps, f"add to the deps of stage {stage.name}: {file}, whose rule it runs"
    unread = {dep for dep in stage.deps - {file} if not any(covers(dep, path) for path in inputs)}
    assert not unread, f"rule {stage.rule} does not read these deps of stage {stage.name}: {sorted(unread)}"


def rule_files() -> Iterator[Path]:
    yield from sorted((ROOT / "workflow/rules").glob("*.smk"))


@pytest.mark.parametrize("stage", stages(), ids=lambda stage: stage.name)
def test_a_stage_has_the_params_of_its_rule(stage: Stage) -> None:
    passed = {key for job in its_jobs(stage) for key in job.params}
    missing = {key for key in passed if not any(in_key(declared, key) for declared in stage.params)}
    assert not missing, f"add to the params of stage {stage.name} these keys or what holds them: {sorted(missing)}"
    unused = {key for key in stage.params - LOOKED_UP if not any(in_key(key, used) for used in passed)}
    assert not unused, f"rule {stage.rule} is not given these params of stage {stage.name}: {sorted(unused)}"


@pytest.mark.parametrize("stage", stages(), ids=lambda stage: stage.name)
def test_a_stage_runs_its_rule_alone_and_all_of_it(stage: Stage) -> None:
    options = stage.command[: stage.command.index("--")]
    assert options[-3:] == ["--allowed-rules", stage.rule, "-f"]
    assert all(job.rule == stage.rule for job in its_jobs(stage))
    idle = [job.outputs for job in its_jobs(stage) if not job.outputs & stage.targets]
    assert not idle, f"the command of stage {stage.name} needs a target among each of {idle}"


def test_what_dvc_does_not_keep_is_kept_by_git() -> None:
    """Else a clone has it from nowhere, and `restore` refuses what was pulled."""
    outs = [out.def_path for stage in Repo(str(ROOT)).index.stages for out in stage.outs if not out.use_cache]
    words = ["git", "check-ignore", "--no-index", *outs]
    ignored = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=False).stdout.split()
    assert outs
    assert not ignored, f"add these to .gitignore as exceptions, or take `cache: false` from dvc.yaml: {ignored}"


def test_every_run_has_its_model_among_the_artifacts() -> None:
    found = YAML(typ="safe").load(ROOT / "dvc.yaml")["artifacts"]
    runs = YAML(typ="safe").load(ROOT / "params.yaml")["selected"]
    expected = {run: {"type": "model", "path": f"results/${{dataset}}/export/{run}"} for run in runs}
    assert found == expected, "artifacts in dvc.yaml has a line for each row of `selected`"


def test_no_two_models_share_a_mapping() -> None:
    """`dvc exp run -S` edits what a key leads to: with an alias (`*name`) that would be several models' or, undone by
    the last of them, none's."""
    seen: dict[int, str] = {}

    def walk(value: Any, path: str) -> None:
        if isinstance(value, dict):
            assert id(value) not in seen, f"{path} is an alias of {seen[id(value)]}; write {{<<: *name}}"
            seen[id(value)] = path
            for key, item in value.items():
                walk(item, f"{path}.{key}".lstrip("."))

    walk(YAML().load(ROOT / "params.yaml"), "")


# ---- both ways on the culture ---------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_recorded_results_are_clean_for_both(recorded: Checkout) -> None:
    assert recorded.nothing_to_do()
    assert recorded.run("dvc", "status").stdout.strip() == "Data and pipelines are up to date."
    assert recorded.run("git", "status", "--porcelain").stdout == ""


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_repro_ends_where_snakemake_ends(recorded: Checkout, tmp_path: Path) -> None:
    checkout = recorded.clone(tmp_path / "checkout")
    checkout.run("dvc", "repro")
    assert contents(checkout) == contents(recorded)
    assert checkout.nothing_to_do()
    assert "didn't change" in checkout.run("dvc", "repro").stdout


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("link", ["copy", "hardlink"])
def test_pull_and_restore_leave_nothing_to_do(recorded: Checkout, tmp_path: Path, link: str) -> None:
    checkout = recorded.clone(tmp_path / "checkout")
    checkout.run("dvc", "config", "--local", "cache.type", link)
    checkout.run("dvc", "pull", "-q")
    assert not checkout.nothing_to_do(), "Snakemake would have been right by itself"
    checkout.run("monolayer", "restore")
    assert checkout.nothing_to_do()
    assert checkout.run("dvc", "status", "-q").returncode == 0
    assert contents(checkout) == contents(recorded)


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_an_experiment_changes_what_it_names(recorded: Checkout, tmp_path: Path) -> None:
    checkout = copy_of(recorded, tmp_path)
    before = contents(checkout)
    output = checkout.run("dvc", "exp", "run", "-S", "models.unet.quick.train.fit.learning_rate=0.001").stdout
    ran = set(re.findall(r"Running stage '([\w@]+)'", output))
    of_run = {"train", "predict", "evaluate", "measure", "track", "export", "card", "benchmark"}
    assert ran == {*(f"{stage}@unet1" for stage in of_run), "compare", "compare_tracks", "report"}
    after = contents(checkout)
    changed = {name for name in before if before[name] != after[name]}
    assert {"models/unet1/weights.pt", "models/unet1/history.csv", "metrics.csv"} <= changed
    assert not any(name.startswith(("data", "splits")) for name in changed)
    difference = json.loads(checkout.run("dvc", "metrics", "diff", "--json").stdout)
    headline = "results/own/metrics/unet1.headline.json"
    assert {"mask_ap", "f1_50"} <= set(difference[headline]) <= set(json.loads(after["metrics/unet1.headline.json"]))
    params = json.loads(checkout.run("dvc", "params", "diff", "--json").stdout)["params.yaml"]
    assert list(params) == ["models.unet.quick.train.fit.learning_rate"]
    shown = json.loads(checkout.run("dvc", "plots", "show", "--json").stdout)["data"]
    assert any("history.csv" in name for name in shown)
    assert any("Mask AP" in name for name in shown)


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_curves_are_live_while_an_experiment_trains(origin: Checkout, tmp_path: Path) -> None:
    """`dvc plots show` beside a `dvc exp run` under way has the epochs so far; `dvc exp show` lists what runs."""
    checkout = origin.clone(tmp_path / "checkout")
    words = ("dvc", "exp", "run", "-S", "models.unet.quick.train.fit.epochs=3000", "train@unet1")
    running = subprocess.Popen(
        words,
        cwd=checkout.folder,
        env=checkout.environment(),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        history = checkout.folder / "results/own/models/unet1/history.csv"
        while not history.exists() or len(history.read_text().splitlines()) < 4:
            assert running.poll() is None, "it ended before its third epoch"
            time.sleep(0.2)
        plots = json.loads(checkout.run("dvc", "plots", "show", "--json").stdout)
        table = json.loads(checkout.run("dvc", "exp", "show", "--json").stdout)
        assert running.poll() is None, "it ended before it was looked at"
    finally:
        os.killpg(running.pid, signal.SIGKILL)
        running.wait()
    [shown] = [text for name, text in plots["data"].items() if "unet1/history.csv" in name]
    assert len(re.findall(r"\bepoch\W+3\b", json.dumps(shown))) >= 1
    [workspace] = [row for row in table if row["rev"] == "workspace"]
    epochs = workspace["data"]["params"]["params.yaml"]["data"]["models"]["unet"]["quick"]["train"]["fit"]["epochs"]
    assert epochs == 3000


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_plots_need_no_network(recorded: Checkout, tmp_path: Path) -> None:
    checkout = copy_of(recorded, tmp_path)
    checkout.run("python", "-m", "monolayer.provenance.offline_plots")
    checkout.run("dvc", "plots", "show")
    page = (checkout.folder / "dvc_plots/index.html").read_text()
    assert not re.search(r"<(script|link)[^>]+(src|href)=", page), "something is loaded"
    assert page.count("vegaEmbed(") > page.count("function vegaEmbed(")
    assert "Score on val" in page
    assert "Mask AP by run and cell line" in page


# ---- nothing stale is recorded or restored: the three ways in which an ungated commit or touch lies -----


def pulled(checkout: Checkout, folder: Path) -> Checkout:
    """A clone after `dvc pull` whose times happen to be in order, so that Snakemake believes it up to date."""
    clone = checkout.clone(folder / "checkout")
    clone.run("dvc", "pull", "-q")
    now = time.time()
    for file in (clone.folder / "results").rglob("*"):
        os.utime(file, (now, now))
    return clone


def refused(checkout: Checkout, verb: str) -> str:
    """The text with which `record` or `restore` refuses; it has changed neither dvc.lock nor Snakemake's provenance."""

    def state() -> list[object]:
        metadata = sorted((checkout.folder / ".snakemake/metadata").rglob("*"))
        return [(checkout.folder / "dvc.lock").read_bytes(), metadata]

    before = state()
    done = checkout.run("monolayer", verb, check=False)
    assert done.returncode == 1, done.stderr
    assert state() == before
    return done.stderr


def edit(checkout: Checkout, section: str, key: str, value: object) -> None:
    params = checkout.params()
    params[section][key] = value
    checkout.set_params(params)


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_h1_an_edit_that_snakemake_cannot_see(recorded: Checkout, tmp_path: Path) -> None:
    """No provenance after a pull: the edit of a parameter goes unseen, and `snakemake` has nothing to do."""
    checkout = pulled(recorded, tmp_path)
    edit(checkout, "evaluate", "n_resamples", 21)
    assert checkout.nothing_to_do(), "Snakemake sees it by itself now: the gate on provenance can go"
    assert "has no provenance" in refused(checkout, "record")
    assert "stage evaluate@unet1 is not what dvc.lock says" in refused(checkout, "restore")


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_h2_a_stage_that_would_do_nothing(recorded: Checkout, tmp_path: Path) -> None:
    """In that state DVC alone decides: its stages force their rule, and their outs are removed first."""
    checkout = pulled(recorded, tmp_path)
    edit(checkout, "evaluate", "n_resamples", 21)
    checkout.run("dvc", "repro")
    scores = json.loads((checkout.folder / "results/own/metrics/unet1.json").read_text())
    assert scores["n_resamples"] == 21
    assert checkout.run("dvc", "status", "-q").returncode == 0
    assert not any(out.persist for stage in Repo(str(ROOT)).index.stages for out in stage.outs)


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_h3_a_part_of_the_run(recorded: Checkout, tmp_path: Path) -> None:
    """Two edits, one of them made: a forced commit would record the other as made too."""
    checkout = copy_of(recorded, tmp_path)
    edit(checkout, "evaluate", "n_resamples", 21)
    edit(checkout, "report", "title", "another")
    checkout.snakemake("--", "results/own/metrics.csv")
    assert "results/own/report.html is not up to date" in refused(checkout, "record")
    checkout.snakemake()
    checkout.run("monolayer", "record")
    assert checkout.run("dvc", "status", "-q").returncode == 0
    assert "n_resamples: 21" in (checkout.folder / "dvc.lock").read_text()


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_a_result_that_no_stage_makes_is_refused(recorded: Checkout, tmp_path: Path) -> None:
    """A removed run's files would enter the checksum of their folder, which no clone could have."""
    checkout = copy_of(recorded, tmp_path)
    (checkout.folder / "results/own/metrics/removed.json").write_text("{}")
    (checkout.folder / "results/own/benchmark/unet1.another-machine.json").write_text("{}")
    text = refused(checkout, "record")
    assert "results/own/metrics/removed.json belongs to no stage" in text
    assert "unet1.another-machine.json" not in text  # timings of other machines are git's
    (checkout.folder / "results/own/metrics/removed.json").unlink()
    assert "belongs to no stage" not in checkout.run("monolayer", "record", check=False).stderr


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_a_row_that_was_not_made_is_refused(recorded: Checkout, tmp_path: Path) -> None:
    checkout = copy_of(recorded, tmp_path)
    params = checkout.params()
    params["runs"]["unet2"] = params["runs"]["unet1"]
    checkout.set_params(params)
    stages = stages_of(["unet1", "unet2"])
    (checkout.folder / "dvc.yaml").write_text(yaml.safe_dump(stages, sort_keys=False, width=1000))
    assert "but not of this workflow" in refused(checkout, "record")


def test_an_edited_file_within_a_folder_is_seen(tmp_path: Path) -> None:
    """Of a folder that a rule makes Snakemake looks at a stamp alone."""
    folder = tmp_path / "images"
    (folder / "deep").mkdir(parents=True)
    for name in ("a.png", "deep/b.png", ".snakemake_timestamp"):
        (folder / name).write_bytes(b"x")
    made = [{"output_file": str(folder), "rule": "download"}, {"output_file": str(tmp_path / "none"), "rule": "all"}]
    assert list(record.edited(made)) == []
    later = (folder / ".snakemake_timestamp").stat().st_mtime + 10
    os.utime(folder / "deep/b.png", (later, later))
    [fault] = record.edited(made)
    assert fault.endswith("b.png is newer than its folder; make it again: snakemake --cores all -R download")


def test_an_edited_file_that_nothing_is_made_of_is_seen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The time of its job is what tells: Snakemake compares files with what they are made of."""
    monkeypatch.chdir(tmp_path)
    Path("Snakefile").write_text('rule a:\n    output: "results/a.csv"\n    shell: "echo 1 > {output}"\n')
    Path("dvc.yaml").write_text("stages: {a: {cmd: snakemake, outs: [results/a.csv]}}\n")
    for words in (("git", "init", "-q"), ("dvc", "init", "-q"), ("snakemake", "--cores", "1", "-q", "all")):
        subprocess.run([sys.executable, "-m", *words] if words[0] != "git" else words, check=True)
    table = Path("results/a.csv")

    def seen() -> list[str]:
        made = record.made_files()
        assert not list(record.unfinished(made)), "Snakemake sees it by itself now: this gate can go"
        with Repo() as repo:
            return list(record.replaced(repo, made))

    assert seen() == []
    made_at = table.stat().st_mtime
    os.utime(table, (made_at + 10, made_at + 10))
    fault = "results/a.csv was changed after its job; make it again: snakemake --cores all -R results/a.csv"
    assert seen() == [fault]
    with Repo() as repo:
        repo.commit(force=True)
    assert seen() == []  # DVC has noted it as it is
    table.unlink()
    table.write_text("2")
    os.utime(table, (made_at + 10, made_at + 10))
    assert seen() == [fault]


def test_outside_of_a_repository(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "monolayer", "record"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "run this where dvc.yaml is" in done.stderr


# ---- remotes ----------------------------------------------------------------------------------------------


def there_and_back(
    recorded: Checkout, folder: Path, url: str, *settings: tuple[str, str], secrets: dict[str, str] | None = None
) -> None:
    """Push to a remote and pull from it into a clone, where all is as it was."""
    checkout = copy_of(recorded, folder)
    checkout.run("dvc", "remote", "add", "-q", "other", url)
    for key, value in settings:
        checkout.run("dvc", "remote", "modify", "-q", "other", key, value)
    checkout.run("dvc", "push", "-q", "-r", "other", variables=secrets)
    clone = checkout.clone(folder / "clone")
    shutil.copy(checkout.folder / ".dvc/config", clone.folder / ".dvc/config")
    clone.run("dvc", "pull", "-q", "-r", "other", variables=secrets)
    assert contents(clone) == contents(recorded)
    assert clone.run("dvc", "status", "-q").returncode == 0


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def server(port: int, *words: str) -> Iterator[None]:
    """A server process for the block, from when its port answers."""
    running = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        until = time.monotonic() + 60
        while time.monotonic() < until and running.poll() is None:
            with suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
                break
            time.sleep(0.1)
        assert running.poll() is None, f"{words[0]} ended at once"
        yield
    finally:
        running.terminate()
        running.wait()


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_ssh_remote(recorded: Checkout, tmp_path: Path) -> None:
    """A real sshd on this machine."""
    sshd = shutil.which("sshd", path=f"{os.environ['PATH']}:/usr/sbin")
    if sshd is None or os.getuid() != 0:
        pytest.skip("needs sshd (Debian: openssh-server) and root")
    port, key = free_port(), tmp_path / "key"
    for name in ("key", "host"):
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(tmp_path / name)], check=True)
    Path("/run/sshd").mkdir(exist_ok=True)
    config = f"""
Port {port}
ListenAddress 127.0.0.1
HostKey {tmp_path / "host"}
AuthorizedKeysFile {tmp_path / "key.pub"}
PidFile none
StrictModes no
PermitRootLogin prohibit-password
PasswordAuthentication no
Subsystem sftp internal-sftp
"""
    (tmp_path / "sshd_config").write_text(config)
    with server(port, sshd, "-D", "-e", "-f", str(tmp_path / "sshd_config")):
        url = f"ssh://root@127.0.0.1:{port}{tmp_path / 'store'}"
        there_and_back(recorded, tmp_path, url, ("keyfile", str(key)))


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_s3_remote(recorded: Checkout, tmp_path: Path) -> None:
    """moto's server stands in for S3: the protocol is real, the storage is not."""
    port = free_port()
    moto = Path(sys.executable).parent / "moto_server"
    with server(port, str(moto), "-H", "127.0.0.1", "-p", str(port)):
        url = f"http://127.0.0.1:{port}"
        urllib.request.urlopen(urllib.request.Request(f"{url}/results", method="PUT")).close()
        secrets = {"AWS_ACCESS_KEY_ID": "id", "AWS_SECRET_ACCESS_KEY": "key", "AWS_DEFAULT_REGION": "us-east-1"}
        there_and_back(recorded, tmp_path, "s3://results/monolayer", ("endpointurl", url), secrets=secrets)
