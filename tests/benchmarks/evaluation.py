"""How fast and how large evaluation is, as ratios to pycocotools in one run on one machine.

python tests/benchmarks/evaluation.py          12 images of 320 cells and 960 predictions
python tests/benchmarks/evaluation.py --large  1,564 images of 300 cells and 1,000 predictions, without pycocotools
"""

from __future__ import annotations

import argparse
import contextlib
import gzip
import io
import json
import os
import resource
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from monolayer.coco import table as cells
from monolayer.coco.io import write_results
from monolayer.coco.records import CELL, Rle
from monolayer.coco.rle import box_xywh, rle_area, rles_from_crops
from monolayer.evaluation import evaluate, matching, metrics
from monolayer.files import write_json
from monolayer.params.steps import EvaluateParams

HEIGHT, WIDTH = 520, 704
PROTOCOL = matching.PROTOCOLS["livecell"]
PARAMS = EvaluateParams(protocol="livecell", n_resamples=1000, seed=0, resample="image")


def ellipse(cell: np.ndarray[Any, Any]) -> Rle:
    """RLE of an ellipse (x, y, semi-axes a and b) with its pixels inside the image."""
    x, y, a, b = cell
    x0, y0 = max(0, int(x - a)), max(0, int(y - b))
    x1, y1 = min(WIDTH, int(x + a) + 2), min(HEIGHT, int(y + b) + 2)
    v, u = np.mgrid[y0:y1, x0:x1]
    return rles_from_crops([(((u - x) / a) ** 2 + ((v - y) / b) ** 2 <= 1, x0, y0)], HEIGHT, WIDTH)[0]


def draw(count: int, rng: np.random.Generator) -> Any:
    """CellTable (count, 4): x, y and semi-axes, crowded as in a confluent culture."""
    return np.c_[rng.uniform(8, WIDTH - 8, count), rng.uniform(8, HEIGHT - 8, count), rng.uniform(5, 14, (count, 2))]


