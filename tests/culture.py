"""The culture: a tiny dataset of two cell lines made in code, as a user would bring it and as the pipeline reads it."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from monolayer.coco.records import CELL, Annotation, Image, Truth
from monolayer.coco.rle import box_xywh, mask_from_rle, rle_area, rle_from_polygons
from monolayer.files import write_json
from numpy.typing import NDArray
from PIL import Image as PillowImage

HEIGHT, WIDTH = 96, 128
WELLS = {"A1": "train", "A2": "train", "A3": "val", "A4": "test"}  # of each line, for the ready-made splits
FRAMES = {"A1": 2, "A2": 2, "A3": 1, "A4": 1}  # images of each well and line: 12 in all

Ellipse = tuple[float, float, float, float, float]  # x, y, semi-axes a and b in px, angle in radians


@dataclass(frozen=True)
class Culture:
    """12 images of 96x128 px, 8-bit grey PNG: 6 of line `round` (bright disks), 6 of line `long` (dark ellipses).

    annotations is the user's COCO file (polygons, one category per line; for source `coco`); truth is the same in the
    form that the pipeline hands on (RLE, one category, wells, no splits), whose images lie in the same folder; splits
    holds train.json, val.json and test.json of that truth.
    """

    folder: Path
    images: Path
    annotations: Path
    truth: Truth
    splits: Path


def polygon(ellipse: Ellipse, corners: int = 32) -> list[float]:
    """COCO polygon [x0, y0, x1, y1, ...] of an ellipse, to 1/100 px."""
    x, y, a, b, angle = ellipse
    t = np.linspace(0, 2 * math.pi, corners, endpoint=False)
    u, v = a * np.cos(t), b * np.sin(t)
    points = np.stack([x + u * math.cos(angle) - v * math.sin(angle), y + u * math.sin(angle) + v * math.cos(angle)], 1)
    return [round(float(value), 2) for value in points.ravel()]


def place_cells(line: str, rng: np.random.Generator) -> list[Ellipse]:
    """6 to 15 cells that lie inside the image and don't touch."""
    wanted, cells = int(rng.integers(6, 16)), list[Ellipse]()
    while len(cells) < wanted:
        a = float(rng.uniform(5, 7)) if line == "round" else float(rng.uniform(8, 10))
        b = a if line == "round" else float(rng.uniform(3.5, 4.5))
        x, y = float(rng.uniform(a + 1, WIDTH - a - 2)), float(rng.uniform(a + 1, HEIGHT - a - 2))
        if all(math.hypot(x - x2, y - y2) > a + a2 + 1 for x2, y2, a2, _, _ in cells):
            cells.append((x, y, a, b, float(rng.uniform(0, math.pi)) if line == "long" else 0.0))
    return cells


def draw(cells: list[Ellipse], brightness: int, rng: np.random.Generator) -> NDArray[np.uint8]:
    """uint8 (H, W): cells of that brightness on a noisy mid-grey background."""
    pixels = rng.normal(128, 6, (HEIGHT, WIDTH))
    for cell in cells:
        mask = mask_from_rle(rle_from_polygons([polygon(cell)], HEIGHT, WIDTH))
        pixels[mask] = rng.normal(brightness, 8, int(mask.sum()))
    return pixels.clip(0, 255).astype(np.uint8)


def make_culture(folder: Path, seed: int = 0) -> Culture:
    """Write images, COCO file and splits into `folder`; the same seed gives the same bytes."""
    rng = np.random.default_rng(seed)
    images = folder / "images"
    images.mkdir(parents=True)
    frames: list[Image] = []
    cells: list[Annotation] = []
    user_cells: list[dict[str, object]] = []
    for category, (line, brightness) in enumerate({"round": 210, "long": 60}.items(), start=1):
        for well, count in FRAMES.items():
            for frame in range(count):
                name = f"{line}_{well}_{frame}.png"
                placed = place_cells(line, rng)
                PillowImage.fromarray(draw(placed, brightness, rng)).save(images / name)
                image_id = len(frames) + 1
                frames.append(
                    Image(
                        id=image_id,
                        file_name=name,
                        width=WIDTH,
                        height=HEIGHT,
                        cell_line=line,
                        well=f"{line}_{well}",
                        timestamp=None,
                        split=None,
                    )
                )
                for cell in placed:
                    rle = rle_from_polygons([polygon(cell)], HEIGHT, WIDTH)
                    box, area = box_xywh(rle), float(rle_area(rle))
                    user_cells.append(
                        {
                            "id": len(cells) + 1,
                            "image_id": image_id,
                            "category_id": category,
                            "segmentation": [polygon(cell)],
                            "bbox": box,
                            "area": area,
                            "iscrowd": 0,
                        }
                    )
                    cells.append(
                        Annotation(
                            id=len(cells) + 1,
                            image_id=image_id,
                            category_id=CELL["id"],
                            segmentation=rle,
                            bbox=box,
                            area=area,
                            iscrowd=0,
                        )
                    )
    user_file = {
        "images": [{key: f[key] for key in ("id", "file_name", "width", "height")} for f in frames],
        "annotations": user_cells,
        "categories": [{"id": 1, "name": "round"}, {"id": 2, "name": "long"}],
    }
    annotations = folder / "annotations.json"
    annotations.write_text(json.dumps(user_file))
    truth = Truth(images=frames, annotations=cells, categories=[CELL])
    for split in ("train", "val", "test"):
        write_json(folder / "splits" / f"{split}.json", split_of(truth, split))
    return Culture(folder, images, annotations, truth, folder / "splits")


def split_of(truth: Truth, split: str) -> Truth:
    """The part of a culture's truth that WELLS puts into this split."""
    images = [image for image in truth["images"] if WELLS[image["well"].split("_")[1]] == split]
    ids = {image["id"] for image in images}
    return Truth(
        images=[Image(**{**image, "split": split}) for image in images],
        annotations=[annotation for annotation in truth["annotations"] if annotation["image_id"] in ids],
        categories=truth["categories"],
    )


@pytest.fixture(scope="session")
def culture(tmp_path_factory: pytest.TempPathFactory) -> Culture:
    """Shared by all tests: look, don't touch (`make_culture(tmp_path)` gives a copy to break)."""
    return make_culture(tmp_path_factory.mktemp("culture"))
