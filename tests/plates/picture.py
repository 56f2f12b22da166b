"""docs/plate.png, README's picture of a plate report: `uv run python tests/plates/picture.py docs/plate.png`.

A plate made in code: 18 wells, three of each of six doses. Cells double after a lag, the slower the higher the dose.
The pretrained model finds them, and Chromium takes the picture of the page.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

import numpy as np
import tifffile
from numpy.typing import NDArray
from scipy import ndimage

sys.path.insert(0, str(Path(__file__).parents[1]))

import plate_samples as made
from browser import NAMES
from monolayer.plates import plan, report, segment, tabulate
from monolayer.plates.plan import read_about

HEIGHT, WIDTH = 260, 352
HOURS = range(0, 97, 12)
LAG = 30
DOSES = {"0 nM": 0.034, "1 nM": 0.028, "3 nM": 0.021, "10 nM": 0.014, "30 nM": 0.008, "100 nM": 0.0}  # rates, 1/h


def field(cells: int, rng: np.random.Generator) -> NDArray[np.uint8]:
    """uint8 (H, W): long and round cells with a bright halo on an uneven ground, as in phase contrast."""
    rows, columns = np.mgrid[:HEIGHT, :WIDTH]
    pixels = ndimage.gaussian_filter(rng.normal(0, 1, (HEIGHT, WIDTH)), 1.2) * 9 + 128
    taken = np.zeros((0, 2))
    for _ in range(40 * cells):
        if len(taken) == cells:
            break
        y, x = rng.uniform(10, (HEIGHT - 10, WIDTH - 10))
        if len(taken) and np.hypot(*(taken - (y, x)).T).min() < 21:
            continue
        taken = np.vstack([taken, (y, x)])
        angle, long = rng.uniform(0, np.pi), rng.uniform(1.0, 1.5)
        u = (rows - y) * np.cos(angle) + (columns - x) * np.sin(angle)
        v = (columns - x) * np.cos(angle) - (rows - y) * np.sin(angle)
        distance = np.hypot(u / long, v * long**0.5)
        pixels[distance < 9] += 38
        pixels[distance < 7] -= 72
    return np.asarray(ndimage.gaussian_filter(pixels, 0.6).clip(0, 255), np.uint8)


def plate(folder: Path) -> Path:
    """Images and plate map, map.csv beside them."""
    rng, lines = np.random.default_rng(7), ["well,dose"]
    folder.mkdir()
    for column, (dose, rate) in enumerate(DOSES.items(), 1):
        for row in "ABC":
            lines.append(f"{row}{column},{dose}")
            start, own = rng.uniform(11, 13), rate * rng.uniform(0.9, 1.1)
            for hour in HOURS:
                cells = rng.poisson(start * np.exp(own * max(hour - LAG, 0)) * 4) // 4
                name = f"{folder.name}_{row}{column}_1_{hour // 24:02d}d{hour % 24:02d}h00m.tif"
                tifffile.imwrite(folder / name, field(int(cells), rng))
    (folder.parent / "map.csv").write_text("\n".join(lines) + "\n")
    return folder


def page(folder: Path) -> Path:
    """The report of that plate."""
    output, conditions = folder / "out", str(folder / "map.csv")
    plan.plan(plate(folder / "VID7"), made.reading(pixel_size_um=1.24), output)
    count = read_about(output).images
    segment.segment(output, made.finding(), (1, count), 2)
    settings = made.settings(pixel_size_um=1.24, conditions=conditions)
    tabulate.tabulate(output, count, settings)
    report.report(output, settings, output / "report.html")
    return output / "report.html"


def picture(report_page: Path, output: Path, well: str) -> None:
    """What a browser shows first of a plate report, with this well chosen."""
    import shutil

    from playwright.sync_api import sync_playwright

    path = next(filter(None, map(shutil.which, NAMES)))
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
        shown = browser.new_page(viewport={"width": 1200, "height": 900})
        shown.goto(report_page.as_uri())
        shown.locator(f".map button[data-well={well}]").click()
        box = shown.locator("#overview").bounding_box()
        assert box is not None
        margin = 24
        clip = {"x": box["x"] - margin, "y": box["y"] - margin / 2}
        size = {"width": box["width"] + 2 * margin, "height": box["height"] + margin}
        shown.screenshot(path=output, clip=clip | size, full_page=True)  # type: ignore[arg-type]
        browser.close()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("output", type=Path, help="PNG to write")
    parser.add_argument("--keep", type=Path, help="folder for the plate and its results")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = args.keep or Path(name)
        folder.mkdir(exist_ok=True)
        picture(page(folder), args.output, "B2")


if __name__ == "__main__":
    main()
