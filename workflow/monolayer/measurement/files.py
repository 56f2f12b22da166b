"""Cells in the forms that other programs open: label TIFF, ImageJ ROI zip, COCO, and tables as Parquet and CSV."""

from __future__ import annotations

import io
import re
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from monolayer.coco import rle
from monolayer.coco.instances import Instances
from monolayer.files import FORMULA, atomic_write
from monolayer.measurement import dictionary
from monolayer.measurement.dictionary import Column
from monolayer.measurement.morphology import Columns
from monolayer.measurement.outlines import rings

MOVE, LINE, CLOSE = 0.0, 1.0, 4.0  # of a path in ImageJ's file, as java.awt.geom.PathIterator numbers them
FARTHEST = 32_767  # px; of a ROI's corners, which are 16-bit numbers
DIGITS = 6  # decimals of a table's numbers; significant digits of grey values
FAINT = 1e-3  # below it; they have the unit of their file, as float images of 1e-7 m have
GROUP = 1 << 16  # rows at least of a row group: with a group for each image a file would be mostly footer
MERGE = 256  # tables of an image each that wait for their group; a table takes kilobytes, however few its rows
PLAIN: dict[str, Any] = {"quoting_style": "needed", "quoting_header": "none"}  # of CSV


def roi_zip(frames: Sequence[Instances]) -> bytes:
    """An ImageJ ROI set (RoiManager opens it): a ROI for each cell, its edges along pixels' edges, on its frame."""
    from roifile import ROI_TYPE, ImagejRoi

    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for frame, found in enumerate(frames):
            position = frame + 1 if len(frames) > 1 else 0
            for number, crop in enumerate(found.crops, start=1):
                name = f"{position:04d}-{number:05d}" if position else f"{number:05d}"
                edges = rings(*crop)
                low, high = np.min([e.min(0) for e in edges], 0), np.max([e.max(0) for e in edges], 0)
                roi = ImagejRoi(name=name, position=position, t_position=position)
                roi.left, roi.top, roi.right, roi.bottom = (int(v) for v in (*low, *high))
                if len(edges) == 1 and high.max() <= FARTHEST and len(edges[0]) < 1 << 16:
                    roi.roitype, roi.n_coordinates = ROI_TYPE.TRACED, len(edges[0])
                    roi.integer_coordinates = edges[0] - low
                else:  # holes, several parts, or beyond what its whole numbers hold: a composite selection
                    roi.roitype, roi.multi_coordinates = ROI_TYPE.RECT, _path(edges)
                    roi.shape_roi_size = len(roi.multi_coordinates)
                # a fixed date: the same cells give the same bytes
                archive.writestr(zipfile.ZipInfo(f"{name}.roi", (1980, 1, 1, 0, 0, 0)), roi.tobytes())
    return buffer.getvalue()


def _path(edges: Sequence[NDArray[np.int32]]) -> NDArray[np.float32]:
    parts: list[float] = []
    for edge in edges:
        for index, (x, y) in enumerate(edge.tolist()):
            parts += [LINE if index else MOVE, x, y]
        parts.append(CLOSE)
    return np.array(parts, np.float32)


def coco_annotations(found: Instances, image_id: int, first_id: int) -> list[dict[str, Any]]:
    """COCO annotations of the cells, numbered from `first_id`; `score` is the tables', and `mask_score` says that it is
    one of masks."""
    names = ["score"] if found.mask_scores is None else ["score", "mask_score"]
    return [
        rle.annotation(first_id + number, image_id, mask) | dict.fromkeys(names, round(float(score), 5))
        for number, (mask, score) in enumerate(zip(found.rles(), found.ranking, strict=True))
    ]


def rounded(values: NDArray[np.float64], unit: str) -> NDArray[np.float64]:
    """Numbers of a unit as tables and answers have them."""
    with np.errstate(over="ignore"):
        found = np.round(values, DIGITS)
    found = np.where(np.isinf(found), values, found)  # far beyond what has decimals
    if unit == dictionary.GREY:
        faint = (values != 0) & (np.abs(values) < FAINT)
        found[faint] = [float(f"{value:.{DIGITS}g}") for value in values[faint]]
    return found


def arrow(table: str | Mapping[str, Column], columns: Columns | Mapping[str, Sequence[Any]]) -> Any:
    """An Arrow table of these columns with the names, order and types of the dictionary; NaN becomes empty.

    `table` is a name in the dictionary, or what another one says of the columns.
    """
    import pyarrow as pa

    types = {"text": pa.string(), "whole": pa.int64(), "number": pa.float64(), "flag": pa.bool_()}
    described = dictionary.TABLES[table] if isinstance(table, str) else table
    schema = pa.schema([(column, types[about.type]) for column, about in described.items()])

    def values(column: str, type_: Any) -> Any:
        given = np.asarray(columns[column])
        given = rounded(given.astype(np.float64), described[column].unit) if type_ == pa.float64() else given
        return pa.array(given, type_, from_pandas=True)

    return pa.table([values(field.name, field.type) for field in schema], schema=schema)


def _no_formulas(table: Any) -> Any:
    """An Arrow table for CSV: as `no_formula` of each text."""
    import pyarrow as pa
    from pyarrow import compute

    first = f"^([{re.escape(''.join(FORMULA))}])"
    for number, field in enumerate(table.schema):
        if field.type == pa.string():
            safe = compute.replace_substring_regex(table.column(number), pattern=first, replacement=r"'\1")
            table = table.set_column(number, field, safe)
    return table


@contextmanager
def growing(table: str | Mapping[str, Column], path: Path) -> Iterator[Any]:
    """A function that appends columns to `path`.parquet and `path`.csv; both appear once the block has ended well."""
    import pyarrow as pa
    from pyarrow import csv, parquet

    described = dictionary.TABLES[table] if isinstance(table, str) else table
    schema = arrow(described, dict.fromkeys(described, ())).schema
    with (
        atomic_write(path.with_suffix(".parquet")) as binary,
        atomic_write(path.with_suffix(".csv")) as text,
        parquet.ParquetWriter(binary, schema, compression="zstd") as packed,
        csv.CSVWriter(text, schema, write_options=csv.WriteOptions(**PLAIN)) as written,
    ):
        pending: list[Any] = []
        rows = 0

        def append(columns: Columns | Mapping[str, Sequence[Any]]) -> None:
            nonlocal rows
            pending.append(arrow(described, columns))
            written.write_table(_no_formulas(pending[-1]))
            rows += pending[-1].num_rows
            if len(pending) == MERGE:
                pending[:] = [pa.concat_tables(pending).combine_chunks()]
            if rows >= GROUP:
                write()

        def write() -> None:
            nonlocal rows
            packed.write_table(pa.concat_tables([schema.empty_table(), *pending]))
            pending.clear()
            rows = 0

        yield append
        write()


def csv_bytes(name: str, columns: Columns | Mapping[str, Sequence[Any]]) -> bytes:
    """The table as CSV."""
    from pyarrow import BufferOutputStream, csv

    sink = BufferOutputStream()
    csv.write_csv(_no_formulas(arrow(name, columns)), sink, csv.WriteOptions(**PLAIN))
    return bytes(sink.getvalue())
