"""What each verb does with its arguments: it types its parameters and calls its module, which it alone imports."""

from __future__ import annotations

import argparse
import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from monolayer.params.data import Percentiles


def download(args: argparse.Namespace) -> None:
    from pydantic import TypeAdapter

    from monolayer.data.download import download as run
    from monolayer.params.data import Dataset

    run(TypeAdapter(Dataset).validate_json(args.params), args.images, args.annotations)


def audit(args: argparse.Namespace) -> None:
    from monolayer.data import audit
    from monolayer.params.data import AuditParams

    audit.audit(args.images, args.annotations, AuditParams.model_validate_json(args.params), args.output)


def split(args: argparse.Namespace) -> None:
    from monolayer.data import split
    from monolayer.params.data import SplitParams

    split.split(args.annotations, SplitParams.model_validate_json(args.params), args.output)


def extend(args: argparse.Namespace) -> None:
    from monolayer.params.extensions import ExtendParams
    from monolayer.synthesis import extend

    params = ExtendParams.model_validate_json(args.params)
    extend.extend(args.images, args.truth, params, args.output, workers=args.workers)


def domain_shift(args: argparse.Namespace) -> None:
    from monolayer.params.extensions import DomainShiftParams
    from monolayer.synthesis import domain_shift

    params = DomainShiftParams.model_validate_json(args.params)
    domain_shift.domain_shift(args.images, args.truth, args.extension, params, args.output, workers=args.workers)


def train(args: argparse.Namespace) -> None:
    from monolayer.models import train
    from monolayer.params.steps import TrainParams

    params = TrainParams.model_validate_json(args.params)
    train.train(args.images, args.splits, params, args.output, args.extension)


def predict(args: argparse.Namespace) -> None:
    from monolayer.backends import manifest
    from monolayer.models import predict
    from monolayer.params.steps import PredictParams

    if (args.truth is None) != (args.params is None):
        raise SystemExit("monolayer predict: --truth and --params go together: a split, with a run's own settings")
    if args.truth is None:
        choice = predict.Choice(
            args.score_min, args.labels, args.backend, args.dtype, args.tta, args.shard, _percentiles(args.percentiles)
        )
        predict.predict_folder(args.weights or manifest.pretrained(), args.images, args.output, choice, args.threads)
    elif args.weights is None:
        raise SystemExit("monolayer predict: a split needs the --weights of a run")
    else:
        params = PredictParams.model_validate_json(args.params)
        predict.predict(args.weights, args.images, args.truth, params, args.output)


def _percentiles(given: list[float] | None) -> Percentiles | None:
    from pydantic import ValidationError

    from monolayer.files import InputError
    from monolayer.params.data import Percentiles

    if given is None:
        return None
    low, high = given
    try:
        return Percentiles(low=low, high=high)
    except ValidationError:
        raise InputError(f"--percentiles is {low:g} {high:g}; give 0 <= LOW < HIGH <= 100, as 0.5 99.8") from None


def export(args: argparse.Namespace) -> None:
    from monolayer.backends.manifest import PARITY
    from monolayer.deployment import export
    from monolayer.files import write_json
    from monolayer.measurement.measure import score_threshold
    from monolayer.params.steps import ExportParams

    params = ExportParams.model_validate_json(args.params)
    least = score_threshold(args.scores)
    export.export(args.weights, args.images, args.splits, params, args.output, score_threshold=least)
    found = export.check(args.output, args.images, args.splits, args.results, params)
    write_json(args.output / PARITY, found, indent=1)


def card(args: argparse.Namespace) -> None:
    from monolayer.files import atomic_write
    from monolayer.params.steps import CardParams
    from monolayer.reporting import card

    params = CardParams.model_validate_json(args.params)
    text = card.card(args.exported, args.model, args.scores, args.splits, params)
    with atomic_write(args.output) as partial:
        partial.write_text(text, encoding="utf-8")


