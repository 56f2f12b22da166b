"""What a request gets: the cells of its frames as JSON, CSV or a picture, or as files for other programs."""

from __future__ import annotations

import base64
import io
import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image as PillowImage
from pydantic import BaseModel, Field, create_model

from monolayer.coco.instances import Instances
from monolayer.coco.labels import label_tiff
from monolayer.coco.records import CELL, Image
from monolayer.coco.seg_npy import seg_npy
from monolayer.compiled import Floats, Ints
from monolayer.files import InputError
from monolayer.measurement import dictionary, files
from monolayer.measurement.files import DIGITS
from monolayer.measurement.geojson import MeasuredFrame, geojson
from monolayer.measurement.measure import cell_columns, described, image_row, trimmed, with_um
from monolayer.measurement.morphology import Columns
from monolayer.measurement.ome import ome_tiff
from monolayer.measurement.outlines import rings
from monolayer.params.steps import NeighbourParams

OUTLINE = (255, 157, 28)  # of an overlay; the page's colour of predicted cells
Masks = Literal["rle", "polygons", "none"]


@dataclass(frozen=True)
class SegmentedFrame:
    """One segmented frame: its own grey values (H, W), what the network saw of them, its cells and their numbers."""

    record: Image
    grey: NDArray[np.uint8]
    found: Instances
    labels: NDArray[np.int32]
    columns: Columns
    row: dict[str, Any]


def from_score(found: Instances, score_min: float) -> Instances:
    """The cells from this score up, each mask cut to its box; best first, also where a network rates its masks."""
    kept = trimmed(found.at_least(score_min))
    return kept.take(np.argsort(-kept.ranking, kind="stable"))


def record_of(name: str, index: int, image: NDArray[np.uint8], cell_line: str | None) -> Image:
    return Image(
        id=index + 1,
        file_name=name,
        width=image.shape[1],
        height=image.shape[0],
        cell_line=cell_line or "",
        well="",
        timestamp=f"t{index:03d}",
        split=None,
    )


def frame(
    record: Image,
    pixels: tuple[NDArray[Any], NDArray[np.uint8]],
    found: Instances,
    scale: float | None,
    near: NeighbourParams,
    *,
    hours: float | None = None,
    first: datetime | None = None,
) -> SegmentedFrame:
    """Measure the cells (masks cut to their boxes) of a frame: its own grey values and the 8-bit ones.

    scale is µm along a pixel's side, hours those between two frames of a series; None where they are not known. Of a
    record whose time is a date hours are counted from the first.
    """
    labels = found.label_image()
    columns = with_um(cell_columns(found, labels, pixels[0], near), scale)
    row = described(record, scale, hours, first) | image_row(columns, labels, scale)
    return SegmentedFrame(record, pixels[1], found, labels, columns, row)


JSON_TYPES: dict[str, Any] = {"text": str, "whole": int, "number": float | None, "flag": bool}


def _fields(columns: Mapping[str, dictionary.Column]) -> dict[str, Any]:
    units = {name: f" [{column.unit}]" if column.unit else "" for name, column in columns.items()}
    return {n: (JSON_TYPES[c.type], Field(description=f"{c.meaning}{units[n]}")) for n, c in columns.items()}


class RleAnswer(BaseModel):
    """COCO's compressed run lengths."""

    size: tuple[int, int] = Field(description="Height and width.")
    counts: str


_Measured = create_model("_Measured", **_fields(dictionary.with_um(dictionary.CELL)))
_Image = create_model(
    "_Image", **_fields({k: v for k, v in dictionary.TABLES["images"].items() if k not in dictionary.IMAGE})
)


class CellAnswer(_Measured):  # type: ignore[valid-type, misc]
    rle: RleAnswer | None = Field(None, description="The mask, where `masks` is rle.")
    track: int | None = Field(None, description="Number of the cell's track in its file, where `tracks` is asked for.")
    parent: int | None = Field(None, description="Track of the cell's mother, where one was seen to divide.")
    polygons: list[list[int]] | None = Field(
        None, description="Rings x0, y0, x1, y1, ... along pixels' edges, filled even-odd, where `masks` is polygons."
    )


