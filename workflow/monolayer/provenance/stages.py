"""`python -m monolayer.provenance.stages` writes into dvc.yaml on which code each stage depends: its rule's."""

from __future__ import annotations

import re
from pathlib import Path

from monolayer.files import write_bytes
from monolayer.provenance.closure import closure

FILE, RULES, PACKAGE = Path("dvc.yaml"), Path("workflow/rules"), Path("workflow/monolayer")


def with_code(text: str) -> str:
    """dvc.yaml's text, in which each stage has the code of its rule as deps, after the file that the rule stands in."""
    lines, code, modules = list[str](), list[Path](), modules_of_rules()
    for line in text.splitlines():
        if rule := re.match(r" +cmd: \$\{sm\} (\w+) ", line):
            code = closure(PACKAGE, *modules[rule[1]]) if rule[1] in modules else []
        if not re.match(rf" +- {PACKAGE}/", line):
            lines.append(line)
        if item := re.match(rf"( +- ){RULES}/", line):
            lines += [f"{item[1]}{file}" for file in code]
    return "\n".join(lines) + "\n"


def modules_of_rules() -> dict[str, list[str]]:
    """The modules that each rule names as its code."""
    text = "".join(file.read_text(encoding="utf-8") for file in sorted(RULES.glob("*.smk")))
    rules = (
        re.match(r"(\w+):.* code=code\((.+?)\)", part, re.DOTALL)
        for part in re.split("(?m)^(?:rule|checkpoint) ", text)
    )
    return {rule[1]: re.findall(r"[\w.]+", rule[2]) for rule in rules if rule}


if __name__ == "__main__":
    text = with_code(FILE.read_text(encoding="utf-8"))
    write_bytes(FILE, text.encode())
