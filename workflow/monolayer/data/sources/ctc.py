"""Time-lapses in the layout of the Cell Tracking Challenge: 01/, its masks, and tracks in 01_GT/TRA/man_track.txt."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from monolayer.coco.findings import Findings
from monolayer.coco.labels import label_image, read_labels, rles_from_labels
from monolayer.coco.records import CELL, Annotation, Image, Rle, Truth
from monolayer.coco.rle import Placed, annotation, crop_from_rle, rles_from_crops
from monolayer.data.images import eight_bit
from monolayer.data.reading import read_frame
from monolayer.data.sources import Read, Scaled
from monolayer.data.sources.tracks import TABLE, TrueTrack, read_tracks
from monolayer.files import InputError
from monolayer.params.data import CtcSource

TRACKS = "GT/TRA"
FRAME = re.compile(r"t(\d+)\.tiff?", re.IGNORECASE)


class MarkedFrame(NamedTuple):
    """Label images (H, W): cells by track, markers without a mask, masks without a marker; tracks with a marker."""

    cells: NDArray[np.int64]
    lone: NDArray[np.int64]
    unmarked: NDArray[np.int64]
    tracks: set[int]


def collect(params: CtcSource, folder: Path) -> tuple[Truth, Read]:
    """Truth with tracks of all sequences, each a well; `folder` is not needed."""
    truth, findings = Truth(images=[], annotations=[], categories=[CELL], findings=[]), Findings()
    paths: dict[str, Path] = {}
    for sequence in sequences(params):
        table = Path(params.folder) / f"{sequence}_{TRACKS}" / TABLE
        known, own = read_tracks(table), frames(Path(params.folder) / sequence)
        shown, found = dict[int, set[int]](), list[tuple[Image, list[Annotation], list[Rle], list[Rle]]]()
        for frame, path in own.items():
            marked = masks(params, sequence, frame, known)
            shown[frame] = marked.tracks
            cells, lone, unmarked = (inner(labels, params.border) for labels in marked[:3])
            image = Image(
                id=len(paths) + 1,
                file_name=f"{params.cell_line}_{sequence}_t{frame:04d}.png",
                width=cells.shape[1],
                height=cells.shape[0],
                cell_line=params.cell_line,
                well=sequence,
                timestamp=f"t{frame:04d}",
                split=None,
            )
            paths[image["file_name"]] = path
            annotations = [annotation(0, image["id"], rle) for rle in rles_from_labels(cells)]
            for number, cell in zip(_numbers(cells), annotations, strict=True):
                cell["track_id"], cell["parent_id"] = number, known[number].parent
            found.append((image, annotations, rles_from_labels(lone), rles_from_labels(unmarked)))
            for kind, labels in (("no_own_mask", lone), ("no_marker", unmarked)):
                for number in _numbers(labels):
                    findings.add(kind, f"{sequence}, frame {frame}: {number}")
        check_shown(known, shown, table, findings)
        areas = [cell["area"] for _, annotations, _, _ in found for cell in annotations]
        if not areas and any(markers for _, _, markers, _ in found):
            raise InputError(
                f"{sequence}_{params.masks} has no mask with a marker in it; set `masks` to another folder"
            )
        reach = float(np.sqrt(np.median(areas) / np.pi)) if areas else 0.0
        for image, annotations, markers, others in found:
            regions = others + around(markers, [cell["segmentation"] for cell in annotations], reach)
            crowds = [annotation(0, image["id"], rle) for rle in regions]
            for crowd in crowds:
                crowd["iscrowd"] = 1
            truth["images"].append(image)
            truth["annotations"] += annotations + crowds
    for number, cell in enumerate(truth["annotations"], start=1):
        cell["id"] = number
    truth["findings"] = findings.records()

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


def masks(params: CtcSource, sequence: str, frame: int, known: dict[int, TrueTrack]) -> MarkedFrame:
    """The label images of a frame; masks take the numbers of the markers that they hold."""
    base = Path(params.folder)
    markers = _labels(base / f"{sequence}_{TRACKS}", "man_track", frame)
    tracks = set(_numbers(markers))
    if unknown := tracks - known.keys():
        raise InputError(f"{sequence}_{TRACKS}/{TABLE} has no track {min(unknown)}, which frame {frame} shows")
    if params.masks == TRACKS:
        return MarkedFrame(markers, np.zeros_like(markers), np.zeros_like(markers), tracks)
    named = _labels(base / f"{sequence}_{params.masks}", "man_seg", frame)
    if named.shape != markers.shape:
        raise InputError(f"{sequence}, frame {frame}: masks are of {named.shape} px, markers of {markers.shape} px")
    cells = by_markers(named, markers)
    lone = np.where(np.isin(markers, _numbers(cells)), 0, markers)
    return MarkedFrame(cells, lone, np.where(cells > 0, 0, named), tracks)


def check_shown(known: dict[int, TrueTrack], shown: dict[int, set[int]], table: Path, findings: Findings) -> None:
    """Hold first and last frame of each track against the frames that show it."""
    for number, track in known.items():
        there = {frame for frame, numbers in shown.items() if number in numbers}
        if outside := [frame for frame in sorted(there) if not track.begin <= frame <= track.end]:
            raise InputError(
                f"{table} has track {number} from frame {track.begin} to {track.end}, but frame {outside[0]} shows it; "
                "correct the table, or give the frames their own numbers"
            )
        if missing := [frame for frame in shown if track.begin <= frame <= track.end and frame not in there]:
            said = f"track {number} is from frame {track.begin} to {track.end}, frame {missing[0]} does not show it"
            findings.add("not_shown", f"{table}: {said}")


def around(markers: list[Rle], cells: list[Rle], reach: float) -> list[Rle]:
    """What may be the cells of lone markers: all within `reach` px of each that is no other's; of one in another's mask
    there is nothing.
    """
    from scipy.ndimage import distance_transform_edt

    if not markers:
        return []
    height, width = markers[0]["size"]
    free, pad, found = label_image(cells, height, width) == 0, int(np.ceil(reach)), list[Placed]()
    for crop, x, y in map(crop_from_rle, markers):
        left, top = max(0, x - pad), max(0, y - pad)
        own = free[top : y + crop.shape[0] + pad, left : x + crop.shape[1] + pad]
        marker = np.zeros(own.shape, np.bool_)
        marker[y - top : y - top + crop.shape[0], x - left : x - left + crop.shape[1]] = crop
        if (marker & own).any():
            found.append(((distance_transform_edt(~marker) <= reach) & own, left, top))
    return rles_from_crops(found, height, width)


def by_markers(named: NDArray[np.int64], markers: NDArray[np.int64]) -> NDArray[np.int64]:
    """Masks under the numbers of their markers: each the one with most pixels in it; others are 0."""
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


def _numbers(labels: NDArray[np.int64]) -> list[int]:
    return [int(number) for number in np.unique(labels[labels > 0])]


def _labels(folder: Path, stem: str, frame: int) -> NDArray[np.int64]:
    paths = [folder / f"{stem}{frame:0{digits}d}.tif" for digits in (3, 4)]
    path = next((path for path in paths if path.is_file()), None)
    if path is None:
        raise InputError(f"{paths[0]} is missing; every frame needs its masks: set `masks` to a folder that has them")
    return read_labels(path)
