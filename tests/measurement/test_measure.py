"""Measure: truth and predictions of the culture, from files to files."""

from __future__ import annotations

import csv
import hashlib
import json
from pathlib import Path
from typing import Any

import faults
import numpy as np
import pandas as pd
import pytest
import tifffile
from culture import Culture
from monolayer.__main__ import main
from monolayer.coco.instances import Instances
from monolayer.coco.io import read_truth, write_results
from monolayer.coco.records import CELL, Result
from monolayer.coco.rle import annotation, mask_from_rle, rle_from_mask
from monolayer.evaluation.threshold import score_threshold
from monolayer.files import InputError, write_json
from monolayer.measurement import dictionary
from monolayer.measurement.measure import CellSource, instances, measure, trimmed
from monolayer.params.steps import MeasureParams, NeighbourParams
from PIL import Image

PARAMS = MeasureParams(
    pixel_size_um={"round": 0.5},
    frame_hours={},
    neighbours=NeighbourParams(gap=1, radius=40),
    files=["labels", "rois", "coco"],
)


@pytest.fixture(scope="module")
def measured(culture: Culture, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The measured truth of all 12 images."""
    folder = tmp_path_factory.mktemp("measured")
    write_json(folder / "truth.json", culture.truth)
    measure(culture.images, folder / "truth.json", CellSource(None, 0), PARAMS, folder / "cells")
    return folder / "cells"


def test_a_row_for_each_cell_and_image(measured: Path, culture: Culture) -> None:
    cells, images = (pd.read_parquet(measured / f"{name}.parquet") for name in ("cells", "images"))
    true = culture.truth["annotations"]
    assert cells["area_px2"].tolist() == [cell["area"] for cell in true]
    assert images["cells"].sum() == len(cells) == len(true)
    assert images["file_name"].tolist() == [image["file_name"] for image in culture.truth["images"]]
    assert list(cells) == list(dictionary.TABLES["cells"])
    covered = cells.groupby("image_id")["area_px2"].sum() / (96 * 128)
    np.testing.assert_allclose(images.set_index("image_id")["confluence"], covered, atol=1e-6)


def test_what_is_found_where_nobody_annotated_counts_neither_way(
    culture: Culture, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Its row stays; counts, confluence and growth are without it. A found cell that truth has in there counts."""
    image = culture.truth["images"][0]
    cells = [cell for cell in culture.truth["annotations"] if cell["image_id"] == image["id"]]
    covered = np.zeros((image["height"], image["width"]), np.bool_)
    covered[:, :64] = True
    inside = [cell for cell in cells if (covered & mask_from_rle(cell["segmentation"])).sum() > cell["area"] / 2]
    assert 1 < len(inside) < len(cells)
    region = annotation(9000, image["id"], rle_from_mask(covered)) | {"iscrowd": 1}
    true = [cell for cell in cells if cell not in inside[1:]]
    write_json(tmp_path / "truth.json", {"images": [image], "annotations": [*true, region], "categories": [CELL]})
    common = {"category_id": 1, "score": 0.9, "image_id": image["id"]}
    results = [Result(**common, **{key: cell[key] for key in ("segmentation", "bbox")}) for cell in cells]  # type: ignore[typeddict-item]
    write_results(tmp_path / "results.json", results)
    rows = {}
    for name, source in {"truth": CellSource(None, 0), "found": CellSource(tmp_path / "results.json", 0)}.items():
        measure(culture.images, tmp_path / "truth.json", source, PARAMS, tmp_path / name)
        rows[name] = pd.read_parquet(tmp_path / name / "images.parquet").iloc[0]
    assert len(pd.read_parquet(tmp_path / "found/cells.parquet")) == len(cells)
    assert f"{len(inside) - 1} of {len(cells)} cells lie where nobody annotated" in caplog.text
    counts = ["cells", "density_per_mpx", "confluence", "median_area_px2"]
    assert rows["found"]["cells"] == len(true)
    pd.testing.assert_series_equal(rows["found"][counts], rows["truth"][counts], check_names=False)
    drawn = np.any([mask_from_rle(cell["segmentation"]) for cell in true], axis=0)
    assert rows["truth"]["density_per_mpx"] == pytest.approx(len(true) / (~covered | drawn).sum() * 1e6)


def test_micrometres_where_the_pixel_size_is_known(measured: Path) -> None:
    cells = pd.read_parquet(measured / "cells.parquet")
    known = cells[cells["cell_line"] == "round"]
    np.testing.assert_allclose(known["area_um2"], known["area_px2"] / 4)
    np.testing.assert_allclose(known["feret_um"], known["feret_px"] / 2, atol=1e-6)
    np.testing.assert_allclose(known["local_density_per_mm2"], 4 * known["local_density_per_mpx"], rtol=1e-6)
    other = cells[cells["cell_line"] == "long"]
    assert other[[name for name in map(str, cells) if name.endswith(("_um", "_um2", "_mm2"))]].isna().all(axis=None)


def test_shapes_tell_the_lines_apart(measured: Path) -> None:
    cells = pd.read_parquet(measured / "cells.parquet")
    round_, long_ = (cells[cells["cell_line"] == line] for line in ("round", "long"))
    assert round_["eccentricity"].median() < 0.4
    assert long_["eccentricity"].median() > 0.8
    assert round_["intensity_mean"].median() > 190
    assert long_["intensity_mean"].median() < 80


def test_csv_and_parquet_say_the_same(measured: Path) -> None:
    for name in dictionary.TABLES:
        binary, text = pd.read_parquet(measured / f"{name}.parquet"), pd.read_csv(measured / f"{name}.csv")
        assert list(binary) == list(text)
        for column in binary.select_dtypes("number"):
            np.testing.assert_array_equal(binary[column].to_numpy(float), text[column].to_numpy(float))


def test_the_dictionary_explains_every_column(measured: Path) -> None:
    rows = list(csv.DictReader((measured / "dictionary.csv").open(encoding="utf-8")))
    for name in dictionary.TABLES:
        explained = {row["column"]: row for row in rows if row["table"] == name}
        assert list(explained) == list(pd.read_parquet(measured / f"{name}.parquet"))
        for column, row in explained.items():
            assert row["meaning"].endswith(".")
            ends = {"_px": "px", "_um": "µm", "_px2": "px²", "_um2": "µm²", "_h": "h", "_deg": "°", "_per_mm2": "1/mm²"}
            units = [unit for end, unit in ends.items() if column.endswith(end)]
            assert row["unit"] in units or not units or column == "pixel_size_um", column


def test_masks_hold_as_many_cells(measured: Path, culture: Culture) -> None:
    counts = pd.read_parquet(measured / "images.parquet").set_index("file_name")["cells"]
    for name, count in counts.items():
        labels = tifffile.imread(measured / "masks" / f"{Path(str(name)).stem}.tif")
        assert len(np.unique(labels)) - 1 == count
    written = json.loads((measured / "masks/coco.json").read_text())
    own = [(cell["image_id"], cell["segmentation"], cell["area"]) for cell in written["annotations"]]
    assert own == [(cell["image_id"], cell["segmentation"], cell["area"]) for cell in culture.truth["annotations"]]
    assert [cell["id"] for cell in written["annotations"]] == list(range(1, len(own) + 1))


def test_other_forms_hold_the_same_cells(measured: Path, culture: Culture, tmp_path: Path) -> None:
    params = PARAMS.model_copy(update={"files": ["ome-tiff", "geojson", "seg-npy"]})
    measure(culture.images, culture.splits / "test.json", CellSource(None, 0), params, tmp_path / "cells")
    own = sorted((tmp_path / "cells/masks").glob("*.geojson"))
    assert len(own) == 2
    assert len(list((tmp_path / "cells/masks").iterdir())) == 6
    for path in own:
        labels = tifffile.imread(measured / "masks" / f"{path.stem}.tif")
        assert np.array_equal(tifffile.imread(path.with_suffix(".ome.tif")), labels)
        seg = path.with_name(f"{path.stem}_seg.npy")
        assert np.array_equal(np.load(seg, allow_pickle=True).item()["masks"], labels)
        assert len(json.loads(path.read_text())["features"]) == labels.max()


def measured_squares(folder: Path, images: dict[str, str | None], *files: str) -> Path:
    """Squares, one in the first image, two in the second and so on, measured."""
    (folder / "in").mkdir()
    listed, cells = list[dict[str, Any]](), list[dict[str, Any]]()
    for number, (name, stamp) in enumerate(images.items(), 1):
        Image.fromarray(np.full((20, 100), 90, np.uint8)).save(folder / "in" / name)
        listed.append({"id": number, "file_name": name, "height": 20, "width": 100, "timestamp": stamp, "well": "A1"})
        for place in range(number):
            x, y = 10 * place + 1, 5
            square = {"segmentation": [[x, y, x + 4, y, x + 4, y + 4, x, y + 4]], "bbox": [x, y, 4, 4], "area": 16}
            cells.append({"id": len(cells) + 1, "image_id": number, "category_id": 1, "iscrowd": 0} | square)
    truth = {"images": listed, "annotations": cells, "categories": [{"id": 1, "name": "cell"}]}
    (folder / "truth.json").write_text(json.dumps(truth))
    params = PARAMS.model_copy(update={"files": list(files)})
    measure(folder / "in", folder / "truth.json", CellSource(None, 0), params, folder / "out")
    return folder / "out"


@pytest.mark.parametrize(
    ("names", "files"),
    [
        (("b.png", "b.tif", "b.1.png", "b.2.1.png"), ("labels",)),
        (("a.png", "a.ome.png"), ("labels", "ome-tiff")),
        (("A.png", "a.tif", "a_seg.png"), ("labels", "seg-npy", "rois")),
    ],
)
def test_no_mask_is_written_over_another(names: tuple[str, ...], files: tuple[str, ...], tmp_path: Path) -> None:
    """Whatever ids and ends the images' names have: each image's cells are in a file of their own."""
    from monolayer import napari_plugin

    output = measured_squares(tmp_path, dict.fromkeys(names), *files)
    written = list((output / "masks").iterdir())
    assert len({path.name.casefold() for path in written}) == len(names) * len(files)
    [(stack, _, _)] = napari_plugin.measured(output)
    assert [len(np.unique(one)) - 1 for one in stack] == list(range(1, len(names) + 1))


def test_growth_stands_on_the_images_whose_time_is_known(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """As of an Incucyte's dates; one image without a time is no reason to tell none."""
    stamps: dict[str, str | None] = {f"i{n}.png": f"2021y03m18d_{12 + 2 * n}h00m" for n in range(4)}
    output = measured_squares(tmp_path, stamps | {"odd.png": None})
    assert pd.read_csv(output / "images.csv")["time_h"].tolist()[:4] == [0, 2, 4, 6]
    counts = pd.read_csv(output / "growth.csv").iloc[0]
    assert (counts["time_unit"], counts["images"], counts["start_time"], counts["end_time"]) == ("h", 4, 0, 6)
    assert counts["rate_per_time"] > 0
    assert "growth leaves out 1 of 5 images (odd.png): their time is not known" in caplog.text


def digest(folder: Path) -> str:
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return hashlib.sha256(b"".join(path.name.encode() + path.read_bytes() for path in files)).hexdigest()


def test_workers_change_no_byte(measured: Path, culture: Culture, tmp_path: Path) -> None:
    measure(culture.images, measured.parent / "truth.json", CellSource(None, 0), PARAMS, tmp_path / "cells", workers=2)
    assert digest(tmp_path / "cells") == digest(measured)


def test_predictions_count_from_the_threshold_up_best_first(culture: Culture, tmp_path: Path) -> None:
    truth = read_truth(culture.splits / "test.json")
    results = [
        Result(
            image_id=cell["image_id"],
            category_id=1,
            segmentation=cell["segmentation"],
            bbox=cell["bbox"],
            score=0.9,
            mask_score=round(0.2 + number / 100, 5),
        )
        for number, cell in enumerate(truth["annotations"])
    ]
    write_results(tmp_path / "results.json.gz", results)
    write_json(tmp_path / "scores.json", {"score_threshold": 0.25})
    words = ["measure", "--images", str(culture.images), "--truth", str(culture.splits / "test.json")]
    words += ["--results", str(tmp_path / "results.json.gz"), "--scores", str(tmp_path / "scores.json")]
    words += ["--params", PARAMS.model_copy(update={"files": []}).model_dump_json(), "--output", str(tmp_path / "out")]
    assert main(words) == 0
    cells = pd.read_parquet(tmp_path / "out/cells.parquet")
    assert len(cells) == len(results) - 5
    for _, rows in cells.groupby("image_id"):
        assert rows["score"].is_monotonic_decreasing
        assert rows["cell"].tolist() == list(range(1, len(rows) + 1))
    assert list((tmp_path / "out/masks").iterdir()) == []


def test_results_of_another_truth_are_an_error(culture: Culture, tmp_path: Path) -> None:
    rle = rle_from_mask(np.ones((96, 128), np.bool_))
    result = Result(image_id=999, category_id=1, segmentation=rle, bbox=[0, 0, 1, 1], score=1.0)
    write_results(tmp_path / "results.json.gz", [result])
    with pytest.raises(InputError, match="record 1: image_id 999 is not in the truth"):
        measure(
            culture.images, culture.splits / "test.json", CellSource(tmp_path / "results.json.gz", 0), PARAMS, tmp_path
        )
    with pytest.raises(InputError, match=r"is not readable as scores .* give metrics/<run>\.json"):
        score_threshold(tmp_path / "results.json.gz")
    write_json(tmp_path / "other.json", {})
    with pytest.raises(InputError, match=r"has no score_threshold .* give metrics/<run>\.json"):
        score_threshold(tmp_path / "other.json")


def test_trimmed_masks_are_the_same_pixels() -> None:
    loose = np.zeros((9, 11), np.bool_)
    loose[2:5, 3:9] = True
    boxes, scores = np.zeros((2, 4), np.float32), np.array([0.9, 0.8], np.float32)
    corners = np.array([[4, 6], [0, 0]], np.int32)
    found = trimmed(Instances(40, 40, [loose, np.zeros((3, 3), np.bool_)], corners, boxes, scores))
    assert [mask.all() for mask in found.masks] == [True]
    assert found.offsets_xy.tolist() == [[7, 8]]
    assert found.scores.tolist() == [pytest.approx(0.9)]


def test_empty_masks_are_no_cells() -> None:
    empty = rle_from_mask(np.zeros((5, 5), np.bool_))
    assert instances([(0.5, empty)], 5, 5).masks == []


def test_a_fault_at_any_write_leaves_what_the_same_command_mends(
    culture: Culture, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    chosen = culture.truth["images"][:2]
    ids = {image["id"] for image in chosen}
    cells = [cell for cell in culture.truth["annotations"] if cell["image_id"] in ids]
    write_json(tmp_path / "truth.json", {**culture.truth, "images": chosen, "annotations": cells})

    def run(output: Path) -> None:
        measure(culture.images, tmp_path / "truth.json", CellSource(None, 0), PARAMS, output)

    print(f"\nmeasure: {faults.hold(run, tmp_path / 'faults', monkeypatch)} writes, each failed twice")


def test_brightness_is_in_the_files_own_grey_values(tmp_path: Path) -> None:
    """A 16-bit image of the user, through the source that makes 8 bits of it, and as it is."""
    from monolayer.data.download import download
    from monolayer.params.data import CocoSource, Percentiles

    pixels = np.random.default_rng(0).integers(900, 1400, (40, 60)).astype(np.uint16)
    pixels[5:15, 5:25] += 20_000
    (tmp_path / "mine").mkdir()
    tifffile.imwrite(tmp_path / "mine/a.tif", pixels)
    corners = [5, 5, 25, 5, 25, 15, 5, 15]
    cell = {"id": 1, "image_id": 1, "category_id": 1, "segmentation": [corners], "bbox": [5, 5, 20, 10], "area": 200}
    image = {"id": 1, "file_name": "a.tif", "width": 60, "height": 40}
    truth = {"images": [image], "annotations": [cell | {"iscrowd": 0}], "categories": [{"id": 1, "name": "cell"}]}
    (tmp_path / "mine.json").write_text(json.dumps(truth))
    source = CocoSource(
        source="coco",
        images=str(tmp_path / "mine"),
        annotations=str(tmp_path / "mine.json"),
        cell_line="category",
        well=None,
        time=None,
        percentiles=Percentiles(low=0.5, high=99.8),
        max_images=None,
    )
    download(source, tmp_path / "images", tmp_path / "truth.json")
    settings = MeasureParams(pixel_size_um={}, frame_hours={}, neighbours=NeighbourParams(gap=1, radius=100), files=[])
    for images, listed in (("mine", "mine.json"), ("images", "truth.json")):
        measure(tmp_path / images, tmp_path / listed, CellSource(None, 0.0), settings, tmp_path / "out")
        table = pd.read_csv(tmp_path / "out/cells.csv")
        values = pixels[5:15, 5:25]
        assert table["intensity_mean"][0] == pytest.approx(values.mean())
        assert (table["intensity_min"][0], table["intensity_max"][0]) == (values.min(), values.max())
