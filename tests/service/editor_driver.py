"""The editor in a browser as a person uses it: images in, the pen over pixels of the image, and what was saved."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
from browser import faults_of
from numpy.typing import NDArray
from playwright.sync_api import BrowserContext, FilePayload, Page, expect

Place = tuple[int, int]  # x, y of a pixel
FIT = 0.96  # of the window, that an image takes at first


@contextmanager
def editing(context: BrowserContext, url: str, **files: bytes) -> Iterator[Page]:
    """A page with the editor open on the first of these images; errors of its scripts and requests elsewhere fail."""
    page = context.new_page()
    faults = faults_of(page, url, "data:", "blob:")
    page.goto(url)
    expect(page.locator("#model option")).not_to_have_count(0)
    payloads = [FilePayload(name=name.replace("_", "."), mimeType="", buffer=file) for name, file in files.items()]
    page.set_input_files("#files", payloads)
    expect(page.locator("#work")).to_be_hidden()
    if len(payloads) > 1:
        page.locator("#images button", has_text=payloads[0]["name"]).click()
    page.click("#correct")
    expect(page.locator("#editor-save")).to_be_enabled()
    yield page
    assert faults == []
    page.close()


def on_screen(page: Page, size: tuple[int, int], place: Place) -> tuple[float, float]:
    """Where a pixel's centre is on the screen, of an image of that size (height, width) that is shown whole."""
    box = page.locator("#editor-pen").bounding_box()
    assert box is not None
    scale = min(box["width"] / size[1], box["height"] / size[0]) * FIT
    left, top = (box["width"] - size[1] * scale) / 2, (box["height"] - size[0] * scale) / 2
    return box["x"] + left + (place[0] + 0.5) * scale, box["y"] + top + (place[1] + 0.5) * scale


def stroke(page: Page, size: tuple[int, int], places: Sequence[Place]) -> None:
    """Press at the first, go over the others, let go at the last."""
    for number, place in enumerate(places):
        page.mouse.move(*on_screen(page, size, place), steps=1 if number == 0 else 4)
        if number == 0:
            page.mouse.down()
    page.mouse.up()


def click(page: Page, size: tuple[int, int], place: Place) -> None:
    page.mouse.click(*on_screen(page, size, place))


def save(page: Page, version: int) -> None:
    expect(page.locator("#editor-save")).to_be_enabled()  # the image is there
    page.keyboard.press("w")
    expect(page.locator("#editor-said")).to_have_text(f"Saved as version {version}.")


def turn(page: Page, key: str, name: str) -> None:
    """To the next image or the previous one, once the one before is there, until it is there."""
    expect(page.locator("#editor-save")).to_be_enabled()
    page.keyboard.press(key)
    expect(page.locator("#editor-name")).to_have_text(name)
    expect(page.locator("#editor-save")).to_be_enabled()


def saved(folder: Path, name: str = "a") -> NDArray[Any]:
    return np.asarray(tifffile.imread(folder / f"masks/{name}.tif"))


def same_cells(found: NDArray[Any], expected: NDArray[Any]) -> bool:
    """Whether two label images have the same cells, pixel for pixel, whatever their numbers."""
    pairs = np.unique(np.stack([found.ravel(), expected.ravel()]), axis=1)
    first, second = (len(np.unique(one)) for one in pairs)
    zeros = ((pairs == 0).sum(0) != 1).all()
    return found.shape == expected.shape and bool(zeros) and first == second == pairs.shape[1]
