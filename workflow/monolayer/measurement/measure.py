"""From masks to biology: a row for each cell, a row for each image, growth of each well; and files for other programs.

Nothing here asks which model found the cells, or whether they are true ones.
"""

from __future__ import annotations

import logging
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple, cast

import numpy as np
from numpy.typing import NDArray

from monolayer.coco.counted import TrueImage, with_regions
from monolayer.coco.instances import Instances
from monolayer.coco.io import IMAGE
from monolayer.coco.moments import pack
from monolayer.coco.reader import Records, read
from monolayer.coco.records import CELL, Image, Rle
from monolayer.coco.rle import Placed, crop_from_rle
from monolayer.coco.table import images_of, read_results, true_cells
from monolayer.data.dataset import read_values
from monolayer.data.plane import ANY, ImagePlane
from monolayer.files import InputError, few, write_bytes, write_csv, write_json
from monolayer.measurement import dictionary, morphology
from monolayer.measurement.files import coco_annotations, growing
from monolayer.measurement.formats import FORMATS, FoundCells
from monolayer.measurement.geojson import MeasuredFrame
from monolayer.measurement.growth import first_date, growth, moment, untimed
from monolayer.measurement.morphology import Columns
from monolayer.measurement.neighbours import neighbours
from monolayer.parallel import each
from monolayer.params.steps import MeasureParams, NeighbourParams
from monolayer.progress import track

logger = logging.getLogger(__name__)
Found = dict[int, list[tuple[float, Rle]]]  # by image: score and mask of each cell


@dataclass(frozen=True)
class CellSource:
    """Where the cells come from: COCO results from a least score up, or the truth itself where there are none."""

    results: Path | None
    score_min: float


def measure(
    images: Path,
    truth: Path,
    cells: CellSource,
    params: MeasureParams,
    output: Path,
    *,
    workers: int = 1,
    which: ImagePlane = ANY,
) -> None:
    """Write cells, images and growth (Parquet and CSV), dictionary.csv and the folder masks of these cells.

    Any number of workers gives the same bytes.
    """
    records = read(truth, keep=True)
    listed, found = cells_of(records, cells)
    stems, regions = unique_stems(listed), with_regions(records)
    jobs = (MeasureJob(image, stems[image["id"]], found.pop(image["id"]), regions.get(image["id"])) for image in listed)
    first = first_date(image.get("timestamp") for image in listed)
    one = partial(_measure_one, images=images, params=params, output=output / "masks", which=which, first=first)
    (output / "masks").mkdir(parents=True, exist_ok=True)
    rows, annotations, measured = [], list[dict[str, Any]](), 0
    with growing("cells", output / "cells") as append_cells, growing("images", output / "images") as append_images:
        for columns, row, of_image in track(each(one, jobs, workers), len(listed), "measure"):
            append_cells(columns)
            append_images({name: [value] for name, value in row.items()})
            rows.append(row)
            annotations += of_image
            measured += len(columns["cell"])
    with growing("growth", output / "growth") as append:
        fits = growth([row for row in rows if not math.isnan(row["confluence"])])
        if fits and (left := untimed(rows)):  # none, where no image tells its time
            logger.warning(
                *("growth leaves out %d of %d images (%s): their time is not known", len(left), len(rows), few(left, 3))
            )
        append({name: [fit[name] for fit in fits] for name in dictionary.TABLES["growth"]})
    if "coco" in params.files:
        annotations = [record | {"id": number} for number, record in enumerate(annotations, start=1)]
        coco = {"images": listed, "annotations": annotations, "categories": [CELL]}
        write_json(output / "masks" / "coco.json", coco)
    write_csv(output / "dictionary.csv", dictionary.rows())
    if ignored := measured - sum(row["cells"] for row in rows):
        said = "%d of %d cells lie where nobody annotated: the tables images and growth are without them"
        logger.warning(said, ignored, measured)
    logger.info("%d cells in %d images", measured, len(rows))


