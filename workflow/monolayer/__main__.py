"""The verbs of the command line: argument parsing and nothing else."""

from __future__ import annotations

import argparse
import errno
import faulthandler
import logging
import os
import re
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from monolayer.cli import verbs

CURES = {  # of what the disk refuses
    errno.ENOSPC: "free some space",
    errno.EDQUOT: "free some of your quota",
    errno.EROFS: "mount it writable",
    errno.EACCES: "give yourself the right",
}
MODEL_HELP = "(default: the pretrained model, for phase contrast)"
PARAMS_HELP = "the verb's own section of params.yaml as JSON (see the command lines that snakemake -p prints)"


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="monolayer",
        description="Cell segmentation from images to a report. `snakemake --cores all` calls these verbs in order; "
        "each works alone as well.",
        epilog="monolayer VERB --help explains a verb; params.yaml explains every parameter.",
    )
    every = parser.add_subparsers(title="verbs, in the order in which data flows", metavar="VERB", required=True)

    def verb(name: str, run: Callable[[argparse.Namespace], None], help_: str, **paths: str) -> argparse.ArgumentParser:
        sub = every.add_parser(name, help=help_, description=help_)
        for option, text in paths.items():
            sub.add_argument(f"--{option}", type=Path, required=True, metavar="PATH", help=text)
        sub.add_argument("--log", type=Path, metavar="PATH", help="write what is shown on the terminal there too")
        sub.set_defaults(run=run, verb=name)
        return sub

    def with_params(sub: argparse.ArgumentParser) -> None:
        sub.add_argument("--params", required=True, metavar="JSON", help=PARAMS_HELP)

    with_params(
        verb(
            "download",
            verbs.download,
            "Fetch a dataset and normalise it: 8-bit grey images and COCO truth with cell line, well and time.",
            images="folder to write the images to",
            annotations="COCO truth to write",
        )
    )
    with_params(
        verb(
            "audit",
            verbs.audit,
            "Check images and truth; what makes results meaningless is an error, the rest is reported.",
            images="folder of images",
            annotations="COCO truth",
            output="findings, JSON",
        )
    )
    with_params(
        verb(
            "split",
            verbs.split,
            "Split by seed, stratified by cell line, with no well in two splits.",
            annotations="COCO truth",
            output="folder to write train.json, val.json and test.json to",
        )
    )
    extend = verb(
        "extend",
        verbs.extend,
        "Make synthetic images of train's cells, with their truth, as an extension of train.",
        images="folder of images",
        truth="COCO truth to extend: train.json",
        output="folder to write images/ and annotations.json to",
    )
    domain_shift = verb(
        "domain-shift",
        verbs.domain_shift,
        "Tell how far an extension lies from the images that it was made from.",
        images="folder of images",
        truth="COCO truth that was extended: train.json",
        extension="folder of the extension",
        output="folder to write features.csv, shift.csv, distributions.csv, shift.svg and samples.png to",
    )
    for sub in (extend, domain_shift):
        with_params(sub)
        sub.add_argument("--workers", type=int, default=1, metavar="N", help="processes; they change no byte")
    train = verb(
        "train",
        verbs.train,
        "Train one run; killed and called again, it goes on from its last checkpoint.",
        images="folder of images",
        splits="folder with train.json and val.json",
        output="folder to write weights.pt, run.json and history.csv to",
    )
    train.add_argument("--extension", type=Path, metavar="PATH", help="folder of synthetic images to train on besides")
    with_params(train)
    predict = verb(
        "predict",
        verbs.predict,
        "Find the cells of every image of a folder, or of a split; writes COCO results with RLE masks at native size.",
        images="folder of images: PNG, JPEG or TIFF, 8 or 16 bit",
    )
    _add_predict_options(predict)
    evaluate = verb(
        "evaluate",
        verbs.evaluate,
        "Compare results of any tool with truth, per cell line and over all, with their uncertainty.",
        truth="COCO truth",
        results="COCO results (.json, .json.gz), or a folder with a label image (TIFF, PNG) for each image",
        output="scores to write, JSON; the tables are written beside it",
    )
    _add_evaluate_options(evaluate)
    compare = verb(
        "compare",
        verbs.compare,
        "Put the scores of several runs into one table, and say which differences between them are real.",
        output="table to write, CSV; pairs.csv is written beside it",
    )
    compare.add_argument("--metrics", type=Path, nargs="+", required=True, metavar="PATH", help="scores of runs, JSON")
    measure = verb(
        "measure",
        verbs.measure,
        "Measure cells: a row for each cell and image, growth of each well, and files for Fiji, napari and QuPath.",
        images="folder of images",
        truth="COCO file that lists the images; without --results its own cells are measured",
        output="folder to write cells, images, growth, dictionary.csv and masks/ to",
    )
    measure.add_argument("--results", type=Path, metavar="PATH", help="COCO results (.json, .json.gz) to measure")
    least = measure.add_mutually_exclusive_group()
    least.add_argument("--scores", type=Path, metavar="PATH", help="scores of `evaluate`, whose threshold is taken")
    least.add_argument(
        "--score-min", type=float, default=0.0, metavar="S", help="or a score, from which up cells count"
    )
    measure.add_argument("--workers", type=int, default=1, metavar="N", help="processes; they change no byte")
    with_params(measure)
    with_params(
        verb(
            "export",
            verbs.export,
            "Write a run as ONNX files and TensorRT engines, which need no torch, and hold them against it.",
            weights="weights.pt of the run",
            images="folder of images",
            splits="folder with train.json (calibrates int8) and test.json (is compared on)",
            results="torch's results on test (.json.gz)",
            scores="the run's scores, JSON, whose threshold goes with it",
            output="folder to write model.json, the files that it lists and parity.json, the comparison, to",
        )
    )
    with_params(
        verb(
            "card",
            verbs.card,
            "Write the model card of an exported run: training images, settings, scores per line, files.",
            exported="folder of the exported run",
            model="folder with the run's run.json and history.csv",
            scores="the run's scores on test, JSON",
            splits="folder with train.json, val.json and test.json",
            output="Markdown to write",
        )
    )
    with_params(
        verb(
            "benchmark",
            verbs.benchmark,
            "Measure how fast a run finds cells here, with torch and each exported backend and dtype.",
            weights="weights.pt of the run",
            exported="folder of the exported run",
            images="folder of images",
            truth="COCO file that lists images to measure on: test.json",
            output="timings to write, JSON; written beside it under the device's name too",
        )
    )
    report = verb(
        "report",
        verbs.report,
        "Write one self-contained HTML page: what was run, the data, the tables, the pictures.",
        results="results folder of the dataset",
        output="page to write, HTML",
    )
    report.add_argument("--runs", nargs="+", required=True, metavar="RUN", help="the runs to show, in this order")
    with_params(report)
    verb(
        "record",
        verbs.record,
        "Write dvc.lock from a finished run of Snakemake; refused if anything in it is not up to date.",
    )
    verb(
        "restore",
        verbs.restore,
        "After `dvc pull`: tell Snakemake that all is up to date; refused if DVC differs.",
    )
    reproducer = verb(
        "reproduce",
        verbs.reproduce,
        "Clone the current commit, run it anew, and compare every file with what dvc.lock records.",
    )
    reproducer.add_argument(
        "--folder", type=Path, metavar="PATH", help="empty folder for it, kept (default: temporary)"
    )
    reproducer.add_argument("--cores", default="all", metavar="N", help="for snakemake (default: %(default)s)")
    importer = verb(
        "import-weights",
        verbs.import_weights,
        "Convert a checkpoint of the official CenterMask2 (detectron2 .pth or .pkl: an ImageNet backbone, COCO or "
        "LIVECell model) to weights.pt, for `weights:` in params.yaml or for predict.",
        checkpoint="file to convert; read as data, never run",
        output="weights.pt to write",
    )
    importer.add_argument("--category", type=int, metavar="N", help="class to keep of a checkpoint that has several")
    importer.add_argument(
        "--drop",
        nargs="*",
        default=[],
        metavar="PREFIX",
        help="leave out tensors whose names begin so",
    )
    with_params(importer)
    _add_service_verbs(verb)
    return parser


