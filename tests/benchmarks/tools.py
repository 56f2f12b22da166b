"""Other tools beside a run of ours on the test images of the default run: `uv run python tests/benchmarks/tools.py`.

Prints the table of docs/compare.md. Needs results/demo, which `snakemake --cores all` makes.
"""

from __future__ import annotations

import argparse
import csv
import json
import tempfile
from pathlib import Path

import yaml
from monolayer.evaluation import evaluate
from monolayer.evaluation.tools import import_results
from monolayer.params import params
from monolayer.params.steps import EvaluateParams
from monolayer.params.tools import CommandTool

SHOWN = {"f1_50": "F1 at IoU .50", "mean_accuracy": "mean accuracy", "mask_ap": "mask AP"}


def interval(scores: dict[str, float], name: str) -> str:
    return f"{scores[name]:.3f} ({scores[f'{name}_low']:.3f} to {scores[f'{name}_high']:.3f})"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--results", type=Path, default=Path("results/demo"), help="of a dataset")
    parser.add_argument("--run", default="unet_distance", help="ours")
    args = parser.parse_args()
    config = yaml.safe_load(Path("params.yaml").read_text())
    how: EvaluateParams = params.load(config).evaluate
    study = yaml.safe_load(Path("workflow/studies/other_tools.yaml").read_text())
    splits, found = args.results / "splits", args.results / "predictions"
    with tempfile.TemporaryDirectory() as name:
        scores, records = {}, {}
        for run in (args.run, *study["models"]):
            folder = found / run
            if run != args.run:
                folder = Path(name) / run
                for split in ("val", "test"):
                    tool = CommandTool.model_validate(study["models"][run])
                    truth, output = splits / f"{split}.json", folder / f"{split}.json.gz"
                    import_results(tool, args.results / "data/images", truth, split, output)
                records[run] = json.loads((folder / "test.tool.json").read_text())
            test, val = ((splits / f"{split}.json", folder / f"{split}.json.gz") for split in ("test", "val"))
            scores[run] = evaluate.evaluate(test, val, how, Path(name) / f"{run}.json", 2)
        evaluate.compare([Path(name) / f"{run}.json" for run in scores], Path(name) / "table.csv")
        pairs = list(csv.DictReader((Path(name) / "pairs.csv").open()))
    print("| run | " + " | ".join(SHOWN.values()) + " | images a second, end to end |")
    print("|---" * (len(SHOWN) + 2) + "|")
    for run, numbers in scores.items():
        speed = "see the report"
        if run in records:
            speed = (
                f"{records[run]['images'] / records[run]['seconds']:.1f}, of {records[run]['images']}, start included"
            )
        print(f"| {run} | " + " | ".join(interval(numbers, metric) for metric in SHOWN) + f" | {speed} |")
    for row in pairs:
        if row["cell_line"] == "all" and row["metric"] in SHOWN:
            ends = f"{float(row['low']):+.3f} to {float(row['high']):+.3f}"
            print(f"{row['run_a']} less {row['run_b']}, {row['metric']}: {float(row['difference']):+.3f} ({ends})")


if __name__ == "__main__":
    main()
