"""The suggested images on one self-contained page, with the outlines of their drafts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from monolayer.backends.manifest import Manifest
from monolayer.coco.instances import Instances
from monolayer.data.images import Pixels
from monolayer.reporting.page import render
from monolayer.reporting.pictures import Album, Picture, data_uri, layer

if TYPE_CHECKING:
    from monolayer.finetuning.suggest import ImagePool

OWN = Path(__file__).with_name("templates")


def page(
    pool: ImagePool, manifest: Manifest, rows: Sequence[Mapping[str, Any]], drafts: Sequence[tuple[Pixels, Instances]]
) -> str:
    """The page of these rows of the list and their images and drafts; the same give the same bytes."""
    album = Album(pool.folder, micrographs=True)
    pictures = [_picture(album, row, *one) for row, one in zip(rows, drafts, strict=True)]
    return render(
        "suggested.html",
        OWN,
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
    image = album.embed(row["rank"], row["file"], pixels.shape, data_uri(pixels))
    drawn = layer("pred matched", "draft cells", cells.rles(), image)
    return Picture(image, f"{row['rank']}", [drawn], {"cells": drawn.count})