def cells_of(records: Records, cells: CellSource) -> tuple[list[Image], Found]:
    """The images of the truth in its order, and by image the cells to measure, best first, without crowds.

    Those of an image become 1, 2, ... in this order; none is without a pixel.
    """
    images = images_of(records)
    table = true_cells(records, images) if cells.results is None else read_results(cells.results, images)
    score = np.ones(len(table)) if cells.results is None else table.mask_score
    found: Found = {number: [] for number in records.frames}
    for row in np.lexsort((table.place, -score, table.image)):
        if score[row] >= cells.score_min and not table.crowd[row] and table.pixels[row]:
            image = table.image[row]
            found[images.ids[image]].append((float(score[row]), table.rle(row, images.sizes[image])))
    frames = records.frames.values()
    return [cast(Image, frame.record | {name: getattr(frame, name) for name in IMAGE}) for frame in frames], found


class MeasureJob(NamedTuple):
    """An image, what its files are called, its cells (best first), and its truth where that has regions."""

    image: Image
    stem: str
    cells: list[tuple[float, Rle]]
    truth: TrueImage | None


def _measure_one(
    job: MeasureJob,
    *,
    images: Path,
    params: MeasureParams,
    output: Path,
    which: ImagePlane,
    first: datetime | None,
) -> tuple[Columns, dict[str, Any], list[dict[str, Any]]]:
    """The rows of the cells of one image (best first), its own row, its COCO annotations; writes its files."""
    image, stem, listed, truth = job
    pixels = read_values(images, image, which)
    if pixels.shape != (image["height"], image["width"]):  # before anything of that size is made
        raise InputError(
            f"{images / image['file_name']} is {pixels.shape[1]}x{pixels.shape[0]} px, its annotations say "
            f"{image['width']}x{image['height']}; masks and image don't belong together"
        )
    found = instances(listed, image["height"], image["width"])
    pixel_size, frame_hours = params.scales(image.get("cell_line") or "")
    about = described(image, pixel_size, frame_hours, first)
    labels = found.label_image()
    columns = cell_columns(found, labels, pixels, params.neighbours)
    columns = with_um(columns, pixel_size)
    row = about | _counted_row(columns, labels, pixel_size, [rle for _, rle in listed], truth)
    cells = FoundCells(MeasuredFrame(found, columns), labels, pixel_size, image["file_name"], about["cell_line"])
    for form in (FORMATS[name] for name in params.files if name != "coco"):
        write_bytes(output / f"{stem}{form.suffix}", form.make(cells))
    common = {name: np.full(len(found.masks), value) for name, value in about.items()}
    return common | columns, row, coco_annotations(found, image["id"], 1) if "coco" in params.files else []


def unique_stems(listed: Sequence[Image]) -> dict[int, str]:
    """What the files of each image are called, by its id: its path without suffix, and the id where files would be one.

    That is so for whatever files are asked for, so that names hang on the images alone.

    >>> names = ["a/b.png", "c/b.png", "c/b.tif", "c/b.2.png", "d.png", "d.ome.png"]
    >>> unique_stems([{"id": number, "file_name": name} for number, name in enumerate(names, 1)])
    {1: 'a/b', 2: 'c/b.2.2', 3: 'c/b.3', 4: 'c/b.2.4', 5: 'd.5', 6: 'd.ome.6'}
    """
    suffixes = [form.suffix for form in FORMATS.values()]
    stems = {image["id"]: PurePosixPath(image["file_name"]).with_suffix("").as_posix() for image in listed}
    while True:
        files = {number: [f"{stem}{suffix}".casefold() for suffix in suffixes] for number, stem in stems.items()}
        count = Counter(file for own in files.values() for file in own)  # many disks don't tell case
        clashing = [number for number, own in files.items() if max(count[file] for file in own) > 1]
        if not clashing:
            return stems
        for number in clashing:
            stems[number] += f".{number}"


def instances(cells: Sequence[tuple[float, Rle]], height: int, width: int) -> Instances:
    """Cells from scores and RLEs; those without a pixel are left out."""
    crops = [(*crop_from_rle(rle), score) for score, rle in cells]
    crops = [crop for crop in crops if crop[0].any()]
    corners = np.array([(x, y) for _, x, y, _ in crops], np.int32).reshape(-1, 2)
    sizes = np.array([mask.shape[::-1] for mask, *_ in crops], np.int32).reshape(-1, 2)
    return Instances(
        height=height,
        width=width,
        masks=[mask for mask, *_ in crops],
        offsets_xy=corners,
        boxes_xyxy=np.c_[corners, corners + sizes].astype(np.float32),
        scores=np.array([score for *_, score in crops], np.float32),
    )


