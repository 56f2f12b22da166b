"""Ratios of deployment, on the default run's results: ours beside ultralytics, post-processing, exports beside torch.

python tests/benchmarks/deployment.py [results folder, results/demo] [threads, 2]

Needs a finished default run. Images with hundreds of cells are mosaics of its test fields. All that is compared is
measured in turns in one process, so that other load meets all alike; CPU times are of all threads of the process.
"""

from __future__ import annotations

import json
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from monolayer import models
from monolayer.backends import cuda
from monolayer.backends.manifest import read_manifest
from monolayer.coco import table as cells_of
from monolayer.coco.io import read_truth, write_results
from monolayer.coco.records import CELL
from monolayer.coco.rle import box_xywh, mask_from_rle, rle_area, rles_from_crops
from monolayer.data.dataset import Sample, evenly, read_image, samples
from monolayer.deployment import benchmark, parity
from monolayer.files import write_json
from monolayer.models import predict, predictor
from monolayer.models.predict import frames
from monolayer.models.predictor import Predictor
from monolayer.models.yolo.pipeline import STRIDE
from monolayer.params import params
from monolayer.params.families import YoloPredict
from monolayer.params.steps import BenchmarkSettings, PredictParams
from PIL import Image as PillowImage
from pycocotools import mask as rle_codec

ROUNDS = 3
SPELL = 40  # s; threads of a shared machine have but one core between them for some seconds now and then
ROOT = Path(__file__).parents[2]


