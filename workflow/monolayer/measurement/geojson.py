"""Cells as GeoJSON, with their measurements, as QuPath imports it: a detection for each, its edges along pixels' edges.

Polygons are valid: no ring touches itself, and holes and several parts are kept.
"""

from __future__ import annotations

import json
import math
import uuid
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from monolayer.coco.instances import Instances
from monolayer.coco.rle import Mask
from monolayer.measurement.dictionary import CELL, with_um
from monolayer.measurement.files import rounded
from monolayer.measurement.morphology import Columns
from monolayer.measurement.outlines import rings

MEASURED = {name: column.unit for name, column in with_um(CELL).items() if name != "cell"}
Ring = NDArray[np.int32]  # (N, 2) xy, the first corner not repeated


class MeasuredFrame(NamedTuple):
    """The cells of a frame (masks cut to their boxes) and what `cell_columns` measured of them."""

    found: Instances
    columns: Columns


def geojson(frames: Sequence[MeasuredFrame], file_name: str, cell_line: str = "") -> bytes:
    """A feature for each cell; of several frames each is on its own, along time.

    An id depends on the file's name, the frame and the mask alone: the same cell has it again, whatever else is found.
    """
    features = [
        feature
        for time, frame in enumerate(frames)
        for feature in _features(frame, f"{file_name}#{time}", time if len(frames) > 1 else None, cell_line)
    ]
    collection = {"type": "FeatureCollection", "features": features}
    return json.dumps(collection, separators=(",", ":"), ensure_ascii=False, allow_nan=False).encode()


def _features(frame: MeasuredFrame, where: str, time: int | None, cell_line: str) -> Iterator[dict[str, Any]]:
    names = [name for name in MEASURED if name in frame.columns]
    columns = [rounded(frame.columns[name].astype(np.float64), MEASURED[name]).tolist() for name in names]
    rows = zip(*columns, strict=True) if columns else [()] * len(frame.found.masks)
    crops = zip(frame.found.crops, frame.found.rles(), rows, strict=True)
    for number, (crop, rle, values) in enumerate(crops, start=1):
        parts = [[_closed(ring) for ring in part] for part in polygons(*crop)]
        geometry: dict[str, Any] = {"type": "MultiPolygon", "coordinates": parts}
        if len(parts) == 1:
            geometry = {"type": "Polygon", "coordinates": parts[0]}
        if time is not None:
            geometry["plane"] = {"c": -1, "z": 0, "t": time}  # QuPath's; others pass over it
        measurements = {name: value for name, value in zip(names, values, strict=True) if not math.isnan(value)}
        properties = {"objectType": "detection", "name": str(number), "measurements": measurements}
        if cell_line:
            properties["classification"] = {"name": cell_line}
        identity = str(uuid.uuid5(uuid.NAMESPACE_URL, f"{where}#{rle['counts']}"))
        yield {"type": "Feature", "id": identity, "geometry": geometry, "properties": properties}


def _closed(ring: Ring) -> list[list[int]]:
    return [*ring.tolist(), ring[0].tolist()]


def polygons(mask: Mask, x: int = 0, y: int = 0) -> list[list[Ring]]:
    """The parts of a bool (h, w) mask with its upper left pixel at (x, y): of each its outer ring, then its holes.

    Pixels that meet at a corner only are apart. Outer rings have a positive area, holes a negative one.
    """
    from scipy import ndimage

    part_of, count = ndimage.label(mask)
    parts: list[list[Ring]] = [[] for _ in range(count)]
    for ring in (simple for whole in rings(mask) for simple in _simple(whole)):
        right = int(np.argmax(np.diff(ring[:, 0], append=ring[0, 0]) > 0))  # the mask is below an edge to the right
        own = parts[part_of[ring[right, 1], ring[right, 0]] - 1]
        own.insert(0 if _area(ring) > 0 else len(own), ring + np.array([x, y], np.int32))
    return parts


def _area(ring: Ring) -> int:
    x, y = ring.astype(np.int64).T
    return int((x * np.roll(y, -1) - np.roll(x, -1) * y).sum())


def _simple(ring: Ring) -> Iterator[Ring]:
    """A ring that touches itself at corners as several that don't."""
    path: list[tuple[int, int]] = []
    seen: dict[tuple[int, int], int] = {}
    for corner in map(tuple, ring.tolist()):
        if corner in seen:
            start = seen[corner]
            yield np.array(path[start:], np.int32)
            for passed in path[start:]:
                del seen[passed]
            del path[start:]
        seen[corner] = len(path)
        path.append(corner)
    yield np.array(path, np.int32)
