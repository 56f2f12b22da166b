"""A model of one's own from a few images: suggest."""

from __future__ import annotations

from argparse import Namespace
from pathlib import Path

from monolayer.cli.options import Verbs, add_plane, add_verb, positive, whole


def add_verbs(verbs: Verbs) -> None:
    images = "folder of images, and below: PNG, JPEG or TIFF; left as it is"
    output = "new folder to write suggested.csv, suggested.html and drafts/ to"
    verb = add_verb(verbs, suggest, workers=True, images=images, output=output)
    count = "images to suggest (default: %(default)s)"
    verb.add_argument("--count", type=whole(1), default=8, metavar="N", help=count)
    known = "folder of the masks that you have, in any form that `source: masks` reads: their images "
    verb.add_argument(
        "--annotated", type=Path, metavar="PATH", help=f"{known}are left out, and what is like them is last"
    )
    model = "folder of the exported run to train on from (default: the pretrained, for phase contrast)"
    verb.set_defaults(models=("model",))
    verb.add_argument("--model", type=Path, metavar="PATH", help=model)
    size = "usual diameter of the cells in the images, which are brought to the scale that the model learned at"
    verb.add_argument("--diameter", type=positive, metavar="PX", help=size)
    add_plane(verb)


def suggest(args: Namespace) -> None:
    """Say which images of a folder to annotate next, and draft their masks: those of which the model is unsure or that
    are unlike what it learned from, and no two that are alike.

    examples:
      monolayer suggest --images my/images --output round1
      monolayer suggest --images my/images --output round1 --count 10 --diameter 32 --workers 4
      monolayer suggest --images my/images --annotated my/masks --model results/labelled/export/tuned --output round2

    Correct the label images in drafts/ (napari, Fiji, QuPath), then train on them: docs/finetune.md.
    """
    from monolayer.backends import manifest
    from monolayer.data.plane import ImagePlane
    from monolayer.finetuning import suggest
    from monolayer.finetuning.looking import Reading

    reading = Reading(args.model or manifest.pretrained(), args.diameter, ImagePlane(args.channel, args.z))
    suggest.suggest(reading, args.images, args.annotated, args.output, count=args.count, workers=args.workers)
