"""Speed and memory of `extend` at 300 cells per 704x520 image, beside copy-paste augmentations of as many cells.

    python tests/benchmarks/synthesis.py [--images 24] [--workers 2]

Finished images are counted: background mended, cells placed and blended, PNG and RLE written, the start of the worker
processes included. The others get backgrounds and cells ready-made, and blend nothing. CopyAndPaste is of
albumentationsx>=2.5, left out where that is not installed. torchvision's is the steps of the SimpleCopyPaste in its
references, which the package doesn't contain: all cells of one image onto another, flipped.
"""

from __future__ import annotations

import argparse
import importlib
import resource
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from monolayer.coco.io import read_truth
from monolayer.coco.labels import rles_from_labels
from monolayer.coco.records import CELL, Annotation, Image, Truth
from monolayer.coco.rle import box_xywh, crop_from_rle, mask_from_rle, rle_area, rle_from_mask
from monolayer.data.dataset import read_image
from monolayer.files import write_json
from monolayer.params.params import Params, load
from monolayer.synthesis.extend import extend
from numpy.typing import NDArray
from PIL import Image as PillowImage

HEIGHT, WIDTH, CELLS = 520, 704, 300
PARAMS = Path(__file__).parents[2] / "params.yaml"
Paste = tuple[NDArray[np.uint8], Any]  # pixels, masks (N, H, W)


def make_data(folder: Path, count: int) -> None:
    """`count` images of about 300 ellipses with bright rims on noise, and their truth."""
    images, cells = list[Image](), list[Annotation]()
    rows, columns = np.mgrid[-20:21, -20:21]
    (folder / "images").mkdir(parents=True)
    for index in range(1, count + 1):
        rng = np.random.default_rng(index)
        pixels, labels = rng.normal(128, 5, (HEIGHT, WIDTH)), np.zeros((HEIGHT, WIDTH), np.int32)
        for label in range(1, CELLS + 1):
            y, x = rng.integers(21, HEIGHT - 21), rng.integers(21, WIDTH - 21)
            a, b, turn = rng.uniform(6, 14), rng.uniform(4, 7), rng.uniform(0, np.pi)
            u, v = rows * np.cos(turn) + columns * np.sin(turn), columns * np.cos(turn) - rows * np.sin(turn)
            far = (u / a) ** 2 + (v / b) ** 2
            box = slice(y - 20, y + 21), slice(x - 20, x + 21)
            free = labels[box] == 0
            pixels[box] += 25 * ((far > 1) & (far < 1.6) & free)
            pixels[box][(far <= 1) & free] = 110 + rng.normal(0, 12, (far <= 1).sum())[free[far <= 1]]
            labels[box][(far <= 1) & free] = label
        name = f"{index}.png"
        PillowImage.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(folder / "images" / name)
        images.append(
            Image(
                id=index,
                file_name=name,
                width=WIDTH,
                height=HEIGHT,
                cell_line="made",
                well=name,
                timestamp=None,
                split=None,
            )
        )
        for rle in rles_from_labels(labels):
            cells.append(
                Annotation(
                    id=len(cells) + 1,
                    image_id=index,
                    category_id=1,
                    segmentation=rle,
                    bbox=box_xywh(rle),
                    area=float(rle_area(rle)),
                    iscrowd=0,
                )
            )
    write_json(folder / "train.json", Truth(images=images, annotations=cells, categories=[CELL]))


def ours(data: Path, output: Path, workers: int, params: Params) -> int:
    """Extend by the law `matched` and return the number of images."""
    extend(data / "images", data / "train.json", params.extend_params("matched"), output, workers=workers)
    return len(list((output / "images").iterdir()))


def masks_of(data: Path) -> list[Paste]:
    """The first two images with their masks."""
    truth = read_truth(data / "train.json")
    return [
        (
            read_image(data / "images" / image["file_name"]),
            np.array([mask_from_rle(c["segmentation"]) for c in truth["annotations"] if c["image_id"] == image["id"]]),
        )
        for image in truth["images"][:2]
    ]