def mosaics(fields: list[Sample], side: int, count: int, folder: Path) -> Path:
    """Images of side x side fields, and their truth; the cells of one field stay as they are."""
    images: list[Any] = []
    cells: list[Any] = []
    height, width = (min(int(field.image[of]) for field in fields) for of in ("height", "width"))
    for number in range(count):
        name = f"mosaic_{number}.png"
        pixels = np.zeros((height * side, width * side), np.uint8)
        for place in range(side * side):
            field = fields[(number * side * side + place) % len(fields)]
            y, x = (place // side) * height, (place % side) * width
            pixels[y : y + height, x : x + width] = read_image(field.path)[:height, :width]
            for annotation in field.annotations:
                mask = mask_from_rle(annotation["segmentation"])[:height, :width]
                if mask.any():
                    rle = rles_from_crops([(mask, x, y)], *pixels.shape)[0]
                    new = {"id": len(cells) + 1, "image_id": number + 1, "segmentation": rle}
                    cells.append({**annotation, **new, "bbox": box_xywh(rle), "area": float(rle_area(rle))})
        PillowImage.fromarray(pixels).save(folder / name)
        size = {"height": pixels.shape[0], "width": pixels.shape[1]}
        images.append({**fields[0].image, **size, "id": number + 1, "file_name": name})
    write_json(folder / "truth.json", {"images": images, "annotations": cells, "categories": [CELL]})
    return folder / "truth.json"


def best_in_turns(works: dict[str, Callable[[], Any]]) -> dict[str, tuple[float, float]]:
    """The shortest wall time and CPU time in s of each, after one round to warm up."""
    found = dict.fromkeys(works, (float("inf"), float("inf")))
    for turn in range(ROUNDS + 1):
        for name, work in works.items():
            wall, busy = time.perf_counter(), time.process_time()
            work()
            spent = time.perf_counter() - wall, time.process_time() - busy
            if turn:
                found[name] = min(found[name][0], spent[0]), min(found[name][1], spent[1])
    return found


def of_library(network: Any, paths: list[Path], settings: YoloPredict, output: Path) -> None:
    """ultralytics' predict with masks at native size, and their RLE, as COCO JSON."""
    from ultralytics.models import YOLO

    model: Any = YOLO("yolo11n-seg.yaml", task="segment")
    model.model = network
    results = []
    for number, path in enumerate(paths, 1):
        [found] = model.predict(
            path,
            imgsz=settings.imgsz,
            conf=settings.score_min,
            iou=settings.nms_iou,
            max_det=settings.max_det,
            retina_masks=True,
            verbose=False,
            device="cpu",
        )
        if found.masks is None:
            continue
        masks = np.asfortranarray(found.masks.data.cpu().numpy().astype(np.uint8).transpose(1, 2, 0))
        for rle, score, box in zip(
            rle_codec.encode(masks), found.boxes.conf.tolist(), found.boxes.xywh.tolist(), strict=True
        ):
            rle["counts"] = rle["counts"].decode()
            results.append({"image_id": number, "category_id": 1, "segmentation": rle, "score": score, "bbox": box})
    output.write_text(json.dumps(results))


def hela(results: Path) -> list[Sample]:
    """The test fields of the demo's crowded line."""
    every = samples(read_truth(results / "splits/test.json"), results / "data/images")
    return [field for field in every if field.image["cell_line"] == "HeLa"]


def beside_ultralytics(results: Path, threads: int, folder: Path) -> None:
    truth = mosaics(hela(results), 4, 2, folder)
    todo = samples(read_truth(truth), folder)
    # At native size neither of them scales or fills up the image: what they find should be the same.
    side = max(size for sample in todo for size in (sample.image["height"], sample.image["width"]))
    settings = YoloPredict(imgsz=side // STRIDE * STRIDE, batch=1, score_min=0.01, nms_iou=0.7, max_det=3000)
    _, networks = models.load_weights(results / "models/yolo/weights.pt", "cpu")
    network = networks["all"]
    run = predictor.load(results / "export/yolo", threads=threads, settings=settings)
    eager = predictor.from_weights(results / "models/yolo/weights.pt", settings, threads)
    files = {name: folder / f"{name}.json.gz" for name in ("ours", "ours in torch")} | {
        "ultralytics": folder / "ultralytics.json"
    }
    works: dict[str, Callable[[], Any]] = {
        "ultralytics": lambda: of_library(network, [s.path for s in todo], settings, files["ultralytics"]),
        "ours in torch": lambda: write_results(files["ours in torch"], predict.results(eager, todo, "")),
        "ours": lambda: write_results(files["ours"], predict.results(run, todo, "")),
    }
    times = best_in_turns(works)
    cells = [len(sample.annotations) for sample in todo]
    print(f"\nFiles to COCO JSON with native-size masks, {len(todo)} images of {cells} cells, {settings.imgsz} px:")
    for name, (wall, busy) in times.items():
        images, true = cells_of.read_truth(truth)
        ap = parity.mask_ap(images, true, cells_of.read_results(files[name], images))
        print(f"  {name:14s} {wall:7.2f} s wall {busy:7.2f} s CPU, mask AP {ap:.3f}")
    for kind, index in (("wall", 0), ("CPU", 1)):
        print(f"  ours is {times['ultralytics'][index] / times['ours'][index]:.2f} times as fast ({kind}); asked: 1.5")


def shares(results: Path, threads: int, folder: Path) -> None:
    """Post-processing's part of the time from file to run lengths, at 640 px."""
    fields = hela(results)
    settings = YoloPredict(imgsz=640, batch=1, score_min=0.01, nms_iou=0.7, max_det=3000)
    run = predictor.load(results / "export/yolo", threads=threads, settings=settings)
    for side in (2, 3):
        place = folder / str(side)
        place.mkdir()
        todo = samples(read_truth(mosaics(fields, side, 2, place)), place)
        every = list(frames(todo))
        cells = np.mean([len(found.masks) for found in run.stream(every)])
        parts = [benchmark.one(run, frame) for frame in every for _ in range(5)]
        stages = {stage: float(np.min([part[stage] for part in parts])) for stage in parts[0]}
        after = stages["masks"] + stages["encode"]
        print(
            f"\n640 px, {cells:.0f} cells an image found, ms: "
            + ", ".join(f"{stage} {1000 * value:.1f}" for stage, value in stages.items())
            + f"\n  post-processing is {after / sum(stages.values()):.0%} of it; asked: 25 % at most"
        )


def beside_torch(results: Path, threads: int) -> None:
    """The network alone of every run, images one by one."""
    config = params.load(yaml.safe_load((ROOT / "params.yaml").read_text()))
    settings = BenchmarkSettings(threads=1, images=4, batches=[1], seconds=0.1, repeats=6)
    todo = evenly(samples(read_truth(results / "splits/test.json"), results / "data/images"), 4)
    every = list(frames(todo))
    print("\nNetwork alone, ms an image, best of several:")
    for path in sorted((results / "export").glob("*/model.json")):
        name = path.parent.name
        asked = PredictParams(settings=config.predict_params(name).settings, cpu_threads=threads)
        dtypes = [dtype for dtype in read_manifest(path)[1].dtypes if dtype != "fp16"]  # no CPU computes in it
        one = asked.settings.model_copy(update={"batch": 1})
        runs: dict[str, Predictor] = {
            "torch": predictor.from_weights(results / "models" / name / "weights.pt", one, threads),
            **{d: predictor.load(path, dtype=d, threads=threads, settings=one) for d in dtypes},
        }
        if cuda.capability():
            runs["engine"] = predictor.load(path, "tensorrt", "fp16", threads, one)
        ms = dict.fromkeys(runs, float("inf"))
        started, turns = time.perf_counter(), 0
        while turns < ROUNDS or time.perf_counter() - started < SPELL:
            turns += 1
            for key, run in runs.items():
                ms[key] = min(ms[key], *benchmark.network_alone(run, every, settings))
        text = ", ".join(f"{key} {value:.1f}" for key, value in ms.items())
        print(f"  {name:24s} {text}: onnxruntime is {ms['torch'] / ms['fp32']:.2f} times as fast; asked: 1")
        if "engine" in ms:
            alone = 1000 / ms["engine"]
            whole = max(benchmark.passes(runs["engine"], every, settings))
            print(f"    fp16 engine is {ms['torch'] / ms['engine']:.1f} times as fast as torch fp32; asked: 3")
            print(f"    end to end is {whole / alone:.0%} of the network's throughput; asked: 70 %")


def main() -> None:
    results = Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT / "results/demo"
    threads = int(sys.argv[2]) if len(sys.argv) > 2 else 2
    with tempfile.TemporaryDirectory() as folder:
        shares(results, threads, Path(folder))
        beside_torch(results, threads)
        beside_ultralytics(results, threads, Path(folder))


if __name__ == "__main__":
    main()
