"""The README's numbers come out of the pipeline, and its commands are those that CI runs."""

from __future__ import annotations

import csv
import re

from monolayer.evaluation.definitions import DEFINITIONS
from paths import ROOT

README = (ROOT / "README.md").read_text()
COLUMNS = {
    "mask_ap": "mask AP",
    "mask_ap50": "AP50",
    "box_ap": "box AP",
    "f1_50": "instance F1",
    "pixel_f1": "pixel F1",
}

DEFINED = [
    "mask_ap",
    "mask_ap50",
    "box_ap",
    "ap_size",
    "ar",
    "afnr",
    "f1_50",
    "f1",
    "precision",
    "recall",
    "pixel_f1",
    "pixel_f1_images",
    "mean_accuracy",
    "count_bias",
    "count_mae",
    "count_r2",
    "low_high",
    "difference",
    "missed",
    "merged",
    "split",
    "loose",
]


def definitions() -> str:
    """Markdown list of what the columns mean, as the report and the terminal say it."""
    chosen = [DEFINITIONS[name] for name in DEFINED]
    return "\n".join(f"- **{d.title}**: {d.text}" + (f"<br>*{d.source}*" if d.source else "") for d in chosen)


def between(start: str, end: str) -> str:
    match = re.search(f"<!-- {start}.*?-->\n(.*?)\n<!-- {end} -->", README, re.DOTALL)
    assert match is not None
    return match[1]


def cell(row: dict[str, str], name: str) -> str:
    low, high = row.get(f"{name}_low"), row.get(f"{name}_high")
    return f"{float(row[name]):.3f}" + (f" [{float(low):.3f}, {float(high):.3f}]" if low and high else "")


def study() -> str:
    """Markdown of the study on phase contrast, best run first: over all lines, and of the two with most images."""
    columns = (("all", "mask_ap"), ("all", "f1_50"), ("shsy5y", "mask_ap"), ("shsy5y", "f1_50"), ("cort", "mask_ap"))
    rows = {
        (row["run"], row["cell_line"]): row
        for row in csv.DictReader((ROOT / "results/phase_contrast/metrics.csv").open())
    }
    runs = sorted({run for run, _ in rows}, key=lambda run: (-float(rows[run, "all"]["mask_ap"]), run))
    lines = ["| run | " + " | ".join(f"{line} {COLUMNS[name]}" for line, name in columns) + " |"]
    lines.append("|---|" + "---|" * len(columns))
    lines += [f"| {run} | " + " | ".join(cell(rows[run, line], name) for line, name in columns) + " |" for run in runs]
    return "\n".join(lines)


def table() -> str:
    """Markdown of the rows over all cell lines of the default run."""
    rows = [row for row in csv.DictReader((ROOT / "results/demo/metrics.csv").open()) if row["cell_line"] == "all"]
    lines = ["| run | " + " | ".join(COLUMNS.values()) + " |", "|---|" + "---|" * len(COLUMNS)]
    lines += [f"| {row['run']} | " + " | ".join(cell(row, name) for name in COLUMNS) + " |" for row in rows]
    return "\n".join(lines)


def test_the_table_is_that_of_the_default_run() -> None:
    assert between("results", "end of results") == table()


def test_the_study_is_that_of_phase_contrast() -> None:
    assert between("study", "end of study") == study()


def test_the_definitions_are_the_evaluators() -> None:
    assert between("definitions", "end of definitions") == definitions()


def test_ci_calls_the_test_command() -> None:
    assert "pip install uv && uv run pytest" in README
    assert "uv run pytest" in (ROOT / ".ci/run").read_text()


def test_links_lead_somewhere() -> None:
    for target in re.findall(r"\]\(([^)#]+)\)", README):
        assert target.startswith("http") or (ROOT / target).exists(), target
