"""The tables of a plate from the parts of its shards: cells by well, images, curves, wells, conditions; a manifest."""

from __future__ import annotations

import hashlib
import json
import logging
import math
from collections.abc import Iterable, Iterator, Sequence
from importlib.metadata import version
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np

from monolayer.backends.manifest import read_manifest
from monolayer.files import InputError, name_of_file, whole_folder, write_csv, write_json
from monolayer.measurement.files import DIGITS, arrow
from monolayer.params.plates import PlateSettings, shards
from monolayer.plates import dictionary, growth
from monolayer.plates.crate import newest_day, write_crate
from monolayer.plates.expected import ExpectedF1, expectation, read_expected
from monolayer.plates.model import model_folder, network_sums, sums
from monolayer.plates.parts import PARTS, growing_parquet, records, table_of
from monolayer.plates.plan import ABOUT, TABLE, PlateImage, described, read_about, read_plan, source_files
from monolayer.plates.quality import flags

logger = logging.getLogger(__name__)
PACKAGES = ("monolayer", "numpy", "onnxruntime", "pyarrow", "scikit-image", "scipy", "zarr")


def tabulate(folder: Path, size: int, settings: PlateSettings) -> None:
    """Write cells.parquet/ (a file for each well), images.parquet, curves, wells, conditions, comparisons (CSV).

    The parts are of shards of `size` images; the same images give the same bytes, whatever it is.
    """
    about, planned = read_about(folder), read_plan(folder)
    names = shards(about.images, size)
    with whole_folder(folder / "cells.parquet") as partial:
        images = _write_cells(_measured(folder, names, planned, about.pixel_size_um), partial)
    model, manifest = read_manifest(model_folder(settings))
    known, factor = manifest.diameters, 1.0
    if known is not None and settings.diameter is not None:
        factor = known.median / settings.diameter
    fitted = read_expected(model, settings, network_sums(model))
    for image in images:
        image.update(expectation(fitted, image, known, factor))
    for image, words in zip(images, flags(images, settings.quality, known, factor), strict=True):
        image["flags"] = words
    wells = list(dict.fromkeys(image["well"] for image in images))
    named = growth.read_conditions(Path(settings.conditions) if settings.conditions else None, wells)
    with growing_parquet("images", folder / "images.parquet") as append:
        append(table_of("images", images))
    cells = sum(image["cells"] for image in images)
    points = growth.curves(images)
    rows = growth.wells(images, points, named)
    tables = {"curves": points, "wells": rows, "conditions": growth.conditions(rows)}
    tables["comparisons"] = growth.comparisons(rows)
    for name, content in tables.items():
        write_csv(folder / f"{name}.csv", [_rounded(row) for row in content], dictionary.TABLES[name])
    write_csv(folder / "dictionary.csv", dictionary.rows())
    _write_manifest(folder, settings, (cells, newest_day(source_files(about, planned))), fitted)
    logger.info("%d cells in %d images of %d wells", cells, len(images), len(wells))


def _measured(
    folder: Path, names: Sequence[str], planned: Sequence[PlateImage], pixel_size_um: float | None
) -> Iterator[tuple[dict[str, Any], Any]]:
    """The row and the cells of each image: what the plan says of it, and what its shard found."""
    for name in names:
        first, last = map(int, name.split("-"))
        found = records(folder / PARTS, name)
        for image in planned[first - 1 : last]:
            key, row, cells = next(found, ("[]", {}, None))
            if cells is None or json.loads(key)[:2] != [image.labels, image.frame]:
                raise InputError(f"the part {name} is not of {image.name}; remove {folder / PARTS} and segment again")
            about = described(image, pixel_size_um)
            columns = {name: np.full(cells.num_rows, value) for name, value in about.items()}
            table = arrow(dictionary.IMAGE, columns)
            for field in cells.schema:
                table = table.append_column(field, cells[field.name])
            yield about | row, table


def _write_cells(measured: Iterable[tuple[dict[str, Any], Any]], folder: Path) -> list[dict[str, Any]]:
    """A file of cells for each well, of which one is in memory at a time; gives the rows of all images."""
    import pyarrow as pa

    rows = list[dict[str, Any]]()
    for well, own in groupby(measured, lambda pair: str(pair[0]["well"])):
        tables = []
        for row, table in own:
            rows.append(row)
            tables.append(table)
        with growing_parquet("cells", folder / f"{name_of_file(well)}.parquet") as append:
            append(pa.concat_tables(tables))
    return rows


def _rounded(row: dict[str, Any]) -> dict[str, Any]:
    """Numbers as tables have them; NaN is empty."""

    def shown(value: Any) -> Any:
        if not isinstance(value, float):
            return value
        return "" if math.isnan(value) else round(float(value), DIGITS)

    return {name: shown(value) for name, value in row.items()}


def _write_manifest(folder: Path, settings: PlateSettings, found: tuple[int, str], fitted: ExpectedF1 | None) -> None:
    """manifest.json and the RO-Crate: what the tables were made of and with, and what each file is."""
    about, (cells, newest) = read_about(folder), found
    files = [folder / TABLE, folder / ABOUT, folder / "images.parquet", *sorted(folder.glob("*.csv"))]
    files += sorted((folder / "cells.parquet").iterdir())
    model, manifest = read_manifest(model_folder(settings))
    content = {
        "plate": about._asdict(),
        "cells": cells,
        "model": {"run": manifest.run, "files": sums(model)},
        "expected_f1": None if fitted is None else fitted.model_dump(),
        "settings": settings.model_dump(mode="json"),
        "versions": {name: version(name) for name in PACKAGES},
        "files": {path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest() for path in files},
    }
    write_json(folder / "manifest.json", content, indent=1)
    licence = manifest.notes.get("Licence", "The model says nothing of a licence.")
    write_crate(folder, content, f"Of the images' owner; of the model: {licence}", newest)
