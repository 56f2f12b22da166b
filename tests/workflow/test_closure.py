"""Each rule runs again after an edit of what its verb imports, in whatever way, and after no other edit."""

from __future__ import annotations

import ast
import json
import re
import shlex
import subprocess
import sys
from pathlib import Path

import grimp
import pytest
import yaml
from checkouts import Checkout, copy_of
from dvc.repo import Repo
from monolayer.provenance.closure import closure
from monolayer.provenance.stages import PACKAGE, local_files, modules_of_rules, with_code
from paths import ROOT

# ---- what counts as an import -----------------------------------------------------------------------------

FILES = {
    "__init__.py": "def load():\n    from cells.heavy import load\n",
    "heavy.py": "",
    "base.py": "",
    "split.py": "import json\nfrom cells import base\nfrom cells.rings.one import two\n",
    "lazy.py": "def run():\n    if True:\n        with open('x'):\n            import cells.base\n",
    "relative.py": "from . import base\nfrom .rings import one\n",
    "circle.py": "from cells import other\n",
    "other.py": "import cells.circle\n",
    "whole.py": "from cells import load\n",
    "families.py": "from importlib import import_module\nN = ['cells.rings.one', 'cells.no']\nimport_module(N[0])\n",
    "typed.py": "import cells.base\nif TYPE_CHECKING:\n    from cells import heavy\n",
    "data.csv": "",
    "named.py": "TEXT = 'cells.rings.one'\n",
    "sources.py": "import importlib\ndef of(name):\n    return importlib.import_module(f'cells.rings.{name}')\n",
    "kinds.py": "import importlib\ndef of(name):\n    return importlib.import_module(f'cells.{name}.one')\n",
    "page/__init__.py": "",
    "page/write.py": "",
    "page/templates/page.html": "",
    "page/.write.py.swp": "",
    "page/inner/__init__.py": "",
    "page/inner/data.csv": "",
    "rings/__init__.py": "import cells.at_once\ndef lazily():\n    import cells.heavy\n",
    "at_once.py": "",
    "rings/one.py": "two = 2\n",
    "rings/three.py": "from cells.rings import lazily\n",
}
ONE = {"__init__.py", "rings/__init__.py", "at_once.py", "rings/one.py"}


@pytest.fixture
def package(tmp_path: Path) -> Path:
    for name, text in FILES.items():
        file = tmp_path / "cells" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    return tmp_path / "cells"


@pytest.mark.parametrize(
    ("module", "files"),
    [
        ("split", {"split.py", "base.py", *ONE}),
        ("lazy", {"__init__.py", "lazy.py", "base.py"}),
        ("relative", {"relative.py", "base.py", *ONE}),
        ("circle", {"__init__.py", "circle.py", "other.py"}),
        ("whole", {"__init__.py", "whole.py", "heavy.py"}),  # it takes a function of `__init__`, which imports lazily
        ("families", {"families.py", *ONE}),
        ("typed", {"__init__.py", "typed.py", "base.py"}),
        ("named", {"__init__.py", "named.py"}),  # a text is no import where nothing is imported by name
        ("sources", {"sources.py", "rings/three.py", "heavy.py", *ONE}),
        ("kinds", {"kinds.py", *ONE}),
        ("page.write", {"__init__.py", "page/__init__.py", "page/write.py", "page/templates/page.html"}),
        ("page.inner", {"__init__.py", "page/__init__.py", "page/templates/page.html"} | {"page/inner/__init__.py"}
         | {"page/inner/data.csv"}),
        ("rings.three", {"rings/three.py", "heavy.py", *ONE} - {"rings/one.py"}),
    ],
)  # fmt: skip
def test_a_module_depends_on_what_it_imports(package: Path, module: str, files: set[str]) -> None:
    found = closure(package, module)
    assert {str(file.relative_to(package)) for file in found} == files
    assert found == sorted(found)


def test_a_module_that_is_not_there_is_named(package: Path) -> None:
    with pytest.raises(ModuleNotFoundError, match=r"cells\.splits"):
        closure(package, "splits")


# ---- the rules' code ----------------------------------------------------------------------------------------


@pytest.fixture
def code(monkeypatch: pytest.MonkeyPatch) -> dict[str, set[str]]:
    """The modules on which each rule depends."""
    monkeypatch.chdir(ROOT)
    return {rule: names(closure(PACKAGE, *modules)) for rule, modules in modules_of_rules().items()}


def names(files: list[Path]) -> set[str]:
    """The modules among files of this package."""
    paths = [file.relative_to(PACKAGE.parent).with_suffix("") for file in files if file.suffix == ".py"]
    return {".".join(path.parts).removesuffix(".__init__") for path in paths}


