"""Runs: train, predict, import-weights."""

from __future__ import annotations

import argparse
import re
from argparse import Namespace
from pathlib import Path

from monolayer.cli.options import (
    PARAMS,
    Verbs,
    add_exported,
    add_plane,
    add_threads,
    add_verb,
    pixel_size,
    score,
    whole,
)
from monolayer.cli.paths import RESULTS, Written

TYPE_CHECKING = False
if TYPE_CHECKING:
    from monolayer.params.data import Percentiles


def add_verbs(verbs: Verbs) -> None:
    verb = add_verb(
        verbs,
        train,
        "steps.TrainParams",
        images="folder of images",
        splits="folder with train.json, val.json and test.json, which is looked at for images that were learned from",
        output=Written(
            "folder to write weights.pt, run.json and history.csv to",
            inside=("weights.pt", "run.json", "history.csv", "checkpoint"),
        ),
    )
    verb.add_argument("--extension", type=Path, metavar="PATH", help="folder of synthetic images to train on besides")
    _add_predict(verbs)
    _add_import_weights(verbs)


def train(args: Namespace) -> None:
    """Train one run; killed and called again, it goes on from its last checkpoint."""
    from monolayer.models import train

    train.train(args.images, args.splits, args.params, args.output, args.extension)


def _add_predict(verbs: Verbs) -> None:
    verb = add_verb(verbs, predict, images="folder of images, and below: PNG, JPEG or TIFF")
    verb.set_defaults(section="steps.PredictParams")
    output = "COCO results to write (.json, or .json.gz); those of a folder name each cell's file"
    verb.add_argument("--output", "--results", type=Path, required=True, metavar="PATH", help=output)
    verb.set_defaults(written={"output": Written(output, *RESULTS)}, models=("weights",))
    given = "weights.pt of a run, or the folder of an exported one (default: the pretrained, for phase contrast)"
    verb.add_argument("--weights", type=Path, metavar="PATH", help=given)
    folder = verb.add_argument_group("of a folder")
    folder.add_argument(
        "--labels", type=Path, metavar="PATH", help="write a label TIFF for each image here; or --format"
    )
    forms = "in place of label TIFFs; geojson, for QuPath, has measurements, seg-npy is Cellpose's"
    names = ["labels", "ome-tiff", "geojson", "seg-npy", "rois"]
    folder.add_argument("--format", nargs="+", choices=names, metavar="FORM", help=f"{forms} ({', '.join(names)})")
    folder.add_argument("--pixel-size", type=pixel_size, metavar="UM", help="µm along a pixel's side, for --format")
    least = "leave out lower scores (default: none, in label images those below val's choice)"
    folder.add_argument("--score-min", type=score, metavar="S", help=least)
    shard = "only every Nth image from the Kth on, for each of N jobs of a cluster"
    folder.add_argument("--shard", type=_shard, default=(1, 1), metavar="K/N", help=shard)
    depth = "in images of more than 8 bits these become 0 and 255, within bounds (default: the exported run's own)"
    folder.add_argument("--percentiles", type=float, nargs=2, metavar=("LOW", "HIGH"), help=depth)
    add_plane(folder)
    most = "of an image; more take memory that few machines have (default: %(default)s)"
    folder.add_argument("--max-megapixels", type=whole(1), default=256, metavar="N", help=most)
    add_threads(folder, "cores to use")
    exported = verb.add_argument_group("of a folder, with an exported run")
    backends = ["onnxruntime", "tensorrt"]
    exported.add_argument("--backend", choices=backends, default=backends[0], help="default: %(default)s")
    add_exported(exported)
    split = verb.add_argument_group("of a split, as the workflow does it")
    split.add_argument("--truth", type=Path, metavar="PATH", help="COCO file that lists the images")
    split.add_argument("--params", metavar="JSON", help=PARAMS)


