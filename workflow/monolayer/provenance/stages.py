"""`python -m monolayer.provenance.stages` writes into dvc.yaml on which code each stage depends, as its rule does."""

from __future__ import annotations

import re
from pathlib import Path

from monolayer.files import atomic_write
from monolayer.provenance.closure import closure

FILE = Path("dvc.yaml")


def with_code(text: str) -> str:
    """dvc.yaml's text, in which each stage has the code of its rule as deps after the file that the rule stands in."""
    lines, rule = list[str](), ""
    code = _code_of_rules()
    for line in text.splitlines():
        if found := re.match(r" +cmd: \$\{sm\} (\w+) ", line):
            rule = found[1]
        if re.match(r" +- workflow/monolayer/", line):
            continue
        lines.append(line)
        if found := re.match(r"( +- )workflow/rules/", line):
            lines += [f"{found[1]}{file}" for file in code.get(rule, [])]
    return "\n".join(lines) + "\n"


def _code_of_rules() -> dict[str, list[Path]]:
    """The code of each rule that names the module that it calls."""
    found = dict[str, list[Path]]()
    for file in sorted(Path("workflow/rules").glob("*.smk")):
        for text in re.split(r"^rule ", file.read_text(encoding="utf-8"), flags=re.MULTILINE)[1:]:
            if named := re.search(r" code=code\(\"([\w.]+)\"\)", text):
                found[text.partition(":")[0]] = closure(Path("workflow/monolayer"), named[1])
    return found


if __name__ == "__main__":
    text = with_code(FILE.read_text(encoding="utf-8"))
    with atomic_write(FILE) as partial:
        partial.write_text(text, encoding="utf-8")
