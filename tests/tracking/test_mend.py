"""Mended cells: what vanishes, what was found with too low a score, and two that are one for a frame, come back."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from monolayer.__main__ import main
from monolayer.coco.io import write_results
from monolayer.coco.records import Result, Truth
from monolayer.coco.rle import annotation, mask_from_rle, rle_from_mask
from monolayer.files import write_json
from monolayer.params.steps import LinkParams
from numpy.typing import NDArray
from timelapse import LINKS, Movie

Frames = dict[int, list[tuple[float, NDArray[np.bool_]]]]  # by image: score and mask of each cell
STILL = Movie(
    {
        1: (0, [(30.0 + t, 30.0) for t in range(5)], 0),
        2: (0, [(90.0, 40.0 + t) for t in range(5)], 0),
        3: (0, [(102.5, 40.0 + t) for t in range(5)], 0),
        4: (0, [(50.0, 120.0) for _ in range(5)], 0),
    }
)


def true_masks(truth: Truth) -> Frames:
    found: Frames = {image["id"]: [] for image in truth["images"]}
    for cell in truth["annotations"]:
        found[cell["image_id"]].append((0.9, mask_from_rle(cell["segmentation"])))
    return found


def mended(folder: Path, truth: Truth, frames: Frames) -> Frames:
    """What the verb makes of them."""
    results = list[Result]()
    for number, cells in frames.items():
        for score, mask in cells:
            made = annotation(1, number, rle_from_mask(mask))
            common = {"image_id": number, "category_id": 1, "segmentation": made["segmentation"]}
            results.append(Result(**common, bbox=made["bbox"], score=score))  # type: ignore[typeddict-item]
    made_of: Frames = {number: [] for number in frames}
    for cell in mended_records(folder, truth, results):
        made_of[cell["image_id"]].append((cell["score"], mask_from_rle(cell["segmentation"])))
    return made_of


def mended_records(folder: Path, truth: Truth, results: Sequence[Any]) -> list[dict[str, Any]]:
    """The records that the verb makes of these."""
    write_json(folder / "truth.json", truth)
    write_results(folder / "found.json", results)
    links = LinkParams(**{name: getattr(LINKS, name) for name in LinkParams.model_fields})
    words = ["mend", "--truth", str(folder / "truth.json"), "--results", str(folder / "found.json")]
    words += ["--score-min", "0.5", "--params", links.model_dump_json(), "--output", str(folder / "mended.json")]
    assert main(words) == 0
    made: list[dict[str, Any]] = json.loads((folder / "mended.json").read_text())
    return made


def overlaps(cells: list[tuple[float, NDArray[np.bool_]]], true: list[tuple[float, NDArray[np.bool_]]]) -> list[float]:
    """Of each true cell the best IoU with one that counts."""
    return [max(((m & t).sum() / (m | t).sum() for s, m in cells if s >= 0.5), default=0.0) for _, t in true]


def test_whole_frames_stay_as_they_are(tmp_path: Path) -> None:
    truth = STILL.truth()
    frames = true_masks(truth)
    for number, cells in mended(tmp_path, truth, frames).items():
        assert [score for score, _ in cells] == [0.9] * 4
        assert all((a == b).all() for (_, a), (_, b) in zip(cells, frames[number], strict=True))


@pytest.mark.parametrize("what", ["gone", "faint", "merged"])
def test_a_frame_is_mended_by_those_beside_it(tmp_path: Path, what: str, capsys: pytest.CaptureFixture[str]) -> None:
    truth = STILL.truth()
    frames, true = true_masks(truth), true_masks(truth)
    (_, one), (_, two), (_, three), (_, four) = frames[3]
    frames[3] = {
        "gone": [(0.9, two), (0.9, three), (0.8, four)],
        "faint": [(0.9, two), (0.9, three), (0.8, four), (0.3, one)],
        "merged": [(0.9, one), (0.9, two | three), (0.8, four)],
    }[what]
    found = mended(tmp_path, truth, frames)
    assert min(overlaps(frames[3], true[3])) < 0.6
    assert min(overlaps(found[3], true[3])) > 0.8
    assert len(found[3]) == 4
    assert {n: len(cells) for n, cells in found.items()} == dict.fromkeys(range(1, 6), 4)
    counts = {"gone": (0, 0, 1), "faint": (1, 0, 0), "merged": (0, 1, 0)}[what]
    assert "{} cells raised, {} parted, {} put in".format(*counts) in capsys.readouterr().err


def detected(truth: Truth, *, named: bool) -> list[dict[str, Any]]:
    """The true cells as a detector says them: boxes of its own, two scores, and polygons for some; worst first."""
    names = {image["id"]: image["file_name"] for image in truth["images"]}
    found = list[dict[str, Any]]()
    for number, cell in enumerate(truth["annotations"]):
        x, y, width, height = cell["bbox"]
        where = {"file_name": names[cell["image_id"]]} if named else {"image_id": cell["image_id"]}
        square = [[x, y, x + width, y, x + width, y + height, x, y + height]]
        rest = {"category_id": 3, "segmentation": square if number % 3 == 0 else cell["segmentation"]}
        scores = {"score": 0.9 - number / 1000, "mask_score": 0.6 + number / 1000}
        found.append({**where, **rest, "bbox": [x - 2.5, y - 2.5, width + 5, height + 5], **scores, "note": number})
    return found


@pytest.mark.parametrize("named", [False, True])
def test_what_is_not_mended_stays_to_the_last_digit(tmp_path: Path, named: bool) -> None:
    """Box, both scores, category, the mask's form, what else a record says, and the order."""
    truth = STILL.truth()
    results = detected(truth, named=named)
    assert mended_records(tmp_path, truth, results) == results
    gone = [record for record in results if record["note"] not in (9, 12)]  # a cell of the third frame and the fourth
    made = mended_records(tmp_path, truth, gone)
    assert made[: len(gone)] == gone
    assert len(made) == len(results)
    assert {tuple(record) for record in made[len(gone) :]} == {
        ("file_name" if named else "image_id", "category_id", "segmentation", "bbox", "score", "mask_score")
    }
    for new, lost in zip(made[len(gone) :], (results[9], results[12]), strict=True):
        assert new["category_id"] == 3
        before, after = results[lost["note"] - 4], results[lost["note"] + 4]
        assert new["score"] == min(before["score"], after["score"])
        assert new["mask_score"] == min(before["mask_score"], after["mask_score"])
        key = "file_name" if named else "image_id"
        assert new[key] == lost[key]


def test_a_faint_cell_that_is_raised_keeps_all_but_its_scores(tmp_path: Path) -> None:
    truth = STILL.truth()
    results = detected(truth, named=False)
    results[10] |= {"score": 0.95, "mask_score": 0.2}
    made = mended_records(tmp_path, truth, results)
    assert made[10] == results[10] | {"score": 0.95, "mask_score": results[6]["mask_score"]}
    assert made[:10] + made[11:] == results[:10] + results[11:]