class FrameAnswer(BaseModel):
    frame: int = Field(description="Number of the frame in the file, from 0.")
    summary: _Image  # type: ignore[valid-type]
    cells: list[CellAnswer]
    drift_px: tuple[float, float] | None = Field(
        None, description="How far the stage has moved the cells since the first frame, x and y, where `tracks` is."
    )
    picture: str | None = Field(None, description="The frame as the network saw it, a PNG in a data URI; if asked for.")


class Answer(BaseModel):
    """The cells of an image, best first."""

    request_id: str
    file_name: str
    model: str
    cell_line: str | None
    score_min: float = Field(description="Cells with lower scores are left out.")
    pixel_size_um: float | None
    frames: list[FrameAnswer]


class FrameTracks(NamedTuple):
    """Of each cell of a frame its track and its mother's, 0 for none; where the stage is, px from the first frame."""

    track: Ints
    parent: Ints
    drift: Floats  # (2,)


def as_json(
    frames: Sequence[SegmentedFrame],
    about: Mapping[str, Any],
    masks: Masks,
    picture: bool,
    tracks: Sequence[FrameTracks] = (),
) -> bytes:
    """An `Answer`, written without a detour over objects: an image may have thousands of cells."""
    found = [_json_frame(n, frame, masks, picture) for n, frame in enumerate(frames)]
    for answer, own in zip(found, tracks, strict=bool(tracks)):
        answer["drift_px"] = np.round(own.drift, DIGITS).tolist()
        for cell, track, parent in zip(answer["cells"], own.track.tolist(), own.parent.tolist(), strict=True):
            cell["track"], cell["parent"] = track or None, parent or None
    return json.dumps(dict(about) | {"frames": found}, separators=(",", ":"), allow_nan=False).encode()


def _json_frame(number: int, frame: SegmentedFrame, masks: Masks, picture: bool) -> dict[str, Any]:
    names = list(frame.columns)
    columns = [_plain(frame.columns[name], dictionary.TABLES["cells"][name].unit) for name in names]
    cells: list[dict[str, Any]] = [dict(zip(names, values, strict=True)) for values in zip(*columns, strict=True)]
    if masks == "rle":
        for cell, rle in zip(cells, frame.found.rles(), strict=True):
            cell["rle"] = rle
    elif masks == "polygons":
        for cell, crop in zip(cells, frame.found.crops, strict=True):
            cell["polygons"] = [ring.ravel().tolist() for ring in rings(*crop)]
    known, row = dictionary.TABLES["images"], frame.row
    summary = {n: _plain(np.array([row[n]]), known[n].unit)[0] for n in row if n not in dictionary.IMAGE}
    answer: dict[str, Any] = {"frame": number, "summary": summary, "cells": cells}
    if picture:
        answer["picture"] = "data:image/png;base64," + base64.b64encode(png(frame.grey)).decode()
    return answer


def _plain(values: NDArray[Any], unit: str) -> list[Any]:
    if values.dtype.kind != "f":
        return list(values.tolist())
    return [None if math.isnan(value) else value for value in files.rounded(values, unit).tolist()]


def cell_table(frames: Sequence[SegmentedFrame]) -> dict[str, NDArray[Any]]:
    """The columns of the table `cells`, of all frames."""

    def column(name: str, one: SegmentedFrame) -> NDArray[Any]:
        return one.columns.get(name, np.full(len(one.found.masks), one.row.get(name), dtype=object))

    return {name: np.concatenate([column(name, one) for one in frames]) for name in dictionary.TABLES["cells"]}


def as_tiff(frames: Sequence[SegmentedFrame]) -> bytes:
    times = [frame.row["time_h"] for frame in frames[:2]]
    interval = 3600 * (times[-1] - times[0])
    return label_tiff(*_stack(frames), None if math.isnan(interval) else interval)