def test_every_rule_but_train_names_its_code(code: dict[str, set[str]]) -> None:
    text = "".join(file.read_text() for file in Path("workflow/rules").glob("*.smk"))
    assert set(code) == set(re.findall(r"^(?:rule|checkpoint) (\w+):", text, re.MULTILINE)) - {"train"}


def test_dvc_has_the_code_of_the_rules(code: dict[str, set[str]]) -> None:
    text = Path("dvc.yaml").read_text()
    assert text == with_code(text, local_files()), "run: python -m monolayer.provenance.stages"


def test_no_import_is_missed(code: dict[str, set[str]]) -> None:
    """Held against another reader of sources, which knows nothing of imports by name and of packages on the way."""
    graph = grimp.build_graph("monolayer")
    for rule, modules in modules_of_rules().items():
        for module in modules:
            assert graph.find_upstream_modules(f"monolayer.{module}") <= code[rule], rule


def test_a_rule_names_all_that_its_verb_imports(code: dict[str, set[str]]) -> None:
    known = {name for file in PACKAGE.rglob("*.py") for name in names([file])}
    for file in (PACKAGE / "cli").glob("*.py"):
        for verb in ast.parse(file.read_text()).body:
            if isinstance(verb, ast.FunctionDef) and verb.name in code:
                imports = [node for node in ast.walk(verb) if isinstance(node, ast.ImportFrom)]
                found = {f"{node.module}.{alias.name}" for node in imports for alias in node.names}
                found |= {str(node.module) for node in imports}
                missing = found & known - code[verb.name]
                assert not missing, f"add to the code of rule {verb.name}: {missing}"


def test_cheap_rules_depend_on_no_network(code: dict[str, set[str]]) -> None:
    for rule in set(code) - {"predict", "segment", "export", "benchmark", "expect", "watch_plate"}:
        reads = rule in ("card", "tool_card", "report", "tabulate", "plate_report")
        manifest = {"monolayer.backends", "monolayer.backends.manifest"} if reads else set()
        heavy = {name for name in code[rule] if re.match(r"monolayer\.(models|backends|deployment|service)\b", name)}
        assert heavy <= manifest, f"rule {rule} would run again with every edit of a network"
    for rule in ("download", "audit", "split"):  # after which all runs again, training too
        others = {"synthesis", "evaluation", "measurement", "provenance", "params.families", "params.steps"}
        assert not {name for name in code[rule] if name.startswith(tuple(f"monolayer.{other}" for other in others))}


# ---- what Snakemake makes of it -----------------------------------------------------------------------------

SHIFT = "results/own/extensions/matched/shift.csv"
# Prints which rules a dry run announces after an edit of one file, for each file that it is given.
DRY_RUNS = f"""
import contextlib, io, os, re, sys
import monolayer.params.params, snakemake.cli  # once for all

def dry_run():
    text = io.StringIO()
    with contextlib.redirect_stdout(text), contextlib.suppress(SystemExit):
        snakemake.cli.main(["--cores", "1", "--dry-run", "--", "all", "{SHIFT}"])
    return sorted({{*re.findall(r"^(\\w+) +\\d+$", text.getvalue(), re.MULTILINE)}} - {{"all", "total"}})

for file in sys.argv[1:]:
    with open(file, "rb+") as opened:
        before, times = opened.read(), os.stat(file)
        opened.write(b"# edited\\n")
    if os.fork() == 0:
        print(file, *dry_run(), flush=True)
        os._exit(0)
    assert os.wait()[1] == 0
    with open(file, "wb") as opened:
        opened.write(before)
    os.utime(file, ns=(times.st_atime_ns, times.st_mtime_ns))
"""


# What an edit makes again, and what lies after that.
FOUND = "predict evaluate compare measure track compare_tracks export card benchmark report"
ALL = f"download audit split extend domain_shift train {FOUND}"
LATER = {
    "coco/rle.py": ALL,
    "data/dataset.py": ALL.removeprefix("download "),
    "models/unet/watershed.py": FOUND,
    "evaluation/bootstrap.py": "evaluate compare measure track compare_tracks export card benchmark report",
    "measurement/outlines.py": "measure track compare_tracks report",
    "reporting/templates/page.css": "card report",
    "models/train.py": "",
    "service/app.py": "",
}


@pytest.fixture(scope="module")
def extended(unbroken: Checkout, tmp_path_factory: pytest.TempPathFactory) -> Checkout:
    """After a whole run, and an extension with its distance besides: every rule has run."""
    checkout = copy_of(unbroken, tmp_path_factory.mktemp("extended"))
    checkout.snakemake("--", "all", SHIFT)
    return checkout


