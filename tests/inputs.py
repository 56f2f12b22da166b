"""What each entry point does with each kind of input: cases that tests run, and that docs/inputs.md shows as tables.

A module `*_inputs.py` in this folder has a list CASES; a test runs each of them, and tests/workflow/test_docs.py holds
the page's tables to them. `PYTHONPATH=workflow:tests uv run python -m inputs` writes them anew.
"""

from __future__ import annotations

import importlib
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Literal, NamedTuple

ENTRIES = ("source: coco", "predict", "evaluate", "measure", "service", "watch")


class InputCase(NamedTuple):
    """One cell of a table. words: of what is read, as what; of a finding or a refusal, what it literally says."""

    table: str  # truth, results, images
    kind: str  # the row
    entry: str  # the column, one of ENTRIES
    outcome: Literal["read", "finding", "refused"]
    words: str


def cases() -> list[InputCase]:
    """The cases of all modules."""
    names = sorted(path.stem for path in Path(__file__).parent.glob("*_inputs.py"))
    return [case for name in names for case in importlib.import_module(name).CASES]


def tables() -> list[str]:
    """The names of the tables that have cases."""
    return sorted({case.table for case in cases()})


def table(name: str) -> str:
    """Markdown: a row for each kind of input, a column for each entry point that takes it."""
    chosen = [case for case in cases() if case.table == name]
    columns = [entry for entry in ENTRIES if any(case.entry == entry for case in chosen)]
    said = {(case.kind, case.entry): f"**{case.outcome}**: {case.words}" for case in chosen}
    assert len(said) == len(chosen), "two cases have one cell of the table"
    rows = [[kind, *(said.get((kind, e), "–") for e in columns)] for kind in dict.fromkeys(c.kind for c in chosen)]
    return "\n".join(map(_line, [[name, *columns], ["---"] * (1 + len(columns)), *rows]))


def _line(cells: Sequence[str]) -> str:
    return "|" + "|".join(cell if cell == "---" else f" {cell} ".replace("|", "\\|") for cell in cells) + "|"


def write(page: Path) -> None:
    """Put the tables between their marks."""
    text = page.read_text()
    for name in tables():
        found = re.search(f"<!-- {name}: .*?-->\n(.*?)<!-- end of {name} -->", text, re.DOTALL)
        assert found is not None, f"{page} has no place for the table {name}"
        text = f"{text[: found.start(1)]}{table(name)}\n{text[found.end(1) :]}"
    page.write_text(text)


if __name__ == "__main__":
    write(Path(__file__).parents[1] / "docs/inputs.md")
