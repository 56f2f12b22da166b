"""A training step as it is, beside the same step in float32 with plain optimizers and the library's mask loss.

All but the U-Net have their channels first there.

python tests/benchmarks/training.py [threads]

Both start from the same weights and take the same batches in turns; seconds are medians of CPU time a thread, so that
other load counts little.
"""

from __future__ import annotations

import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml
from monolayer.coco.labels import label_image
from monolayer.coco.records import Annotation, Image
from monolayer.coco.rle import box_xywh, rle_area, rle_from_mask
from monolayer.data.dataset import Sample, TrueCells
from monolayer.models.batches import Task, loader
from monolayer.models.centermask.family import CenterMaskTask
from monolayer.models.centermask.network import CenterMask
from monolayer.models.fit import Training
from monolayer.models.unet.family import CellTask, UNet
from monolayer.models.yolo import family as yolo
from monolayer.params import params
from monolayer.params.families import CenterMaskTrain, UnetTrain, YoloTrain
from monolayer.params.fit import FitParams
from PIL import Image as PillowImage
from torch import nn

ROOT = Path(__file__).parents[2]
HEIGHT, WIDTH, CELLS, STEPS = 520, 704, 150, 7


def images(folder: Path, count: int) -> list[Sample]:
    """Round cells at random places on noise."""
    rng, made = np.random.default_rng(0), []
    grid = np.mgrid[:HEIGHT, :WIDTH]
    for number in range(count):
        pixels, cells = rng.normal(128, 8, (HEIGHT, WIDTH)), list[Annotation]()
        for _ in range(CELLS):
            y, x, r = rng.uniform(0, HEIGHT), rng.uniform(0, WIDTH), rng.uniform(7, 14)
            mask = (grid[0] - y) ** 2 + (grid[1] - x) ** 2 < r * r
            pixels[mask] += 30
            rle = rle_from_mask(mask)
            box = [float(value) for value in box_xywh(rle)]
            cell = {"segmentation": rle, "bbox": box, "area": float(rle_area(rle)), "iscrowd": 0}
            cells.append(Annotation(id=len(cells) + 1, image_id=number, category_id=1, **cell))  # type: ignore[typeddict-item]
        name = f"{number}.png"
        PillowImage.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(folder / name)
        image = Image(
            id=number,
            file_name=name,
            width=WIDTH,
            height=HEIGHT,
            cell_line="a",
            well=name,
            timestamp=None,
            split="train",
        )
        made.append(Sample(image, folder / name, cells))
    return made


def cases(samples: list[Sample]) -> dict[str, tuple[nn.Module, Task, FitParams]]:
    """Networks as the study trains them on a CPU."""
    rows = params.load(yaml.safe_load((ROOT / "params.yaml").read_text()))

    def detector(backbone: str) -> tuple[nn.Module, Task, FitParams]:
        settings = rows.train_params("centermask_v19_slimdw").settings
        assert isinstance(settings, CenterMaskTrain)
        network = settings.network.model_copy(update={"backbone": backbone})
        settings = settings.model_copy(update={"network": network, "window": 192})
        return CenterMask(network), CenterMaskTask(samples, samples[:1], settings), settings.fit

    def boxes(architecture: str) -> tuple[nn.Module, Task, FitParams]:
        settings = rows.train_params("yolo").settings
        assert isinstance(settings, YoloTrain)
        settings = settings.model_copy(update={"architecture": architecture, "imgsz": 256})
        return yolo._network(settings), yolo._Task(TrueCells(samples), samples[:1], settings), settings.fit

    def unet(width: int) -> tuple[nn.Module, Task, FitParams]:
        settings = rows.train_params("unet_distance").settings
        assert isinstance(settings, UnetTrain)
        settings = settings.model_copy(update={"width": width, "patch": 192})
        return UNet(width, settings.levels, 2), CellTask(samples, samples[:1], settings), settings.fit

    return {
        "YOLOv9c-seg, 256 px, batch 4": boxes("yolov9c-seg"),
        "YOLO11n-seg, 256 px, batch 4": boxes("yolo11n-seg"),
        "CenterMask V-99, 192 px at 1.5, batch 4": detector("V-99"),
        "CenterMask V-19-slim-dw, 192 px at 1.5, batch 4": detector("V-19-slim-dw"),
        "U-Net width 24, 192 px, batch 8": unet(24),
    }


def plain(network: nn.Module, settings: FitParams) -> Training:
    if isinstance(network, UNet):  # which has had its channels last for long
        network.to(memory_format=torch.channels_last)
    elif hasattr(network, "init_criterion"):
        network.criterion = network.init_criterion()  # type: ignore[operator]
    training = Training(network, settings.model_copy(update={"amp": "none"}))
    for group in training.optimizer.param_groups:
        group["fused"] = None
    return training


def step_seconds(network: nn.Module, task: Task, settings: FitParams, threads: int) -> tuple[float, float]:
    """CPU seconds a thread of a step, plain and as it is."""
    state = {name: value.clone() for name, value in network.state_dict().items()}
    found: dict[str, list[float]] = {"plain": [], "now": []}
    makers: dict[str, Any] = {
        "plain": plain,
        "now": lambda net, fit: Training(net.to(memory_format=torch.channels_last), fit),
    }
    batches = list(zip(range(STEPS), loader(task, settings.batch, 0, 0), strict=False))
    for name, make in makers.items():
        network.load_state_dict(state)
        network.criterion = None  # type: ignore[assignment]
        training = make(network, settings)
        training.network.train()
        for _, (_, batch) in batches:
            started = time.process_time()
            training._descend(task, batch)
            training.step += 1
            found[name].append((time.process_time() - started) / threads)
    return float(np.median(found["plain"][2:])), float(np.median(found["now"][2:]))


def main() -> None:
    threads = int(sys.argv[1]) if len(sys.argv) > 1 else 1
    torch.set_num_threads(threads)
    print(f"{threads} threads; seconds a step: float32 channels first, as it is, ratio")
    with tempfile.TemporaryDirectory() as folder:
        samples = images(Path(folder), 4 * STEPS)
        assert label_image((cell["segmentation"] for cell in samples[0].annotations), HEIGHT, WIDTH).max() > CELLS / 2
        for name, (network, task, settings) in cases(samples).items():
            before, now = step_seconds(network, task, settings, threads)
            print(f"  {name:48s} {before:7.3f} {now:7.3f} {before / now:6.2f}", flush=True)


if __name__ == "__main__":
    main()