def with_torchvision(pair: list[Paste]) -> Callable[[], Paste]:
    import torch
    from torchvision.transforms.v2 import functional

    tensors = [(torch.from_numpy(pixels.copy()), torch.from_numpy(masks)) for pixels, masks in pair]

    def paste() -> Paste:
        (pixels, masks), (other, others) = tensors
        if torch.rand(()) < 0.5:
            other, others = functional.horizontal_flip(other), functional.horizontal_flip(others)
        alpha = others.any(0)
        merged = torch.cat([masks & ~alpha, others])
        seen = merged[merged.flatten(1).any(1)]
        return torch.where(alpha, other, pixels).numpy(), seen.numpy()

    return paste


def with_albumentations(pair: list[Paste]) -> Callable[[], Paste]:
    albumentations = importlib.import_module("albumentations")
    pixels, masks = pair[0]
    boxes = [crop_from_rle(rle_from_mask(mask)) for mask in masks]
    donors = [
        {"image": pixels[y : y + m.shape[0], x : x + m.shape[1], None], "mask": m.astype(np.uint8)} for m, x, y in boxes
    ]
    background = np.full((HEIGHT, WIDTH, 1), 128, np.uint8)
    transform = albumentations.Compose([albumentations.CopyAndPaste(min_visibility_after_paste=0.0, p=1.0)])

    def paste() -> Paste:
        none = np.zeros((0, HEIGHT, WIDTH), np.uint8)
        made = transform(image=background, masks=none, copy_paste_metadata=donors)
        return made["image"][..., 0], made["masks"]

    return paste


def finished(paste: Callable[[], Paste], folder: Path) -> Iterator[int]:
    """Paste, write PNG and RLE, and yield the number of cells, for ever."""
    folder.mkdir()
    while True:
        pixels, masks = paste()
        PillowImage.fromarray(pixels).save(folder / "image.png", compress_level=1)
        write_json(folder / "truth.json", [rle_from_mask(np.asarray(mask, bool)) for mask in masks])
        yield len(masks)


def rate(steps: Iterator[int], seconds: float = 15.0) -> tuple[float, float]:
    """Images a second and cells an image, after a first one."""
    next(steps)
    started, cells, images = time.perf_counter(), 0, 0
    while time.perf_counter() - started < seconds:
        cells, images = cells + next(steps), images + 1
    return images / (time.perf_counter() - started), cells / images


def peak_mb(who: int) -> float:
    return resource.getrusage(who).ru_maxrss / 1024


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=24)
    parser.add_argument("--workers", type=int, default=2)
    args = parser.parse_args()
    params = load(yaml.safe_load(PARAMS.read_text()))
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for data, count in (("few", args.images), ("many", 4 * args.images)):
            make_data(folder / data, count)
        ours(folder / "few", folder / "warm", args.workers, params)
        speed = 0.0
        for data in ("few", "many"):
            started = time.perf_counter()
            images = ours(folder / data, folder / f"{data}_out", args.workers, params)
            speed = images / (time.perf_counter() - started)
            memory = f"{peak_mb(resource.RUSAGE_CHILDREN):.0f} MB a worker, {peak_mb(resource.RUSAGE_SELF):.0f} MB here"
            print(f"extend, {args.workers} workers: {images} images, {speed:.1f} a second; at most {memory}")
        pair = masks_of(folder / "few")
        for title, peer in (("torchvision steps", with_torchvision), ("albumentations", with_albumentations)):
            try:
                per_second, cells = rate(finished(peer(pair), folder / title.replace(" ", "_")))
            except (ImportError, AttributeError) as error:
                print(f"{title}: left out ({error})")
                continue
            times = speed / args.workers / per_second
            print(f"{title}, 1 process: {per_second:.1f} a second of {cells:.0f} cells; a worker of ours: {times:.1f}x")


if __name__ == "__main__":
    main()
