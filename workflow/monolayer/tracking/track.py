"""From measured cells to tracks: each time-lapse is linked, described, written and scored by itself."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from monolayer.coco.findings import Findings
from monolayer.coco.masks import true_masks
from monolayer.coco.reader import read
from monolayer.coco.records import CELL, Annotation, Image, Rle, Truth, by_image, cells_in
from monolayer.coco.rle import box_xywh, rle_area
from monolayer.compiled import Ints
from monolayer.data.sources.tracks import tracked as with_track
from monolayer.files import InputError, whole_folder, write_csv
from monolayer.measurement import dictionary as measured
from monolayer.measurement.files import growing
from monolayer.measurement.measure import CellSource, cells_of
from monolayer.parallel import each
from monolayer.params.tracking import TrackerParams
from monolayer.progress import track as progress
from monolayer.tracking import dictionary
from monolayer.tracking.divisions import division_rows
from monolayer.tracking.timelapse import Timelapse, timelapses
from monolayer.tracking.well import Job, Masks, TrueFrame, track_well

logger = logging.getLogger(__name__)
BOX = ("box_x_px", "box_y_px", "box_width_px", "box_height_px")


@dataclass(frozen=True)
class Measured:
    """The folder that `measure` wrote of the same cells."""

    folder: Path

    @property
    def cells(self) -> Path:
        return self.folder / "cells.parquet"

    def columns(self) -> dict[str, NDArray[Any]]:
        """What linking needs of each cell."""
        names = ["image_id", "cell", "centroid_x_px", "centroid_y_px", "area_px2", "touches_border", "pixel_size_um"]
        return _columns(self.cells, [*names, *BOX])

    def moments(self) -> dict[int, tuple[float, float]]:
        """When each image was taken."""
        found = _columns(self.folder / "images.parquet", ["image_id", "time_h", "frame"])
        times = zip(found["time_h"].tolist(), found["frame"].tolist(), strict=True)
        return dict(zip(found["image_id"].tolist(), times, strict=True))


def _columns(path: Path, names: list[str]) -> dict[str, NDArray[Any]]:
    from pyarrow import ArrowInvalid, parquet

    try:
        table = parquet.read_table(path, columns=names)
        return {name: table[name].to_numpy() for name in names}
    except (OSError, ArrowInvalid, KeyError) as error:
        raise InputError(f"{path} is not a table of `measure` ({error}); measure the cells first") from error


def track(
    truth: Path,
    cells: tuple[Measured, CellSource],
    params: TrackerParams,
    output: Path,
    *,
    workers: int = 1,
) -> None:
    """Write cells, tracks, frames, divisions and scores (Parquet and CSV), dictionary.csv and files/ of these cells.

    Any number of workers gives the same bytes.
    """
    images, masks = cells_of(read(truth, keep=True), cells[1])
    listed = Truth(images=images, annotations=true_annotations(truth), categories=[CELL])
    source = cells[0]
    columns = source.columns()
    moments = source.moments()
    if other := next((image for image in listed["images"] if image["id"] not in moments), None):
        raise InputError(f"{source.folder} does not know {other['file_name']}, which {truth} lists; measure it first")
    lapses = timelapses(listed["images"], moments)
    found = jobs(lapses, columns, (listed, masks), source)
    lineages = np.zeros((3, len(columns["cell"])), np.int64)
    tables: dict[str, list[dict[str, Any]]] = {"tracks": [], "frames": [], "scores": []}
    with whole_folder(output / "files") as folder:
        one = partial(track_well, params=params, folder=folder, true=cells[1].results is None)
        for done in progress(each(one, found, workers), len(lapses), "track"):
            lineages[:, done.rows] = np.stack(done.found)
            for name, rows in done.tables.items():
                tables[name] += rows
    write_cells(source.cells, lineages, output / "cells")
    for name, rows in (tables | {"divisions": division_rows(tables["tracks"])}).items():
        with growing(dictionary.TABLES[name], output / name) as append:
            append({column: [row[column] for row in rows] for column in dictionary.TABLES[name]})
    write_csv(output / "dictionary.csv", measured.rows(dictionary.TABLES))
    logger.info("%d tracks in %d time-lapses", len(tables["tracks"]), len(lapses))


def true_annotations(truth: Path) -> list[Annotation]:
    """The true cells, if there are any, with all that their records say."""
    records = read(truth, keep=True)
    batches = true_masks(records, Findings()) if records.lines else ()
    found = []
    for record, frame, counts in (listed for masks in batches for listed in masks.listed):
        rle = Rle(size=[frame.height, frame.width], counts=counts)
        found.append(with_track(record, cast(Annotation, record | {"segmentation": rle}), records.name))
    return found


def jobs(
    lapses: Sequence[Timelapse],
    columns: dict[str, NDArray[Any]],
    cells: tuple[Truth, dict[int, Masks]],
    source: Measured,
) -> Iterator[Job]:
    """A job for each time-lapse; masks and rows have to be of the same cells."""
    listed, masks = cells
    order = np.lexsort((columns["cell"], columns["image_id"]))
    ids = columns["image_id"][order]
    annotations = by_image(listed["annotations"]) if tracked(listed) else None
    for lapse in lapses:
        own, parts, rles = list[Ints](), list[dict[str, NDArray[Any]]](), list[Masks]()
        for image in lapse.images:
            rows = order[np.searchsorted(ids, image["id"]) : np.searchsorted(ids, image["id"], "right")]
            shown = [cell for cell in masks[image["id"]] if rle_area(cell[1])]
            own.append(rows)
            parts.append({name: values[rows] for name, values in columns.items()})
            rles.append(shown)
            _check_same(parts[-1], shown, f"{source.cells} has {{}} cells of {image['file_name']}")
        true = None
        if annotations is not None:
            true = [_true_frame(image, annotations[image["id"]]) for image in lapse.images]
        yield Job(lapse, own, parts, rles, true)


def _check_same(rows: dict[str, NDArray[Any]], cells: Masks, text: str) -> None:
    """Refuse rows of other cells than these: as many, each with the area and the box that was measured."""
    cure = "they are of other results; measure the same ones, from the same score up"
    if len(rows["cell"]) != len(cells):
        raise InputError(f"{text.format(len(rows['cell']))}, and {len(cells)} were given: {cure}")
    sizes = np.array([(rle_area(rle), *box_xywh(rle)) for _, rle in cells]).reshape(-1, 5)
    measured = np.stack([rows[name] for name in ("area_px2", *BOX)], 1)
    if other := int((sizes != measured).any(1).sum()):
        raise InputError(f"{text.format(len(cells))}, {other} of which have another place or area in the masks: {cure}")


def tracked(truth: Truth) -> bool:
    """Whether all true cells bear the number of a track."""
    every = cells_in(truth["annotations"])
    numbered = sum("track_id" in cell for cell in every)
    if 0 < numbered < len(every):
        logger.warning("%d of %d true cells have no track_id: tracks are not scored", len(every) - numbered, len(every))
    return bool(every) and numbered == len(every)


def _true_frame(image: Image, annotations: Sequence[Annotation]) -> TrueFrame:
    """What truth says of an image; a track that is in two places of it is no track."""
    shown = [cell for cell in annotations if rle_area(cell["segmentation"])]
    cells = cells_in(shown)
    counts = Counter(cell["track_id"] for cell in cells)
    if twice := next((number for number, count in counts.items() if count > 1), None):
        first, second = [cell["id"] for cell in cells if cell["track_id"] == twice][:2]
        raise InputError(
            f"{image['file_name']} has {counts[twice]} true cells of track {twice} (annotations {first} and {second}); "
            "give each cell of an image a track_id of its own, and daughters their mother's as parent_id"
        )
    tracks = [(cell["segmentation"], cell["track_id"], cell.get("parent_id", 0)) for cell in cells]
    return TrueFrame(tracks, [cell["segmentation"] for cell in shown if cell.get("iscrowd")])


def write_cells(source: Path, lineages: Ints, path: Path) -> None:
    """Write the table of measured cells again, a batch of rows at a time, with track, parent and generation."""
    from pyarrow import parquet

    track, parent, generation = lineages
    empty = np.nan
    added = {
        "track": np.where(track > 0, track, empty),
        "parent": np.where(parent > 0, parent, empty),
        "generation": np.where(track > 0, generation, empty),
    }
    at = 0
    with growing(dictionary.TABLES["cells"], path) as append:
        for batch in parquet.ParquetFile(source).iter_batches():
            own = {name: batch[name].to_numpy(zero_copy_only=False) for name in batch.schema.names}
            append(own | {name: values[at : at + batch.num_rows] for name, values in added.items()})
            at += batch.num_rows
