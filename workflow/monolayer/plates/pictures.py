"""Images of a plate as a page shows them: small, with the outlines of their cells on top."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from monolayer.data.images import Pixels, eight_bit
from monolayer.params.data import Percentiles
from monolayer.plates.labels import label_plane
from monolayer.plates.plan import PlateAbout, PlateImage
from monolayer.plates.reader import PlateReader
from monolayer.reporting.pictures import data_uri, polyline

SIDE = 480  # px of a picture at most
BYTES = 12_000_000  # of all of them


def pictures(
    folder: Path, about: PlateAbout, images: Iterable[PlateImage], percentiles: Percentiles
) -> Iterator[tuple[PlateImage, dict[str, Any]]]:
    """Each image as a small WebP with the outlines of its cells, until the page is full."""
    reader, size = PlateReader(about), 0
    for image in images:
        grey = eight_bit(reader.read(image), image.file, percentiles)
        step = max(1.0, max(grey.shape) / SIDE)
        labels = label_plane(folder, image.labels, image.frame)
        path = outlines(labels, step)
        uri = data_uri(_smaller(grey, step))
        if (size := size + len(path) + len(uri)) > BYTES:
            return
        yield (
            image,
            {
                "uri": uri,
                "path": path,
                "cells": len(np.setdiff1d(labels, 0)),
                "width": image.width,
                "height": image.height,
                "file": image.file,
            },
        )


def _smaller(grey: Pixels, step: float) -> Pixels:
    height, width = (max(1, round(length / step)) for length in grey.shape)
    return np.asarray(cv2.resize(grey, (width, height), interpolation=cv2.INTER_AREA), np.uint8)


def outlines(labels: NDArray[np.uint32], tolerance: float) -> str:
    """SVG path around all cells of a label image, at most `tolerance` px off."""
    parts = []
    for number, box in enumerate(ndimage.find_objects(labels.astype(np.int32)), start=1):
        if box is None:
            continue
        mask = np.pad(labels[box] == number, 1).astype(np.uint8)
        corner = np.array([box[1].start - 0.5, box[0].start - 0.5])  # a pixel's centre is at half its width
        for ring in cv2.findContours(mask, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE)[0]:
            points = cv2.approxPolyDP(ring, tolerance, closed=True)[:, 0]
            parts.append(f"{polyline(points + corner)}z")
    return "".join(parts)


def last_of_wells(images: Iterable[PlateImage]) -> list[PlateImage]:
    """The last image of the first field of each well."""
    found: dict[str, PlateImage] = {}
    first: dict[str, str] = {}
    for image in images:
        if first.setdefault(image.well, image.field) == image.field:
            found[image.well] = image
    return list(found.values())


def by_number(images: Iterable[PlateImage], numbers: Sequence[int]) -> list[PlateImage]:
    """The images of these numbers, in their order."""
    found = {image.number: image for image in images if image.number in numbers}
    return [found[number] for number in numbers]
