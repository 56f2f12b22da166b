"""Mended cells: what vanishes, what was found with too low a score, and two that are one for a frame, come back."""

from __future__ import annotations

import json
from pathlib import Path

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
    write_json(folder / "truth.json", truth)
    write_results(folder / "found.json", results)
    links = LinkParams(**{name: getattr(LINKS, name) for name in LinkParams.model_fields})
    words = ["mend", "--truth", str(folder / "truth.json"), "--results", str(folder / "found.json")]
    words += ["--score-min", "0.5", "--params", links.model_dump_json(), "--output", str(folder / "mended.json")]
    assert main(words) == 0
    made_of: Frames = {number: [] for number in frames}
    for cell in json.loads((folder / "mended.json").read_text()):
        made_of[cell["image_id"]].append((cell["score"], mask_from_rle(cell["segmentation"])))
    return made_of


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