def write_set(folder: Path, images: int, true: int, pred: int) -> tuple[Path, Path]:
    """Write truth and results: predictions are shaken true cells, the better the higher their score, and noise."""
    rng = np.random.default_rng(0)
    lines = min(8, images // 6 or 1)
    frames = [
        {"id": i + 1, "file_name": f"{i}.png", "height": HEIGHT, "width": WIDTH, "cell_line": f"line{i % lines}"}
        for i in range(images)
    ]
    cultures = [draw(true, rng) for _ in range(images)]
    annotations: list[dict[str, Any]] = []
    for image, culture in enumerate(cultures, start=1):
        for rle in map(ellipse, culture):
            area, box = float(rle_area(rle)), box_xywh(rle)
            annotations.append(
                {"id": len(annotations) + 1, "image_id": image, "category_id": 1, "iscrowd": 0}
                | {"segmentation": rle, "bbox": box, "area": area}
            )

    def results() -> Iterator[Any]:
        for image, culture in enumerate(cultures, start=1):
            shake = rng.exponential(1.5, pred)
            found = culture[np.arange(pred) % true] + rng.normal(0, 1, (pred, 4)) * shake[:, None]
            found[true * 2 :] = draw(max(0, pred - true * 2), rng)
            found = np.c_[
                np.clip(found[:, 0], 5, WIDTH - 5), np.clip(found[:, 1], 5, HEIGHT - 5), np.maximum(found[:, 2:], 3)
            ]
            scores = np.clip(1 / (1 + shake) + rng.normal(0, 0.1, pred), 0, 1)
            for cell, score in zip(found, scores, strict=True):
                rle = ellipse(cell)
                box = box_xywh(rle)
                record = {"image_id": image, "category_id": 1, "segmentation": rle, "bbox": box}
                yield record | {"score": round(float(score), 5)}

    write_json(folder / "truth.json", {"images": frames, "annotations": annotations, "categories": [CELL]})
    write_results(folder / "results.json.gz", results())
    return folder / "truth.json", folder / "results.json.gz"


# ---- evaluators: from files to precision (T, R, A) and recall (T, A, M) of masks and boxes ----------


def by_library(module: str, truth: Path, results: Path) -> list[Any]:
    """pycocotools, or a library with its interface."""
    if module == "pycocotools":
        from pycocotools.coco import COCO as Coco
        from pycocotools.cocoeval import COCOeval as Evaluator
    elif module == "faster_coco_eval":
        from faster_coco_eval import COCO as Coco
        from faster_coco_eval import COCOeval_faster as Evaluator
    else:
        from hotcoco import COCO as Coco
        from hotcoco import COCOeval as Evaluator
    found = []
    with contextlib.redirect_stdout(io.StringIO()):
        true = Coco(str(truth))
        with gzip.open(results) as file:
            records = json.load(file)
        for kind in ("segm", "bbox"):
            of_kind = [{k: v for k, v in r.items() if kind == "bbox" or k != "bbox"} for r in records]
            evaluator = Evaluator(true, true.loadRes(of_kind), kind)
            evaluator.params.maxDets = list(PROTOCOL.max_dets)
            evaluator.params.areaRng = [list(limits) for limits in PROTOCOL.area_ranges]
            evaluator.params.areaRngLbl = ["all", "small", "medium", "large"]
            evaluator.params.useCats = 0
            evaluator.evaluate()
            evaluator.accumulate()
            precision, recall = (np.asarray(evaluator.eval[name]) for name in ("precision", "recall"))
            shape = (10, 101, 1, 4, 3)
            found += [precision.reshape(shape)[:, :, 0, :, -1], recall.reshape(10, 1, 4, 3)[:, 0]]
    return found


def by_monolayer(truth: Path, results: Path, threads: int) -> list[Any]:
    images, true = cells.read_truth(truth)
    pred = cells.read_results(results, images)
    setting = matching.setting(true, pred, images, PROTOCOL, threads)
    chosen, once = np.arange(len(images)), np.ones((1, len(images)), np.int64)
    found = []
    mask_pairs, _ = matching.mask_pairs(true, pred, setting)
    box_pairs = matching.box_pairs(true, pred, setting)
    box_area = pred.boxes_xywh[:, 2] * pred.boxes_xywh[:, 3]
    for matches in (
        matching.match_masks(true, pred, mask_pairs, setting),
        matching.match(true, box_pairs, pred.score, box_area, setting),
    ):
        curves = [metrics.precision_curve(matches, area, chosen) for area in range(4)]
        recalls = [
            [
                metrics.recall((matches.counts(1, area, matches.rank < cap), matches.positives[area]), chosen, once)[0]
                for cap in PROTOCOL.max_dets
            ]
            for area in range(4)
        ]
        found += [np.stack(curves, axis=-1), np.array(recalls).transpose(2, 0, 1)]
    return found


class Spent(NamedTuple):
    """Seconds on the clock, and of all processors, which a busy machine stretches less."""

    wall: float
    cpu: float

    def __str__(self) -> str:
        return f"{self.wall:.2f} s ({self.cpu:.2f} s CPU)"

    def ratio(self, other: Spent) -> str:
        return f"{self.wall / other.wall:.2f} (CPU {self.cpu / other.cpu:.2f})"


def timed(work: Callable[[], Any]) -> tuple[Spent, Any]:
    wall, cpu = time.perf_counter(), time.process_time()
    found = work()
    return Spent(time.perf_counter() - wall, time.process_time() - cpu), found


def gap(found: list[Any], expected: list[Any]) -> float:
    """Largest difference; -1 of pycocotools stands for undefined."""
    pairs = zip(found, expected, strict=True)
    return max(float(np.abs(np.nan_to_num(one, nan=-1) - np.nan_to_num(other, nan=-1)).max()) for one, other in pairs)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--large", action="store_true")
    parser.add_argument("--libraries", nargs="*", default=["faster_coco_eval", "hotcoco", "pycocotools"])
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "warm").mkdir()
        warm = write_set(folder / "warm", 2, 5, 10)
        evaluate.evaluate(warm, warm, PARAMS, folder / "warm.json", args.threads)  # compiles
        files = write_set(folder, *((1564, 300, 1000) if args.large else (12, 320, 960)))
        whole, _ = timed(lambda: evaluate.evaluate(files, None, PARAMS, folder / "run.json", args.threads))
        memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
        print(f"whole protocol, 1,000 draws: {whole} on {args.threads} threads, {memory:.2f} GB", flush=True)
        bare, found = timed(lambda: by_monolayer(*files, args.threads))
        print(f"bare, files to AP and AR of masks and boxes: {bare}; mask AP {found[0][..., 0].mean():.4f}", flush=True)
        print(f"whole / bare: {whole.ratio(bare)}", flush=True)
        for module in [] if args.large else args.libraries:
            spent, expected = timed(lambda module=module: by_library(module, *files))  # type: ignore[misc]
            print(
                f"{module}: {spent}; / bare: {spent.ratio(bare)}; whole / {module}: {whole.ratio(spent)}; "
                f"largest difference {gap(found, expected):.1e}",
                flush=True,
            )


if __name__ == "__main__":
    main()
