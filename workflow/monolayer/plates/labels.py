"""Label images as OME-Zarr 0.5: a plate in which each field holds `labels/cells`, a plane for each frame.

The field is an image too, whose pixels are the same label array: nothing lies twice on the disk, and readers that look
for plates, images or labels all find what they look for. A plane is written whole, so that jobs share a field.
"""

from __future__ import annotations

import json
import re
import shutil
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from monolayer.files import InputError, write_json

if TYPE_CHECKING:
    from monolayer.plates.plan import PlateImage

STORE = "labels.ome.zarr"
CELLS = "labels/cells"  # in a field
ARRAY = "0"
SIDE = 2048  # px of a chunk at most
TYPE = np.dtype(np.uint32)
ZSTD = {"level": 3, "checksum": False}


def label_paths(fields: Sequence[tuple[str, str]]) -> dict[tuple[str, str], str]:
    """Where the label images of each field lie: row, column and number, as an OME-Zarr plate has them."""
    found, counts = {}, Counter[str]()
    wells = {well: f"W/{number}" for number, well in enumerate(dict.fromkeys(well for well, _ in fields), 1)}
    if all(re.fullmatch(r"[A-Za-z]+\d+", well) for well in wells):
        wells = {well: re.sub(r"(\d+)$", r"/\1", well) for well in wells}
    for well, field in fields:
        if (well, field) in found:
            said = f"well {well} has a field {field}, and another one is cut into parts of that name"
            raise InputError(f"{said}; give them plates of their own, or set plate_settings.tile higher")
        found[well, field] = f"{wells[well]}/{counts[well]}"
        counts[well] += 1
    return found


def make_store(output: Path, plate: Path, rows: Sequence[PlateImage], pixel_size_um: float | None) -> None:
    """The groups and empty arrays of all fields; the root is written last, planes that are there stay."""
    fields = {}
    for row in rows:
        fields[row.labels] = row
    store = output / STORE
    for place, row in fields.items():
        multiscale = _multiscale(pixel_size_um)
        scales = {"version": "0.5", "multiscales": [multiscale | {"name": "cells"}]}
        source = {"image-label": {"source": {"image": "../../"}}}
        path = f"{CELLS}/{ARRAY}"
        image = {"version": "0.5", "multiscales": [_multiscale(pixel_size_um, path) | {"name": f"{row.well} cells"}]}
        _group(store / place, image)
        _group(store / place / "labels", {"version": "0.5", "labels": ["cells"]})
        _group(store / place / CELLS, scales | source)
        _array(store / place / path, (row.frame + 1, row.height, row.width))
    _plate(store, plate.name, list(fields))


def _multiscale(pixel_size_um: float | None, path: str = ARRAY) -> dict[str, Any]:
    side = pixel_size_um or 1.0
    unit = {"unit": "micrometer"} if pixel_size_um else {}
    space = [{"name": name, "type": "space"} | unit for name in ("y", "x")]
    transform = [{"type": "scale", "scale": [1.0, side, side]}]
    return {
        "axes": [{"name": "t", "type": "time"}, *space],
        "datasets": [{"path": path, "coordinateTransformations": transform}],
    }


def _plate(store: Path, name: str, places: Sequence[str]) -> None:
    """The root, its wells and what lies between."""
    wells = dict[str, list[str]]()
    for place in places:
        well, _, field = place.rpartition("/")
        wells.setdefault(well, []).append(field)
    rows = list(dict.fromkeys(well.split("/")[0] for well in wells))
    columns = list(dict.fromkeys(well.split("/")[1] for well in wells))
    for row in rows:
        _group(store / row, None)
    for well, fields in wells.items():
        _group(store / well, {"version": "0.5", "well": {"images": [{"path": field} for field in fields]}})
    row_at, column_at = ({name: n for n, name in enumerate(names)} for names in (rows, columns))
    listed = [
        {"path": well, "rowIndex": row_at[well.split("/")[0]], "columnIndex": column_at[well.split("/")[1]]}
        for well in wells
    ]
    plate = {
        "name": name,
        "rows": [{"name": row} for row in rows],
        "columns": [{"name": column} for column in columns],
        "wells": listed,
        "field_count": max(map(len, wells.values())),
    }
    _group(store, {"version": "0.5", "plate": plate})


def _group(path: Path, ome: dict[str, Any] | None) -> None:
    _node(path, {"node_type": "group", "attributes": {} if ome is None else {"ome": ome}})


def _array(path: Path, shape: tuple[int, int, int]) -> None:
    """An array without a plane; one of this size that is there keeps its planes, but for frames that are no more."""
    about = path / "zarr.json"
    before = json.loads(about.read_text(encoding="utf-8"))["shape"] if about.is_file() else None
    if before == list(shape):
        return
    kept = shape[0] if before and before[1:] == list(shape[1:]) else 0
    for plane in path.glob("c/*"):
        if int(plane.name) >= kept:
            shutil.rmtree(plane)
    chunks = [1, min(SIDE, shape[1]), min(SIDE, shape[2])]
    codecs = [{"name": "bytes", "configuration": {"endian": "little"}}, {"name": "zstd", "configuration": ZSTD}]
    node = {
        "node_type": "array",
        "shape": list(shape),
        "data_type": TYPE.name,
        "chunk_grid": {"name": "regular", "configuration": {"chunk_shape": chunks}},
        "chunk_key_encoding": {"name": "default", "configuration": {"separator": "/"}},
        "fill_value": 0,
        "codecs": codecs,
        "attributes": {},
        "dimension_names": ["t", "y", "x"],
    }
    _node(path, node)


def _node(path: Path, about: dict[str, Any]) -> None:
    """The zarr.json of a group or an array; zarr's own differs from version to version."""
    write_json(path / "zarr.json", {"zarr_format": 3} | about, indent=1)


def has_plane(output: Path, place: str, frame: int) -> bool:
    """Whether a frame's label image was written; zarr leaves out what holds no cell."""
    return (output / STORE / place / CELLS / ARRAY / "c" / str(frame)).is_dir()


def open_labels(output: Path, place: str) -> Any:
    """The label array (T, Y, X) of a field."""
    import zarr

    return zarr.open_array(output / STORE / place / CELLS / ARRAY, mode="r+")


def write_plane(output: Path, place: str, frame: int, labels: NDArray[np.integer[Any]]) -> None:
    """Write the label image (Y, X) of a frame, in place of what is there: a killed job leaves parts of files.

    Chunk by chunk, as `_array` says that they are: zarr writes the same bytes in ten times the time.
    """
    from numcodecs.zstd import Zstd  # with which zarr packs its chunks

    plane = output / STORE / place / CELLS / ARRAY / "c" / str(frame)
    shutil.rmtree(plane, ignore_errors=True)
    height, width = (min(SIDE, length) for length in labels.shape)
    for row, column in np.ndindex(-(-labels.shape[0] // height), -(-labels.shape[1] // width)):
        part = labels[row * height : (row + 1) * height, column * width : (column + 1) * width]
        if part.any():  # else there is no file, as in a plane that nobody wrote
            chunk = np.zeros((height, width), TYPE.newbyteorder("<"))
            chunk[: part.shape[0], : part.shape[1]] = part
            (plane / str(row)).mkdir(parents=True, exist_ok=True)
            (plane / str(row) / str(column)).write_bytes(Zstd(**ZSTD).encode(chunk))


def label_plane(output: Path, place: str, frame: int) -> NDArray[np.uint32]:
    """The label image of one frame of a field."""
    return np.asarray(open_labels(output, place)[frame], TYPE)
