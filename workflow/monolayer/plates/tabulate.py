"""The tables of a plate from the parts of its shards: cells by well, images, curves, wells, conditions; a manifest."""

from __future__ import annotations

import hashlib
import logging
import math
from collections.abc import Iterator, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

from monolayer.backends.manifest import read_manifest
from monolayer.files import InputError, name_of_file, whole_folder, write_csv, write_json
from monolayer.measurement.files import DIGITS
from monolayer.params.plates import PlateSettings, shards
from monolayer.plates import dictionary, growth
from monolayer.plates.parts import CELLS, IMAGES, PARTS, growing_parquet, table_of
from monolayer.plates.plan import ABOUT, TABLE, read_about
from monolayer.plates.quality import flags
from monolayer.plates.segment import model_folder, sums

logger = logging.getLogger(__name__)
PACKAGES = ("monolayer", "numpy", "onnxruntime", "pyarrow", "scikit-image", "scipy", "zarr")


def tabulate(folder: Path, size: int, settings: PlateSettings) -> None:
    """Write cells.parquet/ (a file for each well), images.parquet, curves, wells, conditions, comparisons (CSV).

    The parts are of shards of `size` images; the same images give the same bytes, whatever it is.
    """
    about = read_about(folder)
    parts = [folder / PARTS / shard for shard in shards(about.images, size)]
    images = list(_images(parts))
    if [image["image_id"] for image in images] != list(range(1, about.images + 1)):
        raise InputError(f"the parts have {len(images)} of {about.images} images of {folder / TABLE}; segment it again")
    _, manifest = read_manifest(model_folder(settings))
    known, factor = manifest.diameters, 1.0
    if known is not None and settings.diameter is not None:
        factor = known.median / settings.diameter
    for image, words in zip(images, flags(images, settings.quality, known, factor), strict=True):
        image["flags"] = words
    wells = list(dict.fromkeys(image["well"] for image in images))
    named = growth.read_conditions(Path(settings.conditions) if settings.conditions else None, wells)
    with growing_parquet("images", folder / "images.parquet") as append:
        append(table_of("images", images))
    with whole_folder(folder / "cells.parquet") as partial:
        cells = _write_cells(parts, partial)
    points = growth.curves(images)
    rows = growth.wells(images, points, named)
    tables = {"curves": points, "wells": rows, "conditions": growth.conditions(rows)}
    tables["comparisons"] = growth.comparisons(rows)
    for name, content in tables.items():
        write_csv(folder / f"{name}.csv", [_rounded(row) for row in content], dictionary.TABLES[name])
    write_csv(folder / "dictionary.csv", dictionary.rows())
    _write_manifest(folder, settings, cells)
    logger.info("%d cells in %d images of %d wells", cells, len(images), len(wells))


def _images(parts: Sequence[Path]) -> Iterator[dict[str, Any]]:
    from pyarrow import parquet

    for part in parts:
        yield from parquet.read_table(part.with_name(f"{part.name}{IMAGES}")).to_pylist()


def _write_cells(parts: Sequence[Path], folder: Path) -> int:
    """A file for each well, whose images stand together in the parts; a well at a time is in memory."""
    import pyarrow as pa
    from pyarrow import compute, parquet

    count, well, pending = 0, None, list[Any]()

    def write() -> None:
        if well is not None:
            with growing_parquet("cells", folder / f"{name_of_file(well)}.parquet") as append:
                append(pa.concat_tables(pending))

    for part in parts:
        for batch in parquet.ParquetFile(part.with_name(f"{part.name}{CELLS}")).iter_batches():
            table = pa.Table.from_batches([batch])
            count += table.num_rows
            for name in table["well"].unique().to_pylist():
                own = table.filter(compute.equal(table["well"], name))
                if name != well:
                    write()
                    well, pending = name, []
                pending.append(own)
    write()
    if not count:  # a dataset has a file, whatever it holds
        with growing_parquet("cells", folder / "none.parquet"):
            pass
    return count


def _rounded(row: dict[str, Any]) -> dict[str, Any]:
    """Numbers as tables have them; NaN is empty."""

    def shown(value: Any) -> Any:
        if not isinstance(value, float):
            return value
        return "" if math.isnan(value) else round(float(value), DIGITS)

    return {name: shown(value) for name, value in row.items()}


def _write_manifest(folder: Path, settings: PlateSettings, cells: int) -> None:
    """manifest.json: what the tables were made of and with, and what each file is."""
    about = read_about(folder)
    files = [folder / TABLE, folder / ABOUT, folder / "images.parquet", *sorted(folder.glob("*.csv"))]
    files += sorted((folder / "cells.parquet").iterdir())
    model, manifest = read_manifest(model_folder(settings))
    write_json(
        folder / "manifest.json",
        {
            "plate": about._asdict(),
            "cells": cells,
            "model": {"run": manifest.run, "files": sums(model)},
            "settings": settings.model_dump(mode="json"),
            "versions": {name: version(name) for name in PACKAGES},
            "files": {
                path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest() for path in files
            },
        },
        indent=1,
    )
