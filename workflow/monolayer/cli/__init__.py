"""The command line: a module for each package that has verbs; each verb's options stand beside its call.

Nothing but argparse is imported before a verb runs: every job of the workflow pays for what is.
"""

from __future__ import annotations

from monolayer.cli import (
    data,
    deployment,
    evaluation,
    finetuning,
    models,
    plates,
    provenance,
    reporting,
    service,
    tracking,
)
from monolayer.cli.options import PROGRAM, Parser


def parser() -> Parser:
    whole = Parser(
        prog=PROGRAM,
        description="Cell segmentation from images to a report. `snakemake --cores all` calls these verbs in order; "
        "each works alone as well.",
        epilog="monolayer VERB --help explains a verb; params.yaml explains every parameter.",
    )
    whole.add_argument("--version", action="store_true", help="show the version and exit")
    whole.set_defaults(verb=None)
    verb = whole.add_subparsers(title="verbs, in the order in which data flows", metavar="VERB")
    for package in (data, models, evaluation, tracking, deployment, reporting, provenance, service, plates, finetuning):
        package.add_verbs(verb.add_parser)
    return whole
