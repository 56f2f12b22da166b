"""Other tools' results, scores, measurements: import-results, evaluate, compare, measure."""

from __future__ import annotations

from argparse import Namespace
from pathlib import Path

from monolayer.cli.options import PARAMS, Verbs, add_cells, add_plane, add_threads, add_verb, cells_of, whole
from monolayer.cli.paths import RESULTS, Written

MEASURED = tuple(f"{table}.{form}" for table in ("cells", "images", "growth") for form in ("parquet", "csv"))


def add_verbs(verbs: Verbs) -> None:
    tool = add_verb(
        verbs,
        import_results,
        "tools.OtherTool",
        images="folder of images",
        truth="COCO file that lists them",
        output=Written("COCO results to write; {split}.tool.json is written beside it", *RESULTS),
    )
    tool.add_argument("--split", choices=["val", "test"], required=True, help="whose images they are")
    _add_evaluate(verbs)
    table = Written("table to write, CSV; pairs.csv is written beside it", ".csv")
    compared = add_verb(verbs, compare, output=table)
    compared.add_argument("--metrics", type=Path, nargs="+", required=True, metavar="PATH", help="scores of runs, JSON")
    gained = "scores of the run that it began with, JSON"
    scored = "the run's scores, JSON; the draws lie beside each"
    truth = "COCO truth that both were scored on"
    verdict = Written("verdict to write, JSON", ".json")
    verb = add_verb(verbs, gain, "steps.GainParams", truth=truth, base=gained, scores=scored, output=verdict)
    told = "run.json of both: test images that they learned from show nothing"
    verb.add_argument("--models", nargs=2, type=Path, required=True, metavar="PATH", help=told)
    _add_measure(verbs)


def import_results(args: Namespace) -> None:
    """Have another tool find the cells of a split by its command, or take what it has found, as COCO results."""
    from monolayer.evaluation import tools

    tools.import_results(args.params, args.images, args.truth, args.split, args.output)


def _add_evaluate(verbs: Verbs) -> None:
    verb = add_verb(
        verbs,
        evaluate,
        truth="COCO truth",
        results="COCO results (.json, .json.gz), or a folder with a label image (TIFF, PNG) for each image",
        output=Written("scores to write, JSON; the tables are written beside it", ".json"),
    )
    verb.set_defaults(section="steps.EvaluateParams")
    add_threads(verb, "change nothing but the time")
    val = verb.add_argument_group("where the score threshold is chosen (default: on the results themselves)")
    val.add_argument("--val-truth", type=Path, metavar="PATH", help="COCO truth")
    val.add_argument("--val-results", type=Path, metavar="PATH", help="results for it")
    how = verb.add_argument_group("how, with params.yaml or by hand")
    either = how.add_mutually_exclusive_group(required=True)
    either.add_argument("--params", metavar="JSON", help=PARAMS)
    either.add_argument("--protocol", choices=["livecell", "coco"], help="whose constants; prints the scores")
    n_resamples = "by hand: draws of the bootstrap (default: %(default)s)"
    how.add_argument("--n-resamples", type=whole(1), default=1000, metavar="N", help=n_resamples)
    seed = "by hand: of the draws (default: %(default)s)"
    how.add_argument("--seed", type=whole(0), default=0, metavar="N", help=seed)
    resample = "by hand: what is drawn (default: %(default)s)"
    how.add_argument("--resample", choices=["image", "well"], default="image", help=resample)


def evaluate(args: Namespace) -> None:
    """Compare results of any tool with truth, per cell line and over all, with their uncertainty.

    examples:
      monolayer evaluate --truth test.json --results cells.json --output scores.json --protocol livecell
      monolayer evaluate --truth test.json --results cellpose_masks/ --output scores.json --protocol coco \\
        --val-truth val.json --val-results cellpose_val/
    """
    from monolayer.evaluation import evaluate
    from monolayer.params.steps import EvaluateParams

    if (args.val_truth is None) != (args.val_results is None):
        args.verb.error("--val-truth and --val-results go together")
    val = (args.val_truth, args.val_results) if args.val_truth else None
    params = args.params or EvaluateParams(
        protocol=args.protocol, n_resamples=args.n_resamples, seed=args.seed, resample=args.resample
    )
    scores = evaluate.evaluate((args.truth, args.results), val, params, args.output, args.threads)
    if args.protocol:
        from monolayer.evaluation import definitions, matching

        definitions.show(scores, str(matching.PROTOCOLS[args.protocol]))


def compare(args: Namespace) -> None:
    """Put the scores of several runs into one table, and say which differences between them are real."""
    from monolayer.evaluation import evaluate

    evaluate.compare(args.metrics, args.output)


def gain(args: Namespace) -> None:
    """Say whether a run is better than the one that it began with, by the paired interval of their difference."""
    from monolayer.evaluation import gain

    gain.gain(args.truth, args.base, args.scores, args.params, args.output, models=args.models)


def _add_measure(verbs: Verbs) -> None:
    verb = add_verb(
        verbs,
        measure,
        "measured.MeasureSettings",
        workers=True,
        images="folder of images",
        truth="COCO file that lists the images; without --results its own cells are measured",
        output=Written("folder to write cells, images, growth, dictionary.csv and masks/ to", inside=MEASURED),
    )
    add_cells(verb)
    add_plane(verb.add_argument_group("image files"))


def measure(args: Namespace) -> None:
    """Measure cells: a row for each cell and image, growth of each well, and files for Fiji, napari and QuPath.

    examples:
      PARAMS='{"pixel_size_um": {"all": 0.65}, "frame_hours": {}, "neighbours": {"gap": 2, "radius": 50}, "files": []}'
      monolayer measure --images images --truth test.json --params "$PARAMS" --output measured
      monolayer measure --images images --truth test.json --params "$PARAMS" --output measured \\
        --results cells.json --score-min 0.5
    """
    from monolayer.data.plane import ImagePlane
    from monolayer.measurement import measure

    cells, which = cells_of(args), ImagePlane(args.channel, args.z)
    measure.measure(args.images, args.truth, cells, args.params, args.output, workers=args.workers, which=which)
