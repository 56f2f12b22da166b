"""What people read of runs: card, report."""

from __future__ import annotations

from argparse import Namespace

from monolayer.cli.options import Verbs, add_params, add_verb, typed


def add_verbs(verbs: Verbs) -> None:
    add_params(
        add_verb(
            verbs,
            card,
            exported="folder of the exported run",
            model="folder with the run's run.json and history.csv",
            scores="the run's scores on test, JSON",
            splits="folder with train.json, val.json and test.json",
            output="Markdown to write",
        )
    )
    page = add_verb(verbs, report, results="results folder of the dataset", output="page to write, HTML")
    page.add_argument("--runs", nargs="+", required=True, metavar="RUN", help="the runs to show, in this order")
    add_params(page)


def card(args: Namespace) -> None:
    """Write the model card of an exported run: training images, settings, scores per line, files."""
    from monolayer.files import write_bytes
    from monolayer.params.steps import CardParams
    from monolayer.reporting import card

    params = typed(CardParams.model_validate_json, args)
    text = card.card(args.exported, args.model, args.scores, args.splits, params)
    write_bytes(args.output, text.encode())


def report(args: Namespace) -> None:
    """Write one self-contained HTML page: what was run, the data, the tables, the pictures."""
    from monolayer.params.steps import ReportParams
    from monolayer.reporting import report

    report.report(args.results, args.runs, typed(ReportParams.model_validate_json, args), args.output)
