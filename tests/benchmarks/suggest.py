"""Whether a model learns more of the images that `suggest` names than of as many drawn at random.

python tests/benchmarks/suggest.py POOL [--sizes 4 8 12] [--seeds 0 1 2 3] [--keep FOLDER]

POOL is a line that the base model never saw: T98G (Usiigaci), cort or A172. The base is a small U-Net that it trains
first on shsy5y of the competition and on the lines of the LIVECell sample but A172, some minutes of a core. Its truth
stands for the annotator. So many images are annotated, those that `suggest` names by the base, or as many at random;
the base is trained on from its own weights on them, as in docs/finetune.md, and scored on test images that are in no
pool: mask AP, the mean over seeds (of training, and of what is drawn), with 95 % intervals over test images and seeds,
paired by both. `untuned` is the same network from scratch on the random images.

Real images have to lie in ../shared/data.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Callable, Sequence
from itertools import product
from pathlib import Path
from typing import Any, NamedTuple, cast

import numpy as np
import torch
import yaml
from monolayer.backends.eager import eager
from monolayer.backends.manifest import CellDiameters, pretrained
from monolayer.coco.io import write_results
from monolayer.coco.records import CELL, Image, Truth
from monolayer.compiled import Floats
from monolayer.data import dataset
from monolayer.data.dataset import Sample, evenly
from monolayer.data.download import write_images
from monolayer.data.plane import ANY
from monolayer.data.sources import coco, livecell
from monolayer.evaluation import evaluate
from monolayer.evaluation.bootstrap import interval
from monolayer.files import write_json
from monolayer.finetuning.alike import near_copies_among
from monolayer.finetuning.choosing import Learned, choose
from monolayer.finetuning.looking import Reading, look_at
from monolayer.models.pipeline import pipeline
from monolayer.models.predictor import Network, Predictor
from monolayer.models.unet import family
from monolayer.params.data import CocoSource, LivecellSource
from monolayer.params.families import UnetPredict, UnetTrain
from monolayer.params.params import Params, load
from monolayer.params.steps import EvaluateParams
from snakemake.utils import update_config

ROOT = Path(__file__).parents[2]
DATA = ROOT.parent / "shared" / "data"
PARAMS = EvaluateParams(protocol="livecell", n_resamples=1000, seed=0, resample="image")
ALIKE = ("set04", "set23", "set30", "set37", "set39", "set40")  # T98G: in the pool, all of them
ARMS = ("random", "suggested", "untuned")
BASE = {"stem": 2, "patches": 1600, "val_images": 6, "patch": 192, "diameter": None, "weights": "none"}
BASE_FIT = {"epochs": 10, "learning_rate": 0.004, "warmup_steps": 100, "ema_decay": 0.995}  # 2,000 steps


class Pool(NamedTuple):
    """Images that may be annotated, those that choose the epoch, those that judge; and what is trained on."""

    free: list[Sample]
    val: list[Sample]
    test: list[Sample]
    settings: UnetTrain
    predict: UnetPredict
    base: Learned


class Tuned(NamedTuple):
    network: Any
    predictor: Predictor
    threshold: float  # of scores, the best on val


def params_of(*names: str) -> Params:
    config = yaml.safe_load((ROOT / "params.yaml").read_text())
    for name in names:
        update_config(config, yaml.safe_load((ROOT / f"workflow/studies/{name}.yaml").read_text()))
    return load(config)


def tuning() -> tuple[UnetTrain, UnetPredict]:
    """As docs/finetune.md has it: 40 steps."""
    params = params_of("few_images")
    return cast(UnetTrain, params.train_params("tuned").settings), cast(
        UnetPredict, params.predict_params("tuned").settings
    )


def laid_out(truth: Truth, read: Callable[[Image], Any], images: Sequence[Image], folder: Path) -> list[Sample]:
    folder.mkdir(parents=True, exist_ok=True)
    write_images(list(images), read, folder)
    ids = {image["id"] for image in images}
    cells = [cell for cell in truth["annotations"] if cell["image_id"] in ids]
    return dataset.samples(Truth(images=list(images), annotations=cells, categories=[CELL]), folder)


def of_lines(work: Path) -> list[list[Sample]]:
    """All of the competition, of LIVECell's sample and of Usiigaci."""
    params = params_of("phase_contrast", "phase_contrast_fields")
    parts = cast(Any, params.datasets["phase_contrast_fields"]).parts
    found = []
    for name, source, collect in (
        ("sartorius", CocoSource, coco.collect),
        ("livecell", LivecellSource, livecell.collect),
        ("usiigaci", CocoSource, coco.collect),
    ):
        truth, read = collect(cast(Any, parts[name]), work)
        assert isinstance(parts[name], source)
        found.append(laid_out(truth, read, truth["images"], work / name))
    return found


