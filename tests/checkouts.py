"""Checkouts that the workflow runs in: with the culture as their dataset, before a run, after one, and recorded."""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import pytest
import yaml
from culture import Culture
from paths import ROOT


@dataclass(frozen=True)
class Checkout:
    """A folder with the workflow, DVC's files and a params.yaml of its own, in which commands run as a user's would."""

    folder: Path

    def run(
        self, *words: str, check: bool = True, variables: dict[str, str] | None = None
    ) -> subprocess.CompletedProcess[str]:
        """A command there; one that fails shows what it wrote, unless `check` is off."""
        env = self.environment(**(variables or {}))
        done = subprocess.run(words, cwd=self.folder, capture_output=True, text=True, check=False, env=env)
        if check and done.returncode != 0:
            pytest.fail(f"{' '.join(words)}:\n{done.stdout[-3000:]}\n{done.stderr[-3000:]}")
        return done

    def environment(self, **variables: str) -> dict[str, str]:
        """This process's, with the checkout's own package and the commands of this interpreter's environment."""
        path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        return {**os.environ, "PATH": path, "PYTHONPATH": str(self.folder / "workflow"), **variables}

    def snakemake(self, *words: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        return self.run("snakemake", "--cores", "2", *words, check=check)

    def nothing_to_do(self) -> bool:
        # by times alone: checksums would excuse a small file that is newer than what was made of it, and no large one
        done = self.snakemake("--dry-run", "--max-checksum-file-size", "0")
        return "Nothing to be done" in done.stdout + done.stderr

    def params(self) -> dict[str, Any]:
        return cast(dict[str, Any], yaml.safe_load((self.folder / "params.yaml").read_text()))

    def set_params(self, params: dict[str, Any]) -> None:
        apart = json.loads(json.dumps(params))  # or what is one object would be an anchor and its aliases
        (self.folder / "params.yaml").write_text(yaml.safe_dump(apart, sort_keys=False))

    def commit(self, message: str) -> None:
        self.run("git", "add", "-A")
        self.run("git", "-c", "user.name=test", "-c", "user.email=test@localhost", "commit", "-q", "-m", message)

    def clone(self, folder: Path) -> Checkout:
        self.run("git", "clone", "-q", str(self.folder), str(folder))
        keep_compiled(self.folder / "workflow", folder / "workflow")
        return Checkout(folder)


def keep_compiled(source: Path, clone: Path) -> None:
    """Take along what Python and numba compiled, which belongs to a module's size and time: half a minute less."""
    for cache in source.rglob("__pycache__"):
        shutil.copytree(cache, clone / cache.relative_to(source))
    for module in source.rglob("*.py"):
        if module.read_bytes() == (clone / module.relative_to(source)).read_bytes():
            shutil.copystat(module, clone / module.relative_to(source))


TRACKED = (
    *("Snakefile", "dvc.yaml", ".dvc/config", ".dvc/.gitignore", ".dvcignore", ".gitignore"),
    *("envs", "profiles", "workflow"),
)


def make_checkout(folder: Path, culture: Culture, runs: int = 1) -> Checkout:
    """A git repository of the workflow, for the culture and so many small U-Nets; seconds of training each."""
    for name in TRACKED:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, folder / name)
        else:
            shutil.copy(ROOT / name, folder / name)
    checkout = Checkout(folder)
    params = tiny_params(culture, runs)
    checkout.set_params(params)
    (folder / "dvc.yaml").write_text(yaml.safe_dump(stages_of(params["selected"]), sort_keys=False, width=1000))
    checkout.run("git", "init", "-q", "-b", "main")
    checkout.commit("the workflow")
    return checkout


def tiny_params(culture: Culture, runs: int) -> dict[str, Any]:
    """params.yaml with the culture as its dataset and `runs` small U-Nets as its only rows."""
    params = yaml.safe_load((ROOT / "params.yaml").read_text())
    params["dataset"] = "own"
    params["datasets"]["own"] |= {"images": str(culture.images), "annotations": str(culture.annotations)}
    params["evaluate"]["n_resamples"] = 20
    params["export"] |= {"dtypes": ["fp32"], "engines": [], "calibration": 1}
    params["benchmark"] |= {"images": 1, "batches": [1], "seconds": 0.01}
    train = params["models"]["unet"]["quick"]["train"]
    train |= {"width": 4, "levels": 2, "patch": 32, "patches": 128, "val_images": 2}
    train["fit"] |= {"epochs": 6, "warmup_steps": 2}
    names = [f"unet{number}" for number in range(1, runs + 1)]
    params["runs"] = {name: {"model": "unet", "lines": "all", "extension": None} for name in names}
    params["selected"] = names
    return cast(dict[str, Any], params)