def predict(args: Namespace) -> None:
    """Find the cells of every image of a folder, or of a split; writes COCO results with RLE masks at native size.

    examples:
      monolayer predict --images plate7 --output cells.json
      monolayer predict --images plate7 --output cells.json --labels labels --score-min 0.5
      monolayer predict --images plate7 --output cells.json --weights results/demo/models/unet/weights.pt
      monolayer predict --images plate7 --output cells.json --labels qupath --format geojson --pixel-size 0.65
      monolayer predict --images plate7 --output cells.3.json.gz --shard 3/1000
    """
    from monolayer.models import predict

    if (args.truth is None) != (args.params is None):
        args.verb.error("--truth and --params go together: a split, with a run's own settings")
    if (args.format or args.pixel_size) and args.labels is None:
        args.verb.error("--format and --pixel-size are of the files that --labels asks for; name a folder for them")
    if args.truth is None:
        _predict_folder(args)
    elif args.weights is None:
        args.verb.error("a split needs the --weights of a run")
    else:
        predict.predict(args.weights, args.images, args.truth, args.params, args.output)


def _predict_folder(args: Namespace) -> None:
    from monolayer.backends import manifest
    from monolayer.data.plane import OWN, ImagePlane, ReadLimits
    from monolayer.measurement import formats
    from monolayer.models import predict

    model = args.weights or manifest.pretrained()
    cure = "at most {limit:,} are read: cut it into tiles, or give --max-megapixels if the memory is there"
    pixels = args.max_megapixels << 20
    choice = predict.Choice(
        score_min=args.score_min,
        labels=args.labels,
        backend=args.backend,
        dtype=args.dtype,
        tta=args.tta,
        shard=args.shard,
        percentiles=_percentiles(args),
        which=ImagePlane(args.channel, args.z),
        diameter=args.diameter,
        pixel_size_um=args.pixel_size,
        limits=ReadLimits(pixels, max(pixels, OWN.pixels), cure=cure),
        forms={name: formats.FORMATS[name].suffix for name in args.format or ["labels"]},
    )
    near = None if model.suffix == ".pt" else manifest.read_manifest(model)[1].neighbours
    maker = formats.FileMaker(choice.which, choice.limits, near, choice.pixel_size_um)
    predict.predict_folder(model, args.images, args.output, choice, args.threads, make=maker)


def _percentiles(args: Namespace) -> Percentiles | None:
    from pydantic import ValidationError

    from monolayer.files import InputError
    from monolayer.params.data import Percentiles

    if args.percentiles is None:
        return None
    low, high = args.percentiles
    try:
        return Percentiles(low=low, high=high)
    except ValidationError:
        raise InputError(f"--percentiles is {low:g} {high:g}; give 0 <= LOW < HIGH <= 100, as 0.5 99.8") from None


def _shard(text: str) -> tuple[int, int]:
    """3/1000, the third of a thousand, as (3, 1000)."""
    match = re.fullmatch(r"(\d+)/(\d+)", text)
    if match is None or not 1 <= int(match[1]) <= int(match[2]):
        raise argparse.ArgumentTypeError(f"{text} is no shard; write K/N with K from 1 to N, as 3/1000")
    return int(match[1]), int(match[2])


def _add_import_weights(verbs: Verbs) -> None:
    read = "file to convert; read as data, never run"
    made = Written("weights.pt to write", ".pt")
    verb = add_verb(verbs, import_weights, "steps.TrainParams", checkpoint=read, output=made)
    verb.add_argument("--category", type=int, metavar="N", help="class to keep of a checkpoint that has several")
    drop = "leave out tensors whose names begin so"
    verb.add_argument("--drop", nargs="*", default=[], metavar="PREFIX", help=drop)


def import_weights(args: Namespace) -> None:
    """Convert a checkpoint of the official CenterMask2 (detectron2 .pth or .pkl: an ImageNet backbone, COCO or
    LIVECell model) to weights.pt, for `weights:` in params.yaml or for predict.
    """
    from monolayer.models.centermask import import_weights

    import_weights.import_weights(args.checkpoint, args.params, args.output, args.category, args.drop)
