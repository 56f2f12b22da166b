"""The house: short modules and functions, a name for each class, tests beside what they test, no detours."""

from __future__ import annotations

import ast
import doctest
from collections import defaultdict
from collections.abc import Iterator
from importlib import import_module

import pytest
from paths import ROOT

PACKAGE = ROOT / "workflow/monolayer"
MODULES = {path.relative_to(PACKAGE).as_posix(): path.read_text() for path in sorted(PACKAGE.rglob("*.py"))}
TREES = {name: ast.parse(text) for name, text in MODULES.items()}
MODULE_LINES, FUNCTION_LINES = 300, 60
PROTOCOLS = {"Pipeline"}  # each family has one of its own
WITHOUT_PACKAGE = {"workflow", "benchmarks"}  # tests of what surrounds the package


def nodes(kind: type[ast.AST]) -> Iterator[tuple[str, ast.AST]]:
    """All nodes of a kind, with their modules."""
    return ((name, node) for name, tree in TREES.items() for node in ast.walk(tree) if isinstance(node, kind))


def test_modules_are_short() -> None:
    long = {name: count for name, text in MODULES.items() if (count := len(text.splitlines())) > MODULE_LINES}
    assert not long, f"part these modules, whose lines are more than {MODULE_LINES}: {long}"


def test_functions_are_short() -> None:
    found = [*nodes(ast.FunctionDef), *nodes(ast.AsyncFunctionDef)]
    assert len(found) > 500
    long = {}
    for name, node in found:
        assert isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        if (count := (node.end_lineno or 0) - node.lineno + 1) > FUNCTION_LINES:
            long[f"{name}: {node.name}"] = count
    assert not long, f"part these functions, whose lines are more than {FUNCTION_LINES}: {long}"


def test_no_two_classes_have_one_name() -> None:
    places = defaultdict(list)
    for name, node in nodes(ast.ClassDef):
        assert isinstance(node, ast.ClassDef)
        places[node.name].append(name)
    twice = {name: found for name, found in places.items() if len(found) > 1 and name not in PROTOCOLS}
    assert not twice, f"say which is which: {twice}"


def test_tests_stand_where_their_package_stands() -> None:
    folders = {path.parent.relative_to(ROOT / "tests") for path in (ROOT / "tests").rglob("test_*.py")}
    lone = [str(folder) for folder in folders if not (PACKAGE / folder).is_dir()]
    assert sorted(lone) == ["workflow"], f"no such packages: {sorted({*lone} - WITHOUT_PACKAGE)}"


def test_each_rule_file_has_its_package_and_tests() -> None:
    names = {path.stem for path in (ROOT / "workflow/rules").glob("*.smk")} - {"common"}
    assert names
    lone = {name for name in names for base in (PACKAGE, ROOT / "tests") if not (base / name).is_dir()}
    assert not lone, f"workflow/rules/X.smk runs workflow/monolayer/X/, which tests/X/ tests: {sorted(lone)}"


def passes_on(tree: ast.Module) -> bool:
    """Whether a module imports from this package and has nothing of its own."""
    rest = [node for node in tree.body if not (isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant))]
    own = [node for node in rest if not isinstance(node, ast.Import | ast.ImportFrom) and not names_all(node)]
    return not own and any(isinstance(node, ast.ImportFrom) and node.module != "__future__" for node in rest)


def names_all(node: ast.stmt) -> bool:
    """Whether a statement is `__all__ = [...]`."""
    return isinstance(node, ast.Assign) and [ast.unparse(target) for target in node.targets] == ["__all__"]


def test_no_module_only_passes_on_what_others_have() -> None:
    assert passes_on(ast.parse('"""Moved."""\nfrom monolayer.files import InputError\n__all__ = ["InputError"]'))
    shims = [name for name, tree in TREES.items() if passes_on(tree)]
    assert not shims, f"import from where it is, and remove these: {shims}"


@pytest.mark.parametrize("name", [name for name, text in MODULES.items() if ">>>" in text])
def test_examples_hold(name: str) -> None:
    module = import_module(".".join(("monolayer", *name.removesuffix(".py").split("/"))).removesuffix(".__init__"))
    failed, tried = doctest.testmod(module)
    assert tried > 0
    assert failed == 0
