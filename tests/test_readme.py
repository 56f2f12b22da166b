"""The README's numbers come out of the pipeline, and its commands are those that CI runs."""

from __future__ import annotations

import csv
import re
from pathlib import Path

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()
COLUMNS = {
    "mask_ap": "mask AP",
    "mask_ap50": "AP50",
    "box_ap": "box AP",
    "f1_50": "instance F1",
    "pixel_f1": "pixel F1",
}


def table() -> str:
    """Markdown of the rows over all cell lines of the default run."""

    def cell(row: dict[str, str], name: str) -> str:
        low, high = row.get(f"{name}_low"), row.get(f"{name}_high")
        return f"{float(row[name]):.3f}" + (f" [{float(low):.3f}, {float(high):.3f}]" if low and high else "")

    rows = [row for row in csv.DictReader((ROOT / "results/demo/metrics.csv").open()) if row["cell_line"] == "all"]
    lines = ["| run | " + " | ".join(COLUMNS.values()) + " |", "|---|" + "---|" * len(COLUMNS)]
    lines += [f"| {row['run']} | " + " | ".join(cell(row, name) for name in COLUMNS) + " |" for row in rows]
    return "\n".join(lines)


def test_the_table_is_that_of_the_default_run() -> None:
    match = re.search(r"<!-- results:.*?-->\n(.*?)\n<!-- end of results -->", README, re.DOTALL)
    assert match is not None
    assert match[1] == table()


def test_ci_calls_the_test_command() -> None:
    assert "pip install uv && uv run pytest" in README
    assert "uv run pytest" in (ROOT / ".ci/run").read_text()


def test_links_lead_somewhere() -> None:
    for target in re.findall(r"\]\(([^)#]+)\)", README):
        assert target.startswith("http") or (ROOT / target).exists(), target