def stages_of(runs: list[str]) -> dict[str, Any]:
    """dvc.yaml with these rows, none of them extended."""
    found = yaml.safe_load((ROOT / "dvc.yaml").read_text())
    stages = found["stages"]
    for name in ("extend", "domain_shift", "train_extended"):
        del stages[name]
    for name in ("train", "predict", "evaluate", "measure", "track", "export", "card", "benchmark"):
        stages[name]["foreach"] = {run: f"${{runs.{run}}}" for run in runs}
    stages["report"]["deps"].remove("results/${dataset}/extensions")
    found["artifacts"] = {}
    return cast(dict[str, Any], found)


def once(factory: pytest.TempPathFactory, name: str, make: Callable[[Path], Checkout]) -> Checkout:
    """A checkout that all test processes share: the first one makes it, in a folder of that name, the others wait."""
    base = factory.getbasetemp()
    folder = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / name
    folder.mkdir(exist_ok=True)
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (folder / "made").exists():
            make(folder)
            (folder / "made").touch()
    return Checkout(folder / "checkout")


@pytest.fixture(scope="session")
def origin(tmp_path_factory: pytest.TempPathFactory, culture: Culture) -> Checkout:
    """The workflow in git; nothing was run. To be cloned."""
    return once(tmp_path_factory, "origin", lambda folder: make_checkout(folder / "checkout", culture))


@pytest.fixture(scope="session")
def unbroken(origin: Checkout, tmp_path_factory: pytest.TempPathFactory) -> Checkout:
    """After one whole, quiet `snakemake --cores 2`. To be copied."""

    def make(folder: Path) -> Checkout:
        checkout = origin.clone(folder / "checkout")
        checkout.snakemake()
        return checkout

    return once(tmp_path_factory, "unbroken", make)


def copy_of(checkout: Checkout, folder: Path) -> Checkout:
    """A checkout to break: files, times and Snakemake's provenance as they are."""
    shutil.copytree(checkout.folder, folder / "checkout", symlinks=True)
    return Checkout(folder / "checkout")


@pytest.fixture(scope="session")
def recorded(unbroken: Checkout, tmp_path_factory: pytest.TempPathFactory) -> Checkout:
    """After `snakemake` and `monolayer record`, committed and pushed to a remote folder `store` beside it."""

    def make(folder: Path) -> Checkout:
        checkout = copy_of(unbroken, folder)
        checkout.run("monolayer", "record")
        checkout.run("dvc", "remote", "add", "-q", "--default", "store", str(folder / "store"))
        checkout.commit("results")
        checkout.run("dvc", "push", "-q")
        return checkout

    return once(tmp_path_factory, "recorded", make)


# What a run leaves and another run of the same leaves byte for byte; run.json and the report tell dates and durations.
TABLES = (
    *("metrics.csv", "pairs.csv", "metrics/*.csv", "metrics/*.json", "models/*/history.csv", "data/*.json"),
    *("tracks.csv", "tracks.pairs.csv"),
)
BYTES = (
    "data/images/*",
    "splits/*.json",
    "models/*/weights.pt",
    "predictions/*/*.json.gz",
    "cells/*/*",
    "tracks/*/*",
    "tracks/*/files/**/*",
    "overview.svg",
)


def contents(checkout: Checkout) -> dict[str, bytes]:
    """The bytes of all results that must be the same in every run, by path."""
    results = checkout.folder / "results/own"
    found = {file for pattern in (*TABLES, *BYTES) for file in results.glob(pattern) if file.is_file()}
    found -= set(results.rglob(".snakemake_timestamp"))  # Snakemake's mark on a folder, which a pull does not bring
    return {str(file.relative_to(results)): file.read_bytes() for file in found}
