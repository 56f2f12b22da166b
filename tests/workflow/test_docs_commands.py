"""The commands and examples of README and docs: cheap ones are run, the others read by the program they are for."""

from __future__ import annotations

import argparse
import re
import runpy
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import yaml
from checkouts import Checkout
from culture import Culture
from dvc.cli.parser import get_main_parser
from monolayer.__main__ import main
from monolayer.backends import manifest
from monolayer.files import write_json
from other_programs import table
from paths import ROOT

PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
LANGUAGES = {"sh", "python", "yaml", "text"}
# What no test can run: the program is not where the tests run, or it would change the machine.
NOT_RUN = {
    "docker": "needs a daemon; tests/workflow/test_environment.py holds the files against uv.lock",
    "apptainer": "builds an image as root from the network",
    "conda": "is another package manager; its file is held against uv.lock",
    "sbatch": "needs a cluster of a thousand jobs; its `monolayer predict` is read like any other",
    "uvx": "fetches another tool from the network",
    "curl": "tests/service/test_serve.py runs the line on a service that it starts",
}


SCORED = re.compile(r"results/([^/]+)/metrics/([^/.]+)\.")  # the dataset and the run of a target


class Command(NamedTuple):
    page: str
    words: list[str]

    def __str__(self) -> str:
        return f"{self.page}: {shlex.join(self.words)}"


def blocks(language: str | None = None) -> Iterator[tuple[str, str, str]]:
    """Page, language and text of the fenced blocks."""
    for page in PAGES:
        for name, text in re.findall(r"^```([^\n]*)\n(.*?)^```", page.read_text(), re.MULTILINE | re.DOTALL):
            if language in (None, name):
                yield page.name, name, text


def commands() -> Iterator[Command]:
    """Each command alone, without `uv run` and variables in front of it; the one in `--wrap '…'` too."""
    for page, _, text in blocks("sh"):
        for line in text.splitlines():
            for part in re.split(r" && ", line):
                yield from split(page, shlex.split(part, comments=True))


def split(page: str, words: list[str]) -> Iterator[Command]:
    while words and re.fullmatch(r"[A-Z_]+=.*", words[0]):
        words = words[1:]
    if words[:2] == ["uv", "run"]:
        words = words[2:]
    if words:
        yield Command(page, words)
    if "--wrap" in words:
        yield from split(page, shlex.split(words[words.index("--wrap") + 1].replace("$SLURM_ARRAY_TASK_ID", "1")))


def of(*programs: str) -> list[Command]:
    return [command for command in commands() if command.words[0] in programs]


def test_blocks_say_what_they_are() -> None:
    assert {language for _, language, _ in blocks()} <= LANGUAGES


def test_every_command_is_seen_to() -> None:
    seen = {"monolayer", "snakemake", "dvc", "python", "pip", "pytest", "bash", "ruff", "mypy"}
    for command in commands():
        assert command.words[0] in seen | NOT_RUN.keys(), command


# ---- what is run ---------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory, culture: Culture) -> Path:
    """A folder with what the examples name: images, truth, an exported run of one's own."""
    folder = tmp_path_factory.mktemp("desk")
    shutil.copytree(culture.images, folder / "FOLDER")
    shutil.copy(sorted(culture.images.iterdir())[0], folder / "image.png")
    write_json(folder / "truth.json", culture.truth)
    table(folder)  # cells.csv and dictionary.csv
    shutil.copytree(manifest.pretrained(), folder / "results/own/export/unet_distance")
    return folder


# In this order, on a folder of images, with the pretrained model or an export.
VERBS = ("predict", "mend", "measure", "track", "compare-tracks", "evaluate", "compare")


def runnable(command: Command) -> bool:
    return command.words[1] in VERBS and not re.search(r"\.pt\b|tensorrt|plates", " ".join(command.words))