def _add_service_verbs(verb: Callable[..., argparse.ArgumentParser]) -> None:
    serve = verb("serve", verbs.serve, "Answer HTTP requests: images in, cells out; with a web page. Needs no torch.")
    serve.add_argument("--model", type=Path, nargs="+", metavar="PATH", help=f"folders of exported runs {MODEL_HELP}")
    serve.add_argument("--host", default="127.0.0.1", metavar="NAME", help="0.0.0.0: reachable (default: %(default)s)")
    serve.add_argument("--port", type=int, default=8000, metavar="N", help="default: %(default)s")
    serve.add_argument("--keep", type=Path, metavar="PATH", help="folder for images that a request asks to store")
    serve.add_argument(
        "--sample", type=Path, metavar="PATH", help="image that the page offers to try; else a drawn one"
    )
    for name, value, text in (
        ("mb", 64, "MiB of a request"),
        ("megapixels", 64, "megapixels (2²⁰) of a request, all frames together"),
        ("frames", 200, "pages of a TIFF"),
        ("waiting", 64, "requests at a time; the next ones get 429"),
        ("seconds", 120, "for a request"),
    ):
        serve.add_argument(f"--max-{name}", type=int, default=value, metavar="N", help=f"{text} (default: %(default)s)")
    watch = verb(
        "watch",
        verbs.watch,
        "Segment images as a microscope writes them; goes on where it was when it is started again.",
        folder="folder that the microscope writes to, with its subfolders",
        output="folder to write cells.csv, images.csv, growth.csv and growth.svg to",
    )
    watch.add_argument("--model", type=Path, metavar="PATH", help=f"folder of an exported run {MODEL_HELP}")
    watch.add_argument(
        "--pattern", type=re.compile, metavar="REGEX", help="over paths, with any of the groups line, well, time"
    )
    watch.add_argument("--pixel-size-um", type=float, metavar="X", help="µm along a pixel's side, for columns in µm")
    watch.add_argument("--frame-hours", type=float, metavar="X", help="hours from frame to frame, where time is t007")
    watch.add_argument("--settle-seconds", type=float, default=2.0, metavar="S", help="unchanged so long is complete")
    watch.add_argument("--every-seconds", type=float, default=1.0, metavar="S", help="between looks at the folder")
    for sub in (serve, watch):
        sub.add_argument("--dtype", choices=["fp32", "fp16", "int8"], default="fp32", help="default: %(default)s")
        sub.add_argument("--threads", type=int, default=os.cpu_count(), metavar="N", help="of the network")
        sub.add_argument("--score-min", type=float, metavar="S", help="score from which cells count; else val's choice")
        _add_tta(sub)


