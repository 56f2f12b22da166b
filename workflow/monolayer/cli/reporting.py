"""What people read of runs: card, tool-card, report."""

from __future__ import annotations

from argparse import Namespace
from pathlib import Path

from monolayer.cli.options import Verbs, add_verb
from monolayer.cli.paths import Written


def add_verbs(verbs: Verbs) -> None:
    written = add_verb(
        verbs,
        card,
        "steps.CardParams",
        exported="folder of the exported run",
        model="folder with the run's run.json and history.csv",
        scores="the run's scores on test, JSON",
        splits="folder with train.json, val.json and test.json",
        output=Written("Markdown to write", ".md"),
    )
    written.add_argument("--gain", type=Path, metavar="PATH", help="what it has over the run that it began with, JSON")
    written_card = Written("Markdown to write", ".md")
    record = "what is known of the tool's results on test, .tool.json"
    scores = "their scores, JSON"
    add_verb(verbs, tool_card, "steps.CardParams", record=record, scores=scores, output=written_card)
    results = "results folder of the dataset"
    html = Written("page to write, HTML", ".html")
    page = add_verb(verbs, report, "steps.ReportParams", results=results, output=html)
    page.add_argument("--runs", nargs="+", required=True, metavar="RUN", help="the runs to show, in this order")


def card(args: Namespace) -> None:
    """Write the model card of an exported run: training images, settings, scores per line, files."""
    from monolayer.files import write_bytes
    from monolayer.reporting import card

    text = card.card(args.exported, args.model, args.scores, args.splits, args.params, gain=args.gain)
    write_bytes(args.output, text.encode())


def tool_card(args: Namespace) -> None:
    """Write the card of another tool's results: licence, command, time, scores per line."""
    from monolayer.files import write_bytes
    from monolayer.reporting import card

    write_bytes(args.output, card.tool_card(args.record, args.scores, args.params).encode())


def report(args: Namespace) -> None:
    """Write one self-contained HTML page: what was run, the data, the tables, the pictures."""
    from monolayer.reporting import report

    report.report(args.results, args.runs, args.params, args.output)