@pytest.mark.workflow
def test_examples_of_a_shell_run(desk: Path) -> None:
    """What predict leaves is scored; another tool's label images are stood for by the same ones."""
    ran = [command for command in of("monolayer") if runnable(command)]
    assert {command.words[1] for command in ran} == set(VERBS)
    for command in sorted(ran, key=lambda command: VERBS.index(command.words[1])):
        done = subprocess.run(
            [sys.executable, "-m", *command.words], cwd=desk, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, f"{command}\n{done.stderr}"
        if command.words[1] == "predict" and "labels" in command.words:
            assert len(list((desk / "labels").glob("*.tif"))) == len(list((desk / "FOLDER").iterdir()))
            shutil.copytree(desk / "labels", desk / "cellpose")
    assert len(list((desk / "for_qupath").glob("*.geojson"))) == len(list((desk / "FOLDER").iterdir()))
    assert (desk / "scores/pairs.csv").exists()


@pytest.mark.parametrize("number", range(len(list(blocks("python")))))
def test_examples_of_python_run(number: int, desk: Path) -> None:
    page, _, text = list(blocks("python"))[number]
    done = subprocess.run([sys.executable, "-c", text], cwd=desk, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{page}\n{text}\n{done.stderr}"


# ---- what its own program reads ------------------------------------------------------------------------


class ParsedError(BaseException):
    """Raised in place of running what was parsed; no `except Exception` takes it for a bug."""


def stop(*_: Any) -> None:
    raise ParsedError


@pytest.mark.parametrize("command", of("monolayer"), ids=str)
def test_verbs_and_options_are_known(command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    defaults: Callable[..., None] = argparse.ArgumentParser.set_defaults

    def without_run(parser: argparse.ArgumentParser, **given: Any) -> None:
        defaults(parser, **given | ({"run": stop} if "run" in given else {}))

    monkeypatch.setattr(argparse.ArgumentParser, "set_defaults", without_run)
    with pytest.raises(ParsedError):
        main(command.words[1:])


@pytest.mark.parametrize("command", of("python"), ids=str)
def test_scripts_take_what_they_are_given(command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    """One that parses no arguments is only imported, and is given none."""
    name, *options = command.words[2:] if command.words[1] == "-m" else command.words[1:]
    path = ROOT / (f"workflow/{name.replace('.', '/')}.py" if command.words[1] == "-m" else name)
    monkeypatch.setattr(sys, "argv", [str(path), *options])
    monkeypatch.setattr(sys, "path", [str(path.parent), *sys.path])
    parse: Callable[..., Any] = argparse.ArgumentParser.parse_args
    monkeypatch.setattr(argparse.ArgumentParser, "parse_args", lambda *arguments: stop(parse(*arguments)))
    if "ArgumentParser(" in path.read_text():
        with pytest.raises(ParsedError):
            runpy.run_path(str(path), run_name="__main__")
    else:
        assert not options
        runpy.run_path(str(path), run_name="imported")


@pytest.mark.parametrize("command", of("dvc"), ids=str)
def test_dvc_knows_its_words(command: Command) -> None:
    with suppress(SystemExit):
        arguments = get_main_parser().parse_args(command.words[1:])
        for change in getattr(arguments, "set_param", None) or []:
            found = yaml.safe_load((ROOT / "params.yaml").read_text())
            for key in change.split("=")[0].split("."):
                found = found[key]
        return
    pytest.fail(f"dvc does not take {command}")


@pytest.mark.parametrize("command", of("pip", "bash", "pytest"), ids=str)
def test_files_and_extras_of_commands_exist(command: Command) -> None:
    pyproject = (ROOT / "pyproject.toml").read_text()
    for word in command.words[1:]:
        for extra in re.findall(r"^\.\[(.*)\]$", word):
            assert re.search(rf"^{extra} = \[", pyproject, re.MULTILINE), command
        if "/" in word and "://" not in word:
            assert (ROOT / word.split("::")[0]).exists(), command


def plans() -> list[tuple[list[str], list[Command]]]:
    """What Snakemake is asked to plan, once for each choice of parameters: all targets of a choice together."""
    found: dict[tuple[str, ...], tuple[list[str], list[Command]]] = {}
    for command in of("snakemake"):
        words = command.words[1:]
        if "apptainer" in words or "--report" in words:  # Snakemake looks for apptainer first; a report is made below
            continue
        if "--default-storage-prefix" in words:  # needs a bucket, which tests/workflow/test_storage.py has
            continue
        cut = words.index("--") if "--" in words else len(words)
        options, targets = words[:cut], words[cut + 1 :]
        together = found.setdefault(tuple(options), ([], []))
        together[0].extend(targets or ["all"])
        together[1].append(command)
    return [([*options, "--", *dict.fromkeys(targets)], seen) for options, (targets, seen) in found.items()]


def made_above(command: Command) -> set[str]:
    """The folders of the models that commands further up on the page are asked to score."""
    made = set[str]()
    for other in of("snakemake"):
        if other == command:
            break
        if other.page == command.page:
            made |= {f"results/{found[1]}/models/{found[2]}" for word in other.words if (found := SCORED.match(word))}
    return made


@pytest.mark.workflow
@pytest.mark.parametrize("plan", plans(), ids=lambda plan: shlex.join(plan[0]))
def test_snakemake_plans_it(plan: tuple[list[str], list[Command]], tmp_path: Path) -> None:
    """With the yaml blocks of the command's page as the files that their first lines name."""
    words, seen = plan
    for name in ("Snakefile", "profiles", "workflow", "envs", "params.yaml"):
        (tmp_path / name).symlink_to(ROOT / name)
    (tmp_path / "FOLDER").mkdir()  # a plate, and its map
    (tmp_path / "map.csv").touch()
    for page, _, text in blocks("yaml"):
        name = text.splitlines()[0].removeprefix("# ")
        if page == seen[0].page or not (tmp_path / name).exists():
            (tmp_path / name).write_text(text)
    for run in made_above(seen[0]):
        (tmp_path / run).mkdir(parents=True)
        (tmp_path / run / "weights.pt").touch()
    options = words[: words.index("--")]
    targets = words[words.index("--") :]
    command = [sys.executable, "-m", "snakemake", *options, "--dry-run", "--quiet", "all", *targets]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{seen[0]}\n{done.stdout}\n{done.stderr}"


@pytest.mark.workflow
def test_snakemakes_own_report(unbroken: Checkout, tmp_path: Path) -> None:
    [command] = [command for command in of("snakemake") if "--report" in command.words]
    words = [str(tmp_path / word) if word.endswith(".zip") else word for word in command.words[1:]]
    unbroken.run("snakemake", *words)
    assert (tmp_path / "report.zip").stat().st_size > 100_000


def test_pages_name_no_two_files_alike() -> None:
    """A yaml block's first line names its file; the same file is the same wherever it stands."""
    for page, _, text in blocks("yaml"):
        assert re.match(r"# [a-z]+\.yaml\n", text), page
        assert isinstance(yaml.safe_load(text), dict)
