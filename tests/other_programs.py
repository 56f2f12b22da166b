"""What other programs make of our files: cases that tests run, and that docs/other-programs.md shows as tables.

`PYTHONPATH=workflow:tests uv run python -m other_programs` writes the tables anew.
"""

from __future__ import annotations

import io
import json
import math
import os
import re
import subprocess
import sys
import zipfile
from collections.abc import Callable, Sequence
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple, cast

import cv2
import faster_coco_eval
import hotcoco
import matplotlib.path
import numpy as np
import pandas as pd
import polars as pl
import pytest
import roifile
import tifffile
from drawn_cells import cells_of, four_cells
from monolayer.coco.instances import Instances
from monolayer.coco.io import write_results
from monolayer.coco.labels import label_tiff
from monolayer.coco.moments import pack
from monolayer.coco.records import CELL, Result
from monolayer.coco.rle import annotation, box_xywh, mask_from_rle, rle_from_mask
from monolayer.evaluation import evaluate
from monolayer.files import write_csv
from monolayer.measurement import dictionary, files, morphology
from monolayer.measurement.ome import ome_tiff
from monolayer.measurement.outlines import rings
from monolayer.params.steps import EvaluateParams
from monolayer.plates.labels import STORE, make_store, open_labels
from monolayer.plates.plan import PlateImage
from numpy.typing import NDArray
from PIL import Image as PillowImage
from pyarrow import csv, parquet
from pycocotools import mask as codec
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval
from skimage.io import imread as skimage_imread
from skimage.measure import perimeter

PAGE = Path(__file__).parents[1] / "docs/other-programs.md"
JAR = Path("/usr/share/java/ij.jar")  # of Debian's imagej
IMAGEJ = "ImageJ 1.53t"
FAR = 61_000  # px


class Meeting(NamedTuple):
    """A row: what a program makes of a kind of our files, and the test of it, which is given an empty folder."""

    file: str
    program: str
    sees: str
    check: Callable[[Path], None]
    isolated: bool = False  # whether the program has an environment of its own, which is fetched


MEETINGS: list[Meeting] = []


def meeting(file: str, program: str, sees: str, isolated: bool = False) -> Callable[[Callable[[Path], None]], None]:
    def add(check: Callable[[Path], None]) -> None:
        MEETINGS.append(Meeting(file, program, sees, check, isolated))

    return add


def named(distribution: str) -> str:
    return f"{distribution} {version(distribution)}"


# ---- label images and ROIs -----------------------------------------------------------------------

LABELS, ROIS = "label TIFF", "ImageJ ROI set"


def series(folder: Path) -> Path:
    """Three frames, half an hour apart, of pixels of 0.65 µm."""
    path = folder / "series.tif"
    path.write_bytes(label_tiff([four_cells(), 0 * four_cells(), four_cells()], 0.65, 1800))
    return path


