"""The whole loop: a model misses cells, a person draws them in the page, and what was saved trains a better one."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from culture import HEIGHT, WIDTH, Culture, Ellipse, polygon
from editor_driver import editing, save, saved, stroke
from monolayer.coco.instances import Instances
from monolayer.coco.io import read_truth, write_results
from monolayer.coco.labels import label_image, rles_from_labels
from monolayer.coco.records import CELL, Image, Truth
from monolayer.coco.rle import annotation, rle_from_polygons
from monolayer.data.download import download
from monolayer.evaluation import evaluate
from monolayer.files import write_json
from monolayer.models import predictor
from monolayer.models.train import train
from monolayer.params.families import UnetTrain
from monolayer.params.steps import EvaluateParams, TrainParams
from monolayer.service.state import ServedModel, Settings
from numpy.typing import NDArray
from playwright.sync_api import Browser, expect
from service_fixtures import DEEP, NEAR, masks_source, png, running
from unet_settings import SETTINGS

pytestmark = pytest.mark.browser
SIZE = (HEIGHT, WIDTH)
LEAST = 0.5  # score of the drafts
# Centres of bright disks, which the model knows; centres and angles of dark ellipses, which it doesn't
DISKS = {
    "first": [(20, 20), (60, 16), (104, 22), (24, 72), (66, 76), (110, 70)],
    "second": [(18, 26), (70, 20), (110, 30), (40, 80), (92, 78)],
}
DARKS = {
    "first": [(40, 44, 0.4), (86, 46, 2.2), (114, 46, 1.4)],
    "second": [(40, 48, 2.6), (80, 50, 0.6), (112, 58, 1.2)],
}
BRIGHT: dict[str, list[Ellipse]] = {name: [(x, y, 6.5, 6.5, 0.0) for x, y in places] for name, places in DISKS.items()}
DARK: dict[str, list[Ellipse]] = {
    name: [(x, y, 9, 4.5, turn) for x, y, turn in places] for name, places in DARKS.items()
}


def drawn(cells: list[Ellipse]) -> NDArray[np.int32]:
    return label_image((rle_from_polygons([polygon(cell)], *SIZE) for cell in cells), *SIZE)


def picture(name: str, seed: int) -> NDArray[np.uint8]:
    """As the culture has them: cells on a noisy mid-grey ground."""
    rng = np.random.default_rng(seed)
    pixels = rng.normal(128, 6, SIZE)
    for cells, brightness in ((BRIGHT[name], 210), (DARK[name], 60)):
        inside = drawn(cells) > 0
        pixels[inside] = rng.normal(brightness, 8, int(inside.sum()))
    return np.asarray(pixels.clip(0, 255), np.uint8)


def outline(cell: Ellipse) -> list[tuple[int, int]]:
    """Where a person goes along the edge of a cell."""
    corners = np.reshape(polygon(cell, 24), (-1, 2))
    return [(round(x - 0.5), round(y - 0.5)) for x, y in corners.tolist()]


def trained(images: Path, splits: Path, folder: Path, lines: list[str], settings: UnetTrain) -> Path:
    params = TrainParams(family="unet", settings=settings, lines=lines, seed=0, cpu_threads=1)
    train(images, splits, params, folder)
    return folder / "weights.pt"


def fitted(**changes: object) -> UnetTrain:
    fit = SETTINGS.fit.model_copy(update={"epochs": changes.pop("epochs"), "amp": "none"})
    return SETTINGS.model_copy(update={"fit": fit, "val_images": 1} | changes)


Segment = Callable[[NDArray[np.uint8]], Instances]


def segmenting(weights: Path) -> Segment:
    run = predictor.from_weights(weights, None, 1)
    return lambda image: run.segment([image])[0]


def score(segment: Segment, name: str, image: NDArray[np.uint8], folder: Path) -> float:
    """Mask AP on one image, against the cells that were drawn into it."""
    record = Image(
        id=1, file_name=name, width=WIDTH, height=HEIGHT, cell_line="any", well="any", timestamp=None, split="test"
    )
    rles = rles_from_labels(drawn(BRIGHT[name] + DARK[name]))
    cells = [annotation(number, 1, rle) for number, rle in enumerate(rles, 1)]
    write_json(folder / "truth.json", Truth(images=[record], annotations=cells, categories=[CELL]))
    write_results(folder / "results.json", segment(image).results(1))
    params = EvaluateParams(protocol="coco", n_resamples=10, seed=0, resample="image")
    files = folder / "truth.json", folder / "results.json"
    return float(evaluate.evaluate(files, None, params, folder / "scores.json", 1)["mask_ap"])


@pytest.fixture(scope="module")
def base(culture: Culture, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small network that has seen bright disks alone."""
    torch.set_num_threads(1)
    folder = tmp_path_factory.mktemp("base")
    return trained(culture.images, culture.splits, folder, ["round"], fitted(epochs=6))


@pytest.fixture(scope="module")
def service(base: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Path]]:
    folder = tmp_path_factory.mktemp("my")
    run = predictor.from_weights(base, None, 1)
    own = ServedModel("base", "unet", [], "fp32", LEAST, DEEP, NEAR, run.segment, 1)
    with running([own], Settings(corrections=folder)) as url:
        yield url, folder


def test_three_corrected_cells_make_a_better_model(
    base: Path, service: tuple[str, Path], browser: Browser, tmp_path: Path
) -> None:
    """Open, correct three cells of an image and of the next, save, retrain from the base: a better score there."""
    url, folder = service
    images = {name: picture(name, seed) for seed, name in enumerate(BRIGHT)}
    before = score(segmenting(base), "first", images["first"], tmp_path)
    context = browser.new_context(viewport={"width": 1280, "height": 860})
    context.set_default_timeout(60_000)
    with editing(context, url, **{f"{name}_png": png(image) for name, image in images.items()}) as page:
        for name in images:
            expect(page.locator("#editor-name")).to_have_text(f"{name}.png")
            expect(page.locator("#editor-save")).to_be_enabled()
            page.keyboard.press("d")
            count = int(page.locator("#editor-count").inner_text().split()[0])
            for more, cell in enumerate(DARK[name], 1):
                stroke(page, SIZE, outline(cell))
                expect(page.locator("#editor-count")).to_have_text(f"{count + more} cells")
            save(page, 1)
            page.keyboard.press("n")
    context.close()
    for name in images:
        labels = saved(folder, name)
        assert set(np.unique(labels[drawn(DARK[name]) > 0])) - {0} == set(np.unique(labels)[-3:])

    tuned = retrained(base, folder, tmp_path)
    after = score(segmenting(tuned), "first", images["first"], tmp_path)
    print(f"\nmask AP on the image: {before:.3f} of the base, {after:.3f} of what was trained on the corrections")
    assert after > before + 0.1


def retrained(base: Path, folder: Path, work: Path) -> Path:
    """Train on what the page saved, read as the workflow reads it; the second image chooses the epoch."""
    download(masks_source(folder), work / "data/images", work / "data/annotations.json")
    truth = read_truth(work / "data/annotations.json")
    for split, name in (("train", "first.png"), ("val", "second.png")):
        [image] = [image for image in truth["images"] if image["file_name"] == name]
        cells = [cell for cell in truth["annotations"] if cell["image_id"] == image["id"]]
        write_json(work / f"splits/{split}.json", Truth(images=[image], annotations=cells, categories=[CELL]))
    write_json(work / "splits/test.json", Truth(images=[], annotations=[], categories=[CELL]))
    settings = fitted(epochs=10, weights=str(base))
    return trained(work / "data/images", work / "splits", work / "tuned", ["mine"], settings)