def _add_tta(sub: argparse.ArgumentParser) -> None:
    about = "of an exported U-Net: turned views whose mean it takes; 1 is fastest, 8 best (default: the run's own)"
    sub.add_argument("--tta", type=int, choices=[1, 2, 4, 8], help=about)


def _add_predict_options(sub: argparse.ArgumentParser) -> None:
    sub.add_argument(
        "--output",
        "--results",
        type=Path,
        required=True,
        metavar="PATH",
        help="COCO results to write (.json, or .json.gz); those of a folder name each cell's file",
    )
    sub.add_argument(
        "--weights",
        type=Path,
        metavar="PATH",
        help=f"weights.pt of a run, or the folder of an exported one {MODEL_HELP}",
    )
    sub.add_argument("--labels", type=Path, metavar="PATH", help="of a folder: write a label TIFF for each image here")
    least = "of a folder: leave out lower scores (default: none, in label images those below val's choice)"
    sub.add_argument("--score-min", type=float, metavar="S", help=least)
    shard = "of a folder: only every Nth image from the Kth on, for each of N jobs of a cluster"
    sub.add_argument("--shard", type=_shard, default=(1, 1), metavar="K/N", help=shard)
    depth = "of a folder: in images of more than 8 bits these become 0 and 255 (default: the exported run's own)"
    sub.add_argument("--percentiles", type=float, nargs=2, metavar=("LOW", "HIGH"), help=depth)
    sub.add_argument("--threads", type=int, default=os.cpu_count(), metavar="N", help="of a folder: cores to use")
    backends, dtypes = ["onnxruntime", "tensorrt"], ["fp32", "fp16", "int8"]
    sub.add_argument(
        "--backend", choices=backends, default=backends[0], help="of an exported run (default: %(default)s)"
    )
    sub.add_argument("--dtype", choices=dtypes, default=dtypes[0], help="of an exported run (default: %(default)s)")
    _add_tta(sub)
    sub.add_argument("--truth", type=Path, metavar="PATH", help="COCO file that lists the images: a split")
    sub.add_argument("--params", metavar="JSON", help=f"for a split: {PARAMS_HELP}")


