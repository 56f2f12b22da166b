"""What tracking and mending by time are worth on a real sequence: the figures of docs/tracks.md.

    python tests/benchmarks/mend.py FOLDER [--trackers laptrack motile] [--no-model] [--diameter PX]

FOLDER has images/, annotations.json (COCO, masks with track_id, images with frame, info.crop_xyxy: what bears truth)
and man_track.txt, as made of a sequence of the Cell Tracking Challenge. Tracked are its true masks, all of them and
those of every second and fourth frame, by both trackers; then, as found and mended: true masks of which some are taken
away at random and some pairs made one, and the cells that the model of the package finds.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import yaml
from monolayer.__main__ import main as monolayer
from monolayer.backends.manifest import pretrained, read_manifest
from monolayer.coco.io import write_results
from monolayer.coco.records import CELL, Annotation, Result, Truth, by_image
from monolayer.coco.rle import annotation, mask_from_rle, rle_from_mask
from monolayer.evaluation import evaluate
from monolayer.files import write_json
from monolayer.measurement.measure import CellSource
from monolayer.params import params
from monolayer.params.params import Params
from monolayer.params.tracking import TrackerParams
from monolayer.tracking.mend import mend
from monolayer.tracking.mending import track_scores
from PIL import Image as PillowImage

sys.path.insert(0, str(Path(__file__).parents[1]))
from timelapse import read_sequence

TAKEN = 0.05  # share of true cells that are taken away
MERGED = 2.0  # pairs of a frame that are made one, on the mean
NEAR = 1.5  # of a cell's diameter: how far apart two that are made one lie


def every(truth: Truth, step: int) -> Truth:
    """Every so many frames of it; a cell whose mother was seen in none of them has none."""
    images = truth["images"][::step]
    shown = {image["id"] for image in images}
    cells = [cell for cell in truth["annotations"] if cell["image_id"] in shown]
    parents = {cell["track_id"]: cell["parent_id"] for cell in truth["annotations"]}
    seen = {cell["track_id"] for cell in cells}

    def mother(track: int) -> int:
        while track and track not in seen:
            track = parents.get(track, 0)
        return track

    kept = [Annotation(**{**cell, "parent_id": mother(cell["parent_id"])}) for cell in cells]
    return Truth(images=images, annotations=kept, categories=[CELL])


def damaged(truth: Truth) -> tuple[list[Result], int, int]:
    """The true masks as results, some taken away and some pairs made one; how many of each."""
    rng = np.random.default_rng(0)
    results, taken, merged = list[Result](), 0, 0
    for image, cells in by_image(truth["annotations"]).items():
        masks = [mask_from_rle(cell["segmentation"]) for cell in cells]
        stay = [mask for mask in masks if rng.random() >= TAKEN]
        taken += len(masks) - len(stay)
        for _ in range(rng.poisson(MERGED)):
            one = int(rng.integers(len(stay)))
            centres = np.array([np.argwhere(mask).mean(0) for mask in stay])
            away = np.hypot(*(centres - centres[one]).T)
            away[one] = np.inf
            other = int(away.argmin())
            if away[other] < NEAR * 2 * (stay[one].sum() / np.pi) ** 0.5:
                stay[one] = stay[one] | stay.pop(other) if other > one else stay.pop(other) | stay[one - 1]
                merged += 1
        for mask in stay:
            made = annotation(1, image, rle_from_mask(mask))
            common = {"image_id": image, "category_id": 1, "segmentation": made["segmentation"], "bbox": made["bbox"]}
            results.append(Result(**common, score=0.9))  # type: ignore[typeddict-item]
    return results, taken, merged


def row(table: pd.DataFrame) -> str:
    [found] = table.to_dict("records")
    tp, fp, fn = (found[f"division_{kind}"] for kind in ("tp", "fp", "fn"))
    f1 = 2 * tp / max(1, 2 * tp + fp + fn)
    return f"TRA {found['tra']:.4f}, SEG {found['seg']:.3f}, DET {found['det']:.4f}, division F1 {f1:.2f}"


def both_ways(truth: Path, found: Path, least: float, how: Params, folder: Path) -> None:
    """Scores of results, and of the same mended."""
    made = folder / "results.json"
    counts = mend(truth, CellSource(found, least), how.track, made)
    for name, results in (("as found", found), ("mended", made)):
        scores: dict[str, Any] = evaluate.evaluate((truth, results), None, how.evaluate, folder / f"{name}.json", 2)
        print(
            f"  {name}: mask AP {scores['mask_ap']:.3f}, {row(track_scores(truth, CellSource(results, least), TRACK))}"
        )
    print(f"  {counts['raised']} raised, {counts['parted']} parted, {counts['put in']} put in")


def crops(source: Path, truth: Truth, part: tuple[int, int, int, int], folder: Path) -> None:
    folder.mkdir()
    for image in truth["images"]:
        [path] = (source / "images").glob(f"{Path(image['file_name']).stem}.*")
        with PillowImage.open(path) as opened:
            opened.crop(part).save(folder / image["file_name"])


HOW = params.load(yaml.safe_load(Path("params.yaml").read_text()))
TRACK: TrackerParams = HOW.track.of().model_copy(update={"files": []})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--trackers", nargs="*", default=["laptrack", "motile"], help="motile takes minutes")
    parser.add_argument("--no-model", action="store_true", help="leave out the cells that the model finds")
    parser.add_argument("--diameter", help="of the cells in px, for the model (default: its own scale)")
    args = parser.parse_args()
    whole, part = read_sequence(args.folder)
    print(f"{len(whole['images'])} frames, {len(whole['annotations'])} true cells")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for step in (1, 2, 4):
            path = folder / f"every{step}.json"
            write_json(path, every(whole, step))
            for tracker in args.trackers:
                started = time.process_time()
                table = track_scores(path, CellSource(None, 0), TRACK.model_copy(update={"tracker": tracker}))
                seconds = time.process_time() - started
                print(f"true masks, every {step}, {tracker}: {row(table)}; {seconds:.0f} s", flush=True)
        truth, found = folder / "every1.json", folder / "found.json"
        results, taken, merged = damaged(whole)
        write_results(found, results)
        print(f"true masks, {taken} taken away and {merged} pairs made one")
        both_ways(truth, found, 0.5, HOW, folder)
        if not args.no_model:
            crops(args.folder, whole, part, folder / "images")
            words = ["predict", "--images", str(folder / "images"), "--results", str(found)]
            assert monolayer([*words, *(["--diameter", args.diameter] if args.diameter else [])]) == 0
            print(f"cells of the model of the package, diameter {args.diameter or 'its own'}")
            both_ways(truth, found, read_manifest(pretrained())[1].score_threshold, HOW, folder)


if __name__ == "__main__":
    main()
