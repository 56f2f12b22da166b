"""What training costs beyond the network, and what parting cells costs by their number.

Best of several times in one run, in CPU time of one thread: what else runs on the machine disturbs that least.

python tests/benchmarks/unet.py
"""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from monolayer.data import dataset
from monolayer.models.batches import loader
from monolayer.models.fit import Training
from monolayer.models.unet import family, patches
from monolayer.models.unet.watershed import Float, Thresholds, instances, separate
from scipy import ndimage

sys.path.insert(0, str(Path(__file__).parents[1]))
from culture import make_culture
from monolayer.coco.io import read_truth
from unet_settings import SETTINGS

SETTINGS = SETTINGS.model_copy(update={"width": 8, "levels": 4, "patch": 128, "patches": 64})


class Drawn(family.CellTask):
    """The same task with all its patches drawn beforehand."""

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        drawn = [self.patches.draw(index, np.random.default_rng(index)) for index in range(len(self))]
        self.draw = lambda index, rng: drawn[index]


def seconds(work: Callable[[], Any]) -> float:
    started = time.process_time()
    work()
    return time.process_time() - started


def training() -> None:
    """An epoch of the loop, with patches drawn and drawn beforehand, against forward, backward and step alone."""
    with tempfile.TemporaryDirectory() as folder:
        culture = make_culture(Path(folder) / "culture")
        samples = dataset.samples(read_truth(culture.splits / "train.json"), culture.images)
        live, drawn = family.CellTask(samples, samples, SETTINGS), Drawn(samples, samples, SETTINGS)
        networks = [family.UNet(8, 4, 2).to(memory_format=torch.channels_last) for _ in range(2)]
        optimizer = torch.optim.AdamW(networks[0].parameters())
        batches = [batch for _, batch in loader(drawn, SETTINGS.fit.batch, 0, 0)]
        loop = Training(networks[1], SETTINGS.fit)

        def bare() -> None:
            for batch in batches:
                torch.stack(list(drawn.losses(networks[0], batch).values())).sum().backward()  # type: ignore[no-untyped-call]
                optimizer.step()
                optimizer.zero_grad()

        def ours(task: family.CellTask) -> None:
            loop.run_epoch(task, loader(task, SETTINGS.fit.batch, 0, 0), 0)

        for warm_up in (bare, lambda: ours(drawn), lambda: ours(live)):
            warm_up()
        times = np.array([[seconds(bare), seconds(lambda: ours(drawn)), seconds(lambda: ours(live))] for _ in range(5)])
        load = np.min([seconds(lambda: [live.draw(i, np.random.default_rng(i)) for i in range(64)]) for _ in range(5)])
    alone, looped, whole = np.min(times, axis=0) / len(batches)
    print(f"step, bare:                 {alone * 1e3:7.1f} ms")
    print(f"step in the loop:           {looped * 1e3:7.1f} ms  {looped / alone:.2f} x bare")
    print(f"step with patches drawn:    {whole * 1e3:7.1f} ms  {whole / alone:.2f} x bare, on the network's own cores")
    need = SETTINGS.fit.batch / alone
    print(f"loader, one process:        {64 / load:7.0f} patches/s  {64 / load / need:.1f} x what the step needs")


def scene(cells: int) -> Float:
    """Maps (2, 520, 704) of so many disks that nearly touch, noisy as a network's."""
    rng = np.random.default_rng(0)
    pitch = int(np.sqrt(520 * 704 / cells))
    y, x = np.mgrid[:520, :704]
    labels = np.where(
        np.hypot(y % pitch - pitch / 2, x % pitch - pitch / 2) < 0.52 * pitch, y // pitch * 704 + x // pitch + 1, 0
    )
    maps = patches.targets(labels.astype(np.int32), "foreground+distance").astype(np.float32) / 255
    noisy: Float = ndimage.gaussian_filter(maps + rng.normal(0, 0.05, maps.shape).astype(np.float32), (0, 1, 1)).clip(
        0, 1
    )
    return noisy


def parting() -> None:
    """Milliseconds from maps to instances, and to RLE, of 704x520 images on one core."""
    thresholds = Thresholds(0.5, 0.5, 16)
    separate(scene(50), thresholds, 0.65)  # compiles
    for cells in (100, 300, 1000, 2000):
        maps = scene(cells)
        runs = []
        for _ in range(5):
            started = time.process_time()
            found = instances(maps, separate(maps, thresholds, 0.65))
            parted = time.process_time()
            list(found.results(1))
            runs.append((parted - started, time.process_time() - parted))
        parted, written = np.min(runs, axis=0) * 1e3
        print(f"{len(found.masks):5d} cells: instances {parted:6.1f} ms, RLE {written:6.1f} ms")


def main() -> None:
    torch.set_num_threads(1)
    training()
    parting()


if __name__ == "__main__":
    main()