def _shard(text: str) -> tuple[int, int]:
    """3/1000, the third of a thousand, as (3, 1000)."""
    match = re.fullmatch(r"(\d+)/(\d+)", text)
    if match is None or not 1 <= int(match[1]) <= int(match[2]):
        raise argparse.ArgumentTypeError(f"{text} is no shard; write K/N with K from 1 to N, as 3/1000")
    return int(match[1]), int(match[2])


def _add_evaluate_options(sub: argparse.ArgumentParser) -> None:
    sub.add_argument("--val-truth", type=Path, metavar="PATH", help="COCO truth that the score threshold is chosen on")
    sub.add_argument("--val-results", type=Path, metavar="PATH", help="results for it; without, test itself is used")
    sub.add_argument("--threads", type=int, default=os.cpu_count(), metavar="N", help="change nothing but the time")
    how = sub.add_mutually_exclusive_group(required=True)
    how.add_argument("--params", metavar="JSON", help=PARAMS_HELP)
    how.add_argument("--protocol", choices=["livecell", "coco"], help="by hand: whose constants; prints the scores")
    sub.add_argument(
        "--n-resamples", type=int, default=1000, help="by hand: draws of the bootstrap (default: %(default)s)"
    )
    sub.add_argument("--seed", type=int, default=0, help="by hand: seed of the draws (default: %(default)s)")
    sub.add_argument("--resample", choices=["image", "well"], default="image", help="by hand: what is drawn")


def _start_log(path: Path | None) -> None:
    logging.raiseExceptions = False  # a log on a full disk is no reason to fail
    handlers: list[logging.Handler] = [logging.StreamHandler(sys.stderr)]
    if path is not None:
        path.parent.mkdir(parents=True, exist_ok=True)
        handlers.append(logging.FileHandler(path, mode="w"))
        faulthandler.enable(handlers[-1].stream)  # type: ignore[attr-defined]
    logging.basicConfig(level=logging.INFO, format="%(message)s", handlers=handlers, force=True)


def main(argv: Sequence[str] | None = None) -> int:
    args = _parser().parse_args(argv)
    from monolayer.files import InputError

    try:
        _start_log(args.log)
        args.run(args)
    except InputError as error:
        logging.error("monolayer %s: %s", args.verb, error)
        return 1
    except ModuleNotFoundError as error:
        extra = "service" if args.verb in ("serve", "watch") else "train"
        logging.error("monolayer %s: %s; pip install 'monolayer[%s]'", args.verb, error, extra)
        return 1
    except Exception as error:
        if isinstance(error, OSError) and error.errno in CURES:
            cure = f"{CURES[error.errno]} and give the same command again"
            logging.error("monolayer %s: %s; %s", args.verb, error, cure)
            return 1
        logging.exception("monolayer %s failed; this is a bug or a broken environment, not your data", args.verb)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