def imagej(*paths: Path) -> list[list[str]]:
    """What ImageJProbe.java prints of these files."""
    probe = Path(__file__).parent / "programs/ImageJProbe.java"
    command = ["java", "-Djava.awt.headless=true", "-cp", str(JAR), str(probe), *map(str, paths)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    rows = [line.split("\t") for line in done.stdout.splitlines()]
    assert rows[0] == ["version", IMAGEJ.split()[1]]
    return rows[1:]


@meeting(LABELS, named("tifffile"), "frames along T, as many as there are, also 3 and 4; 0.65 µm exactly")
def _(folder: Path) -> None:
    for count in (1, 2, 3, 4):
        with tifffile.TiffFile(io.BytesIO(label_tiff([four_cells()] * count, 0.65, 1800))) as tif:
            assert tif.series[0].axes == ("TYX" if count > 1 else "YX")
            assert tif.asarray().shape == (count, 60, 80)[count == 1 :]
            pixels, micrometres = tif.pages.first.tags["XResolution"].value
            assert micrometres / pixels == 0.65
            about = tif.imagej_metadata
            assert about is not None
            assert about["unit"] == "micron"
            assert about.get("finterval") == (1800 if count > 1 else None)


@meeting(LABELS, IMAGEJ, "frames, not slices or colours; pixels of 0.65 µm, the interval in seconds; all labels")
def _(folder: Path) -> None:
    many = np.arange(70_000, dtype=np.int32).reshape(250, 280)  # which are 32-bit
    (folder / "many.tif").write_bytes(label_tiff([many, many, many], 0.65, 1800))
    found = imagej(series(folder), folder / "many.tif")
    for image, bits, labels in ((found[0], "16", four_cells()), (found[4], "32", many)):
        assert image[:5] == ["image", "1", "1", "3", bits]
        assert abs(float(image[5]) - 0.65) < 1e-15
        assert image[6:] == ["micron", "1800.0"]
        weights = np.arange(labels.size) % 997
        last = found[3] if bits == "16" else found[7]
        assert float(last[1]) == float((labels.ravel().astype(np.float64) * weights).sum())


@meeting("label OME-TIFF", IMAGEJ, "pixels of 0.65 µm; frames as slices: give ImageJ the label TIFF")
def _(folder: Path) -> None:
    (folder / "a.ome.tif").write_bytes(ome_tiff([four_cells(), 0 * four_cells(), four_cells()], 0.65, "a.png"))
    image = imagej(folder / "a.ome.tif")[0]
    assert image[:5] == ["image", "1", "3", "1", "16"]
    assert abs(float(image[5]) - 0.65) < 1e-15
    assert image[6] == "µm"


@meeting(LABELS, named("pillow"), "a page for each frame, 16-bit")
def _(folder: Path) -> None:
    with PillowImage.open(series(folder)) as image:
        assert getattr(image, "n_frames", 1) == 3
        assert image.mode == "I;16"
        assert np.array_equal(np.asarray(image), four_cells())


@meeting(LABELS, named("pillow"), "also with 70,000 cells, then 32-bit and signed")
def _(folder: Path) -> None:
    many = np.arange(70_000, dtype=np.int32).reshape(250, 280)
    with PillowImage.open(io.BytesIO(label_tiff([many], None))) as image:
        assert image.mode == "I"
        assert np.array_equal(np.asarray(image), many)


@meeting(
    LABELS, named("scikit-image"), "three or four frames as colours, (height, width, frames): read it with tifffile"
)
def _(folder: Path) -> None:
    assert skimage_imread(series(folder)).shape == (60, 80, 3)
    (folder / "five.tif").write_bytes(label_tiff([four_cells()] * 5, None))
    assert skimage_imread(folder / "five.tif").shape == (5, 60, 80)
    (folder / "one.tif").write_bytes(label_tiff([four_cells()], None))
    assert np.array_equal(skimage_imread(folder / "one.tif"), four_cells())


@meeting(
    LABELS,
    named("opencv-python-headless"),
    "with `IMREAD_UNCHANGED` the labels, 16 or 32 bits; without it the upper 8 of 16 bits, and nothing of 32",
)
def _(folder: Path) -> None:
    labels = 100 * four_cells()
    for name, pixels in (("small", labels), ("large", 70_000 * (labels > 0).astype(np.int32))):
        path = folder / f"{name}.tif"
        path.write_bytes(label_tiff([pixels], 0.65))
        whole = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
        assert whole is not None
        assert np.array_equal(whole, pixels)
        grey = cv2.imread(str(path), cv2.IMREAD_GRAYSCALE)
        assert (grey is None) == (name == "large")
        assert grey is None or grey.max() == labels.max() >> 8


@meeting(ROIS, named("roifile"), "the pixels of each cell, holes and parts too; frames")
def _(folder: Path) -> None:
    with zipfile.ZipFile(io.BytesIO(files.roi_zip([cells_of(four_cells())] * 2))) as archive:
        rois = [roifile.ImagejRoi.frombytes(archive.read(name)) for name in archive.namelist()]
    assert [roi.position for roi in rois] == [1] * 4 + [2] * 4
    for number, roi in enumerate(rois[:4], start=1):
        paths = roi.coordinates(multi=True)
        rows, columns = np.mgrid[:60, :80] + 0.5
        inside = np.zeros(rows.size, np.bool_)
        for path in paths if isinstance(paths, list) else [paths]:
            polygon = matplotlib.path.Path(np.asarray(path, float))
            inside ^= polygon.contains_points(np.c_[columns.ravel(), rows.ravel()])
        assert np.array_equal(inside.reshape(60, 80), four_cells() == number)


@meeting(ROIS, IMAGEJ, f"the pixels of each cell, holes and parts too; frames; and so {FAR:,} px from the corner")
def _(folder: Path) -> None:
    near = cells_of(four_cells())
    far = Instances(
        *(near.height, near.width + FAR, near.masks, near.offsets_xy + np.array([FAR, 0], np.int32)),
        *(near.boxes_xyxy, near.scores),
    )
    (folder / "rois.zip").write_bytes(files.roi_zip([near, near]))
    (folder / "far.zip").write_bytes(files.roi_zip([far]))
    found = imagej(folder / "rois.zip", folder / "far.zip")
    assert [row[2] for row in found] == ["1"] * 4 + ["2"] * 4 + ["0"] * 4
    for number, row in enumerate(found):
        y, x = np.nonzero(four_cells() == number % 4 + 1)
        x = x + (FAR if number > 7 else 0)
        assert [int(value) for value in row[3:6]] == [x.min(), y.min(), len(x)]
        assert float(row[6]) == float((x * (y + 1.0)).sum())


@meeting(ROIS, named("roifile"), f"cells {FAR:,} px from the corner where they are")
def _(folder: Path) -> None:
    near = cells_of(four_cells())
    far = Instances(
        *(near.height, near.width + FAR, near.masks, near.offsets_xy + np.array([FAR, 0], np.int32)),
        *(near.boxes_xyxy, near.scores),
    )
    with zipfile.ZipFile(io.BytesIO(files.roi_zip([far]))) as archive:
        roi = roifile.ImagejRoi.frombytes(archive.read("00001.roi"))
    [path] = roi.coordinates(multi=True)
    assert np.asarray(path)[:, 0].min() == FAR + 11


# ---- COCO ----------------------------------------------------------------------------------------

COCO_FILE = "COCO file and results"


@meeting(COCO_FILE, named("pycocotools"), "the same masks and areas, ids from 1: it never matches annotation 0")
def _(folder: Path) -> None:
    found = cells_of(four_cells())
    image = {"id": 1, "file_name": "a.png", "height": 60, "width": 80}
    cells = files.coco_annotations(found, 1, 1)
    (folder / "coco.json").write_text(json.dumps({"images": [image], "annotations": cells, "categories": [CELL]}))
    coco = COCO(str(folder / "coco.json"))
    assert coco.getAnnIds() == [1, 2, 3, 4]
    for number in coco.getAnnIds():
        assert np.array_equal(coco.annToMask(coco.anns[number]), four_cells() == number)
        assert coco.anns[number]["area"] == (four_cells() == number).sum()


@meeting(
    COCO_FILE,
    named("pycocotools"),
    "results with boxes: what matches nothing is small, medium or large by its box, so that their AP is another than "
    "ours, which goes by the mask; without boxes they are the same",
)
def _(folder: Path) -> None:
    def corner(x: int, arm: int) -> Any:
        """An L of two arms 2 px wide: 4 (arm - 1) px² in a box of arm² px²."""
        mask = np.zeros((60, 80), np.bool_)
        mask[5 : 5 + arm, x : x + 2] = mask[5:7, x : x + arm] = True
        return rle_from_mask(mask)

    cells = [(corner(5, 15), 0.9, True), (corner(35, 30), 0.95, False)]  # the second matches nothing: 116 px² in 900
    record = {"image_id": 1, "category_id": 1}
    image = {"id": 1, "file_name": "a.png", "height": 60, "width": 80}
    true = [annotation(number, 1, rle) for number, (rle, _, there) in enumerate(cells, start=1) if there]
    (folder / "truth.json").write_text(json.dumps({"images": [image], "annotations": true, "categories": [CELL]}))
    small = {}
    for with_box in (True, False):
        found = [
            record | {"segmentation": rle, "score": score} | ({"bbox": box_xywh(rle)} if with_box else {})
            for rle, score, _ in cells
        ]
        (folder / "results.json").write_text(json.dumps(found))
        judge = COCOeval(coco := COCO(str(folder / "truth.json")), coco.loadRes(found), "segm")
        judge.params.areaRng = [[0, 1e10], [0, 324], [324, 961], [961, 1e10]]
        judge.evaluate()
        judge.accumulate()
        params = EvaluateParams(protocol="livecell", n_resamples=2, seed=0, resample="image")
        files_ = folder / "truth.json", folder / "results.json"
        scores = evaluate.evaluate(files_, None, params, folder / "scores.json", 1)
        small[with_box] = float(judge.eval["precision"][:, :, 0, 1, -1].mean()), scores["mask_ap_small"]
    assert np.allclose(small[True], (1.0, 0.5), atol=1e-9)
    assert np.allclose(small[False], (0.5, 0.5), atol=1e-9)


@meeting(
    "polygons of the service",
    named("pycocotools"),
    "rings one by one are the cell, a hole's taken away; as one segmentation they are a union, which fills the hole, "
    "so ask for run lengths (`masks=rle`) where you want COCO",
)
def _(folder: Path) -> None:
    found = cells_of(four_cells())
    outer, hole = (ring.ravel().tolist() for ring in rings(*found.crops[1]))
    both = [mask_from_rle(_packed([ring])) for ring in (outer, hole)]
    assert np.array_equal(both[0] ^ both[1], four_cells() == 2)
    assert mask_from_rle(_packed([outer, hole])).sum() == both[0].sum()
    whole = [ring.ravel().tolist() for ring in rings(*found.crops[0])]
    assert np.array_equal(mask_from_rle(_packed(whole)), four_cells() == 1)  # corners of pixels give back the pixels


def _packed(polygons: list[list[int]]) -> Any:
    packed = codec.merge(codec.frPyObjects(polygons, 60, 80))
    return {"size": packed["size"], "counts": packed["counts"].decode()}


# ---- tables --------------------------------------------------------------------------------------

NAMES = {"well": ["1E5", "007", "12"], "cell_line": ["NA", "no", ""]}
TEXTS = [name for name, column in dictionary.TABLES["cells"].items() if column.type == "text"]


def table(folder: Path) -> Path:
    """A table of cells whose names look like numbers and like nothing, its dictionary beside it."""
    columns = {
        name: NAMES.get(name, ["x"] * 3 if about.type == "text" else [1, 2, 3])
        for name, about in dictionary.TABLES["cells"].items()
    }
    with files.growing("cells", folder / "cells") as append:
        append(columns)
    write_csv(folder / "dictionary.csv", dictionary.rows())
    return folder / "cells.csv"


def is_right(found: Any) -> bool:
    return all([str(value) for value in found[name]] == values for name, values in NAMES.items())


@meeting(
    "results.json.gz of `predict`",
    f"{named('pycocotools')}, {named('faster-coco-eval')}, {named('hotcoco')}",
    "an error about bytes or JSON: unpack it with gunzip first",
)
def _(folder: Path) -> None:
    image = {"id": 1, "file_name": "a.png", "height": 60, "width": 80}
    cells = files.coco_annotations(cells_of(four_cells()), 1, 1)
    (folder / "truth.json").write_text(json.dumps({"images": [image], "annotations": cells, "categories": [CELL]}))
    write_results(folder / "results.json.gz", [cast(Result, cell) for cell in cells])
    write_results(folder / "results.json", [cast(Result, cell) for cell in cells])
    for tool in (COCO, faster_coco_eval.COCO, hotcoco.COCO):
        truth = tool(str(folder / "truth.json"))
        assert len(truth.loadRes(str(folder / "results.json")).getAnnIds()) == 4
        with pytest.raises(ValueError, match=r"utf-8|expected value"):
            truth.loadRes(str(folder / "results.json.gz"))


@meeting("Parquet", f"{named('pandas')}, {named('polars')}, {named('pyarrow')}", "texts as texts, numbers as numbers")
def _(folder: Path) -> None:
    path = table(folder).with_suffix(".parquet")
    assert is_right(pd.read_parquet(path))
    assert is_right(pl.read_parquet(path))
    assert is_right(parquet.read_table(path).to_pydict())


@meeting(
    "CSV",
    named("pandas"),
    "plain: well 1E5 is 100000.0, 007 is 7 and line NA missing; as texts by `dictionary.csv`: right",
)
def _(folder: Path) -> None:
    path = table(folder)
    plain = pd.read_csv(path)
    assert plain["well"].tolist()[:2] == [100000.0, 7.0]
    assert plain["cell_line"].isna().tolist() == [True, False, True]
    columns = pd.read_csv(folder / "dictionary.csv").query("table == 'cells'").set_index("column")["type"]
    numbers = {name: [""] for name, kind in columns.items() if kind != "text"}
    texts = {name: str for name, kind in columns.items() if kind == "text"}
    assert is_right(pd.read_csv(path, dtype=texts, keep_default_na=False, na_values=numbers))  # type: ignore[arg-type]


@meeting("CSV", named("polars"), "plain: well 007 is 7.0; with `schema_overrides` as texts: right")
def _(folder: Path) -> None:
    path = table(folder)
    assert pl.read_csv(path)["well"].to_list()[:2] == [100000.0, 7.0]
    assert is_right(pl.read_csv(path, schema_overrides=dict.fromkeys(TEXTS, pl.String)))


@meeting("CSV", named("pyarrow"), "plain: well 007 is 7.0; with `column_types` as strings: right")
def _(folder: Path) -> None:
    path = table(folder)
    assert csv.read_csv(path)["well"].to_pylist()[:2] == [100000.0, 7.0]
    options = csv.ConvertOptions(column_types=dict.fromkeys(TEXTS, "string"))
    assert is_right(csv.read_csv(path, convert_options=options).to_pydict())


# ---- programs that are not locked here -----------------------------------------------------------


def run_isolated(packages: Sequence[str], code: str, *words: object) -> None:
    """Run Python code in an environment of these packages alone."""
    command = ["uv", "run", "-q", "--no-project", "--isolated", "--python", sys.executable]
    command += [word for package in packages for word in ("--with", package)]
    env = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"} | {"QT_QPA_PLATFORM": "offscreen"}
    command += ["python", "-c", code, *map(str, words)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=env)
    assert done.returncode == 0, done.stderr[-3000:]


BIOIO = """
import sys
from bioio import BioImage
import bioio_tifffile
image = BioImage(sys.argv[1], reader=bioio_tifffile.Reader)
assert (image.dims.T, image.dims.C, image.dims.Z, image.dims.Y, image.dims.X) == (3, 1, 1, 60, 80)
assert image.physical_pixel_sizes[1:] == (0.65, 0.65)
assert image.time_interval is None
"""


@meeting(LABELS, "bioio 3.6.0 (bioio-tifffile 1.3.1)", "frames as T; 0.65 µm exactly; not the interval", isolated=True)
def _(folder: Path) -> None:
    run_isolated(["bioio==3.6.0", "bioio-tifffile==1.3.1"], BIOIO, series(folder))


NGIO = """
import sys
from ngio import open_ome_zarr_container, open_ome_zarr_plate
assert open_ome_zarr_plate(sys.argv[1]).wells_paths() == ["A/1"]
for _ in range(2):  # of stores of others the first time empties the list of labels
    field = open_ome_zarr_container(sys.argv[1] + "/A/1/0")
    assert field.list_labels() == ["cells"]
    label = field.get_label("cells")
    assert label.get_as_numpy().shape == (2, 60, 80)
    assert label.get_as_numpy().sum() == int(sys.argv[2])
    assert (label.pixel_size.x, label.pixel_size.y) == (0.65, 0.65)
"""


@meeting(
    "label OME-Zarr of plates",
    "ngio 1.1.3",
    "wells, and labels `cells` in place, in µm; left as they are",
    isolated=True,
)
def _(folder: Path) -> None:
    row = PlateImage(1, "A1", "1", "x", 0, "t", 0.0, math.nan, "a.tif", 0, 60, 80, "A/1/0", "")
    make_store(folder, folder / "P1", [row, row._replace(number=2, frame=1)], 0.65)
    open_labels(folder, "A/1/0")[1] = four_cells()
    run_isolated(["ngio==1.1.3"], NGIO, folder / STORE, four_cells().sum())


NAPARI = """
import sys
import numpy as np
import pandas as pd
import tifffile
from napari.layers import Labels
labels, cells = tifffile.imread(sys.argv[1]), pd.read_parquet(sys.argv[2])
for column, shown in (("cell", "area_px2: 2"), ("index", "area_px2: 1")):
    layer = Labels(labels, features=cells.rename(columns={"cell": column})[[column, "area_px2"]])
    assert shown in layer._get_properties((15, 20), dims_displayed=[0, 1], view_direction=None), column
"""


@meeting(
    "table of cells", "napari 0.9.2", "by row where the column is `cell`, by number where it is `index`", isolated=True
)
def _(folder: Path) -> None:
    (folder / "labels.tif").write_bytes(label_tiff([four_cells()], None))
    cells = table(folder).with_suffix(".parquet")
    run_isolated(["napari==0.9.2", "pyarrow", "tifffile"], NAPARI, folder / "labels.tif", cells)


DUCKDB = """
import sys
import duckdb
for read in ("read_csv", "read_parquet"):
    rows = duckdb.sql(f"select well, cell_line from {read}('{sys.argv[1]}.{read[5:]}')").fetchall()
    assert rows == [("1E5", "NA"), ("007", "no"), ("12", None if read == "read_csv" else "")], rows
"""


@meeting("CSV", "DuckDB 2.0.1", "right as it is, for our texts are in quotes; empty ones are NULL", isolated=True)
def _(folder: Path) -> None:
    run_isolated(["duckdb==2.0.1"], DUCKDB, table(folder).with_suffix(""))


# ---- shapes --------------------------------------------------------------------------------------


def disk(radius: int) -> NDArray[np.bool_]:
    y, x = np.mgrid[-radius : radius + 1, -radius : radius + 1]
    return np.asarray(x * x + y * y <= radius * radius)


def ring() -> NDArray[np.bool_]:
    whole = disk(12)
    whole[7:18, 7:18] &= ~disk(5)
    return whole


# name, mask, ImageJ's perimeter and circularity
SHAPES: list[tuple[str, NDArray[np.bool_], float, float]] = [
    ("2 × 2 px", np.ones((2, 2), np.bool_), 5.657, 1.0),
    ("10 × 1 px", np.ones((1, 10), np.bool_), 20.828, 0.290),
    ("10 × 10 px", np.ones((10, 10), np.bool_), 37.657, 0.886),
    ("disk of radius 5", disk(5), 34.627, 0.849),
    ("disk of radius 20", disk(20), 133.539, 0.886),
    ("ring of radii 5 and 12", ring(), 112.953, 0.355),
]


def ours(mask: NDArray[np.bool_]) -> tuple[float, float]:
    found = morphology.shapes(pack(cells_of(np.pad(mask, 2).astype(np.int32)).crops))
    return float(found["perimeter_px"][0]), float(found["circularity"][0])


def cellprofiler(mask: NDArray[np.bool_]) -> tuple[float, float]:
    """Its definition: scikit-image's perimeter with 4 neighbours."""
    length = float(perimeter(np.pad(mask, 2), 4))  # type: ignore[no-untyped-call]
    return length, float(4 * np.pi * mask.sum() / length**2)


def shapes_table() -> str:
    lines = ["| shape | ours | ImageJ | CellProfiler |", "|---|---|---|---|"]
    for name, mask, length, round_ in SHAPES:
        three = [ours(mask), (length, round_), cellprofiler(mask)]
        lines.append(f"| {name} | " + " | ".join(f"{a:.1f}, {b:.2f}" for a, b in three) + " |")
    return "\n".join(lines)


def shapes_in_imagej(folder: Path) -> None:
    for number, (_, mask, *_values) in enumerate(SHAPES):
        (folder / f"{number}.zip").write_bytes(files.roi_zip([cells_of(np.pad(mask, 2).astype(np.int32))]))
    rows = imagej(*(folder / f"{number}.zip" for number in range(len(SHAPES))))
    for row, (name, _, length, round_) in zip(rows, SHAPES, strict=True):
        assert [round(float(value), 3) for value in row[7:]] == [length, round_], name


# ---- the page ------------------------------------------------------------------------------------


def files_table() -> str:
    lines = ["| our file | in | is |", "|---|---|---|"]
    return "\n".join(lines + [f"| {m.file} | {m.program} | {m.sees} |" for m in MEETINGS])


TABLES: dict[str, Callable[[], str]] = {"meetings": cache(files_table), "shapes": cache(shapes_table)}


def write(page: Path) -> None:
    text = page.read_text()
    for name, make in TABLES.items():
        text = re.sub(
            f"(<!-- {name}: .*?-->\n).*?(<!-- end of {name} -->)", rf"\g<1>{make()}\n\g<2>", text, flags=re.DOTALL
        )
    page.write_text(text)


if __name__ == "__main__":
    write(PAGE)
