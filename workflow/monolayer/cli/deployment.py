"""Runs as files that need no training code: export, benchmark."""

from __future__ import annotations

from argparse import Namespace

from monolayer.cli.options import Verbs, add_verb


def add_verbs(verbs: Verbs) -> None:
    add_verb(
        verbs,
        export,
        "steps.ExportParams",
        weights="weights.pt of the run",
        images="folder of images",
        splits="folder with train.json (calibrates int8) and test.json (is compared on)",
        results="torch's results on test (.json.gz)",
        scores="the run's scores, JSON, whose threshold goes with it",
        output="folder to write model.json, the files that it lists and parity.json, the comparison, to",
    )
    add_verb(
        verbs,
        benchmark,
        "steps.BenchmarkParams",
        weights="weights.pt of the run",
        exported="folder of the exported run",
        images="folder of images",
        truth="COCO file that lists images to measure on: test.json",
        output="timings to write, JSON; written beside it under the device's name too",
    )


def export(args: Namespace) -> None:
    """Write a run as ONNX files and TensorRT engines, which need no torch, and hold them against it."""
    from monolayer.backends.manifest import PARITY
    from monolayer.deployment import export
    from monolayer.evaluation.threshold import score_threshold
    from monolayer.files import write_json

    least = score_threshold(args.scores)
    export.export(args.weights, args.images, args.splits, args.params, args.output, score_threshold=least)
    found = export.check(args.output, args.images, args.splits, args.results, args.params)
    write_json(args.output / PARITY, found, indent=1)


def benchmark(args: Namespace) -> None:
    """Measure how fast a run finds cells here, with torch and each exported backend and dtype."""
    from monolayer.deployment import benchmark

    times = benchmark.benchmark(args.weights, args.exported, args.images, args.truth, args.params)
    benchmark.keep(times, args.output)