@pytest.fixture(scope="module")
def jobs(extended: Checkout) -> list[dict[str, str]]:
    """Rule, input, output and command of every job."""
    words = ("--dry-run", "--forceall", "--printshellcmds", "--", "all", SHIFT)
    blocks = re.split(r"^(?:local)?rule ", extended.snakemake(*words).stdout, flags=re.MULTILINE)[1:]
    return [
        {
            "rule": block.partition(":")[0],
            **dict(re.findall(r"^    (input|output): (.*)$", block, re.MULTILINE)),
            "command": "".join(re.findall(r"(monolayer .*)", block)[-1:]),
        }
        for block in blocks
        if not block.startswith("all:")
    ]


def reruns(jobs: list[dict[str, str]], file: str) -> set[str]:
    """The rules of the jobs that read a file, and of all that read what these make, and so on."""
    changed, found = {file}, set[str]()
    for job in jobs * len(jobs):
        if changed & set(job["input"].split(", ")):
            changed |= set(job["output"].split(", "))
            found.add(job["rule"])
    return found


@pytest.mark.slow
@pytest.mark.workflow
@pytest.mark.timeout(3600)
def test_an_edit_makes_again_what_imports_it(extended: Checkout, jobs: list[dict[str, str]]) -> None:
    """One file for each set of rules that read the same files; what is only touched makes nothing again."""
    files = [file.relative_to(extended.folder) for file in sorted((extended.folder / PACKAGE).rglob("*"))]
    files = [file for file in files if file.suffix not in ("", ".pyc", ".nbi", ".nbc")]
    readers = {str(file): frozenset(job["rule"] for job in jobs if str(file) in job["input"]) for file in files}
    chosen = {*dict(zip(readers.values(), readers, strict=True)).values(), *(f"{PACKAGE}/{name}" for name in LATER)}
    lines = extended.run("python", "-c", DRY_RUNS, *sorted(chosen)).stdout.splitlines()
    announced = {file: set(rules) for file, *rules in map(str.split, lines)}
    assert set(announced) == chosen
    for file, rules in announced.items():
        assert rules == reruns(jobs, file), file
    for name, later in LATER.items():
        assert announced[f"{PACKAGE}/{name}"] == set(later.split()), name
    for path in files:
        (extended.folder / path).touch()
    done = extended.snakemake("--dry-run", "--", "all", SHIFT)
    assert "Nothing to be done" in done.stdout + done.stderr


@pytest.mark.slow
@pytest.mark.workflow
@pytest.mark.timeout(3600)
def test_a_command_imports_no_more_than_its_rule_says(
    extended: Checkout, jobs: list[dict[str, str]], code: dict[str, set[str]], tmp_path: Path
) -> None:
    """What the interpreter imports while a job of each rule runs, in functions and by name too."""
    checkout = copy_of(extended, tmp_path)
    for job in {job["rule"]: job for job in jobs if job["rule"] != "train"}.values():
        command = [sys.executable, "-X", "importtime", "-m", *shlex.split(job["command"])]
        done = subprocess.run(
            command, cwd=checkout.folder, capture_output=True, text=True, check=True, env=checkout.environment()
        )
        imported = set(re.findall(r"(monolayer[\w.]*)$", done.stderr, re.MULTILINE))
        beside = {name for name in imported if re.match(r"monolayer\.(cli|__main__)\b", name)}
        assert imported - beside <= code[job["rule"]], job["rule"]
        assert {f"monolayer.{module}" for module in modules_of_rules()[job["rule"]]} <= imported


def test_dvc_sees_a_change_of_the_users_own_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    text = Path("dvc.yaml").read_text()
    listed = with_code(text, ["my/images", "my/ännotations.json"])
    assert with_code(listed, ["my/images", "my/ännotations.json"]) == listed
    assert with_code(listed, []) == with_code(text, [])
    deps = yaml.safe_load(listed)["stages"]["download"]["deps"]
    own = [dep for dep in deps if not dep.startswith("workflow/")]
    assert own == ["my/images", "my/ännotations.json"]
    assert set(deps) - set(yaml.safe_load(with_code(text, []))["stages"]["download"]["deps"]) == set(own)

    monkeypatch.chdir(tmp_path)
    (tmp_path / "my/images").mkdir(parents=True)
    (tmp_path / "my/images/a.png").write_bytes(b"a")
    (tmp_path / "my/ännotations.json").write_text("{}")
    (tmp_path / "dvc.yaml").write_text(json.dumps({"stages": {"download": {"cmd": "echo", "deps": own}}}))
    with Repo.init(no_scm=True) as repo:
        repo.commit(force=True)
        assert repo.status() == {}
        (tmp_path / "my/images/a.png").write_bytes(b"another")
        assert "my/images" in str(repo.status()["download"])
