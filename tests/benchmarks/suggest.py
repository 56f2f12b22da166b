"""Whether a model learns more of the images that `suggest` names than of as many drawn at random.

python tests/benchmarks/suggest.py POOL [--rounds 3] [--each 4] [--seeds 0 1 2 3] [--keep FOLDER]

POOL is a line that the base model never saw: T98G (Usiigaci, the base is the model in the package), cort or A172 (the
base is a small U-Net that it trains first on shsy5y of the competition and on the other lines of the LIVECell sample,
some minutes of a core). Its truth stands for the annotator. Each round so many images are annotated, by `suggest` with
the model of the round before (--once: with the base), or at random; the base is trained on from its own weights on all
of them, as in docs/finetune.md, and scored on test images that are in no pool: mask AP, the mean over seeds (of
training, and of what is drawn), with 95 % intervals over test images and seeds, paired by both. Then the row `untuned`:
the same network from scratch on the images of the last random round.

Real images have to lie in ../shared/data.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple, cast

import numpy as np
import torch
import yaml
from monolayer.backends.eager import eager
from monolayer.backends.manifest import CellDiameters, pretrained, read_manifest
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
from monolayer.finetuning.choosing import Learned, choose, learned
from monolayer.finetuning.looking import ImageLook, Reading, look_at
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


Choice = Callable[[Tuned, Pool, Sequence[Sample], int], list[Sample]]


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


def t98g(work: Path) -> Pool:
    params = params_of("few_images")
    truth, read = coco.collect(cast(CocoSource, params.datasets["t98g"]), work)
    every = laid_out(truth, read, truth["images"], work / "t98g")
    named = {sample.image["file_name"].removesuffix(".png"): sample for sample in every}
    val = [named.pop(name) for name in ("set07", "set36")]
    test = evenly([sample for name, sample in named.items() if name not in ALIKE], 14)
    settings, predict = tuning()
    free = [sample for sample in named.values() if sample not in test]
    return Pool(free, val, test, settings, predict, learned(read_manifest(pretrained())[1]))


def of_lines(work: Path) -> tuple[list[Sample], list[Sample]]:
    """All of the competition and of LIVECell's sample."""
    params = params_of("phase_contrast")
    parts = cast(Any, params.datasets["phase_contrast"]).parts
    found = []
    for name, source, collect in (
        ("sartorius", CocoSource, coco.collect),
        ("livecell", LivecellSource, livecell.collect),
    ):
        truth, read = collect(cast(Any, parts[name]), work)
        assert isinstance(parts[name], source)
        found.append(laid_out(truth, read, truth["images"], work / name))
    return found[0], found[1]


def left_out(work: Path, line: str, shown: int, weights: Path) -> Pool:
    """Of cort or A172; the base is trained once and kept in `weights`."""
    competition, sample = of_lines(work)
    mine = [one for one in [*competition, *sample] if one.image["cell_line"] == line]
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
    base = Learned(diameters(known), [contrast])
    if line == "A172":  # wells A7 and B7 are its training images
        free = [one for one in mine if one.image["well"] in ("A7", "B7")]
        rest = [one for one in mine if one.image["well"] in ("C7", "D7")]
        return Pool(free, rest[:2], rest[2:], settings, predict, base)
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
    return evaluate.read_draws(work / "scores.bootstrap.npz")[1]["mask_ap"]


def looks(model: Tuned, pool: Pool, samples: Sequence[Sample]) -> list[ImageLook]:
    one_view = predictor(model.network, pool.predict.model_copy(update={"tta": 1}))
    zoom = float(getattr(model.network, "zoom", 1.0))
    return [look_at(one_view, model.threshold, sample.pixels(), zoom) for sample in samples]


def suggested(model: Tuned, pool: Pool, shown: Sequence[Sample], count: int) -> list[Sample]:
    """What `suggest` names next; what is annotated is among what the model learned from."""
    free = [one for one in pool.free if one not in shown]
    paths = [one.path for one in [*free, *shown]]
    copies = near_copies_among(Reading(pretrained(), None, ANY), paths, 1)
    chosen = choose(looks(model, pool, free), looks(model, pool, shown), pool.base, count, copies)
    return [free[one.place] for one in chosen]


def at_once(pool: Pool, count: int, path: Path, work: Path) -> Choice:
    """`count` images in the order in which `suggest` names them by the base alone, which is kept in a file."""
    if not path.exists():
        write_json(path, [one.image["file_name"] for one in suggested(tuned(pool, [], 0, work), pool, [], count)])
    by_name = {one.image["file_name"]: one for one in pool.free}
    order = [by_name[name] for name in json.loads(path.read_text())]
    return lambda _, of, shown, more: order[len(shown) : len(shown) + more]


