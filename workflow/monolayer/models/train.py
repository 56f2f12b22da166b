"""Train one run: a network, or one for each cell line, and the record of how it came about."""

from __future__ import annotations

import hashlib
import logging
import platform
import re
import shutil
import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from monolayer import models
from monolayer.coco.io import read_truth
from monolayer.coco.records import Truth
from monolayer.data.dataset import Sample, evenly, of_lines, samples
from monolayer.files import FORMAT, InputError, few, name_of_file, write_csv, write_json
from monolayer.params.families import TrainSettings, UnetTrain
from monolayer.params.steps import TrainParams
from monolayer.provenance.commit import provenance

logger = logging.getLogger(__name__)


def train(images: Path, splits: Path, params: TrainParams, output: Path, extension: Path | None = None) -> None:
    """Write weights.pt, run.json and history.csv into `output`; called again after a kill, go on from the checkpoint.

    Synthetic images of `extension` are trained on besides those of train; val stays real.

    The checkpoint stands in `output/checkpoint`, under a name made of the parameters and the truth, so that it can't
    be taken for another run's, and is removed at the end.
    """
    import torch

    started = time.monotonic()
    torch.set_num_threads(params.cpu_threads)
    truth = {split: splits / f"{split}.json" for split in ("train", "val")}
    synthetic = [extension / "annotations.json"] if extension else []
    workdir = output / "checkpoint" / _fingerprint(params, [*truth.values(), *synthetic])
    shown, test = samples(read_truth(truth["train"]), images), read_truth(splits / "test.json")
    for path in synthetic:
        shown += samples(read_truth(path), path.with_name("images"))
    chosen = networks(params.lines, shown, samples(read_truth(truth["val"]), images))
    check_shares(params.settings, {sample.image["cell_line"] for sample in shown})
    if params.settings.fit.epochs:
        for name, (learned, val) in chosen.items():
            check_cells(name, learned, evenly(val, params.settings.val_images))
    trained, history = dict[str, models.Trained](), list[dict[str, Any]]()
    for name, parts in chosen.items():
        with shown_live(output / "history.csv", name, history):
            run = models.family(params.family).train(*parts, params.settings, params.seed, workdir / name_of_file(name))
        trained[name] = run
        history += rows_of(name, run.history)
    own = {sample.image.get("content") for parts in chosen.values() for part in parts for sample in part}
    seen = {content for content in own if content is not None}.union(*(one.seen for one in trained.values()))
    models.save_weights(output / "weights.pt", params, {name: one.state for name, one in trained.items()}, seen)
    write_csv(output / "history.csv", history)
    facts = {name: {"initial": one.initial, **_size(*chosen[name]), **one.facts} for name, one in trained.items()}
    record: dict[str, Any] = {
        "format": FORMAT,
        "params": params.model_dump(),
        "networks": facts,
        "seen_in_test": seen_in_test(test, seen),
        "device": _device(),
        "duration_s": round(time.monotonic() - started, 1),
        **provenance(Path(__file__).parent),
    }
    write_json(output / "run.json", record, indent=1)
    if (output / "checkpoint").exists():  # a run that stays as it was given has none
        shutil.rmtree(output / "checkpoint")


EPOCH = re.compile(r"epoch (?P<epoch>\d+) of \d+: loss (?P<loss>[^ ,]+), score (?P<score>[^ ,;]+)")  # as `fit` logs it


def rows_of(network: str, history: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    return [{"network": network, **row} for row in history]


@contextmanager
def shown_live(path: Path, network: str, before: Sequence[dict[str, Any]]) -> Iterator[None]:
    """Write loss and score of the epochs so far after each of this network's: for `dvc plots show` and editors.

    A run that fails leaves none: whose weights are not there has no history.
    """

    class Live(logging.Handler):
        def __init__(self) -> None:
            super().__init__(logging.INFO)
            self.epochs = list[dict[str, str]]()

        def emit(self, record: logging.LogRecord) -> None:
            if found := EPOCH.match(record.getMessage()):
                self.epochs.append(found.groupdict())
                write_csv(path, [*before, *rows_of(network, self.epochs)])

    live, logger = Live(), logging.getLogger("monolayer.models.fit")
    logger.addHandler(live)
    try:
        yield
    except BaseException:
        if before or live.epochs:
            path.unlink(missing_ok=True)
        raise
    finally:
        logger.removeHandler(live)


def networks(
    lines: str | list[str], train: list[Sample], val: list[Sample]
) -> dict[str, tuple[list[Sample], list[Sample]]]:
    """What each network of the run trains and chooses on, by its name: a cell line's, or `all` of those left."""
    if not train or not val:
        raise InputError(
            f"{len(train)} images to train on and {len(val)} to choose on; both need one, change the split"
        )
    if lines == "all":
        return {"all": (train, val)}
    trained, seen = ({sample.image["cell_line"] for sample in part} for part in (train, val))  # a line may lack in one
    if lines == "each":
        rest = {} if trained == seen else {"all": (train, val)}
        return rest | {line: (of_lines(train, [line]), of_lines(val, [line])) for line in sorted(trained & seen)}
    return {"all": (of_lines(train, lines), of_lines(val, [line for line in lines if line in seen] or lines))}


def seen_in_test(test: Truth, seen: Collection[str]) -> list[str]:
    """The test images that a run, or the weights it began with, learned from; a warning tells of them."""
    names = [image["file_name"] for image in test["images"] if image.get("content") in seen]
    if names:
        which = f"{len(names)} of {len(test['images'])} test images ({few(names, most=3)})"
        cure = "begin with other weights, or keep these images out of test"
        logger.warning(
            "%s are among what this run or its first weights learned from, so that its scores on test flatter; %s",
            which,
            cure,
        )
    return names


def check_shares(settings: TrainSettings, lines: Collection[str]) -> None:
    """Refuse a share of a line that has no image to train on: a name spelt otherwise would change nothing."""
    if isinstance(settings, UnetTrain) and (unknown := sorted(settings.line_shares.keys() - lines)):
        raise InputError(
            f"line_shares names {few(unknown, most=3)}, of which train has no image; its lines are "
            f"{few(sorted(lines), most=20)}"
        )


def check_cells(name: str, train: Sequence[Sample], val: Sequence[Sample]) -> None:
    """Refuse images without any cell: nothing is learned of them, and by them all epochs are as good as the first."""
    for part, what in ((train, "to train on"), (val, "of val that choose its epoch and thresholds")):
        if not any(sample.annotations for sample in part):
            raise InputError(
                f"network {name}: none of the {len(part)} images {what} has a cell; annotate some, split with another "
                "seed, or raise val_images"
            )


def _fingerprint(params: TrainParams, files: Sequence[Path]) -> str:
    digest = hashlib.sha256(params.model_dump_json().encode())
    for file in files:
        digest.update(file.read_bytes())
    return digest.hexdigest()[:16]


def _size(train: Sequence[Sample], val: Sequence[Sample]) -> dict[str, int]:
    return {
        "train_images": len(train),
        "synthetic_images": sum(bool(sample.image.get("synthetic")) for sample in train),
        "train_cells": sum(len(sample.annotations) for sample in train),
        "val_images": len(val),
        "val_cells": sum(len(sample.annotations) for sample in val),
    }


def _device() -> str:
    import torch

    if torch.cuda.is_available():
        return str(torch.cuda.get_device_name())
    return f"{platform.machine()} CPU, {torch.get_num_threads()} threads"
