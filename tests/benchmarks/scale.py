"""How time and memory grow with a plate: 100 wells of 96 frames, made small, through every stage that sees images.

    python tests/benchmarks/scale.py [--wells 12 25 50 100]

Each stage is a process of its own on one plate. The columns: CPU seconds; seconds per 1,000 images more than the next
smaller plate has, and how that grew (1.0 is linear); largest memory, and what each further image added to it. The model
is none: bright pixels that touch are a cell. The last line tells what Snakemake itself costs, which plans as many jobs
for a plate as for an image.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import numpy as np
import yaml
from monolayer.backends import Backend
from monolayer.coco.instances import Instances
from monolayer.coco.io import read_truth, write_results
from monolayer.coco.records import CELL, Annotation, Image, Rle, Truth
from monolayer.coco.rle import box_xywh, rle_area, rles_from_crops
from monolayer.data import audit, split
from monolayer.data.dataset import samples
from monolayer.evaluation import evaluate
from monolayer.files import write_json
from monolayer.measurement import measure
from monolayer.models import predict
from monolayer.models.pipeline import Pipeline
from monolayer.models.predictor import Network, Predictor
from monolayer.params import params
from monolayer.params.data import SplitParams
from numpy.typing import NDArray
from PIL import Image as PillowImage
from scipy import ndimage

ROOT = Path(__file__).parents[2]
SIDE, TIMES, CELLS, RADIUS = 96, 96, 6, 6  # px, frames of a well, cells of a frame, px
RUNS = 3  # of each stage on each plate


# ---- the plate ---------------------------------------------------------------------------------------


def make_plate(folder: Path, wells: int) -> None:
    """Images and truth of so many wells: bright disks of equal size on noise, somewhere else in each frame."""
    rows, columns = np.mgrid[-RADIUS : RADIUS + 1, -RADIUS : RADIUS + 1]
    disk = rows**2 + columns**2 <= RADIUS**2
    (folder / "images").mkdir(parents=True)
    images, cells = list[Image](), list[Annotation]()
    for well in range(wells):
        for time in range(TIMES):
            number = len(images) + 1
            rng = np.random.default_rng(number)
            pixels = rng.normal(80, 4, (SIDE, SIDE))
            name = f"plate_w{well:03d}_t{time:03d}.png"
            for x, y in places(rng):
                pixels[y : y + disk.shape[0], x : x + disk.shape[1]][disk] += 120
                rle = rles_from_crops([(disk, x, y)], SIDE, SIDE)[0]
                cells.append(annotation(len(cells) + 1, number, rle))
            PillowImage.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(folder / "images" / name)
            images.append(frame(number, name, well, time))
    write_json(folder / "annotations.json", Truth(images=images, annotations=cells, categories=[CELL]))


def places(rng: np.random.Generator) -> list[tuple[int, int]]:
    """Upper left corners of disks that don't touch: cells of a 3x3 grid, moved a little."""
    chosen = rng.permutation(9)[:CELLS]
    moves = rng.integers(0, SIDE // 3 - 2 * RADIUS - 4, (CELLS, 2))
    third = SIDE // 3
    return [(int(n % 3 * third + dx), int(n // 3 * third + dy)) for n, (dx, dy) in zip(chosen, moves, strict=True)]


def frame(number: int, name: str, well: int, time: int) -> Image:
    return Image(
        id=number,
        file_name=name,
        width=SIDE,
        height=SIDE,
        cell_line="disk",
        well=f"w{well:03d}",
        timestamp=f"t{time:03d}",
        split=None,
    )


def annotation(number: int, image: int, rle: Rle) -> Annotation:
    box, area = box_xywh(rle), float(rle_area(rle))
    return Annotation(id=number, image_id=image, category_id=1, segmentation=rle, bbox=box, area=area, iscrowd=0)


# ---- the stages --------------------------------------------------------------------------------------


class Bright:
    """The model: connected bright pixels are a cell."""

    stride = 1

    def preprocess(self, image: NDArray[np.uint8]) -> NDArray[np.uint8]:
        return image

    def forward(self, _: Any, images: list[NDArray[np.uint8]]) -> list[NDArray[np.uint8]]:
        return images

    def postprocess(self, pixels: NDArray[np.uint8], height: int, width: int) -> Instances:
        labels, count = ndimage.label(pixels > 140)
        boxes = ndimage.find_objects(labels)
        masks = [labels[box] == number for number, box in enumerate(boxes, start=1)]
        corners = np.array([[box[1].start, box[0].start] for box in boxes], np.int32).reshape(count, 2)
        ends = np.array([[box[1].stop, box[0].stop] for box in boxes], np.float32).reshape(count, 2)
        boxes_xyxy = np.hstack([corners, ends]).astype(np.float32)
        return Instances(height, width, masks, corners, boxes_xyxy, np.linspace(1, 0.5, count, dtype=np.float32))


def settings() -> params.Params:
    return params.load(yaml.safe_load((ROOT / "params.yaml").read_text()))


def run_audit(folder: Path) -> None:
    chosen = settings().audit.model_copy(update={"near_copy": None})  # of a line's images, its time is no longer linear
    audit.audit(folder / "images", folder / "annotations.json", chosen, folder / "audit.json")


def run_split(folder: Path) -> None:
    """With nine tenths in test, so that the stages behind it see about the whole plate."""
    chosen = SplitParams(seed=0, val=0.05, test=0.9, group="well")
    split.split(folder / "annotations.json", folder / "audit.json", chosen, folder / "splits")


def run_predict(folder: Path) -> None:
    run = Predictor({"all": Network(cast(Pipeline, Bright()), cast(Backend, None))}, 8)
    todo = samples(read_truth(folder / "splits/test.json"), folder / "images")
    write_results(folder / "test.json.gz", predict.results(run, todo, "predict"))


def run_evaluate(folder: Path) -> None:
    files = folder / "splits/test.json", folder / "test.json.gz"
    evaluate.evaluate(files, None, settings().evaluate, folder / "metrics/bright.json", 1)


def run_measure(folder: Path) -> None:
    cells = measure.CellSource(folder / "test.json.gz", 0.5)
    measure.measure(folder / "images", folder / "splits/test.json", cells, settings().measure, folder / "cells")


STAGES: dict[str, Callable[[Path], None]] = {
    "audit": run_audit,
    "split": run_split,
    "predict": run_predict,
    "evaluate": run_evaluate,
    "measure": run_measure,
}


# ---- what they cost ----------------------------------------------------------------------------------


WATCH = """
import json, resource, subprocess, sys
from monolayer.coco.io import read_truth, write_results
from monolayer.files import write_json
from monolayer.coco.records import Annotation, CELL, Image, Rle, Truth
done = subprocess.run(sys.argv[1:], capture_output=True, text=True)
used = resource.getrusage(resource.RUSAGE_CHILDREN)
print(json.dumps([used.ru_utime + used.ru_stime, used.ru_maxrss / 1024]))
sys.exit(done.stderr if done.returncode else 0)
"""


def cost(command: list[str]) -> tuple[float, float]:
    """CPU seconds and largest memory (MB) of a process and its children: the least of several runs."""
    one = {**os.environ, "OMP_NUM_THREADS": "1", "NUMBA_NUM_THREADS": "1"}
    watch = [sys.executable, "-c", WATCH, *command]
    done = [subprocess.run(watch, stdout=subprocess.PIPE, check=True, env=one) for _ in range(RUNS)]
    seconds, memory = zip(*(json.loads(run.stdout) for run in done), strict=True)
    return min(seconds), min(memory)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--wells", type=int, nargs="+", default=[12, 25, 50, 100])
    parser.add_argument("--stage", choices=STAGES, help="this stage alone, on --folder; used by the benchmark itself")
    parser.add_argument("--folder", type=Path)
    args = parser.parse_args()
    if args.stage:
        STAGES[args.stage](args.folder)
        return
    print(f"{'stage':10} {'images':>7} {'CPU s':>7} {'s/1000':>7} {'growth':>7} {'MB':>6} {'kB/image':>9}")
    with tempfile.TemporaryDirectory() as name:
        plates = {wells * TIMES: Path(name) / str(wells) for wells in sorted(args.wells)}
        for wells, folder in zip(sorted(args.wells), plates.values(), strict=True):
            make_plate(folder, wells)
        for stage in STAGES:
            cost(stage_command(stage, next(iter(plates.values()))))  # compiles what numba has to compile
            show(stage, {count: cost(stage_command(stage, folder)) for count, folder in plates.items()})
    seconds, _ = cost([sys.executable, "-m", "snakemake", "--cores", "1", "--dry-run", "--forceall", "--quiet"])
    print(f"\nSnakemake: {seconds:.1f} CPU s to plan a run, whatever the number of images")


def stage_command(stage: str, folder: Path) -> list[str]:
    return [sys.executable, str(Path(__file__)), "--stage", stage, "--folder", str(folder)]


def show(stage: str, costs: dict[int, tuple[float, float]]) -> None:
    """Growth is of the cost of one more image, which leaves out what starting a process takes."""
    counts, last = list(costs), None
    for index, count in enumerate(counts):
        seconds, memory = costs[count]
        slope = growth = size = ""
        if index:
            before = counts[index - 1]
            step = (seconds - costs[before][0]) / (count - before)
            slope = f"{1000 * step:.2f}"
            growth = "" if last is None else f"{step / last:.2f}"
            size = f"{1024 * (memory - costs[before][1]) / (count - before):.1f}"
            last = step
        print(f"{stage:10} {count:7} {seconds:7.1f} {slope:>7} {growth:>7} {memory:6.0f} {size:>9}", flush=True)


if __name__ == "__main__":
    main()
