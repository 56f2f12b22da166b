"""The tables of a plate from the parts of its shards: cells by well, images, curves, wells, conditions; a manifest."""

from __future__ import annotations

import hashlib
import json
import logging
import math
from collections.abc import Iterable, Iterator, Sequence
from importlib.metadata import version
from itertools import groupby, islice
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from monolayer.backends.manifest import CellDiameters, read_manifest
from monolayer.files import InputError, name_of_file, whole_folder, write_csv, write_json
from monolayer.measurement.files import DIGITS, arrow
from monolayer.params.plates import PlateSettings, QualityLimits, shards
from monolayer.plates import dictionary, growth
from monolayer.plates.crate import newest_day, write_crate
from monolayer.plates.expected import ExpectedF1, expectation, read_expected
from monolayer.plates.layout import well_key
from monolayer.plates.model import model_folder, network_sums, sums
from monolayer.plates.parts import PART, PARTS, growing_parquet, records, rows, table_of
from monolayer.plates.plan import ABOUT, TABLE, PlateImage, described, plan_rows, read_about, source_files
from monolayer.plates.quality import flags, usual_sharpness

logger = logging.getLogger(__name__)
PACKAGES = ("monolayer", "numpy", "onnxruntime", "pyarrow", "scikit-image", "scipy", "zarr")


class PlateJudge(NamedTuple):
    """What an image's expected F1 and its flags go by."""

    fitted: ExpectedF1 | None
    known: CellDiameters | None
    factor: float
    sharpness: float
    limits: QualityLimits

    def judged(self, image: dict[str, Any]) -> dict[str, Any]:
        image = image | expectation(self.fitted, image, self.known, self.factor)
        return image | {"flags": flags(image, self.sharpness, self.limits, self.known, self.factor)}


def tabulate(folder: Path, size: int, settings: PlateSettings) -> None:
    """Write cells.parquet/ (a file for each well), images.parquet, curves, wells, conditions, comparisons (CSV).

    The parts are of shards of `size` images; the same images give the same bytes, whatever it is. One well is in
    memory at a time, and of the others no more than their curves.
    """
    about = read_about(folder)
    names = shards(about.images, size)
    if lacks := next((name for name in names if not (folder / PARTS / f"{name}{PART}").is_file()), None):
        said = f"{folder / PARTS} lacks the part {lacks}, of shards of {size} images"
        raise InputError(f"{said}; segment that shard, or give --images-per-shard as the shards were cut")
    judge = _judge(settings, (row["sharpness"] for name in names for row in rows(folder / PARTS, name)))
    planned = list(dict.fromkeys(image.well for image in plan_rows(folder)))
    named = growth.read_conditions(Path(settings.conditions) if settings.conditions else None, planned)
    cells, points, wells = 0, list[dict[str, Any]](), list[dict[str, Any]]()
    with whole_folder(folder / "cells.parquet") as partial, growing_parquet("images", folder / "images.parquet") as add:
        for well, pairs in groupby(_measured(folder, names), lambda pair: pair[0].well):
            images, table = _of_well([*pairs], about.pixel_size_um)
            with growing_parquet("cells", partial / f"{name_of_file(well)}.parquet") as append:
                append(table)
            images = [judge.judged(image) for image in images]
            add(table_of("images", images))
            own = growth.curves(images, about.time_unit)
            cells += table.num_rows
            points += own
            wells += growth.wells(images, own, named)
    wells.sort(key=lambda row: well_key(row["well"]))
    points.sort(key=lambda row: well_key(row["well"]))
    tables = {"curves": points, "wells": wells, "conditions": growth.conditions(wells)}
    tables["comparisons"] = growth.comparisons(wells)
    for name, content in tables.items():
        write_csv(folder / f"{name}.csv", [_rounded(row) for row in content], dictionary.TABLES[name])
    write_csv(folder / "dictionary.csv", dictionary.rows())
    _write_manifest(folder, settings, (cells, newest_day(source_files(about, plan_rows(folder)))), judge.fitted)
    logger.info("%d cells in %d images of %d wells", cells, about.images, len(wells))


def _judge(settings: PlateSettings, sharpness: Iterable[float]) -> PlateJudge:
    model, manifest = read_manifest(model_folder(settings))
    known, factor = manifest.diameters, 1.0
    if known is not None and settings.diameter is not None:
        factor = known.median / settings.diameter
    fitted = read_expected(model, settings, network_sums(model))
    return PlateJudge(fitted, known, factor, usual_sharpness(sharpness), settings.quality)


def _measured(folder: Path, names: Sequence[str]) -> Iterator[tuple[PlateImage, dict[str, Any], Any]]:
    """Each image as it is planned, with the row and the cells that its shard found."""
    planned = plan_rows(folder)
    for name in names:
        first, last = map(int, name.split("-"))
        found = records(folder / PARTS, name)
        for image in islice(planned, last - first + 1):
            key, row, cells = next(found, ("[]", {}, None))
            if cells is None or json.loads(key)[:2] != [image.labels, image.frame]:
                raise InputError(f"the part {name} is not of {image.name}; remove {folder / PARTS} and segment again")
            yield image, row, cells


def _of_well(
    measured: Sequence[tuple[PlateImage, dict[str, Any], Any]], pixel_size_um: float | None
) -> tuple[list[dict[str, Any]], Any]:
    """The rows of a well's images, and the table of all their cells."""
    import pyarrow as pa

    images = [described(image, pixel_size_um) for image, _, _ in measured]
    cells = pa.concat_tables([table for _, _, table in measured])
    counts = [table.num_rows for _, _, table in measured]
    columns = {name: np.repeat(np.array([image[name] for image in images]), counts) for name in dictionary.IMAGE}
    table = arrow(dictionary.IMAGE, columns)
    for field in cells.schema:
        table = table.append_column(field, cells[field.name])
    return [image | row for image, (_, row, _) in zip(images, measured, strict=True)], table


def _rounded(row: dict[str, Any]) -> dict[str, Any]:
    """Numbers as tables have them; NaN is empty, and no p is 0."""

    def shown(name: str, value: Any) -> Any:
        if not isinstance(value, float):
            return value
        if math.isnan(value):
            return ""
        return float(f"{value:.{DIGITS}g}") if name in growth.CHANCES else round(float(value), DIGITS)

    return {name: shown(name, value) for name, value in row.items()}


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
