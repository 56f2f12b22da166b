"""AP, recall and F1: equal to pycocotools on random cases, and right by construction on small ones."""

from __future__ import annotations

import contextlib
import dataclasses
import io
import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from monolayer.coco.records import Rle
from monolayer.coco.rle import box_xywh, mask_from_rle, rle_area, rle_from_mask
from monolayer.coco.table import Images, read_results, read_truth
from monolayer.evaluation import breakdown, evaluate, matching, metrics
from monolayer.evaluation.matching import Protocol
from monolayer.evaluation.metrics import Evidence
from monolayer.evaluation.threshold import score_threshold
from monolayer.params.steps import EvaluateParams
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

HEIGHT, WIDTH = 24, 32
PARAMS = EvaluateParams(protocol="livecell", n_resamples=20, seed=0, resample="image")
Record = dict[str, Any]


# ---- making truth and results ------------------------------------------------------------------------


def box(x: int, y: int, w: int, h: int) -> Rle:
    """RLE of a rectangle in an image of 24x32 px."""
    mask = np.zeros((HEIGHT, WIDTH), np.bool_)
    mask[y : y + h, x : x + w] = True
    return rle_from_mask(mask)


def true_cell(image: int, rle: Rle, **changed: Any) -> Record:
    fields = {"image_id": image, "category_id": 1, "segmentation": rle, "bbox": box_xywh(rle), "iscrowd": 0}
    return fields | {"area": float(rle_area(rle))} | changed


def predicted(image: int, rle: Rle, score: float, **changed: Any) -> Record:
    fields = {"image_id": image, "category_id": 1, "segmentation": rle, "bbox": box_xywh(rle)}
    return fields | {"score": score} | changed


def truth_of(annotations: list[Record], images: int = 1, lines: str = "A") -> Record:
    return {
        "images": [
            {"id": i + 1, "file_name": f"{i}.png", "height": HEIGHT, "width": WIDTH, "cell_line": lines[i % len(lines)]}
            for i in range(images)
        ],
        "annotations": [{"id": n} | annotation for n, annotation in enumerate(annotations, start=1)],
        "categories": [{"id": n, "name": f"c{n}"} for n in (1, 2, 3)],
    }


def evidence_of(
    folder: Path, truth: Record, results: list[Record], protocol: Protocol, threshold: float | None = None
) -> tuple[Evidence, Images]:
    """Evidence through the files, as a user's would go."""
    (folder / "truth.json").write_text(json.dumps(truth))
    (folder / "results.json").write_text(json.dumps(results))
    images, true = read_truth(folder / "truth.json")
    pred = read_results(folder / "results.json", images)
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(matching.PROTOCOLS, "livecell", protocol)
        return evaluate.gather((images, true, pred), PARAMS, threshold, threads=1), images


def scores_of(folder: Path, annotations: list[Record], results: list[Record], images: int = 1) -> dict[str, float]:
    """Headline scores of all images at threshold 0.5 under the livecell protocol."""
    truth = truth_of(annotations, images)
    evidence, _ = evidence_of(folder, truth, results, matching.PROTOCOLS["livecell"], threshold=0.5)
    chosen = np.arange(images)
    found = metrics.headline(evidence, chosen, np.ones((1, images), np.int64))
    return {name: float(value[0]) for name, value in found.items()}


# ---- against pycocotools -----------------------------------------------------------------------------


