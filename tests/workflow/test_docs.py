"""What README and docs say: their numbers are in tracked tables, and their links, paths and keys lead somewhere."""

from __future__ import annotations

import csv
import html
import json
import re
import subprocess
from collections import defaultdict
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import inputs
import pytest
import yaml
from monolayer.__main__ import main
from monolayer.evaluation.definitions import DEFINITIONS
from paths import ROOT

PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").glob("*.md"))]
CURRENT = [page for page in PAGES if page.name != "CHANGELOG.md"]  # of which no name is one of the past
STUDY = ROOT / "results/phase_contrast"
COLUMNS = {
    "mask_ap": "mask AP",
    "mask_ap50": "AP50",
    "box_ap": "box AP",
    "f1_50": "instance F1",
    "pixel_f1": "pixel F1",
}
DEFINED = (
    *("mask_ap", "mask_ap50", "box_ap", "ap_size", "ar", "afnr", "f1_50", "f1", "precision", "recall", "pixel_f1"),
    *("pixel_f1_images", "mean_accuracy", "count_bias", "count_mae", "count_r2", "low_high", "difference"),
    *("missed", "merged", "split", "loose"),
)
CARD = "workflow/monolayer/pretrained/phase_contrast/card.md"
# What docs name and a checkout has not: what is made by running, and what a user brings.
MADE = ("results/", "envs/monolayer.sif")


# ---- tables -----------------------------------------------------------------------------------------


def rows_of(results: str) -> dict[tuple[str, str], dict[str, str]]:
    """Rows of a tracked metrics.csv by run and cell line."""
    with (ROOT / results / "metrics.csv").open() as file:
        return {(row["run"], row["cell_line"]): row for row in csv.DictReader(file)}


