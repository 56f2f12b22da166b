"""The files of this package that decide what a module does: all that it imports, read from the source.

Snakemake and DVC don't see imports. With these files among a rule's inputs, no edit of one of them goes unseen. Counted
are the imports of a module, those inside its functions too; where it calls `import_module`, all the modules that its
strings name (an f-string: those that it may name); of a package on the way to a module, what its `__init__`
runs and, but for the whole package, the files that are not Python, such as templates. Not counted are imports for the
type checker, and `cli`, which reads arguments and nothing else.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from functools import cache
from importlib.util import resolve_name
from pathlib import Path

BODIES = ("body", "orelse", "finalbody", "handlers", "cases")  # where statements hold statements


def closure(package: Path, *modules: str) -> list[Path]:
    """The files of a package on which modules depend, say `data.split`; their own are among them."""
    found: set[tuple[str, bool]] = set()
    ahead = [(f"{package.name}.{module}", True) for module in modules]
    while ahead:
        name, used = node = ahead.pop()
        if node in found:
            continue
        found.add(node)
        at_once, later = _imports(package, name)
        ahead += [(other, True) for other in (at_once | later if used else at_once)]
        if parent := name.rpartition(".")[0]:
            ahead.append((parent, False))  # it is run on the way; no function in it is called
    return sorted({file for name, _ in found for file in _files(package, name)})


def _source(package: Path, name: str) -> Path | None:
    """The file of a module or package `monolayer.…`, if there is one."""
    path = package.parent.joinpath(*name.split("."))
    return next((file for file in (path / "__init__.py", path.with_suffix(".py")) if file.is_file()), None)


@cache
def _files(package: Path, name: str) -> list[Path]:
    """A module's file; with the `__init__` of a part of the package, the data beside it."""
    source = _source(package, name)
    if source is None:
        raise ModuleNotFoundError(f"{package} has no module {name}")
    has_data = source.name == "__init__.py" and source.parent != package
    return [source, *_data(source.parent)] if has_data else [source]


def _data(folder: Path) -> Iterator[Path]:
    for path in folder.iterdir():
        if path.name.startswith((".", "__pycache__")) or path.suffix == ".py":
            continue
        if not path.is_dir():
            yield path
        elif not (path / "__init__.py").exists():
            yield from _data(path)


@cache
def _imports(package: Path, name: str) -> tuple[frozenset[str], frozenset[str]]:
    """The modules of the package that a module imports when it is imported itself, and those that it imports later."""
    source = _files(package, name)[0]
    text = source.read_text(encoding="utf-8")
    inside = name if source.name == "__init__.py" else name.rpartition(".")[0]
    tree = ast.parse(text, source)
    at_once, later = set[str](), set[str]()
    ahead: list[tuple[ast.AST, bool]] = [(tree, False)]
    while ahead:
        node, in_function = ahead.pop()
        if isinstance(node, ast.Import | ast.ImportFrom):
            (later if in_function else at_once).update(_named(package, inside, node))
        in_function = in_function or isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        for_types = isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"
        bodies = ("orelse",) if for_types else BODIES
        ahead += [(child, in_function) for body in bodies for child in getattr(node, body, ())]
    if "import_module(" in text:
        later.update(_dynamic(package, tree))
    return frozenset(at_once), frozenset(later)


def _named(package: Path, inside: str, node: ast.Import | ast.ImportFrom) -> Iterator[str]:
    """The modules of the package that an import statement in package `inside` names."""
    if isinstance(node, ast.Import):
        names = [alias.name for alias in node.names]
    else:
        base = resolve_name("." * node.level + (node.module or ""), inside)
        whole = [f"{base}.{alias.name}" for alias in node.names]
        names = [name if _source(package, name) else base for name in whole] if _ours(package, base) else []
    return (name for name in names if _ours(package, name))


def _dynamic(package: Path, tree: ast.AST) -> Iterator[str]:
    """The modules that the strings of a source name; a hole of an f-string stands for any one name."""
    for node in ast.walk(tree):
        if isinstance(node, ast.JoinedStr | ast.Constant):
            parts = node.values if isinstance(node, ast.JoinedStr) else [node]
            texts = [re.escape(str(part.value)) if isinstance(part, ast.Constant) else r"\w+" for part in parts]
            if texts and texts[0].startswith(rf"{package.name}\."):
                yield from (name for name in _modules(package) if re.fullmatch("".join(texts), name))


def _ours(package: Path, name: str) -> bool:
    return name.partition(".")[0] == package.name


@cache
def _modules(package: Path) -> list[str]:
    """The names of all modules of the package."""
    paths = [path.relative_to(package.parent).with_suffix("") for path in sorted(package.rglob("*.py"))]
    return [".".join(path.parts[:-1] if path.name == "__init__" else path.parts) for path in paths]