@st.composite
def cultures(draw: st.DrawFn) -> tuple[Record, list[Record]]:
    """Truth and results with ties, crowds, empty images, overlaps, empty masks, several categories, odd areas."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    images, categories = draw(st.integers(1, 3)), draw(st.integers(1, 3))
    levels = draw(st.sampled_from([2, 5, 1000]))  # of the score: few make ties

    def shape(near: Rle | None) -> Rle:
        x, y, w, h = (
            map(int, box_xywh(near)) if near else (*rng.integers(0, (WIDTH - 1, HEIGHT - 1)), *rng.integers(1, 12, 2))
        )
        if near:
            x, y, w, h = np.maximum(np.array((x, y, w, h)) + rng.integers(-1, 2, 4), 0)
        return box(int(x), int(y), int(w), int(h))

    annotations: list[Record] = []
    results: list[Record] = []
    for image in range(1, images + 1):
        true = [shape(None) for _ in range(draw(st.integers(0, 6)))]
        for rle in true:
            area = rle_area(rle) * rng.choice([1.0, 1.0, 0.5])
            crowd, category = int(rng.random() < 0.2), int(rng.integers(categories)) + 1
            annotations.append(true_cell(image, rle, iscrowd=crowd, category_id=category, area=area))
        for _ in range(draw(st.integers(0, 12))):
            rle = shape(true[rng.integers(len(true))] if true and rng.random() < 0.8 else None)
            score, category = int(rng.integers(levels)) / levels, int(rng.integers(categories)) + 1
            shaken = (np.array(box_xywh(rle)) + rng.choice([0, 0.25], 4)).tolist()
            results.append(predicted(image, rle, score, category_id=category, bbox=shaken))
    return truth_of(annotations, images), [results[i] for i in rng.permutation(len(results))]


def by_pycocotools(truth: Record, results: list[Record], kind: str, protocol: Protocol) -> tuple[Any, Any]:
    """precision (T, R, A) at the last cap and recall (T, A, M); nan where undefined."""
    with contextlib.redirect_stdout(io.StringIO()):
        true = COCO()
        true.dataset = json.loads(json.dumps(truth))
        true.createIndex()
        # as LIVECell's evaluation, masks go without boxes, so that area is the mask's
        records = [{k: v for k, v in r.items() if kind == "bbox" or k != "bbox"} for r in results]
        if records:
            pred = true.loadRes(records)
        else:  # which loadRes does not survive
            pred = COCO()
            pred.dataset = truth | {"annotations": []}
            pred.createIndex()
        evaluator = COCOeval(true, pred, kind)
        evaluator.params.maxDets = list(protocol.max_dets)
        evaluator.params.areaRng = [list(limits) for limits in protocol.area_ranges]
        evaluator.params.areaRngLbl = ["all", "small", "medium", "large"]
        evaluator.params.useCats = int(protocol.by_category)
        evaluator.evaluate()
        evaluator.accumulate()

    def over_categories(values: Any, axis: int) -> Any:
        with np.errstate(invalid="ignore"):
            return np.where(values < 0, 0, values).sum(axis) / (values >= 0).sum(axis)

    precision, recall = evaluator.eval["precision"], evaluator.eval["recall"]
    return over_categories(precision[..., -1], 2), over_categories(recall, 1)


@settings(max_examples=250, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(culture=cultures(), by_category=st.booleans())
def test_equals_pycocotools(tmp_path: Path, culture: tuple[Record, list[Record]], by_category: bool) -> None:
    truth, results = culture
    if all(cell["iscrowd"] for cell in truth["annotations"]):
        return  # an error here, as none at all, tested below
    protocol = Protocol("small", (1, 3, 8), 20, 60, by_category, "made up: caps and areas that these images reach")
    evidence, images = evidence_of(tmp_path, truth, results, protocol)
    chosen, once = np.arange(len(images)), np.ones((1, len(images)), np.int64)
    for kind, name, matches in (("segm", "mask", evidence.masks), ("bbox", "box", evidence.boxes)):
        precision, recall = by_pycocotools(truth, results, kind, protocol)
        for area in range(4):
            found = metrics.precision_curve(matches, area, chosen)
            np.testing.assert_allclose(found, precision[:, :, area], rtol=0, atol=1e-9)
        for column, way in enumerate(("1", "3", "8")):
            found = metrics.recall(evidence.recalls[f"{name}_ar_{way}"], chosen, once)[0]
            np.testing.assert_allclose(found, recall[:, 0, column], rtol=0, atol=1e-9)
        for area, way in enumerate(("small", "medium", "large"), start=1):
            found = metrics.recall(evidence.recalls[f"{name}_ar_{way}"], chosen, once)[0]
            np.testing.assert_allclose(found, recall[:, area, -1], rtol=0, atol=1e-9)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(culture=cultures(), seed=st.integers(0, 1000), by_category=st.booleans())
def test_a_weight_is_a_copy(tmp_path: Path, culture: tuple[Record, list[Record]], seed: int, by_category: bool) -> None:
    """AP of weights equals pycocotools' AP of a set in which each image stands as often as its weight says.

    But for ties within an image, whose order is arbitrary: here its predictions stand beside their copies.
    """
    truth, results = culture
    results = [result | {"score": n / len(results)} for n, result in enumerate(results)]
    weights = np.random.default_rng(seed).integers(0, 4, len(truth["images"]))
    copies: dict[str, list[Record]] = {"images": [], "annotations": [], "results": []}
    for image in truth["images"]:
        for _ in range(weights[image["id"] - 1]):
            new = len(copies["images"]) + 1
            copies["images"].append(image | {"id": new})
            for key, records in (("annotations", truth["annotations"]), ("results", results)):
                copies[key] += [r | {"image_id": new} for r in records if r["image_id"] == image["id"]]
    copied = truth | {
        "images": copies["images"],
        "annotations": [a | {"id": n} for n, a in enumerate(copies["annotations"], start=1)],
    }
    if not copied["annotations"]:
        return
    protocol = Protocol("small", (1, 3, 8), 20, 60, by_category, "made up")
    evidence, images = evidence_of(tmp_path, truth, results, protocol)
    chosen = np.arange(len(images))
    for kind, name, matches in (("segm", "mask", evidence.masks), ("bbox", "box", evidence.boxes)):
        precision, recall = by_pycocotools(copied, copies["results"], kind, protocol)
        drawn = np.vstack([weights, np.ones(len(images), np.int64), weights])
        found = metrics.mean_precision(matches, 0, chosen, drawn, threads=1)
        np.testing.assert_allclose(found[0], precision[:, :, 0].mean(axis=1), rtol=0, atol=1e-9)
        np.testing.assert_array_equal(found[0], found[2])
        afnr = metrics.recall(evidence.recalls[f"{name}_ar_8"], chosen, drawn)[0]
        np.testing.assert_allclose(afnr, recall[:, 0, -1], rtol=0, atol=1e-9)


def test_mask_ap_ranks_by_mask_score(tmp_path: Path) -> None:
    good, bad = box(0, 0, 10, 10), box(20, 10, 10, 10)
    results = [predicted(1, good, 0.4, mask_score=0.9), predicted(1, bad, 0.8, mask_score=0.1)]
    scores = scores_of(tmp_path, [true_cell(1, good)], results)
    assert scores["mask_ap"] == pytest.approx(1.0)
    assert scores["box_ap"] == pytest.approx(0.5)


# ---- by construction ---------------------------------------------------------------------------------


def test_three_of_four_cells_and_one_ghost(tmp_path: Path) -> None:
    cells = [box(x, y, 8, 8) for x in (0, 10) for y in (0, 10)]
    ghost = box(22, 2, 6, 6)
    results = [predicted(1, rle, 0.9) for rle in (*cells[:3], ghost)] + [predicted(1, cells[3], 0.2)]
    scores = scores_of(tmp_path, [true_cell(1, rle) for rle in cells], results)
    assert [scores[name] for name in ("precision", "recall", "f1_50", "f1")] == pytest.approx([0.75] * 4)
    assert [scores["mean_accuracy"], scores["accuracy_50"]] == pytest.approx([3 / 5, 3 / 5])
    assert scores["afnr"] == scores["box_afnr"] == 0  # without threshold all cells are found
    assert scores["count_bias"] == scores["count_mae"] == 0
    assert scores["pixel_f1"] == scores["pixel_f1_images"] == pytest.approx(2 * 192 / (2 * 192 + 36 + 64))


def test_iou_decides_which_thresholds_are_met(tmp_path: Path) -> None:
    """10x10 against 10x7: IoU 0.7 meets .50 to .70, five of ten thresholds, whatever 0.7 is in binary."""
    scores = scores_of(tmp_path, [true_cell(1, box(2, 2, 10, 10))], [predicted(1, box(2, 2, 10, 7), 0.9)])
    assert scores["mask_ap"] == pytest.approx(0.5)
    assert scores["afnr"] == pytest.approx(0.5)
    assert scores["f1"] == scores["mean_accuracy"] == pytest.approx(0.5)
    assert (scores["mask_ap50"], scores["mask_ap75"], scores["f1_50"]) == pytest.approx((1, 0, 1))


def test_shifted_copies_lose_iou_as_geometry_says(tmp_path: Path) -> None:
    """A square of side 10 moved by d px has IoU (10 - d) / (10 + d)."""
    for shift in range(5):
        scores = scores_of(tmp_path, [true_cell(1, box(2, 2, 10, 10))], [predicted(1, box(2 + shift, 2, 10, 10), 0.9)])
        met = sum((10 - shift) / (10 + shift) >= iou for iou in matching.IOUS)
        assert scores["mask_ap"] == scores["box_ap"] == pytest.approx(met / 10)
        assert scores["afnr"] == pytest.approx(1 - met / 10)


def test_the_order_of_images_and_cells_does_not_matter(tmp_path: Path) -> None:
    rng = np.random.default_rng(3)
    shapes = [box(*rng.integers(0, 14, 2), *rng.integers(3, 9, 2)) for _ in range(12)]
    truth = [true_cell(1 + n % 3, rle) for n, rle in enumerate(shapes)]
    results = [predicted(1 + n % 3, rle, float(rng.random())) for n, rle in enumerate(shapes) if n % 4]
    forwards, backwards = (scores_of(tmp_path, truth[::step], results[::step], 3) for step in (1, -1))
    assert forwards == pytest.approx(backwards, abs=1e-12, nan_ok=True)


def test_crowds_neither_help_nor_hurt(tmp_path: Path) -> None:
    cell, crowd = box(0, 0, 8, 8), box(10, 0, 20, 20)
    on_crowd = [predicted(1, box(12, 2, 6, 6), 0.95), predicted(1, box(20, 4, 6, 6), 0.95)]
    scores = scores_of(
        tmp_path, [true_cell(1, cell), true_cell(1, crowd, iscrowd=1)], [predicted(1, cell, 0.9), *on_crowd]
    )
    for name in ("mask_ap", "box_ap", "f1_50", "mean_accuracy", "pixel_f1", "precision"):
        assert scores[name] == pytest.approx(1.0), name
    assert scores["count_bias"] == 0


def test_density_is_of_what_is_annotated(tmp_path: Path) -> None:
    """One cell in each image; of the second, half is a region that nobody annotated, with a part of the cell."""
    cell, half = box(0, 0, 8, 8), box(0, 4, 30, 26)
    truth = truth_of([true_cell(1, cell), true_cell(2, cell), true_cell(2, half, iscrowd=1)], 2)
    evidence, images = evidence_of(tmp_path, truth, [], matching.PROTOCOLS["livecell"], 0.5)
    height, width = images.sizes[0]
    drawn = mask_from_rle(half) & ~mask_from_rle(cell)
    assert evidence.annotated.tolist() == [height * width, height * width - drawn.sum()]
    rows = [row for row in breakdown.strata(evidence, evaluate.groups(images)) if row["stratum"] == "density"]
    assert [rows[0]["low"], rows[-1]["high"]] == pytest.approx([1e6 / pixels for pixels in evidence.annotated])


def test_images_without_cells_count_where_they_can(tmp_path: Path) -> None:
    """Image 2 is empty and stays so: it has no accuracy. A ghost in image 3 costs it all of its accuracy."""
    cell = box(0, 0, 8, 8)
    results = [predicted(1, cell, 0.9), predicted(3, cell, 0.8)]
    scores = scores_of(tmp_path, [true_cell(1, cell)], results, images=3)
    assert scores["mean_accuracy"] == pytest.approx((1 + 0) / 2)
    assert scores["f1_50"] == pytest.approx(2 / 3)
    assert scores["count_mae"] == pytest.approx(1 / 3)


def test_without_predictions_everything_is_missed(tmp_path: Path) -> None:
    scores = scores_of(tmp_path, [true_cell(1, box(0, 0, 8, 8))], [])
    assert (scores["mask_ap"], scores["afnr"], scores["recall"], scores["f1_50"], scores["pixel_f1"]) == (0, 1, 0, 0, 0)
    assert math.isnan(scores["precision"])


def test_counts_of_cells(tmp_path: Path) -> None:
    """Counts 1, 2, 3 predicted as 2, 2, 4: bias 2/3, squared errors 2 of a spread of 2."""
    shapes = [box(0, 0, 5, 5), box(8, 0, 5, 5), box(16, 0, 5, 5), box(24, 0, 5, 5)]
    truth = [true_cell(i + 1, shapes[n]) for i, count in enumerate((1, 2, 3)) for n in range(count)]
    results = [predicted(i + 1, shapes[n], 0.9) for i, count in enumerate((2, 2, 4)) for n in range(count)]
    scores = scores_of(tmp_path, truth, results, images=3)
    assert scores["count_bias"] == scores["count_mae"] == pytest.approx(2 / 3)
    assert scores["count_r2"] == pytest.approx(0)


def test_pixels_of_overlapping_predictions_count_once(tmp_path: Path) -> None:
    cell = box(4, 4, 10, 10)
    scores = scores_of(tmp_path, [true_cell(1, cell)], [predicted(1, cell, 0.9), predicted(1, box(4, 4, 10, 20), 0.8)])
    assert scores["pixel_f1"] == pytest.approx(2 * 100 / (2 * 100 + 100))


def test_best_threshold_splits_good_from_bad(tmp_path: Path) -> None:
    cells = [box(x, 0, 6, 6) for x in (0, 8, 16)]
    ghosts = [box(x, 12, 6, 6) for x in (0, 8, 16)]
    results = [predicted(1, rle, score) for rle, score in zip(cells, (0.9, 0.8, 0.7), strict=True)]
    results += [predicted(1, rle, score) for rle, score in zip(ghosts, (0.6, 0.5, 0.4), strict=True)]
    truth = truth_of([true_cell(1, rle) for rle in cells])
    evidence, _ = evidence_of(tmp_path, truth, results, matching.PROTOCOLS["livecell"])
    assert evidence.threshold == 0.7
    by_score = breakdown.f1_by_score(evidence.masks, np.array([0]), breakdown.SCORES)
    assert by_score[70] == 1
    assert by_score[40] == pytest.approx(2 * 3 / (3 + 6))
    assert by_score[95] == 0


def test_no_true_prediction_leaves_no_threshold(tmp_path: Path) -> None:
    truth = truth_of([true_cell(1, box(0, 0, 6, 6))])
    evidence, _ = evidence_of(tmp_path, truth, [predicted(1, box(20, 12, 6, 6), 0.9)], matching.PROTOCOLS["livecell"])
    assert evidence.threshold == 0


# ---- kinds of errors ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("true", "pred", "expected"),
    [
        pytest.param([(2, 2, 8, 8)], [], {"missed": (1, 0)}, id="missed"),
        pytest.param([(2, 2, 8, 8)], [(2, 2, 8, 8), (20, 10, 8, 8)], {"spurious": (0, 1)}, id="spurious"),
        pytest.param([(2, 2, 9, 12)], [(2, 2, 9, 4), (2, 6, 9, 4), (2, 10, 9, 4)], {"split": (1, 3)}, id="in three"),
        pytest.param([(2, 2, 9, 12)], [(2, 2, 9, 7), (2, 9, 9, 5)], {"split": (0, 1)}, id="split, larger part found"),
        pytest.param([(2, 2, 8, 8), (10, 2, 8, 8)], [(2, 2, 16, 8)], {"merged": (1, 0)}, id="merged, one found"),
        pytest.param(
            [(2, 2, 8, 8), (10, 2, 8, 8), (18, 2, 8, 8)], [(2, 2, 24, 8)], {"merged": (3, 1)}, id="three merged"
        ),
        pytest.param([(2, 2, 8, 8)], [(2, 2, 12, 14)], {"loose": (1, 1)}, id="loose"),
        pytest.param([(2, 2, 8, 8)], [(2, 2, 8, 8), (2, 2, 8, 7)], {"duplicate": (0, 1)}, id="duplicate"),
        pytest.param([(2, 2, 8, 8)], [(9, 9, 8, 8)], {"missed": (1, 0), "spurious": (0, 1)}, id="only a corner shared"),
    ],
)
def test_kinds_of_errors(
    tmp_path: Path, true: list[Any], pred: list[Any], expected: dict[str, tuple[int, int]]
) -> None:
    truth = truth_of([true_cell(1, box(*shape)) for shape in true])
    results = [predicted(1, box(*shape), 0.9 - n / 100) for n, shape in enumerate(pred)]
    evidence, _ = evidence_of(tmp_path, truth, results, matching.PROTOCOLS["livecell"], threshold=0.5)
    rows = breakdown.errors(evidence, {"all": np.array([0])})
    found = {row["kind"]: (row["lost_cells"], row["wrong_predictions"]) for row in rows}
    assert found == {kind: expected.get(kind, (0, 0)) for kind in breakdown.KINDS}


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(culture=cultures())
def test_every_error_has_one_kind(tmp_path: Path, culture: tuple[Record, list[Record]]) -> None:
    truth, results = culture
    if all(cell["iscrowd"] for cell in truth["annotations"]):
        return
    evidence, _ = evidence_of(tmp_path, truth, results, matching.PROTOCOLS["livecell"], threshold=0.4)
    _, false, missed = evidence.tp_fp_fn[0]
    np.testing.assert_array_equal(evidence.errors[:, 0].sum(axis=0), missed[0])
    np.testing.assert_array_equal(evidence.errors[:, 1].sum(axis=0), false[0])


# ---- strata and curves -------------------------------------------------------------------------------


def test_strata_hold_every_cell_once(tmp_path: Path) -> None:
    rng = np.random.default_rng(5)
    truth = [
        true_cell(image, box(*rng.integers(0, 12, 2), *rng.integers(2, 12, 2)))
        for image in range(1, 9)
        for _ in range(image)
    ]
    results = [predicted(cell["image_id"], cell["segmentation"], 0.9) for cell in truth[::2]]
    evidence, images = evidence_of(tmp_path, truth_of(truth, 8, "AB"), results, matching.PROTOCOLS["livecell"], 0.5)
    rows = breakdown.strata(evidence, evaluate.groups(images))
    for line, cells in (("all", 36), ("A", 16), ("B", 20)):
        for stratum in ("density", "size"):
            of_line = [row for row in rows if row["cell_line"] == line and row["stratum"] == stratum]
            assert sum(row["cells"] for row in of_line) == cells
    sizes = [row for row in rows if row["cell_line"] == "all" and row["stratum"] == "size"]
    assert sum(row["recall"] * row["cells"] for row in sizes) == pytest.approx(18)


def test_a_cell_of_half_a_pixel_more_is_in_one_range_of_sizes(tmp_path: Path) -> None:
    """Areas of polygons are no whole numbers, and one may lie on a quartile."""
    areas = [50.0, 100.5, 100.5, 150.0, 200.0, 250.0, 300.0]
    shapes = [box(4 * n, 0, 4, 4 + n) for n in range(len(areas))]
    truth = truth_of([true_cell(1, rle, area=area) for rle, area in zip(shapes, areas, strict=True)])
    (tmp_path / "truth.json").write_text(json.dumps(truth))
    _, true = read_truth(tmp_path / "truth.json")
    true = dataclasses.replace(true, area=np.array(areas))
    ranges = breakdown.size_ranges(true)
    assert [sum(low <= area <= high for area in areas) for low, high in ranges] == [3, 1, 1, 2]


def test_an_image_on_the_edge_of_two_densities_is_in_the_one_whose_label_holds_it(tmp_path: Path) -> None:
    """Of five images the quartiles are three of their densities: the page says of a bin, at most so many."""
    shapes = [box(4 * n, 0, 3, 3) for n in range(5)]
    truth = truth_of([true_cell(image + 1, rle) for image in range(5) for rle in shapes[: image + 1]], 5)
    evidence, images = evidence_of(tmp_path, truth, [], matching.PROTOCOLS["livecell"], 0.5)
    rows = breakdown.strata(evidence, {"all": np.arange(len(images))})
    found = [(row["high"] * HEIGHT * WIDTH / 1e6, row["cells"]) for row in rows if row["stratum"] == "density"]
    assert found == [pytest.approx(pair) for pair in ((2, 1 + 2), (3, 3), (4, 4), (5, 5))]


def test_a_threshold_is_kept_to_its_last_digit(tmp_path: Path) -> None:
    """Cells that score as much are counted by whoever reads it: ten digits of 2/3 would leave out each of them."""
    rle = box(0, 0, 8, 8)
    (tmp_path / "truth.json").write_text(json.dumps(truth_of([true_cell(1, rle)])))
    (tmp_path / "results.json").write_text(json.dumps([predicted(1, rle, 2 / 3)]))
    evaluate.evaluate((tmp_path / "truth.json", tmp_path / "results.json"), None, PARAMS, tmp_path / "run.json", 1)
    evaluate.compare([tmp_path / "run.json"], tmp_path / "metrics.csv")
    assert score_threshold(tmp_path / "run.json") == 2 / 3
    assert pd.read_csv(tmp_path / "metrics.csv")["score_threshold"].tolist() == [2 / 3] * 2  # all, and line A


def test_curves_agree_with_the_scores(tmp_path: Path) -> None:
    rng = np.random.default_rng(6)
    cells = [box(*rng.integers(0, 14, 2), *rng.integers(4, 10, 2)) for _ in range(8)]
    results = [predicted(1, rle, float(rng.random())) for rle in (*cells[:6], *[box(x, 20, 4, 4) for x in (0, 9, 20)])]
    truth = truth_of([true_cell(1, rle) for rle in cells])
    evidence, _ = evidence_of(tmp_path, truth, results, matching.PROTOCOLS["livecell"], threshold=0.3)
    rows = breakdown.curves(evidence, {"all": np.array([0])})
    scores = metrics.headline(evidence, np.array([0]), np.ones((1, 1), np.int64))

    def points(curve: str) -> dict[float, float]:
        return {round(row["x"], 2): row["y"] for row in rows if row["curve"] == curve}

    assert np.mean(list(points("f1_by_iou").values())) == pytest.approx(scores["f1"][0])
    assert points("f1_by_score")[0.3] == pytest.approx(scores["f1_50"][0])
    assert np.mean(list(points("precision_by_recall_50").values())) == pytest.approx(scores["mask_ap50"][0])
    assert np.mean(list(points("precision_by_recall_75").values())) == pytest.approx(scores["mask_ap75"][0])


def test_a_group_is_scored_as_if_it_were_alone(tmp_path: Path) -> None:
    rng = np.random.default_rng(7)
    truth = [true_cell(1 + n % 4, box(*rng.integers(0, 14, 2), *rng.integers(3, 10, 2))) for n in range(20)]
    results = [predicted(c["image_id"], c["segmentation"], float(rng.random())) for c in truth if rng.random() < 0.7]
    whole, images = evidence_of(tmp_path, truth_of(truth, 4, "AB"), results, matching.PROTOCOLS["livecell"], 0.5)
    part = evaluate.groups(images)["B"]
    ids = {int(i) + 1 for i in part}
    alone = truth_of([c for c in truth if c["image_id"] in ids], 4)
    alone["images"] = [image for image in alone["images"] if image["id"] in ids]
    own = [r for r in results if r["image_id"] in ids]
    evidence, _ = evidence_of(tmp_path, alone, own, matching.PROTOCOLS["livecell"], 0.5)
    once = np.ones((1, 2), np.int64)
    of_part, by_itself = metrics.headline(whole, part, once), metrics.headline(evidence, np.arange(2), once)
    for name, value in by_itself.items():
        np.testing.assert_allclose(of_part[name], value, rtol=0, atol=1e-12, err_msg=name)
    details = metrics.details(evidence, np.arange(2))
    for name, number in metrics.details(whole, part).items():
        np.testing.assert_allclose(number, details[name], rtol=0, atol=1e-12, err_msg=name)


def test_threads_change_nothing(tmp_path: Path) -> None:
    rng = np.random.default_rng(8)
    truth = [true_cell(1 + n % 5, box(*rng.integers(0, 14, 2), *rng.integers(3, 10, 2))) for n in range(40)]
    results = [predicted(c["image_id"], c["segmentation"], round(float(rng.random()), 1)) for c in truth]
    one, _ = evidence_of(tmp_path, truth_of(truth, 5, "AB"), results, matching.PROTOCOLS["livecell"], 0.5)
    many = dataclasses.replace(one, threads=4)
    weights = rng.integers(0, 3, (300, 5))
    for evidence in (one, many):
        evidence.tp_fp_fn  # noqa: B018  each computes its own
    chosen = np.arange(5)
    left, right = metrics.headline(one, chosen, weights), metrics.headline(many, chosen, weights)
    for name, values in left.items():
        np.testing.assert_array_equal(values, right[name])
