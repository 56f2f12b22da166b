"""Evaluation from files to files: other tools' formats, bad input, tables, intervals, differences of runs."""

from __future__ import annotations

import csv
import gzip
import json
import math
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from monolayer.__main__ import main
from monolayer.coco import stream as json_stream
from monolayer.coco.io import stream, write_results
from monolayer.coco.labels import label_image
from monolayer.coco.records import Rle
from monolayer.coco.rle import box_xywh, mask_from_rle, rle_area, rle_from_mask, rle_from_polygons
from monolayer.coco.table import read_results, read_truth
from monolayer.evaluation import bootstrap, evaluate
from monolayer.evaluation.definitions import SHOWN, definition
from monolayer.files import InputError
from monolayer.params.steps import EvaluateParams
from PIL import Image as PillowImage

HEIGHT, WIDTH = 40, 60
PARAMS = EvaluateParams(protocol="livecell", n_resamples=50, seed=0, resample="image")
Record = dict[str, Any]


def disk(x: float, y: float, r: float) -> Rle:
    v, u = np.mgrid[:HEIGHT, :WIDTH]
    return rle_from_mask((u - x) ** 2 + (v - y) ** 2 <= r * r)


def make_truth(images: int = 6) -> Record:
    """Images of lines A and B by turns, in wells 1 and 2, each with a grid of 4 to 6 disks."""
    frames: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    for i in range(images):
        line = "AB"[i % 2]
        frames.append({"id": 10 + i, "file_name": f"{line}_{i}.png", "height": HEIGHT, "width": WIDTH})
        frames[-1] |= {"cell_line": line, "well": str(i // 2 % 2)}
        for n in range(4 + i % 3):
            rle = disk(10 + 20 * (n % 3), 10 + 20 * (n // 3), 6 + n % 3)
            cell = {"id": len(annotations) + 1, "image_id": 10 + i, "category_id": 1, "segmentation": rle, "iscrowd": 0}
            annotations.append(cell | {"bbox": box_xywh(rle), "area": float(rle_area(rle))})
    return {"images": frames, "annotations": annotations, "categories": [{"id": 1, "name": "cell"}]}


def make_results(truth: Record, noise: float, seed: int = 0) -> list[Record]:
    """Every true cell, moved by that noise in px, scored by how little it moved; and a ghost in each image."""
    rng = np.random.default_rng(seed)
    results = []
    for cell in truth["annotations"]:
        x, y, w, h = cell["bbox"]
        moved = rng.normal(0, noise, 2)
        rle = disk(x + w / 2 + moved[0], y + h / 2 + moved[1], w / 2)
        results.append({"image_id": cell["image_id"], "category_id": 1, "segmentation": rle, "bbox": box_xywh(rle)})
        results[-1]["score"] = round(float(1 / (1 + np.hypot(*moved))), 4)
    for image in truth["images"]:
        results.append({"image_id": image["id"], "category_id": 1, "segmentation": disk(30, 20, 2), "score": 0.1})
    return results


def write(path: Path, data: Any) -> Path:
    path.write_text(json.dumps(data))
    return path


def table(path: Path) -> list[dict[str, str]]:
    with path.open() as file:
        return list(csv.DictReader(file))


# ---- tables ------------------------------------------------------------------------------------------


def test_one_run(tmp_path: Path) -> None:
    truth = make_truth()
    files = write(tmp_path / "truth.json", truth), tmp_path / "results.json.gz"
    write_results(files[1], make_results(truth, noise=2))  # type: ignore[arg-type]
    scores = evaluate.evaluate(files, files, PARAMS, tmp_path / "metrics" / "a.run.json", threads=2)
    assert json.loads((tmp_path / "metrics" / "a.run.json").read_text()) == scores
    assert scores["run"] == "a.run"
    assert (scores["images"], scores["A/images"], scores["B/images"]) == (6, 3, 3)
    assert scores["cells"] == scores["A/cells"] + scores["B/cells"] == len(truth["annotations"])
    assert (scores["protocol"], scores["threshold_from"]) == ("livecell", "val")
    assert scores["mask_ap_low"] <= scores["mask_ap"] <= scores["mask_ap_high"]
    assert scores["mask_ap_low"] < scores["mask_ap_high"]
    assert scores["mask_ar_2000"] == pytest.approx(1 - scores["afnr"])
    rows = table(tmp_path / "metrics" / "a.run.images.csv")
    assert [row["file_name"] for row in rows] == [image["file_name"] for image in truth["images"]]
    tp, fp, fn = (sum(int(row[name]) for row in rows) for name in ("tp", "fp", "fn"))
    assert scores["f1_50"] == pytest.approx(2 * tp / (2 * tp + fp + fn))
    assert scores["precision"] == pytest.approx(tp / (tp + fp))
    assert scores["recall"] == pytest.approx(tp / (tp + fn))
    errors = [row for row in table(tmp_path / "metrics" / "a.run.errors.csv") if row["cell_line"] == "all"]
    assert sum(int(row["lost_cells"]) for row in errors) == fn
    assert sum(int(row["wrong_predictions"]) for row in errors) == fp
    for name in ("curves", "strata"):
        assert {row["cell_line"] for row in table(tmp_path / "metrics" / f"a.run.{name}.csv")} == {"all", "A", "B"}


def test_the_threshold_comes_from_val(tmp_path: Path) -> None:
    """On val all good cells score 0.9; on test the same scores would have chosen 0.3."""
    truth = make_truth(2)
    path = write(tmp_path / "truth.json", truth)
    good = [r | {"score": 0.9} for r in make_results(truth, 0)[:-2]]
    val = write(tmp_path / "val.json", good)
    test = write(tmp_path / "test.json", [r | {"score": 0.3 if n else 0.95} for n, r in enumerate(good)])
    scores = evaluate.evaluate((path, test), (path, val), PARAMS, tmp_path / "a.json", 1)
    assert (scores["score_threshold"], scores["threshold_from"]) == (0.9, "val")
    assert scores["recall"] == pytest.approx(1 / len(good))
    scores = evaluate.evaluate((path, test), None, PARAMS, tmp_path / "b.json", 1)
    assert (scores["score_threshold"], scores["threshold_from"]) == (0.3, "test (optimistic)")
    assert scores["recall"] == 1


def test_same_bytes_whatever_the_threads(tmp_path: Path) -> None:
    truth = make_truth()
    files = write(tmp_path / "truth.json", truth), write(tmp_path / "results.json", make_results(truth, noise=2))
    for threads in (1, 3):
        evaluate.evaluate(files, files, PARAMS, tmp_path / str(threads) / "run.json", threads)
    names = sorted(path.name for path in (tmp_path / "1").iterdir())
    assert names == [
        f"run.{end}"
        for end in ("bootstrap.npz", "curves.csv", "errors.csv", "headline.json", "images.csv", "json", "strata.csv")
    ]
    for name in names:
        assert (tmp_path / "1" / name).read_bytes() == (tmp_path / "3" / name).read_bytes(), name


def test_every_column_is_defined(tmp_path: Path) -> None:
    truth = make_truth()
    files = write(tmp_path / "truth.json", truth), write(tmp_path / "results.json", make_results(truth, noise=2))
    evaluate.evaluate(files, None, PARAMS, tmp_path / "run.json", 1)
    evaluate.compare([tmp_path / "run.json"], tmp_path / "metrics.csv")
    columns = list(table(tmp_path / "metrics.csv")[0])
    assert columns[:4] == ["run", "cell_line", "images", "cells"]
    assert [column for column in columns if definition(column) is None] == []


# ---- intervals and differences -----------------------------------------------------------------------


def test_draws_keep_the_lines_and_the_groups() -> None:
    lines, wells = list("AAAABBB"), list("xxyyzzz")
    weights = bootstrap.draws(lines, wells, count=200, seed=1)
    assert weights.shape == (200, 7)
    np.testing.assert_array_equal(weights[:, 4:], 1)  # a line with one well draws that
    np.testing.assert_array_equal(weights[:, 0], weights[:, 1])
    np.testing.assert_array_equal(weights[:, [0, 2]].sum(axis=1), 2)
    alone = bootstrap.draws(lines, list("abcdefg"), count=200, seed=1)
    np.testing.assert_array_equal(alone[:, :4].sum(axis=1), 4)
    np.testing.assert_array_equal(alone[:, 4:].sum(axis=1), 3)
    np.testing.assert_array_equal(alone, bootstrap.draws(lines, list("abcdefg"), count=200, seed=1))


def test_interval_of_a_mean_is_the_textbooks() -> None:
    """The bootstrap interval of a mean of n values is about 1.96 standard errors to both sides."""
    values = np.random.default_rng(0).normal(5, 2, 400)
    weights = bootstrap.draws(["A"] * 400, [str(i) for i in range(400)], count=4000, seed=0)
    low, high = bootstrap.interval((weights * values).sum(axis=1) / 400)
    assert low == pytest.approx(values.mean() - 1.96 * values.std() / 20, abs=0.02)
    assert high == pytest.approx(values.mean() + 1.96 * values.std() / 20, abs=0.02)


def test_one_image_has_no_interval(tmp_path: Path) -> None:
    truth = make_truth(3)
    files = write(tmp_path / "truth.json", truth), write(tmp_path / "results.json", make_results(truth, noise=2))
    scores = evaluate.evaluate(files, None, PARAMS, tmp_path / "run.json", 1)
    assert scores["B/images"] == 1
    assert scores["B/mask_ap"] is not None
    assert scores["B/mask_ap_low"] is scores["B/mask_ap_high"] is None
    assert scores["mask_ap_low"] is not None


def test_compare_tells_real_differences(tmp_path: Path) -> None:
    truth = make_truth(12)
    path = write(tmp_path / "truth.json", truth)
    for name, noise, seed in (("good", 0.5, 0), ("same", 0.5, 0), ("poor", 3.0, 1)):
        results = write(tmp_path / f"{name}.results.json", make_results(truth, noise, seed))
        evaluate.evaluate((path, results), None, PARAMS, tmp_path / f"{name}.json", 2)
    evaluate.compare([tmp_path / f"{name}.json" for name in ("good", "same", "poor")], tmp_path / "metrics.csv")
    rows = table(tmp_path / "metrics.csv")
    assert [(row["run"], row["cell_line"]) for row in rows] == [
        (run, line) for run in ("good", "same", "poor") for line in ("all", "A", "B")
    ]
    pairs = {
        (row["run_a"], row["run_b"], row["cell_line"], row["metric"]): row for row in table(tmp_path / "pairs.csv")
    }
    assert {metric for _, _, line, metric in pairs if line == "all"} == set(SHOWN)  # or all but the best look worse
    same = pairs["good", "same", "all", "mask_ap"]
    assert (float(same["difference"]), float(same["p"]), same["real"]) == (0, 1, "false")
    worse = pairs["good", "poor", "all", "mask_ap"]
    by_run = {row["run"]: row for row in rows if row["cell_line"] == "all"}
    assert float(worse["difference"]) == pytest.approx(
        float(by_run["good"]["mask_ap"]) - float(by_run["poor"]["mask_ap"])
    )
    assert 0 < float(worse["low"]) < float(worse["difference"]) < float(worse["high"])
    assert worse["real"] == "true"
    assert float(worse["p"]) == pytest.approx(1 / 51), "so few draws tell no smaller one"


def test_equal_runs_rarely_differ() -> None:
    """Of 400 differences of equals, seen in so few images that plain percentiles would call every tenth real."""
    rng = np.random.default_rng(0)
    for count in (6, 12):
        lines, names = ["A"] * count, [str(n) for n in range(count)]
        weights = np.vstack([np.ones((1, count)), bootstrap.draws(lines, names, 999, 0)])
        of = bootstrap.drawn(lines, names)
        found = [bootstrap.difference(weights @ rng.normal(size=count) / count, of) for _ in range(400)]
        assert np.mean([one.real for one in found]) == pytest.approx(0.05, abs=0.025)
        assert [one.real for one in found] == [one.p <= 0.05 for one in found]


def test_runs_on_truth_that_was_drawn_anew_are_not_paired(tmp_path: Path) -> None:
    """As many cells, two pixels to the right: the same results have another AP."""
    truth = make_truth(8)
    results = write(tmp_path / "r.json", make_results(truth, 0.5))
    for name in ("a", "b"):
        evaluate.evaluate((write(tmp_path / "t.json", truth), results), None, PARAMS, tmp_path / f"{name}.json", 1)
        for cell in truth["annotations"]:
            mask = np.roll(mask_from_rle(cell["segmentation"]), 2, axis=1)
            rle = rle_from_mask(mask)
            cell |= {"segmentation": rle, "bbox": [float(edge) for edge in box_xywh(rle)]}
    evaluate.compare([tmp_path / "a.json", tmp_path / "b.json"], tmp_path / "metrics.csv")
    assert table(tmp_path / "pairs.csv") == []


def test_runs_on_other_images_are_not_paired(tmp_path: Path) -> None:
    for name, images in (("a", 4), ("b", 6)):
        truth = make_truth(images)
        files = write(tmp_path / "t.json", truth), write(tmp_path / "r.json", make_results(truth, 1))
        evaluate.evaluate(files, None, PARAMS, tmp_path / f"{name}.json", 1)
    evaluate.compare([tmp_path / "a.json", tmp_path / "b.json"], tmp_path / "metrics.csv")
    assert table(tmp_path / "pairs.csv") == []
    with pytest.raises(InputError, match="same run"):
        evaluate.compare([tmp_path / "a.json", tmp_path / "a.json"], tmp_path / "metrics.csv")


@pytest.mark.parametrize(
    ("text", "message"), [("{", "not readable as scores"), ("{}", "has no run"), ("[1]", "has no run")]
)
def test_bad_scores(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "a.json").write_text(text)
    with pytest.raises(InputError, match=message):
        evaluate.compare([tmp_path / "a.json"], tmp_path / "metrics.csv")


def test_scores_without_draws(tmp_path: Path) -> None:
    truth = make_truth(2)
    files = write(tmp_path / "t.json", truth), write(tmp_path / "r.json", make_results(truth, 1))
    evaluate.evaluate(files, None, PARAMS, tmp_path / "a.json", 1)
    (tmp_path / "a.bootstrap.npz").unlink()
    with pytest.raises(InputError, match="not readable as draws"):
        evaluate.compare([tmp_path / "a.json"], tmp_path / "metrics.csv")


# ---- other tools -------------------------------------------------------------------------------------


def test_truth_of_other_tools(tmp_path: Path) -> None:
    """Polygons, plain run lengths, no areas, boxes, crowds or lines: the same scores over all."""
    polygon = [5.0, 5.0, 25.0, 5.0, 25.0, 20.0, 5.0, 20.0]
    rle = rle_from_polygons([polygon], HEIGHT, WIDTH)
    pixels = mask_from_rle(rle).ravel(order="F").astype(int)
    edges = np.flatnonzero(np.diff(np.r_[0, pixels, 0]))
    counts = np.diff(np.r_[0, edges, len(pixels)]).tolist()
    image = {"id": 1, "file_name": "x.png", "height": HEIGHT, "width": WIDTH}
    found = []
    for segmentation in (rle, [polygon], {"size": [HEIGHT, WIDTH], "counts": counts}):
        truth = {"images": [image], "annotations": [{"image_id": 1, "category_id": 3, "segmentation": segmentation}]}
        result = {"image_id": 1, "category_id": 1, "segmentation": segmentation, "score": 0.5}
        files = write(tmp_path / "truth.json", truth), write(tmp_path / "results.json", [result])
        found.append(evaluate.evaluate(files, None, PARAMS, tmp_path / "run.json", 1))
    assert found[0] == found[1] == found[2]
    assert found[0]["mask_ap"] == found[0]["box_ap"] == pytest.approx(1)
    assert not [name for name in found[0] if "/" in name]


@pytest.mark.parametrize("text", ["[{}]", "[{},{}]", "[\n{},\n{}\n]\n", " [ {} , {} ] ", "[]", "[{\n}\n,{ }]"])
def test_any_json_array_is_streamed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    record = {"image_id": 7, "text": 'a { tricky ] , " text', "list": [1, [2.5, -3e-7]], "none": None}
    text = (
        text.replace("{}", json.dumps(record))
        .replace("{ }", json.dumps(record, indent=2))
        .replace("{\n}", json.dumps(record))
    )
    for chunk in (1, 7, 1 << 20):
        monkeypatch.setattr(json_stream, "CHUNK", chunk)
        (tmp_path / "r.json").write_text(text)
        assert list(stream(tmp_path / "r.json")) == json.loads(text)
        (tmp_path / "r.json.gz").write_bytes(gzip.compress(text.encode()))
        assert list(stream(tmp_path / "r.json.gz")) == json.loads(text)


def save_png(path: Path, labels: Any) -> None:
    PillowImage.fromarray(labels.astype(np.uint16)).save(path)


def save_tiff(path: Path, labels: Any) -> None:
    tifffile.imwrite(path, labels.astype(np.float32), photometric="minisblack")


@pytest.mark.parametrize(
    ("ending", "save"),
    [(".png", save_png), (".tif", save_tiff), ("_cp_masks.png", save_png), ("_cp_masks.tiff", save_tiff)],
)
def test_label_images_are_results(tmp_path: Path, ending: str, save: Callable[[Path, Any], None]) -> None:
    truth = make_truth(4)
    path = write(tmp_path / "truth.json", truth)
    folder = tmp_path / "labels"
    folder.mkdir()
    for image in truth["images"]:
        cells = [cell["segmentation"] for cell in truth["annotations"] if cell["image_id"] == image["id"]]
        save(folder / (Path(image["file_name"]).stem + ending), label_image(cells, HEIGHT, WIDTH) * 7)
        if "_cp_masks" in ending:  # Cellpose writes beside the images
            save_png(folder / image["file_name"], np.zeros((HEIGHT, WIDTH)))
    scores = evaluate.evaluate((path, folder), None, PARAMS, tmp_path / "cellpose.json", 1)
    assert scores["threshold_from"] == "one score for all"
    for name in ("mask_ap", "box_ap", "f1_50", "mean_accuracy", "pixel_f1"):
        assert scores[name] == pytest.approx(1), name


# ---- bad input ---------------------------------------------------------------------------------------


def change(index: int, **changed: Any) -> Callable[[list[Record]], None]:
    return lambda results: results[index].update(changed)


def drop(index: int, key: str) -> Callable[[list[Record]], None]:
    return lambda results: results[index].pop(key)


BAD_RESULTS: dict[str, tuple[Callable[[list[Record]], None], str]] = {
    "unknown image": (change(2, image_id=99), r"record 3: image_id 99 is not in the truth; compare with"),
    "size": (change(1, segmentation={"size": [60, 40], "counts": "`0"}), r"record 2: .*\[60, 40\].*native image size"),
    "nan score": (change(0, score=math.nan), r"record 1: score nan is outside \[0, 1\]; rescale"),
    "large score": (change(3, score=87.5), r"record 4: score 87.5 is outside \[0, 1\]; rescale"),
    "text score": (change(3, score="high"), r"record 4: score is 'high'; it must be a number"),
    "no score": (drop(4, "score"), r"record 5: it has no score"),
    "text image": (change(2, image_id="10"), r"record 3: image_id '10' is not in the truth"),
    "no image": (drop(2, "image_id"), r"record 3: it has no image_id"),
    "category": (change(2, category_id="cell"), r"record 3: category_id is 'cell'; it must be a whole number"),
    "no counts": (change(2, segmentation={"size": [HEIGHT, WIDTH]}), r"record 3: it has no counts"),
    "mask of text": (change(2, segmentation=7), r"record 3: .*write it as COCO's format does"),
    "no mask": (drop(4, "segmentation"), r"record 5: it has no segmentation"),
    "mask score": (change(1, mask_score=0.5), r"record 2: some records have a mask_score and some have none"),
    "bad mask score": (change(0, mask_score=-1), r"record 1: score -1 is outside"),
    "box": (change(0, bbox=[1, 2, -3, 4]), r"record 1: bbox \[1, 2, -3, 4\] is no box"),
    "short box": (change(0, bbox=[1, 2, 3]), r"record 1: "),
    "counts": (
        change(1, segmentation={"size": [HEIGHT, WIDTH], "counts": "12"}),
        r"record 2: its RLE runs do not add up.*60x40",
    ),
    "cut counts": (
        change(1, segmentation={"size": [HEIGHT, WIDTH], "counts": "PP"}),
        r"record 2: its RLE counts are cut",
    ),
    "point": (change(1, segmentation=[[1, 2, 3, 4]]), r"record 2: its polygon has fewer than 3 points"),
}


@pytest.mark.parametrize(("spoil", "message"), BAD_RESULTS.values(), ids=BAD_RESULTS)
def test_bad_results(tmp_path: Path, spoil: Callable[[list[Record]], None], message: str) -> None:
    truth = make_truth(2)
    images, _ = read_truth(write(tmp_path / "truth.json", truth))
    results = make_results(truth, 1)
    spoil(results)
    with pytest.raises(InputError, match=message) as error:
        read_results(write(tmp_path / "results.json", results), images)
    assert str(error.value).startswith(f"{tmp_path / 'results.json'}, record ")
    assert "\n" not in str(error.value)


def spoil_truth(truth: Record, how: str) -> None:
    if how == "no annotations":
        truth["annotations"] = []
    elif how == "no images":
        del truth["images"]
    elif how == "same id":
        truth["images"][1]["id"] = truth["images"][0]["id"]
    elif how == "no size":
        del truth["images"][1]["width"]
    elif how == "other image":
        truth["annotations"][3]["image_id"] = 99
    else:
        truth["images"][0] |= {"height": WIDTH, "width": HEIGHT}


@pytest.mark.parametrize(
    ("how", "message"),
    {
        "no annotations": "lists no annotations; there is nothing to learn from or to compare with",
        "no images": "has no 'images'; a COCO file has images, annotations, categories",
        "same id": "image id 10 is used twice",
        "no size": "image 1 has no 'width'",
        "other image": r"annotation 3 \(id 4\): image_id 99 is no id of 'images'",
        "mixed sizes": r"annotation 1 of A_0.png: its RLE is of size \[40, 60\], the image is \[60, 40\] \(height",
    }.items(),
)
def test_bad_truth(tmp_path: Path, how: str, message: str) -> None:
    truth = make_truth(2)
    spoil_truth(truth, how)
    with pytest.raises(InputError, match=message) as error:
        read_truth(write(tmp_path / "truth.json", truth))
    assert str(tmp_path / "truth.json") in str(error.value)


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda data: data[: len(data) // 2], "not readable as COCO results"),
        (lambda data: b"\x1f\x8b" + data[2:20][::-1], "not readable as COCO results"),
        (lambda _: gzip.compress(b'[{"image_id": 1},'), "Expecting value: character 17, after record 1"),
        (lambda _: gzip.compress(b'{"annotations": []}'), r"{ stands where one of \[ is expected: character 0"),
        (
            lambda _: gzip.compress(b'[{"image_id": 1} {"image_id": 2}]'),
            "{ stands where one of ,] is expected: character 17, after record 1",
        ),
        (lambda _: gzip.compress(b'[{"image_id": 1}, {"image_id: 2}]'), "not readable as COCO results"),
        (lambda _: b"", "it ends too early: character 0"),
    ],
)
def test_bad_files(tmp_path: Path, spoil: Callable[[bytes], bytes], message: str) -> None:
    path = tmp_path / "results.json.gz"
    write_results(path, make_results(make_truth(2), 1))  # type: ignore[arg-type]
    path.write_bytes(spoil(path.read_bytes()))
    with pytest.raises(InputError, match=message) as error:
        list(stream(path))
    assert str(path) in str(error.value)


def test_records_that_are_none(tmp_path: Path) -> None:
    images, _ = read_truth(write(tmp_path / "truth.json", make_truth(2)))
    with pytest.raises(InputError, match="record 1: it is no JSON object"):
        read_results(write(tmp_path / "results.json", [1]), images)
    assert len(read_results(write(tmp_path / "results.json", []), images)) == 0


@pytest.mark.parametrize(
    ("labels", "name", "message"),
    [
        (np.zeros((HEIGHT, WIDTH)), "C_1", "belongs to no image of the truth"),
        (np.zeros((WIDTH, HEIGHT)), "B_1", "is 40x60 px, its image 60x40 px"),
        (np.full((HEIGHT, WIDTH), 0.5), "B_1", "no cell numbers"),
        (np.full((HEIGHT, WIDTH), -1), "B_1", "no cell numbers"),
        (np.zeros((HEIGHT, WIDTH, 3)), "B_1", "one grey plane"),
        (None, "B_1", "no label image B_1"),
    ],
)
def test_bad_label_images(tmp_path: Path, labels: Any, name: str, message: str) -> None:
    images, _ = read_truth(write(tmp_path / "truth.json", make_truth(2)))
    folder = tmp_path / "labels"
    folder.mkdir()
    save_tiff(folder / "A_0.tif", np.zeros((HEIGHT, WIDTH)))
    if labels is not None:
        save_tiff(folder / f"{name}.tif", labels)
    with pytest.raises(InputError, match=message):
        read_results(folder, images)


def test_a_category_that_the_truth_lacks(tmp_path: Path) -> None:
    truth = make_truth(2)
    results = [result | {"category_id": 0} for result in make_results(truth, 1)]
    files = write(tmp_path / "truth.json", truth), write(tmp_path / "results.json", results)
    assert evaluate.evaluate(files, None, PARAMS, tmp_path / "run.json", 1)["mask_ap"] > 0
    with pytest.raises(InputError, match="category_id 0, the truth has 1"):
        evaluate.evaluate(files, None, PARAMS.model_copy(update={"protocol": "coco"}), tmp_path / "run.json", 1)


def test_a_line_can_not_be_called_all(tmp_path: Path) -> None:
    truth = make_truth(2)
    truth["images"][0]["cell_line"] = "all"
    files = write(tmp_path / "truth.json", truth), write(tmp_path / "results.json", make_results(truth, 1))
    with pytest.raises(InputError, match="cell line is called all"):
        evaluate.evaluate(files, None, PARAMS, tmp_path / "run.json", 1)


# ---- command line ------------------------------------------------------------------------------------


def test_by_hand(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    truth = make_truth()
    path, results = write(tmp_path / "t.json", truth), write(tmp_path / "r.json", make_results(truth, 2))
    command = ["evaluate", "--truth", str(path), "--results", str(results), "--output", str(tmp_path / "peer.json")]
    assert main([*command, "--protocol", "livecell", "--n-resamples", "20"]) == 0
    shown = capsys.readouterr().out
    scores = json.loads((tmp_path / "peer.json").read_text())
    assert "100/500/2000 predictions" in shown
    assert "area edges 324 and 961" in " ".join(shown.split())
    assert "test (optimistic)" in shown
    assert re.search(rf"all +6 +{scores['cells']} +{scores['mask_ap']:.3f}", shown)
    assert scores["n_resamples"] == 20
    results.write_text("[")
    assert main([*command, "--protocol", "livecell"]) == 1


def test_wells_are_drawn_where_all_images_have_one(tmp_path: Path) -> None:
    """All images without one were a single well: no score had an interval, and no difference of runs was told."""
    truth = make_truth()
    for image in truth["images"][2:]:
        del image["well"]
    files = write(tmp_path / "t.json", truth), write(tmp_path / "r.json", make_results(truth, 1))
    wells = PARAMS.model_copy(update={"resample": "well"})
    with pytest.raises(
        InputError, match=r"none to 4 of 6 images \(A_2.png, B_3.png, A_4.png, ...\); give each a `well`"
    ):
        evaluate.evaluate(files, None, wells, tmp_path / "a.json", 1)


def test_a_file_that_is_listed_twice_is_drawn_as_one_image(tmp_path: Path) -> None:
    """Two annotators drew the cells of three images: six records looked like enough for a difference to be real."""
    truth = make_truth(6)
    for image, same in zip(truth["images"][3:], truth["images"], strict=False):
        image |= {"file_name": same["file_name"], "cell_line": "A"}
        same["cell_line"] = "A"
    images, _ = read_truth(write(tmp_path / "t.json", truth))
    assert evaluate.drawn(images, PARAMS)["all"].units == 3
    weights = bootstrap.draws(images.lines, evaluate.units(images, PARAMS), 50, seed=0)
    np.testing.assert_array_equal(weights[:, :3], weights[:, 3:])
