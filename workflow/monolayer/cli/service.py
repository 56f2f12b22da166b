"""Exported runs at work: serve, watch."""

from __future__ import annotations

import argparse
import os
import re
from argparse import Namespace
from pathlib import Path

from monolayer.cli.options import (
    Parser,
    Verbs,
    add_exported,
    add_pace,
    add_plane,
    add_threads,
    add_verb,
    pixel_size,
    positive,
    score,
    whole,
)


def add_verbs(verbs: Verbs) -> None:
    _add_serve(verbs)
    _add_watch(verbs)


def _add_model(verb: Parser, about: str, nargs: str | None) -> None:
    model = verb.add_argument_group("model")
    ready = f"{about} (default: the pretrained model, for phase contrast)"
    verb.set_defaults(models=("model",))
    model.add_argument("--model", type=Path, nargs=nargs, metavar="PATH", help=ready)
    add_exported(model)
    add_threads(model, "of the network")
    least = "score from which cells count (default: val's choice)"
    model.add_argument("--score-min", type=score, metavar="S", help=least)


def _add_serve(verbs: Verbs) -> None:
    verb = add_verb(verbs, serve)
    verb.add_argument("--host", default="127.0.0.1", metavar="NAME", help="0.0.0.0: reachable (default: %(default)s)")
    verb.add_argument("--port", type=whole(0, 65535), default=8000, metavar="N", help="default: %(default)s")
    names = "names beside its address under which it answers, and sites whose pages may ask"
    verb.add_argument("--allow-host", nargs="+", default=[], metavar="NAME", help=names)
    verb.add_argument("--keep", type=Path, metavar="PATH", help="folder for images that a request asks to store")
    back = "folder for what people correct in the page, as `source: masks` reads it; without, the page has no editor"
    verb.add_argument("--corrections", type=Path, metavar="PATH", help=back)
    sample = "image that the page offers to try; else a drawn one"
    verb.add_argument("--sample", type=Path, metavar="PATH", help=sample)
    links = "how cells of a series are linked: the first seven settings of the section track (default: those of track)"
    verb.add_argument("--links", type=_links, metavar="JSON", help=links)
    _add_model(verb, "folders of exported runs", "+")
    limits = verb.add_argument_group("limits")
    for name, value, text in (
        ("mb", 64, "MiB of a request"),
        ("megapixels", 64, "megapixels (2²⁰) of a request, all frames together"),
        ("frames", 200, "pages of a TIFF"),
        ("waiting", 64, "requests at a time; the next ones get 429"),
        ("seconds", 120, "for a request's upload, its work and its answer, each"),
    ):
        about = f"{text} (default: %(default)s)"
        limits.add_argument(f"--max-{name}", type=whole(1), default=value, metavar="N", help=about)


def _links(text: str) -> object:
    from pydantic import ValidationError

    from monolayer.params.section import faults
    from monolayer.params.steps import LinkParams

    try:
        return LinkParams.model_validate_json(text)
    except ValidationError as error:
        raise argparse.ArgumentTypeError("; ".join(faults(error))) from None


def serve(args: Namespace) -> None:
    """Answer HTTP requests: images in, cells out; with a web page. Needs no torch.

    examples:
      monolayer serve
      monolayer serve --model results/demo/export/unet results/demo/export/yolo --port 8080
      monolayer serve --corrections my
      MONOLAYER_API_KEY=secret monolayer serve --host 0.0.0.0
    """
    from monolayer.backends import manifest
    from monolayer.files import InputError
    from monolayer.service import serve
    from monolayer.service.state import Settings
    from monolayer.service.uploads import Limits

    if args.sample and not args.sample.is_file():
        args.verb.error(f"argument --sample: {args.sample} is no file")
    key = os.environ.get("MONOLAYER_API_KEY")
    if key is not None and not key.strip():
        raise InputError("MONOLAYER_API_KEY is empty, and would let everybody in; give it a key, or unset it to do so")
    for folder in filter(None, (args.keep, args.corrections)):
        folder.mkdir(parents=True, exist_ok=True)
    limits = Limits(args.max_mb << 20, args.max_megapixels << 20, args.max_frames, args.max_waiting, args.max_seconds)
    paths = args.model or [manifest.pretrained()]
    models = [
        serve.load(path, args.dtype, args.threads, args.score_min, args.tta, diameter=args.diameter) for path in paths
    ]
    more = {"links": args.links} if args.links else {}
    hosts = (args.host, *args.allow_host)
    settings = Settings(limits, key and key.strip(), args.keep, args.corrections, args.sample, hosts, **more)
    serve.serve(serve.told_apart(models, paths), settings, args.host, args.port)


def _add_watch(verbs: Verbs) -> None:
    verb = add_verb(
        verbs,
        watch,
        folder="folder that the microscope writes to, with its subfolders",
        output="folder to write cells.csv, images.csv, growth.csv and growth.svg to",
    )
    add_pace(verb, settle=2.0, every=1.0)
    _add_model(verb, "folder of an exported run", None)
    known = verb.add_argument_group("what is known of the images")
    pattern = "over paths, with any of the groups line, well, time"
    known.add_argument("--pattern", type=_regex, metavar="REGEX", help=pattern)
    known.add_argument(
        "--pixel-size-um", type=pixel_size, metavar="X", help="µm along a pixel's side, for columns in µm"
    )
    hours = "hours from frame to frame, where time is t007"
    known.add_argument("--frame-hours", type=positive, metavar="X", help=hours)
    add_plane(known)


def _regex(text: str) -> re.Pattern[str]:
    try:
        pattern = re.compile(text)
    except re.error as error:
        raise argparse.ArgumentTypeError(f"{text} is no regular expression: {error}") from None
    if other := sorted(pattern.groupindex.keys() - {"line", "well", "time"}):
        raise argparse.ArgumentTypeError(f"{text} has the group {other[0]}; there are line, well and time")
    return pattern


def watch(args: Namespace) -> None:
    r"""Segment images as a microscope writes them; goes on where it was when it is started again.

    examples:
      monolayer watch --folder scans --output measured
      monolayer watch --folder scans --output measured --pixel-size-um 0.65 --frame-hours 2 \
        --pattern '(?P<well>[A-H]\d+)_t(?P<time>\d+)'
    """
    import signal
    import threading

    from monolayer.backends import manifest
    from monolayer.data.plane import ImagePlane
    from monolayer.service import serve, watch

    path = args.model or manifest.pretrained()
    model = serve.load(path, args.dtype, args.threads, args.score_min, args.tta, diameter=args.diameter)
    which = ImagePlane(args.channel, args.z)
    what = watch.Watching(
        args.folder, args.output, model, args.pattern, args.pixel_size_um, args.frame_hours, args.settle_seconds, which
    )
    stop = threading.Event()
    for name in (signal.SIGINT, signal.SIGTERM):
        signal.signal(name, lambda *_: stop.set())
    watch.watch(what, stop.is_set, args.every_seconds)