def trimmed(found: Instances) -> Instances:
    """The same cells, each mask cut to its own box; those without a pixel are left out."""
    crops, kept = list[Placed](), list[int]()
    for index, (mask, x, y) in enumerate(found.crops):
        rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
        if len(rows):
            own = mask[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
            crops.append((own, x + int(columns[0]), y + int(rows[0])))
            kept.append(index)
    offsets = np.array([crop[1:] for crop in crops], np.int32).reshape(-1, 2)
    return replace(found.take(np.array(kept, np.int64)), masks=[mask for mask, _, _ in crops], offsets_xy=offsets)


def cell_columns(found: Instances, labels: NDArray[np.int32], pixels: NDArray[Any], params: NeighbourParams) -> Columns:
    """All columns of the cells (masks cut to their boxes) in px; `pixels` (H, W) are the image's own grey values."""
    packed = pack(found.crops)
    x, y = found.offsets_xy.astype(np.int64).T
    width, height = np.array([mask.shape[::-1] for mask in found.masks], np.int64).reshape(-1, 2).T
    shapes = morphology.shapes(packed)
    centroids = np.c_[shapes["centroid_x_px"], shapes["centroid_y_px"]]
    return {
        "cell": np.arange(1, len(found.masks) + 1),
        "score": np.round(found.ranking.astype(np.float64), 5),
        "touches_border": (x == 0) | (y == 0) | (x + width == found.width) | (y + height == found.height),
        **{"box_x_px": x, "box_y_px": y, "box_width_px": width, "box_height_px": height},
        **shapes,
        **morphology.intensities(packed, pixels),
        **neighbours(centroids, labels, params),
    }


def with_um(columns: Mapping[str, Any], pixel_size_um: float | None) -> dict[str, Any]:
    """The columns and their counterparts in µm and mm, NaN where the pixel size is not known."""
    side = math.nan if pixel_size_um is None else pixel_size_um
    factors = {"_um": side, "_um2": side**2, "_per_mm2": 1 / side**2}
    metric = {}
    for name, values in columns.items():
        if other := dictionary.in_um(name):
            end = next(end for end in factors if other.endswith(end))
            metric[other] = values * factors[end]
    return {**columns, **metric}


def described(
    image: Image, pixel_size_um: float | None, frame_hours: float | None, first: datetime | None = None
) -> dict[str, Any]:
    """What both tables say of an image; of dates hours are counted from the first."""
    time_h, frame = moment(image.get("timestamp"), frame_hours, first)
    return {
        "image_id": image["id"],
        "file_name": image["file_name"],
        "cell_line": image.get("cell_line") or "",  # COCO files of other tools have none of these
        "well": image.get("well") or "",
        "timestamp": image.get("timestamp") or "",
        "frame": frame,
        "time_h": time_h,
        "pixel_size_um": math.nan if pixel_size_um is None else pixel_size_um,
    }


def _counted_row(
    columns: Columns, labels: NDArray[np.int32], pixel_size: float | None, rles: list[Rle], truth: TrueImage | None
) -> dict[str, Any]:
    """The row of an image, without what lies where nobody annotated."""
    if truth is None:
        return image_row(columns, labels, pixel_size)
    counts = ~truth.ignored(rles)
    labels = np.where(np.r_[False, counts][labels], labels, 0)
    columns = {name: values[counts] for name, values in columns.items()}
    return image_row(columns, labels, pixel_size, truth.annotated(*labels.shape))


def image_row(
    columns: Columns,
    labels: NDArray[np.int32],
    pixel_size_um: float | None,
    annotated: NDArray[np.bool_] | None = None,
) -> dict[str, Any]:
    """Count, density, confluence and medians of one image's cells; of an image (H, W) the annotated pixels."""
    height, width = labels.shape
    area = height * width if annotated is None else int(annotated.sum())
    covered = int((labels > 0 if annotated is None else annotated & (labels > 0)).sum())
    whole = ~columns["touches_border"]
    row: dict[str, Any] = {
        "width_px": width,
        "height_px": height,
        "cells": len(whole),
        "confluence": covered / area if area else math.nan,
        "density_per_mpx": len(whole) / area * 1e6 if area else math.nan,
    }
    for name in dictionary.MEDIANS:
        values = columns[name][whole]
        values = values[~np.isnan(values)]
        row[f"median_{name}"] = float(np.median(values)) if len(values) else math.nan
    return with_um(row, pixel_size_um)
