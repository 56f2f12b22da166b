"""What test-time augmentation, saddle ratios and the ranking are worth: scores of one exported U-Net with each, on val.

    python tests/benchmarks/dense.py results/phase_contrast unet_distance [--split val] [--images 16]

Best F1 over score thresholds; the network runs once for each.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from monolayer.coco.instances import Instances
from monolayer.coco.io import read_truth, write_results
from monolayer.data.dataset import Sample, evenly, read_image, samples
from monolayer.evaluation.evaluate import evaluate
from monolayer.files import write_json
from monolayer.models import predictor
from monolayer.models.unet.pipeline import Pipeline
from monolayer.models.unet.watershed import Float, instances, separate
from monolayer.params.steps import EvaluateParams
from numpy.typing import NDArray

SHOWN = ("mask_ap", "mask_ap50", "f1_50")
PROTOCOL = EvaluateParams(protocol="livecell", n_resamples=1, seed=0, resample="image")


def outputs(path: Path, tta: int, some: Sequence[Sample], threads: int) -> list[NDArray[np.float16]]:
    """Maps of each image, as float16: hundreds of images fit in memory."""
    run = predictor.load(path, threads=threads, tta=tta)
    maps = []
    for sample in some:
        network = run.network(sample.image["cell_line"])
        [one] = network.pipeline.forward(network.backend, [network.pipeline.preprocess(read_image(sample.path))])
        maps.append(one.astype(np.float16))
    return maps


def cells(maps: Float, pipeline: Pipeline, saddle_ratio: float, ranking: bool) -> Instances:
    """As the finder has them; without `ranking`, by the mean foreground probability alone."""
    return instances(maps if ranking else maps[:1], separate(maps, pipeline.thresholds, saddle_ratio))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("results", type=Path)
    parser.add_argument("run")
    parser.add_argument("--split", default="val", choices=["val", "test"])
    parser.add_argument("--images", type=int, default=16, help="at most, evenly over the split")
    parser.add_argument("--tta", type=int, nargs="+", default=[1, 2, 8])
    parser.add_argument("--threads", type=int, default=2)
    args = parser.parse_args()
    path, truth = args.results / "export" / args.run, args.results / "splits" / f"{args.split}.json"
    some = evenly(samples(read_truth(truth), args.results / "data" / "images"), args.images)
    lines = ["all", *sorted({sample.image["cell_line"] for sample in some})]
    pipeline = predictor.load(path, threads=1).networks["all"].pipeline
    assert isinstance(pipeline, Pipeline)
    print(f"{'':34}" + "".join(f"{line:>24}" for line in lines))
    print(f"{'':34}" + "     AP   AP50     F1   " * len(lines))
    with tempfile.TemporaryDirectory() as folder:
        shown = {sample.image["id"] for sample in some}
        part = read_truth(truth)
        part["images"] = [image for image in part["images"] if image["id"] in shown]
        part["annotations"] = [one for one in part["annotations"] if one["image_id"] in shown]
        truth = Path(folder) / "truth.json"
        write_json(truth, part)
        for tta in args.tta:
            maps = outputs(path, tta, some, args.threads)
            for saddle_ratio, ranking in ((0.0, False), (0.0, True), (pipeline.settings.saddle_ratio, True)):
                file = Path(folder) / f"{tta}.{saddle_ratio}.{ranking}.json.gz"
                found = (cells(one.astype(np.float32), pipeline, saddle_ratio, ranking) for one in maps)
                write_results(file, (r for s, one in zip(some, found, strict=True) for r in one.results(s.image["id"])))
                scores = evaluate((truth, file), None, PROTOCOL, Path(folder) / "scores.json", args.threads)
                ranked = "distance too" if ranking else "probability"
                name = f"tta {tta}, saddle ratio {saddle_ratio:g}, {ranked}"
                print(f"{name:34}", end="")
                for line in lines:
                    prefix = "" if line == "all" else f"{line}/"
                    print("".join(f"{scores[prefix + metric] or 0:7.3f}" for metric in SHOWN) + "   ", end="")
                print(flush=True)


if __name__ == "__main__":
    main()
