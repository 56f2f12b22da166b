"""Images, truth and synthetic images: download, audit, split, extend, domain-shift."""

from __future__ import annotations

from argparse import Namespace
from pathlib import Path

from monolayer.cli.options import Verbs, add_verb
from monolayer.cli.paths import Written

IMAGES, TRUTH = Written("folder to write the images to"), Written("COCO truth to write", ".json")


def add_verbs(verbs: Verbs) -> None:
    images, truth = "folder of images", "COCO truth"
    names = "train.json", "val.json", "test.json"
    splits = Written("folder to write train.json, val.json and test.json to", inside=names)
    add_verb(verbs, download, "data.Dataset", images=IMAGES, annotations=TRUTH)
    found = Written("findings to write, JSON", ".json")
    add_verb(verbs, audit, "data.AuditParams", workers=True, images=images, annotations=truth, output=found)
    add_verb(verbs, split, "data.SplitParams", annotations=truth, audit="what audit wrote, JSON", output=splits)
    add_verb(
        verbs,
        extend,
        "extensions.ExtendParams",
        workers=True,
        images=images,
        truth="COCO truth to extend: train.json",
        output=Written("folder to write images/ and annotations.json to", inside=("images", "annotations.json")),
    )
    add_verb(
        verbs,
        domain_shift,
        "extensions.DomainShiftParams",
        workers=True,
        images=images,
        truth="COCO truth that was extended: train.json",
        extension="folder of the extension",
        output=Written(
            "folder to write features.csv, shift.csv, distributions.csv, shift.svg and samples.png to",
            inside=("features.csv", "shift.csv", "distributions.csv", "shift.svg", "samples.png"),
        ),
    )


def download(args: Namespace) -> None:
    """Fetch a dataset and normalise it: 8-bit grey images and COCO truth with cell line, well and time."""
    from monolayer.data import download
    from monolayer.params.data import local_paths

    own = {"params": [Path(path) for path in local_paths(args.params)]}
    if why := IMAGES.over(args.images, own) or TRUTH.over(args.annotations, own):
        args.verb.error(why)
    download.download(args.params, args.images, args.annotations)


def audit(args: Namespace) -> None:
    """Check images and truth; what makes results meaningless is an error, the rest is reported."""
    from monolayer.data import audit

    audit.audit(args.images, args.annotations, args.params, args.output, workers=args.workers)


def split(args: Namespace) -> None:
    """Split by seed, stratified by cell line, with no well and no field in two splits."""
    from monolayer.data import split

    split.split(args.annotations, args.audit, args.params, args.output)


def extend(args: Namespace) -> None:
    """Make synthetic images of train's cells, with their truth, as an extension of train."""
    from monolayer.synthesis import extend

    extend.extend(args.images, args.truth, args.params, args.output, workers=args.workers)


def domain_shift(args: Namespace) -> None:
    """Tell how far an extension lies from the images that it was made from."""
    from monolayer.synthesis import domain_shift

    domain_shift.domain_shift(args.images, args.truth, args.extension, args.params, args.output, workers=args.workers)
