"""The suggested images on one self-contained page, with the outlines of their drafts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jinja2
from markupsafe import Markup

from monolayer.backends.manifest import Manifest
from monolayer.coco.instances import Instances
from monolayer.coco.records import Image
from monolayer.data.images import Pixels
from monolayer.reporting.pictures import Album, Picture, data_uri, layer
from monolayer.reporting.report import PAGE
from monolayer.reporting.tables import FILTERS

if TYPE_CHECKING:
    from monolayer.finetuning.suggest import ImagePool

OWN = Path(__file__).with_name("templates")


def page(
    pool: ImagePool, manifest: Manifest, rows: Sequence[Mapping[str, Any]], drafts: Sequence[tuple[Pixels, Instances]]
) -> str:
    """The page of these rows of the list and their images and drafts; the same give the same bytes."""
    album = Album(pool.folder, micrographs=True)
    pictures = [_picture(album, row, *one) for row, one in zip(rows, drafts, strict=True)]
    loader = jinja2.FileSystemLoader([OWN, PAGE])
    environment = jinja2.Environment(
        loader=loader, undefined=jinja2.StrictUndefined, autoescape=True, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters |= FILTERS
    style, script = (Markup((PAGE / name).read_text(encoding="utf-8")) for name in ("page.css", "page.js"))
    return environment.get_template("suggested.html").render(
        style=style,
        script=script,
        folder=pool.folder.name,
        images=len(pool.files),
        annotated=len(pool.annotated),
        copies=len(pool.files) - len(pool.annotated) - len(pool.free),
        model=manifest,
        rows=rows,
        pictures=pictures,
        album=album,
    )


def _picture(album: Album, row: Mapping[str, Any], pixels: Pixels, cells: Instances) -> Picture:
    height, width = pixels.shape
    image = Image(
        id=row["rank"],
        file_name=row["file"],
        width=width,
        height=height,
        cell_line="",
        well="",
        timestamp=None,
        split=None,
    )
    album.images[image["id"]] = image, data_uri(pixels)
    drawn = layer("pred matched", "draft cells", cells.rles(), image)
    return Picture(image, f"{row['rank']}", [drawn], {"cells": drawn.count})
