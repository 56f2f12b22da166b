"""DVC's record of a run: record, restore, reproduce; of a round of annotation: keep-round."""

from __future__ import annotations

from argparse import Namespace
from pathlib import Path

from monolayer.cli.options import Verbs, add_verb


def add_verbs(verbs: Verbs) -> None:
    add_verb(verbs, record)
    add_verb(verbs, restore)
    verb = add_verb(verbs, reproduce)
    verb.add_argument("--folder", type=Path, metavar="PATH", help="empty folder for it, kept (default: temporary)")
    verb.add_argument("--cores", default="all", metavar="N", help="for snakemake (default: %(default)s)")
    verb = add_verb(verbs, keep_round, results="folder of the dataset, results/DATASET")
    verb.add_argument(
        "--run", dest="tuned", default="tuned", metavar="NAME", help="a run that has a base (default: %(default)s)"
    )


def record(args: Namespace) -> None:
    """Write dvc.lock from a finished run of Snakemake; refused if anything in it is not up to date."""
    from monolayer.provenance import record

    record.record()


def restore(args: Namespace) -> None:
    """After `dvc pull`: tell Snakemake that all is up to date; refused if DVC differs."""
    from monolayer.provenance import record

    record.restore()


def reproduce(args: Namespace) -> None:
    """Clone the current commit, run it anew, and compare every file with what dvc.lock records."""
    from monolayer.provenance import reproduce

    reproduce.reproduce(args.folder, args.cores)


def keep_round(args: Namespace) -> None:
    """Keep a round of annotation: its data and model in DVC, what it gained as a row of rounds.csv, for the report.

    examples:
      monolayer keep-round --results results/labelled
    """
    from monolayer.provenance import rounds

    rounds.keep_round(args.results, args.tuned)