def markdown(head: list[str], rows: list[list[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |".replace("| --- ", "|---").replace("--- |", "---|") for line in lines)


def score(row: dict[str, str], name: str) -> str:
    """With its interval, whose two ends stay on one line."""
    ends = [row.get(f"{name}_{end}") for end in ("low", "high")]
    interval = ",\N{NO-BREAK SPACE}".join(f"{float(end):.3f}" for end in ends if end)
    return f"{float(row[name]):.3f}" + (f" [{interval}]" if interval else "")


def models() -> str:
    row = rows_of("results/phase_contrast_self")["self_trained", "all"]
    data = "label-free phase contrast: Sartorius' shsy5y and cort, some LIVECell (10×), T98G (15×)"
    texts = [
        "`monolayer.load()`",
        data,
        score(row, "mask_ap"),
        score(row, "f1_50"),
        "non-commercial",
        f"[card]({CARD})",
    ]
    return markdown(["model", "trained on", "mask AP", "instance F1", "licence", "card"], [texts])


def results() -> str:
    rows = [row for (_, line), row in rows_of("results/demo").items() if line == "all"]
    return markdown(["run", *COLUMNS.values()], [[row["run"], *(score(row, name) for name in COLUMNS)] for row in rows])


def report_rows(caption: str) -> Iterator[list[str]]:
    """A table of the study's report, as texts."""
    table = (STUDY / "report.html").read_text().split(f"{caption}</caption>")[1].split("</table>")[0]
    for row in re.findall(r"<tr>(.*?)</tr>", table, re.DOTALL):
        yield [html.unescape(re.sub(r"<[^>]*>", "", text)) for text in re.findall(r"<t[hd].*?</t[hd]>", row, re.DOTALL)]


def steps() -> dict[str, str]:
    """How long each run of the study was trained; of several networks, so many times."""
    found = defaultdict(list)
    for run, _, number, *_ in report_rows("What each network was trained on"):
        found[run].append(number)
    assert all(len(set(numbers)) == 1 for numbers in found.values())
    return {run: (f"{len(n)} × " if len(n) > 1 else "") + n[0] for run, n in found.items()}


def study() -> str:
    """Best run first: over all lines, and of the two with most images."""
    columns = (("all", "mask_ap"), ("all", "f1_50"), ("shsy5y", "mask_ap"), ("shsy5y", "f1_50"), ("cort", "mask_ap"))
    rows, taken = rows_of("results/phase_contrast"), steps()
    runs = sorted({run for run, _ in rows}, key=lambda run: (-float(rows[run, "all"]["mask_ap"]), run))
    head = ["run", "steps", *(f"{line} {COLUMNS[name]}" for line, name in columns)]
    texts = []
    for run in runs:
        taught = float(rows[run, "all"]["mask_ap"]) >= 0.0005  # others had not learnt to find cells
        scores = [score(rows[run, line], name) if taught else "–" for line, name in columns]
        texts.append([run, taken[run] + ("" if taught else ", too few"), *scores])
    return markdown(head, texts)


def field_runs() -> str:
    """The study whose fields are kept together: a row per run, best first, with the steps that its file sets."""
    rows = rows_of("results/phase_contrast_fields")
    study = yaml.safe_load((ROOT / "workflow/studies/phase_contrast_fields.yaml").read_text())
    default = yaml.safe_load((ROOT / "params.yaml").read_text())["runs"]
    columns = (("all", "mask_ap"), ("all", "mask_ap50"), ("all", "f1_50"), ("shsy5y", "mask_ap"), ("cort", "mask_ap"))
    head = ["run", "steps", *(f"{line} {COLUMNS[name]}" for line, name in columns)]
    texts = []
    for run in sorted({run for run, _ in rows}, key=lambda run: -float(rows[run, "all"]["mask_ap"])):
        own = default[run] | study["runs"].get(run, {})
        train = study["models"][own["model"]]["quick"]["train"]
        epoch = train["patches"] // 8 if "patches" in train else 62  # of 4 images of 245
        number = f"{epoch * train['fit']['epochs']:,}" + (" of each" if own["lines"] == "each" else "")
        texts.append([run, number, *(score(rows[run, line], name) for line, name in columns)])
    return markdown(head, texts)


def fields() -> str:
    """Its best run: a row per cell line."""
    every = rows_of("results/phase_contrast_fields")
    rows = {line: row for (run, line), row in every.items() if run == "unet_distance"}
    head = ["cell line", "images", "cells", *(COLUMNS[name] for name in ("mask_ap", "mask_ap50", "f1_50"))]
    return markdown(head, [[line, *lines(row)] for line, row in rows.items()])


def self_trained() -> str:
    """Beside what it began with, line by line."""
    found, begun = rows_of("results/phase_contrast_self"), rows_of("results/phase_contrast_fields")
    head = ["cell line", *(f"{run} {COLUMNS[name]}" for name in ("mask_ap", "f1_50") for run in ("before", "after"))]
    texts = []
    for (_, line), row in found.items():
        pair = begun["unet_distance", line], row
        texts.append([line, *(score(one, name) for name in ("mask_ap", "f1_50") for one in pair)])
    return markdown(head, texts)


def lines(row: dict[str, str]) -> list[str]:
    return [row["images"], f"{int(row['cells']):,}", *(score(row, name) for name in ("mask_ap", "mask_ap50", "f1_50"))]


def speed() -> str:
    head = ["run", "torch fp32", "ONNX Runtime fp32", "ONNX Runtime fp16", "ONNX Runtime int8"]
    texts = []
    for path in sorted((ROOT / "results/demo/benchmark").glob("*.AMD-EPYC-2-threads.json")):
        timed = json.loads(path.read_text())
        found = {f"{r['backend']} {r['dtype']}": r for r in timed["rows"] if r["batch"] == 1 and "latency_ms" in r}
        keys = [name.replace("ONNX Runtime", "onnxruntime") for name in head[1:]]
        times = [f"{found[key]['latency_ms']['median']:.0f}" if key in found else "–" for key in keys]
        texts.append([timed["run"], *times])
    return markdown(head, texts)


def definitions() -> str:
    """What the columns mean, as the report and the terminal say it."""
    chosen = [DEFINITIONS[name] for name in DEFINED]
    return "\n".join(f"- **{d.title}**: {d.text}" + (f"<br>*{d.source}*" if d.source else "") for d in chosen)


TABLES: dict[tuple[str, str], Callable[[], str]] = {
    ("README.md", "models"): models,
    ("README.md", "results"): results,
    ("docs/phase-contrast-study.md", "study"): study,
    ("docs/phase-contrast-study.md", "field runs"): field_runs,
    ("docs/phase-contrast-study.md", "fields"): fields,
    ("docs/phase-contrast-study.md", "self-trained"): self_trained,
    ("docs/engines-and-service.md", "speed"): speed,
    ("docs/metrics.md", "definitions"): definitions,
    **{("docs/inputs.md", case.table): partial(inputs.table, case.table) for case in inputs.cases()},
}


def between(page: str, name: str) -> str:
    match = re.search(f"<!-- {name}: .*?-->\n(.*?)\n?<!-- end of {name} -->", (ROOT / page).read_text(), re.DOTALL)
    assert match is not None, f"{page} has no block {name}"
    return match[1]


@pytest.mark.parametrize(("page", "name"), TABLES)
def test_tables_are_those_of_the_results(page: str, name: str) -> None:
    assert between(page, name) == TABLES[page, name]()


def test_every_block_of_the_pages_is_held_to_something() -> None:
    blocks = {
        (str(page.relative_to(ROOT)), name)
        for page in PAGES
        for name in re.findall("<!-- end of (.+?) -->", page.read_text())
    }
    elsewhere = {("docs/index.md", "verbs")}  # by the next test
    others = {("docs/other-programs.md", name) for name in ("meetings", "shapes")}  # in tests/test_other_programs.py
    assert set(TABLES) | elsewhere | others == blocks


def test_verbs_are_those_of_the_command_line(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["--help"])
    known = re.findall(r"^    ([a-z][a-z-]+)(?: |$)", capsys.readouterr().out, re.MULTILINE)
    assert sorted(re.findall(r"^\| `([a-z-]+)` \|", between("docs/index.md", "verbs"), re.MULTILINE)) == sorted(known)


def test_the_study_names_its_rows_and_data() -> None:
    text = (ROOT / "docs/phase-contrast-study.md").read_text()
    selected = yaml.safe_load((ROOT / "workflow/studies/phase_contrast.yaml").read_text())["selected"]
    rows = rows_of("results/phase_contrast")
    assert sorted({run for run, _ in rows}) == sorted(selected)
    of_line = {line: rows["unet_distance", line] for line in ("all", "shsy5y", "cort")}
    counts = {line: f"{int(row['images'])} {int(row['cells']):,}" for line, row in of_line.items()}
    assert counts == {"all": "67 5,417", "shsy5y": "10 2,746", "cort": "44 1,427"}
    for said in ("67 images with 5,417 cells", "shsy5y has 10 and 2,746", "cort 44 and 1,427"):
        assert said in text
    page = (STUDY / "report.html").read_text()
    for said in ("498", "41,193", "2 h 56 min"):
        assert said in text
        assert said in page


def test_what_works_on_dense_cells_is_what_the_table_says() -> None:
    text = (ROOT / "docs/training.md").read_text()
    rows, taken = rows_of("results/phase_contrast"), steps()
    for run, line in (("unet", "shsy5y"), ("shsy5y", "shsy5y"), ("unet_distance", "shsy5y"), ("shsy5y", "all")):
        assert f"{float(rows[run, line]['mask_ap']):.3f}" in text
    for run in ("unet", "shsy5y", "unet_distance", "yolo_small"):
        assert f"{taken[run]} steps" in text
    kinds = report_rows("Errors in numbers: true cells lost, predictions wrong")
    lost = next(row for row in kinds if row[:2] == ["unet_distance", "shsy5y"])
    missed, merged, _, loose = (f"{int(number) / 2746:.0%}".replace("%", " %") for number in lost[2:6])
    assert f"{merged} are merged with a neighbour, {missed} missed, {loose} outlined too loosely" in text


def test_readme_is_a_page() -> None:
    assert len((ROOT / "README.md").read_text().splitlines()) <= 120


def test_ci_calls_the_test_command() -> None:
    assert "pip install uv && uv run pytest" in (ROOT / "README.md").read_text()
    assert "uv run pytest" in (ROOT / ".ci/run").read_text()
    assert "bash .ci/run" in (ROOT / ".github/workflows/ci.yml").read_text()


# ---- links, paths, keys --------------------------------------------------------------------------------


def prose(page: Path) -> str:
    """A page without its fenced blocks, which test_docs_commands.py runs."""
    return re.sub(r"^```.*?^```", "", page.read_text(), flags=re.MULTILINE | re.DOTALL)


def anchors(page: Path) -> set[str]:
    """The names that GitHub gives a page's headings."""
    heads = re.findall(r"^#+ (.*)$", prose(page), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", head.lower()).replace(" ", "-") for head in heads}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)", prose(page)):
        if target.startswith("http"):
            continue
        path, _, anchor = target.partition("#")
        led = page.parent / path if path else page
        assert led.exists(), target
        assert not anchor or anchor in anchors(led), target


@pytest.mark.parametrize("page", CURRENT, ids=lambda page: page.name)
def test_named_paths_exist(page: Path) -> None:
    """`tests/…` and the like in the text; patterns count where something matches them."""
    tops = {path.name for path in ROOT.iterdir() if path.is_dir() and path.name not in {"results", ".git"}}
    for said in re.findall(r"`([^`\n ]+/[^`\n ]*)`", prose(page)):
        if said.split("/")[0] in tops and not said.startswith(MADE) and not re.search(r"{|\b(X|NAME)\b", said):
            assert list(ROOT.glob(said.rstrip("/"))), f"{page.name} names {said}"


@pytest.mark.parametrize("page", CURRENT, ids=lambda page: page.name)
def test_named_keys_are_in_params(page: Path) -> None:
    params: dict[str, Any] = yaml.safe_load((ROOT / "params.yaml").read_text())
    for said in re.findall(r"`([a-z_]+(?:\.[a-z_]+)+)`", prose(page)):
        found: Any = params
        if said.split(".")[0] in params and not said.endswith((".yaml", ".csv", ".json", ".html")):
            for key in said.split("."):
                assert key in found, f"{page.name} names {said}"
                found = found[key]


def test_citation_and_changelog_are_of_this_version() -> None:
    version = re.search(r'^version = "(.*)"', (ROOT / "pyproject.toml").read_text(), re.MULTILINE)
    assert version is not None
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert citation["version"] == version[1]
    assert f"## [{version[1]}]" in (ROOT / "CHANGELOG.md").read_text()


def test_hooks_are_those_of_ci() -> None:
    """The pre-commit hooks call what .ci/run calls, by uv and so in the versions of uv.lock."""
    ci = (ROOT / ".ci/run").read_text()
    hooks = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())["repos"][0]["hooks"]
    for hook in hooks:
        assert hook["language"] == "system"
        assert " ".join(hook["entry"].split()[:3]) in ci, hook["id"]
        subprocess.run([*hook["entry"].split()[2:3], "--version"], check=True, capture_output=True)