def left_out(work: Path, line: str, shown: int, weights: Path) -> Pool:
    """Of a line; the base is trained once and kept in `weights`."""
    competition, sample, second_microscope = of_lines(work)
    mine = [one for one in [*competition, *sample, *second_microscope] if one.image["cell_line"] == line]
    known = [one for one in competition if one.image["cell_line"] == "shsy5y"]
    known += [one for one in sample if one.image["cell_line"] != "A172"]
    settings, predict = tuning()
    own = settings.model_copy(update=BASE | {"fit": settings.fit.model_copy(update=BASE_FIT)})
    if not weights.exists():
        started = time.process_time()
        rng = np.random.default_rng(0)
        drawn = [known[index] for index in rng.permutation(len(known))]
        state = family.train(drawn[6:], drawn[:6], own, 0, work / "base").state
        torch.save({"networks": {"all": state}}, weights)
        print(f"base: {time.process_time() - started:.0f} CPU s of training on {len(known) - 6} images", flush=True)
    settings = own.model_copy(update={"weights": str(weights), "fit": settings.fit, "patches": settings.patches})
    predict = predict.model_copy(update={"tta": 1})
    contrast = float(torch.load(weights, weights_only=True)["networks"]["all"]["contrast"])
    sizes = diameters(known)
    base = Learned(sizes, [contrast])
    if line == "A172":  # wells A7 and B7 are its training images
        free = [one for one in mine if one.image["well"] in ("A7", "B7")]
        rest = [one for one in mine if one.image["well"] in ("C7", "D7")]
        return Pool(free, rest[:2], rest[2:], settings, predict, base)
    if line == "T98G":
        named = {one.image["file_name"].removesuffix(".png"): one for one in mine}
        settings = settings.model_copy(update={"diameter": sizes.median})  # its cells are twice as large
        val = [named.pop(name) for name in ("set07", "set36")]
        test = evenly([one for name, one in named.items() if name not in ALIKE], 14)
        return Pool([one for one in named.values() if one not in test], val, test, settings, predict, base)
    groups = dict(row.split(",")[0:3:2] for row in (DATA / "sartorius/fields.csv").read_text().split())
    group = {one.image["id"]: groups[one.image["file_name"].removesuffix(".png")] for one in mine}
    names = [str(name) for name in np.random.default_rng(1).permutation(sorted(set(group.values())))]
    judging, choosing = set(names[:20]), set(names[20:22])
    first = {group[one.image["id"]]: one for one in mine}  # one frame of a field judges
    free = [one for one in mine if group[one.image["id"]] not in judging | choosing][:shown]
    return Pool(free, [first[name] for name in choosing], [first[name] for name in judging], settings, predict, base)


def diameters(samples: Sequence[Sample]) -> CellDiameters:
    images = [[2 * (cell["area"] / np.pi) ** 0.5 for cell in one.annotations] for one in samples if one.annotations]
    low, high = np.percentile([np.median(image) for image in images], (5, 95))
    return CellDiameters(low=float(low), median=float(np.median(np.concatenate(images))), high=float(high))


def predictor(network: Any, settings: UnetPredict) -> Predictor:
    of = pipeline("unet", settings, family.constants(network))
    return Predictor({"all": Network(of, eager(family.graphs(network)))}, settings.batch)


def tuned(pool: Pool, shown: Sequence[Sample], seed: int, work: Path, **changed: Any) -> Tuned:
    """The base, trained on from its own weights on these images; on none, as it is."""
    settings = pool.settings.model_copy(update=changed)
    if not shown:
        settings = settings.model_copy(update={"fit": settings.fit.model_copy(update={"epochs": 0})})
    with tempfile.TemporaryDirectory() as folder:
        trained = family.train(shown or pool.val, pool.val, settings, seed, Path(folder))
    network = family.build(settings, trained.state, "cpu")
    run = predictor(network, pool.predict)
    files = scored(run, pool.val, work)
    return Tuned(network, run, evaluate.choose_threshold(files, PARAMS, 1))


def scored(run: Predictor, samples: Sequence[Sample], work: Path) -> tuple[Path, Path]:
    truth, results = work / "truth.json", work / "results.json"
    write_json(
        truth,
        Truth(
            images=[one.image for one in samples],
            annotations=[cell for one in samples for cell in one.annotations],
            categories=[CELL],
        ),
    )
    found = ((one.image["id"], run.segment([one.pixels()])[0]) for one in samples)
    write_results(results, (cell for number, cells in found for cell in cells.results(number)))
    return truth, results


def mask_ap(model: Tuned, pool: Pool, work: Path) -> Floats:
    """On test: itself, then each draw of the bootstrap."""
    evaluate.evaluate(scored(model.predictor, pool.test, work), None, PARAMS, work / "scores.json", 1)
    return evaluate.read_draws(work / "scores.bootstrap.npz").values["mask_ap"]


