"""What cells do over time: track, mend, mend-run, compare-tracks."""

from __future__ import annotations

from argparse import Namespace
from pathlib import Path

from monolayer.cli.options import Verbs, add_cells, add_threads, add_verb, cells_of
from monolayer.cli.paths import RESULTS, Written


def add_verbs(verbs: Verbs) -> None:
    verb = add_verb(
        verbs,
        track,
        "tracking.TrackerParams",
        workers=True,
        truth="COCO file that lists the images; without --results its own cells are tracked",
        cells="folder that `measure` wrote of the same cells",
        output=Written(
            "folder to write cells, tracks, frames, divisions, scores, dictionary.csv and files/ to",
            inside=("cells.parquet", "cells.csv", "files"),
            apart=("cells",),
        ),
    )
    add_cells(verb)
    verb = add_verb(
        verbs,
        mend,
        "steps.LinkParams",
        truth="COCO file that lists the images",
        output=Written("COCO results to write (.json, .json.gz)", *RESULTS),
    )
    add_cells(verb, required=True)
    verb = add_verb(
        verbs,
        mend_run,
        "tracking.MendParams",
        splits="folder with val.json and test.json",
        predictions="folder with what the run found in them, val.json.gz and test.json.gz",
        scores="scores of `evaluate` of the run, whose threshold is taken",
        output=Written(
            "folder to write val.json.gz, test.json.gz and mended.json to",
            inside=("val.json.gz", "test.json.gz", "mended.json"),
            apart=("predictions",),
        ),
    )
    add_threads(verb, "change nothing but the time")
    table = Written("table to write, CSV; its .pairs.csv stands beside it", ".csv")
    compared = add_verb(verbs, compare_tracks, "steps.TrackScoresParams", output=table)
    help_ = "folders that `track` wrote, named as their runs"
    compared.add_argument("--tracks", type=Path, nargs="+", required=True, metavar="PATH", help=help_)


def track(args: Namespace) -> None:
    """Link cells from frame to frame: tracks, divisions, lineages, files for napari and the Cell Tracking Challenge.

    examples:
      PARAMS='{"max_move": 1.5, "sparse_move": 0.75, "gap_frames": 2, "gap_move": 1.5, "division_move": 1.2,
        "division_area": 1.7, "drift": 5, "division_tolerance": 1, "files": ["ctc"], "extension": null}'
      monolayer track --truth test.json --cells measured --params "$PARAMS" --output tracks
      monolayer track --truth test.json --cells measured --params "$PARAMS" --output tracks \\
        --results cells.json --score-min 0.5
    """
    from monolayer.tracking import track

    cells = track.Measured(args.cells), cells_of(args)
    track.track(args.truth, cells, args.params, args.output, workers=args.workers)


def mend(args: Namespace) -> None:
    """Mend the cells of time-lapses by the frames beside theirs: those that vanish, and two that are one for a while.

    examples:
      PARAMS='{"max_move": 1.5, "sparse_move": 0.75, "gap_frames": 2, "gap_move": 1.5, "division_move": 1.2,
        "division_area": 1.7, "drift": 5}'
      monolayer mend --truth test.json --results cells.json --score-min 0.5 --params "$PARAMS" --output mended.json
    """
    from monolayer.tracking import mend

    mend.mend(args.truth, cells_of(args), args.params, args.output)


def mend_run(args: Namespace) -> None:
    """Mend a run's cells as `mend` does, if val says that it helps, and say what mask AP and TRA gain there."""
    from monolayer.tracking import mending

    mending.mend_run(args.splits, args.predictions, args.scores, args.params, args.output, threads=args.threads)


def compare_tracks(args: Namespace) -> None:
    """Put the scores of several runs' tracks into one table, and say which differences between them are real."""
    from monolayer.tracking import comparison

    comparison.compare(args.tracks, args.params, args.output)
