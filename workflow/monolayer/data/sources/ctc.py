"""Time-lapses in the layout of the Cell Tracking Challenge: 01/, its masks, and tracks in 01_GT/TRA/man_track.txt."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from monolayer.coco.labels import read_labels, rles_from_labels
from monolayer.coco.records import CELL, Image, Truth
from monolayer.coco.rle import annotation
from monolayer.data.images import eight_bit
from monolayer.data.reading import read_frame
from monolayer.data.sources import Read, Scaled
from monolayer.data.sources.tracks import TABLE, TrueTrack, read_tracks
from monolayer.files import InputError
from monolayer.params.data import CtcSource

TRACKS = "GT/TRA"
FRAME = re.compile(r"t(\d+)\.tiff?", re.IGNORECASE)


def collect(params: CtcSource, folder: Path) -> tuple[Truth, Read]:
    """Truth with tracks of all sequences, each a well; `folder` is not needed."""
    truth = Truth(images=[], annotations=[], categories=[CELL], findings=[])
    paths: dict[str, Path] = {}
    for sequence in sequences(params):
        known = read_tracks(Path(params.folder) / f"{sequence}_{TRACKS}" / TABLE)
        for frame, path in frames(Path(params.folder) / sequence).items():
            labels = inner(masks(params, sequence, frame, known), params.border)
            image = Image(
                id=len(truth["images"]) + 1,
                file_name=f"{params.cell_line}_{sequence}_t{frame:04d}.png",
                width=labels.shape[1],
                height=labels.shape[0],
                cell_line=params.cell_line,
                well=sequence,
                timestamp=f"t{frame:04d}",
                split=None,
            )
            paths[image["file_name"]] = path
            truth["images"].append(image)
            for number, rle in zip(np.unique(labels[labels > 0]).tolist(), rles_from_labels(labels), strict=True):
                cell = annotation(len(truth["annotations"]) + 1, image["id"], rle)
                cell["track_id"], cell["parent_id"] = number, known[number].parent
                truth["annotations"].append(cell)

    def read_image(image: Image) -> Scaled:
        path = paths[image["file_name"]]
        own = read_frame(path.read_bytes(), str(path))
        grey = eight_bit(own, str(path), params.percentiles)
        return Scaled(*(np.ascontiguousarray(inner(values, params.border)) for values in (grey, own)))

    return truth, read_image


def sequences(params: CtcSource) -> list[str]:
    """The folders of sequences, in order."""
    folder = Path(params.folder)
    if params.sequences is not None:
        return params.sequences
    found = sorted(path.name for path in folder.glob("[0-9][0-9]") if path.is_dir())
    if not found:
        raise InputError(
            f"{folder} holds no sequence (01, 02, ...); set `folder` to the one that 01/ and 01_GT/ are in"
        )
    return found


def frames(folder: Path) -> dict[int, Path]:
    """The images of a sequence by the number of their frame."""
    matches = {path: FRAME.fullmatch(path.name) for path in sorted(folder.glob("*"))}
    found = {int(match[1]): path for path, match in matches.items() if match}
    if not found:
        raise InputError(f"{folder} holds no t000.tif, ...; a sequence has an image for each frame")
    return dict(sorted(found.items()))


def masks(params: CtcSource, sequence: str, frame: int, known: dict[int, TrueTrack]) -> NDArray[np.int64]:
    """The label image of a frame, whose values are tracks; masks that are none take those of the markers they hold."""
    base = Path(params.folder)
    markers = _labels(base / f"{sequence}_{TRACKS}", "man_track", frame)
    named = markers if params.masks == TRACKS else _labels(base / f"{sequence}_{params.masks}", "man_seg", frame)
    if named.shape != markers.shape:
        raise InputError(f"{sequence}, frame {frame}: masks are of {named.shape} px, markers of {markers.shape} px")
    if named is not markers:
        named = by_markers(named, markers)
    if unknown := set(np.unique(named).tolist()) - {0} - known.keys():
        raise InputError(f"{sequence}_{TRACKS}/{TABLE} has no track {min(unknown)}, which frame {frame} shows")
    return named


def by_markers(named: NDArray[np.int64], markers: NDArray[np.int64]) -> NDArray[np.int64]:
    """Masks under the numbers of their markers: each the one with most pixels in it; those without one are no truth."""
    width = int(markers.max(initial=0)) + 1
    keys, counts = np.unique(named * width + markers, return_counts=True)
    mask, marker = np.divmod(keys, width)
    taken = np.zeros(int(named.max(initial=0)) + 1, np.int64)
    for index in np.argsort(-counts, kind="stable"):
        if mask[index] and marker[index] and not taken[mask[index]] and marker[index] not in taken:
            taken[mask[index]] = marker[index]
    return np.asarray(taken[named])


def inner(pixels: NDArray[Any], border: int) -> NDArray[Any]:
    """What lies within the border that carries no truth."""
    return pixels[border : pixels.shape[0] - border, border : pixels.shape[1] - border]


def _labels(folder: Path, stem: str, frame: int) -> NDArray[np.int64]:
    paths = [folder / f"{stem}{frame:0{digits}d}.tif" for digits in (3, 4)]
    path = next((path for path in paths if path.is_file()), None)
    if path is None:
        raise InputError(f"{paths[0]} is missing; every frame needs its masks: set `masks` to a folder that has them")
    return read_labels(path)