def drawn(pool: Pool, shown: Sequence[Sample], count: int, rng: np.random.Generator) -> list[Sample]:
    free = [one for one in pool.free if one not in shown]
    return [free[index] for index in rng.permutation(len(free))[:count]]


def curve(
    pool: Pool, next_of: Choice, seed: int, work: Path, *, rounds: int, count: int
) -> tuple[list[Floats], list[list[str]]]:
    """Draws of mask AP after 0, 1, ... rounds; the names of what was annotated in each."""
    model, shown, names = tuned(pool, [], seed, work), list[Sample](), list[list[str]]()
    draws = [mask_ap(model, pool, work)]
    for _ in range(rounds):
        new = next_of(model, pool, shown, count)
        shown = [*shown, *new]
        names.append([one.image["file_name"] for one in new])
        model = tuned(pool, shown, seed, work)
        draws.append(mask_ap(model, pool, work))
    return draws, names


def arm(pool: Pool, name: str, seed: int, work: Path, *, rounds: int, count: int, once: Path | None = None) -> Floats:
    """Draws of mask AP (1 + rounds, 1 + B) of a way to choose; of `untuned` (1, 1 + B)."""
    rng = np.random.default_rng([1, seed])
    if name == "untuned":
        shown = list[Sample]()
        for _ in range(rounds):
            shown += drawn(pool, shown, count, rng)
        fit = pool.settings.fit.model_copy(update={"learning_rate": 0.005})
        return mask_ap(tuned(pool, shown, seed, work, weights="none", fit=fit), pool, work)[None]
    choice: Choice = suggested
    if name == "random":
        choice = lambda _, of, shown, more: drawn(of, shown, more, rng)  # noqa: E731
    elif once is not None:
        choice = at_once(pool, rounds * count, once, work)
    draws, names = curve(pool, choice, seed, work, rounds=rounds, count=count)
    print(f"seed {seed}, {name}: {' '.join(f'{one[0]:.3f}' for one in draws)}  {json.dumps(names)}", flush=True)
    return np.array(draws)


def summary(draws: Floats, seed: int = 0) -> tuple[float, float, float]:
    """Mean over seeds (S, 1 + B), and its 95 % interval over test images and seeds."""
    rng, (seeds, count) = np.random.default_rng(seed), draws.shape
    chosen = rng.integers(seeds, size=(seeds, count - 1))
    again = np.take_along_axis(draws[:, 1:], chosen, 0).mean(0)
    return float(draws[:, 0].mean()), *interval(again)


def said(draws: Floats) -> str:
    return "{:+.3f} ({:+.3f} to {:+.3f})".format(*summary(draws))


def report(found: dict[str, Floats], each: int) -> None:
    """Of each arm (seeds, 1 + rounds, 1 + B)."""
    print("images | random | suggested | suggested - random")
    for number, (one, other) in enumerate(
        zip(*(np.moveaxis(found[name], 1, 0) for name in ("random", "suggested")), strict=True)
    ):
        print(number * each, *(said(draws) for draws in (one, other, other - one)), sep=" | ")
    if "untuned" in found:
        last, base = found["random"][:, -1], found["random"][:, 0]
        untuned = found["untuned"][:, 0]
        print(
            f"after the last random round: tuned - base {said(last - base)}, untuned {said(untuned)}, tuned - untuned"
            f" {said(last - untuned)}"
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("pool", choices=["T98G", "cort", "A172"])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--each", type=int, default=4)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2, 3])
    parser.add_argument("--arms", nargs="+", default=list(ARMS), choices=ARMS)
    parser.add_argument("--once", action="store_true", help="suggest all rounds' images by the base alone")
    parser.add_argument("--shown", type=int, default=60, help="images of the pool cort")
    parser.add_argument("--keep", type=Path, help="keep the base and what is done here, and go on from there")
    args = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        keep = args.keep or work / "kept"
        keep.mkdir(parents=True, exist_ok=True)
        done = {(name, seed): keep / f"{args.pool}.{name}.{seed}.npy" for name in args.arms for seed in args.seeds}
        if not all(path.exists() for path in done.values()):
            pool = t98g(work) if args.pool == "T98G" else left_out(work, args.pool, args.shown, keep / "base.pt")
            print(f"{args.pool}: pool {len(pool.free)}, val {len(pool.val)}, test {len(pool.test)} images", flush=True)
        for (name, seed), path in done.items():
            if not path.exists():
                once = keep / f"{args.pool}.suggested.json" if args.once else None
                np.save(path, arm(pool, name, seed, work, rounds=args.rounds, count=args.each, once=once))
        if {"random", "suggested"} <= set(args.arms):
            report(
                {name: np.array([np.load(done[name, seed]) for seed in args.seeds]) for name in args.arms}, args.each
            )


if __name__ == "__main__":
    main()
