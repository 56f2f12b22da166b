"""Runs as files that need no training code: export, benchmark, package."""

from __future__ import annotations

from argparse import Namespace
from pathlib import Path

from monolayer.cli.options import Verbs, add_verb
from monolayer.cli.paths import Written


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
        output=Written(
            "folder to write model.json, the files that it lists and parity.json, the comparison, to",
            inside=("model.json", "parity.json", "seen.txt", "networks"),
        ),
    )
    add_verb(
        verbs,
        benchmark,
        "steps.BenchmarkParams",
        weights="weights.pt of the run",
        exported="folder of the exported run",
        images="folder of images",
        truth="COCO file that lists images to measure on: test.json",
        output=Written("timings to write, JSON; written beside it under the device's name too", ".json"),
    )
    image = "an image that the model knows: the package's test and cover are made of it"
    verb = add_verb(verbs, package, image=image, output=Written("package to write, a zip", ".zip"))
    exported = "folder of an exported U-Net (default: the pretrained, for phase contrast)"
    verb.set_defaults(models=("exported",))
    verb.add_argument("--exported", type=Path, metavar="PATH", help=exported)
    verb.add_argument(
        "--network", default="all", metavar="NAME", help="of a run that has several (default: %(default)s)"
    )
    weights = "weights.pt of that run, for TorchScript besides ONNX"
    verb.add_argument("--weights", type=Path, metavar="PATH", help=weights)
    verb.add_argument("--author", nargs="+", required=True, metavar="NAME", help="who made the model")
    verb.add_argument("--licence", required=True, metavar="SPDX", help="of the model, as CC-BY-NC-4.0")


def export(args: Namespace) -> None:
    """Write a run as ONNX files and TensorRT engines, which need no torch, and hold them against it."""
    from monolayer.backends.manifest import MANIFEST, PARITY
    from monolayer.deployment import export
    from monolayer.evaluation.threshold import score_threshold
    from monolayer.files import write_json

    least = score_threshold(args.scores)
    export.export(args.weights, args.images, args.splits, args.params, args.output, score_threshold=least)
    try:
        found = export.check(args.output, args.images, args.splits, args.results, args.params)
    except BaseException:
        (args.output / MANIFEST).unlink()  # what finds other cells than torch is no export
        raise
    write_json(args.output / PARITY, found, indent=1)


def benchmark(args: Namespace) -> None:
    """Measure how fast a run finds cells here, with torch and each exported backend and dtype."""
    from monolayer.deployment import benchmark

    times = benchmark.benchmark(args.weights, args.exported, args.images, args.truth, args.params)
    benchmark.keep(times, args.output)


def package(args: Namespace) -> None:
    """Pack an exported U-Net as a model of bioimage.io, which deepImageJ, ilastik, QuPath and others run.

    examples:
      monolayer package --image a.png --author "A. Name" --licence CC-BY-NC-4.0 --output model.zip
    """
    from monolayer.backends import manifest
    from monolayer.deployment import package

    signature = package.Signature(args.author, args.licence)
    exported = args.exported or manifest.pretrained()
    package.package(exported, args.image, signature, args.output, network=args.network, weights=args.weights)
