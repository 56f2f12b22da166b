"""`python -m monolayer.provenance.stages` writes into dvc.yaml on which code each stage depends: its rule's.

And on which files of the user's the dataset of params.yaml is made of, so that `dvc status` sees when they change.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from pathlib import Path

import yaml

from monolayer.files import write_bytes
from monolayer.params.data import local_paths
from monolayer.params.params import load
from monolayer.provenance.closure import closure

FILE, PARAMS = Path("dvc.yaml"), Path("params.yaml")
RULES, PACKAGE = Path("workflow/rules"), Path("workflow/monolayer")


def with_code(text: str, local: Sequence[str] = ()) -> str:
    """dvc.yaml's text, in which each stage has the code of its rule as deps, after the file that the rule stands in.

    What is fetched depends on the user's files `local` besides, and on nothing else.
    """
    lines, code, modules, fetching = list[str](), list[Path](), modules_of_rules(), False
    for line in text.splitlines():
        if rule := re.match(r" +cmd: \$\{sm\} (\w+) ", line):
            code = closure(PACKAGE, *modules[rule[1]]) if rule[1] in modules else []
        fetching = bool(rule and rule[1] == "download") or (fetching and not re.match(" +outs:", line))
        if not re.match(rf" +- {PACKAGE}/", line) and not (fetching and re.match(rf" +- (?!{RULES}/)", line)):
            lines.append(line)
        if item := re.match(rf"( +- ){RULES}/", line):
            lines += [f"{item[1]}{file}" for file in code]
            lines += [f"{item[1]}{json.dumps(path, ensure_ascii=False)}" for path in local if fetching]
    return "\n".join(lines) + "\n"


def local_files() -> list[str]:
    """The user's files that the dataset of params.yaml is made of."""
    params = load(yaml.safe_load(PARAMS.read_text(encoding="utf-8")))
    return local_paths(params.datasets[params.dataset])


def modules_of_rules() -> dict[str, list[str]]:
    """The modules that each rule names as its code."""
    text = "".join(file.read_text(encoding="utf-8") for file in sorted(RULES.glob("*.smk")))
    rules = (
        re.match(r"(\w+):.* code=code\((.+?)\)", part, re.DOTALL)
        for part in re.split("(?m)^(?:rule|checkpoint) ", text)
    )
    return {rule[1]: re.findall(r"[\w.]+", rule[2]) for rule in rules if rule}


if __name__ == "__main__":
    text = with_code(FILE.read_text(encoding="utf-8"), local_files())
    write_bytes(FILE, text.encode())