def benchmark(args: argparse.Namespace) -> None:
    from monolayer.deployment import benchmark
    from monolayer.params.steps import BenchmarkParams

    params = BenchmarkParams.model_validate_json(args.params)
    benchmark.keep(benchmark.benchmark(args.weights, args.exported, args.images, args.truth, params), args.output)


def evaluate(args: argparse.Namespace) -> None:
    from monolayer.evaluation import evaluate
    from monolayer.params.steps import EvaluateParams

    if (args.val_truth is None) != (args.val_results is None):
        raise SystemExit("monolayer evaluate: --val-truth and --val-results go together")
    val = (args.val_truth, args.val_results) if args.val_truth else None
    by_hand = {"protocol": args.protocol, "n_resamples": args.n_resamples, "seed": args.seed, "resample": args.resample}
    params = EvaluateParams.model_validate_json(args.params) if args.params else EvaluateParams.model_validate(by_hand)
    scores = evaluate.evaluate((args.truth, args.results), val, params, args.output, args.threads)
    if args.protocol:
        from monolayer.evaluation import definitions, matching

        definitions.show(scores, str(matching.PROTOCOLS[args.protocol]))


def compare(args: argparse.Namespace) -> None:
    from monolayer.evaluation import evaluate

    evaluate.compare(args.metrics, args.output)


def measure(args: argparse.Namespace) -> None:
    from monolayer.measurement import measure
    from monolayer.params.steps import MeasureParams

    if args.scores and not args.results:
        raise SystemExit("monolayer measure: --scores says from which score up --results count; give both")
    score_min = measure.score_threshold(args.scores) if args.scores else args.score_min
    params = MeasureParams.model_validate_json(args.params)
    cells = measure.Cells(args.results, score_min)
    measure.measure(args.images, args.truth, cells, params, args.output, workers=args.workers)


def report(args: argparse.Namespace) -> None:
    from monolayer.params.steps import ReportParams
    from monolayer.reporting import report

    report.report(args.results, args.runs, ReportParams.model_validate_json(args.params), args.output)


def serve(args: argparse.Namespace) -> None:
    from monolayer.backends import manifest
    from monolayer.service import serve
    from monolayer.service.state import Settings
    from monolayer.service.uploads import Limits

    limits = Limits(args.max_mb << 20, args.max_megapixels << 20, args.max_frames, args.max_waiting, args.max_seconds)
    models = [
        serve.load(path, args.dtype, args.threads, args.score_min, args.tta)
        for path in args.model or [manifest.pretrained()]
    ]
    key = os.environ.get("MONOLAYER_API_KEY") or None
    serve.serve(models, Settings(limits, key, args.keep, args.sample), args.host, args.port)


def watch(args: argparse.Namespace) -> None:
    import signal
    import threading

    from monolayer.backends import manifest
    from monolayer.service import serve, watch

    model = serve.load(args.model or manifest.pretrained(), args.dtype, args.threads, args.score_min, args.tta)
    what = watch.Watching(
        args.folder, args.output, model, args.pattern, args.pixel_size_um, args.frame_hours, args.settle_seconds
    )
    stop = threading.Event()
    for name in (signal.SIGINT, signal.SIGTERM):
        signal.signal(name, lambda *_: stop.set())
    watch.watch(what, stop.is_set, args.every_seconds)


def record(args: argparse.Namespace) -> None:
    from monolayer.provenance import record

    record.record()


def restore(args: argparse.Namespace) -> None:
    from monolayer.provenance import record

    record.restore()


def reproduce(args: argparse.Namespace) -> None:
    from monolayer.provenance import reproduce

    reproduce.reproduce(args.folder, args.cores)


def import_weights(args: argparse.Namespace) -> None:
    from monolayer.models.centermask import import_weights
    from monolayer.params.steps import TrainParams

    params = TrainParams.model_validate_json(args.params)
    import_weights.import_weights(args.checkpoint, params, args.output, args.category, args.drop)
