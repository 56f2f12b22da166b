"""Images, truth and synthetic images: download, audit, split, extend, domain-shift."""

from __future__ import annotations

from argparse import Namespace

from monolayer.cli.options import Verbs, add_params, add_verb, add_workers, typed


def add_verbs(verbs: Verbs) -> None:
    images, annotations = "folder of images", "COCO truth"
    splits = "folder to write train.json, val.json and test.json to"
    add_params(add_verb(verbs, download, images="folder to write the images to", annotations="COCO truth to write"))
    add_params(add_verb(verbs, audit, images=images, annotations=annotations, output="findings to write, JSON"))
    add_params(add_verb(verbs, split, annotations=annotations, output=splits))
    made = add_verb(
        verbs,
        extend,
        images="folder of images",
        truth="COCO truth to extend: train.json",
        output="folder to write images/ and annotations.json to",
    )
    compared = add_verb(
        verbs,
        domain_shift,
        images="folder of images",
        truth="COCO truth that was extended: train.json",
        extension="folder of the extension",
        output="folder to write features.csv, shift.csv, distributions.csv, shift.svg and samples.png to",
    )
    for verb in (made, compared):
        add_params(verb)
        add_workers(verb)


def download(args: Namespace) -> None:
    """Fetch a dataset and normalise it: 8-bit grey images and COCO truth with cell line, well and time."""
    from pydantic import TypeAdapter

    from monolayer.data.download import download as run
    from monolayer.params.data import Dataset

    run(typed(TypeAdapter[Dataset](Dataset).validate_json, args), args.images, args.annotations)


def audit(args: Namespace) -> None:
    """Check images and truth; what makes results meaningless is an error, the rest is reported."""
    from monolayer.data import audit
    from monolayer.params.data import AuditParams

    audit.audit(args.images, args.annotations, typed(AuditParams.model_validate_json, args), args.output)


def split(args: Namespace) -> None:
    """Split by seed, stratified by cell line, with no well in two splits."""
    from monolayer.data import split
    from monolayer.params.data import SplitParams

    split.split(args.annotations, typed(SplitParams.model_validate_json, args), args.output)


def extend(args: Namespace) -> None:
    """Make synthetic images of train's cells, with their truth, as an extension of train."""
    from monolayer.params.extensions import ExtendParams
    from monolayer.synthesis import extend

    params = typed(ExtendParams.model_validate_json, args)
    extend.extend(args.images, args.truth, params, args.output, workers=args.workers)


def domain_shift(args: Namespace) -> None:
    """Tell how far an extension lies from the images that it was made from."""
    from monolayer.params.extensions import DomainShiftParams
    from monolayer.synthesis import domain_shift

    params = typed(DomainShiftParams.model_validate_json, args)
    domain_shift.domain_shift(args.images, args.truth, args.extension, params, args.output, workers=args.workers)