def as_ome_tiff(frames: Sequence[SegmentedFrame]) -> bytes:
    return ome_tiff(*_stack(frames), frames[0].record["file_name"])


def _stack(frames: Sequence[SegmentedFrame]) -> tuple[list[NDArray[np.int32]], float | None]:
    """Label images of one size, and that of a pixel."""
    shapes = {frame.labels.shape for frame in frames}
    if len(shapes) > 1:
        raise InputError("the pages have different sizes, which a label TIFF can't hold; send them apart")
    size = frames[0].row["pixel_size_um"]
    return [frame.labels for frame in frames], None if math.isnan(size) else size


def as_geojson(frames: Sequence[SegmentedFrame]) -> bytes:
    record = frames[0].record
    measured = [MeasuredFrame(frame.found, frame.columns) for frame in frames]
    return geojson(measured, record["file_name"], record["cell_line"])


def as_seg_npy(frames: Sequence[SegmentedFrame]) -> bytes:
    if len(frames) > 1:
        raise InputError(f"a _seg.npy is of one frame, this file has {len(frames)}; ask for image/tiff")
    return seg_npy(frames[0].labels, frames[0].record["file_name"])


def as_coco(frames: Sequence[SegmentedFrame]) -> bytes:
    """A COCO file: an image for each frame."""
    cells: list[dict[str, Any]] = []
    for frame in frames:
        cells += files.coco_annotations(frame.found, frame.record["id"], len(cells) + 1)
    images = [dict(frame.record) for frame in frames]
    return json.dumps({"images": images, "annotations": cells, "categories": [CELL]}).encode()


def as_picture(frames: Sequence[SegmentedFrame]) -> bytes:
    """A PNG of the frame with the outlines of its cells."""
    if len(frames) > 1:
        raise InputError(f"an overlay shows one frame, this file has {len(frames)}; ask for JSON or send them apart")
    colours = np.repeat(frames[0].grey[:, :, None], 3, axis=2)
    for mask, x, y in frames[0].found.crops:
        inside = np.pad(mask, 1)
        deep = inside[:-2, 1:-1] & inside[2:, 1:-1] & inside[1:-1, :-2] & inside[1:-1, 2:]
        colours[y : y + mask.shape[0], x : x + mask.shape[1]][mask & ~deep] = OUTLINE
    return png(colours)


def png(pixels: NDArray[np.uint8]) -> bytes:
    buffer = io.BytesIO()
    PillowImage.fromarray(pixels).save(buffer, "png", compress_level=1)
    return buffer.getvalue()


FORMS: dict[
    str, tuple[Callable[[Sequence[SegmentedFrame]], bytes] | None, str]
] = {  # by media type: how it is made, and what the file is called
    "application/json": (None, ".json"),
    "image/png": (as_picture, ".overlay.png"),
    "text/csv": (lambda frames: files.csv_bytes("cells", cell_table(frames)), ".csv"),
    "image/tiff": (as_tiff, ".labels.tif"),
    "application/zip": (lambda frames: files.roi_zip([frame.found for frame in frames]), ".rois.zip"),
    "application/vnd.coco+json": (as_coco, ".coco.json"),
    "application/geo+json": (as_geojson, ".geojson"),
    "image/x-ome-tiff": (as_ome_tiff, ".labels.ome.tif"),
    "application/x-npy": (as_seg_npy, "_seg.npy"),
}


def preferred(accept: str) -> str | None:
    """The media type of FORMS that an Accept header likes best; None where it likes none."""
    best: tuple[float, int, str] | None = None
    for part in accept.split(",") if accept.strip() else ["*/*"]:
        media, *options = (word.strip().lower() for word in part.split(";"))
        quality = 1.0
        for option in options:
            if option.startswith("q="):
                try:
                    quality = float(option[2:])
                except ValueError:
                    quality = 0.0
        for place, known in enumerate(FORMS):
            if quality > 0 and media in (known, "*/*", f"{known.split('/')[0]}/*"):
                rank = (quality, -place, known)
                best = rank if best is None or rank[:2] > best[:2] else best
    return best[2] if best else None