def suggested(pool: Pool, count: int, work: Path, workers: int) -> list[Sample]:
    """What `suggest` names, best first."""
    base = tuned(pool, [], 0, work)
    one_view = predictor(base.network, pool.predict.model_copy(update={"tta": 1}))
    looks = [look_at(one_view, base.threshold, one.pixels()) for one in pool.free]
    copies = near_copies_among(Reading(pretrained(), None, ANY), [one.path for one in pool.free], workers)
    return [pool.free[one.place] for one in choose(looks, [], pool.base, count, copies)]


def order(pool: Pool, arm: str, seed: int, keep: Path, work: Path, *, count: int, workers: int) -> list[Sample]:
    """The images in the order in which they are annotated; what is suggested is kept, for it has no seed."""
    if arm != "suggested":
        return [pool.free[index] for index in np.random.default_rng([1, seed]).permutation(len(pool.free))[:count]]
    path = keep / f"suggested.{count}.json"
    if not path.exists():
        write_json(path, [one.path.name for one in suggested(pool, count, work, workers)])
    by_name = {one.path.name: one for one in pool.free}
    return [by_name[name] for name in json.loads(path.read_text())]


def point(pool: Pool, arm: str, shown: Sequence[Sample], seed: int, work: Path) -> Floats:
    """Draws of mask AP of the base, trained on from its weights, or (arm `untuned`) from none."""
    changed: dict[str, Any] = {}
    if arm == "untuned":
        changed = {"weights": "none", "fit": pool.settings.fit.model_copy(update={"learning_rate": 0.005})}
    draws = mask_ap(tuned(pool, shown, seed, work, **changed), pool, work)
    print(f"{arm}, seed {seed}, {len(shown)} images: {draws[0]:.3f}", flush=True)
    return draws


def summary(draws: Floats, seed: int = 0) -> tuple[float, float, float]:
    """Mean over seeds (S, 1 + B), and its 95 % interval over test images and seeds."""
    rng, (seeds, count) = np.random.default_rng(seed), draws.shape
    chosen = rng.integers(seeds, size=(seeds, count - 1))
    again = np.take_along_axis(draws[:, 1:], chosen, 0).mean(0)
    return float(draws[:, 0].mean()), *interval(again)


def said(draws: Floats) -> str:
    return "{:+.3f} ({:+.3f} to {:+.3f})".format(*summary(draws))


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("pool", choices=["T98G", "cort", "A172"])
    parser.add_argument("--sizes", type=int, nargs="+", default=[4, 8, 12], metavar="N", help="annotated images")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2, 3], metavar="N")
    parser.add_argument("--arms", nargs="+", default=list(ARMS), choices=ARMS)
    parser.add_argument("--most", type=int, default=12, metavar="N", help="images that are suggested")
    parser.add_argument("--shown", type=int, default=60, metavar="N", help="images of the pool cort")
    parser.add_argument("--workers", type=int, default=1, metavar="N", help="processes of suggest")
    parser.add_argument("--light", action="store_true", help="16 steps of patches of 128 px, one view")
    parser.add_argument("--keep", type=Path, help="keep what is done here, and go on from there")
    args = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        keep = args.keep or work / "kept"
        keep.mkdir(parents=True, exist_ok=True)
        run(args, work, keep)


def run(args: argparse.Namespace, work: Path, keep: Path) -> None:
    """Make what is not kept yet, and say what is there."""
    pool = left_out(work, args.pool, args.shown, keep / "base.pt")
    if args.light:
        settings = pool.settings.model_copy(update={"patch": 128, "patches": 128})
        pool = pool._replace(settings=settings, predict=pool.predict.model_copy(update={"tta": 1}))
    print(f"{args.pool}: pool {len(pool.free)}, val {len(pool.val)}, test {len(pool.test)} images", flush=True)

    def draws(arm: str, seed: int, size: int) -> Floats:
        path = keep / f"{args.pool}.{arm}.{seed}.{size}.npy"
        if not path.exists():
            shown = order(pool, arm, seed, keep, work, count=args.most, workers=args.workers)[:size]
            np.save(path, point(pool, arm, shown, seed, work))
        return np.asarray(np.load(path))

    cases = product(args.arms, args.sizes)
    made = {(arm, size): np.array([draws(arm, seed, size) for seed in args.seeds]) for arm, size in cases}
    base = draws("random", 0, 0)
    for size in args.sizes:
        found = {arm: made[arm, size] for arm in args.arms}
        for arm, scores in found.items():
            print(f"{size} images, {arm}: {said(scores)}, less base: {said(scores - base)}")
        for one, other in (("suggested", "random"), ("random", "untuned")):
            if {one, other} <= found.keys():
                print(f"{size} images, {one} less {other}: {said(found[one] - found[other])}")


if __name__ == "__main__":
    main()
