"""The editor in a real browser: each tool to the pixel, keys alone, two tabs, undo, several images, 800 cells."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from editor_driver import click, editing, on_screen, same_cells, save, saved, stroke, turn
from monolayer.service.state import Settings
from numpy.typing import NDArray
from playwright.sync_api import Browser, BrowserContext, Dialog, FilePayload, expect
from scipy import ndimage
from service_fixtures import field, model, png, running, tiff

pytestmark = pytest.mark.browser
SHOTS = os.environ.get("MONOLAYER_SCREENSHOTS")  # a folder to look at them in
SIZE = (120, 160)
FRAME_MS = 16.7


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Path]]:
    folder = tmp_path_factory.mktemp("corrected")
    with running([model()], Settings(corrections=folder)) as url:
        yield url, folder


@pytest.fixture
def context(browser: Browser) -> Iterator[BrowserContext]:
    context = browser.new_context(viewport={"width": 1280, "height": 860})
    context.set_default_timeout(60_000)
    yield context
    context.close()


def drawn(*boxes: tuple[int, int, int, int]) -> NDArray[np.int32]:
    """A label image of rectangles x0, y0, x1, y1, their ends included."""
    labels = np.zeros(SIZE, np.int32)
    for number, (x0, y0, x1, y1) in enumerate(boxes, 1):
        labels[y0 : y1 + 1, x0 : x1 + 1] = number
    return labels


def image(labels: NDArray[np.int32]) -> bytes:
    """In which the service finds these cells, those that touch as one."""
    return png(np.where(labels > 0, 255, 40).astype(np.uint8))


WIDE, LEFT, RIGHT, DUST, ROUND = (
    (10, 10, 49, 39),
    (60, 10, 79, 39),
    (81, 10, 99, 39),
    (120, 20, 124, 24),
    (10, 60, 39, 99),
)


def test_three_cells_are_corrected_and_saved_to_the_pixel(service: tuple[str, Path], context: BrowserContext) -> None:
    """A split, a merge over the gap between two parts, a removal, a rubbed one and a new one; undo and redo."""
    url, folder = service
    with editing(context, url, tools_png=image(drawn(WIDE, LEFT, RIGHT, DUST, ROUND))) as page:
        expect(page.locator("#editor-count")).to_have_text("5 cells")
        expect(page.locator("#editor-state")).to_have_text("the model's cells")
        page.keyboard.press("s")
        stroke(page, SIZE, [(30, 5), (30, 45)])
        expect(page.locator("#editor-count")).to_have_text("6 cells")
        page.keyboard.press("m")
        click(page, SIZE, (65, 20))
        click(page, SIZE, (90, 20))
        expect(page.locator("#editor-count")).to_have_text("5 cells")
        page.mouse.move(*on_screen(page, SIZE, (122, 22)))
        page.keyboard.press("x")
        expect(page.locator("#editor-count")).to_have_text("4 cells")
        expect(page.locator("#editor-state")).to_have_text("not saved")
        save(page, 1)
        parts = drawn((10, 10, 30, 39), (31, 10, 49, 39), (60, 10, 99, 39), ROUND)
        assert same_cells(saved(folder, "tools"), parts)
        page.keyboard.press("d")
        stroke(page, SIZE, [(120, 60), (140, 60), (140, 80), (120, 80)])
        page.keyboard.press("e")
        page.keyboard.press("[")
        stroke(page, SIZE, [(25, 50), (25, 110)])  # a rubber of 3 px cuts it in two
        expect(page.locator("#editor-count")).to_have_text("6 cells")
        save(page, 2)
        both = drawn(
            (10, 10, 30, 39), (31, 10, 49, 39), (60, 10, 99, 39), (10, 60, 21, 99), (29, 60, 39, 99), (120, 60, 140, 80)
        )
        assert same_cells(saved(folder, "tools"), both)
        for key, count in (("u", 5), ("Control+z", 4), ("u", 5), ("u", 6), ("u", 5), ("u", 5)):
            page.keyboard.press(key)
            expect(page.locator("#editor-count")).to_have_text(f"{count} cells")
        expect(page.locator("#editor-said")).to_have_text("Nothing to undo.")
        save(page, 3)
        assert same_cells(saved(folder, "tools"), drawn(WIDE, LEFT, RIGHT, DUST, ROUND))
        for key in ("r", "Control+y", "Control+Shift+z", "r", "r"):
            page.keyboard.press(key)
        save(page, 4)
        assert same_cells(saved(folder, "tools"), both)
        assert len(list((folder / "versions").glob("tools.*"))) == 4


def test_what_a_tool_can_not_do_it_says_and_leaves(service: tuple[str, Path], context: BrowserContext) -> None:
    url, folder = service
    labels = drawn(WIDE, LEFT, RIGHT, DUST)
    with editing(context, url, refused_png=image(labels)) as page:
        said = page.locator("#editor-said")
        stroke(page, SIZE, [(30, 5), (30, 25)])
        expect(said).to_have_text("The stroke has to go through a cell, from edge to edge.")
        page.keyboard.press("m")
        click(page, SIZE, (65, 20))
        click(page, SIZE, (122, 22))
        expect(said).to_contain_text("more than 3 px apart")
        page.keyboard.press("d")
        click(page, SIZE, (150, 100))
        expect(said).to_contain_text("too small for a cell")
        page.keyboard.press("e")
        page.mouse.move(*on_screen(page, SIZE, (20, 20)))
        page.mouse.down()
        page.mouse.move(*on_screen(page, SIZE, (40, 30)), steps=5)
        page.keyboard.press("Escape")  # what was rubbed comes back
        page.mouse.up()
        expect(page.locator("#editor-undo")).to_be_disabled()
        save(page, 1)
        assert same_cells(saved(folder, "refused"), labels)


def test_an_outline_that_begins_in_a_cell_adds_to_it_and_others_stay(
    service: tuple[str, Path], context: BrowserContext
) -> None:
    url, folder = service
    with editing(context, url, added_png=image(drawn(WIDE, LEFT))) as page:
        page.keyboard.press("d")
        stroke(page, SIZE, [(45, 30), (65, 30), (65, 35), (45, 35)])
        save(page, 1)
        expected = drawn(WIDE, LEFT)
        expected[30:36, 50:60] = 1
        assert same_cells(saved(folder, "added"), expected)


def test_the_keyboard_alone(service: tuple[str, Path], context: BrowserContext) -> None:
    """From the choice of an image on: into the editor, to a cell, a split, a save, out; focus is seen."""
    url, folder = service
    with editing(context, url, keys_png=image(drawn(WIDE, DUST))) as page:
        page.keyboard.press("Escape")
        expect(page.locator("#editor")).to_be_hidden()
        page.keyboard.press("c")
        expect(page.locator("#editor-save")).to_be_enabled()
        outline = page.evaluate("getComputedStyle(document.activeElement).outlineStyle + document.activeElement.id")
        assert outline == "solideditor-pen"
        page.keyboard.press(".")  # to the first cell
        expect(page.locator("#editor-said")).to_have_text("Cell 1.")
        page.keyboard.press("s")
        for key, times in (("Shift+ArrowUp", 3), ("Space", 1), ("Shift+ArrowDown", 6), ("Space", 1)):
            for _ in range(times):
                page.keyboard.press(key)
        expect(page.locator("#editor-said")).to_have_text("Split.")
        page.keyboard.press("Control+s")
        expect(page.locator("#editor-said")).to_have_text("Saved as version 1.")
        labels = saved(folder, "keys")
        assert same_cells((labels > 0).astype(int), (drawn(WIDE, DUST) > 0).astype(int))
        assert len(np.unique(labels)) == 4
        seen = set()
        for _ in range(14):
            page.keyboard.press("Tab")
            seen.add(page.evaluate("document.activeElement.id"))
        assert {f"editor-{name}" for name in ("split", "merge", "draw", "erase", "save", "close", "pen")} <= seen


def test_two_tabs(service: tuple[str, Path], context: BrowserContext) -> None:
    """The second save is refused, the newer can be loaded, undo brings the own back, and both are kept."""
    url, folder = service
    content = image(drawn(WIDE, DUST))
    with editing(context, url, tabs_png=content) as first, editing(context, url, tabs_png=content) as second:
        stroke(first, SIZE, [(30, 5), (30, 45)])
        save(first, 1)
        second.bring_to_front()
        second.mouse.move(*on_screen(second, SIZE, (122, 22)))
        second.keyboard.press("x")
        second.keyboard.press("w")
        expect(second.locator("#editor-problem-text")).to_contain_text(
            "tabs.png is at version 1 by now, and yours began"
        )
        if SHOTS:
            second.screenshot(path=Path(SHOTS) / "conflict.png")
        second.click("#editor-take")
        expect(second.locator("#editor-said")).to_have_text("Version 1; undo brings yours back.")
        expect(second.locator("#editor-count")).to_have_text("3 cells")
        expect(second.locator("#editor-state")).to_have_text("version 1")
        second.keyboard.press("u")
        expect(second.locator("#editor-count")).to_have_text("1 cell")
        save(second, 2)
        assert same_cells(saved(folder, "tabs"), drawn(WIDE))
        first.bring_to_front()
        stroke(first, SIZE, [(35, 5), (35, 45)])
        first.keyboard.press("w")
        expect(first.locator("#editor-problem")).to_be_visible()
        first.click("#editor-insist")
        expect(first.locator("#editor-said")).to_have_text("Saved as version 3.")
        assert same_cells(saved(folder, "tabs"), drawn((10, 10, 30, 39), (31, 10, 34, 39), (35, 10, 49, 39), DUST))
    assert sorted(path.name for path in (folder / "versions").glob("tabs.*")) == [f"tabs.000{n}.tif" for n in (1, 2, 3)]


def test_images_one_after_the_other_keep_what_is_not_saved(service: tuple[str, Path], context: BrowserContext) -> None:
    """Frames of a series too; what was saved before comes back, and the model's cells can."""
    url, folder = service
    series = np.stack([np.where(drawn(WIDE, box) > 0, 255, 40).astype(np.uint8) for box in (DUST, LEFT)])
    with editing(context, url, series_tif=tiff(series), later_png=image(drawn(RIGHT))) as page:
        expect(page.locator("#editor-name")).to_have_text("series.tif, frame 1")
        stroke(page, SIZE, [(30, 5), (30, 45)])
        turn(page, "n", "series.tif, frame 2")
        save(page, 1)
        turn(page, "n", "later.png")
        expect(page.locator("#editor-next")).to_be_disabled()
        turn(page, "p", "series.tif, frame 2")
        expect(page.locator("#editor-state")).to_have_text("version 1")
        turn(page, "p", "series.tif, frame 1")
        expect(page.locator("#editor-state")).to_have_text("not saved")
        save(page, 1)
    assert same_cells(saved(folder, "series.t000"), drawn((10, 10, 30, 39), (31, 10, 49, 39), DUST))
    assert same_cells(saved(folder, "series.t001"), drawn(WIDE, LEFT))
    assert not (folder / "masks/later.tif").exists()
    with editing(context, url, series_tif=tiff(series)) as page:
        expect(page.locator("#editor-said")).to_have_text("Version 1, as it was saved.")
        expect(page.locator("#editor-count")).to_have_text("3 cells")
        page.click("#editor-restart")
        expect(page.locator("#editor-count")).to_have_text("2 cells")
        page.keyboard.press("Escape")
        expect(page.locator("#corrected")).to_have_text("corrections not saved")


def test_a_page_with_changes_asks_before_it_goes(service: tuple[str, Path], context: BrowserContext) -> None:
    with editing(context, service[0], leave_png=image(drawn(WIDE))) as page:
        stroke(page, SIZE, [(30, 5), (30, 45)])
        asked: list[str] = []

        def stay(dialog: Dialog) -> None:
            asked.append(dialog.type)
            dialog.dismiss()

        page.on("dialog", stay)
        page.close(run_before_unload=True)
        page.wait_for_timeout(300)
        assert asked == ["beforeunload"]
        page.keyboard.press("w")
        expect(page.locator("#editor-state")).to_have_text("version 1")


def test_another_image_of_the_same_name_is_said(service: tuple[str, Path], context: BrowserContext) -> None:
    url, _ = service
    with editing(context, url, same_png=image(drawn(WIDE))) as page:
        save(page, 1)
    page = context.new_page()
    page.goto(url)
    page.set_input_files("#files", FilePayload(name="same.png", mimeType="", buffer=image(drawn(LEFT))))
    page.click("#correct")
    expect(page.locator("#editor-problem-text")).to_have_text(
        "images/same.png is another image of the same name; rename yours"
    )
    expect(page.locator("#editor-save")).to_be_disabled()
    expect(page.locator("#editor-take")).to_be_hidden()
    page.keyboard.press("Escape")
    expect(page.locator("#editor")).to_be_hidden()


def test_a_service_without_a_folder_shows_no_editor(context: BrowserContext) -> None:
    with running([model()], Settings()) as url:
        page = context.new_page()
        page.goto(url)
        page.set_input_files("#files", FilePayload(name="a.png", mimeType="", buffer=png(field(5))))
        expect(page.locator("#count")).to_have_text("5")
        expect(page.locator("#correct-choice")).to_be_hidden()
        page.keyboard.press("c")
        expect(page.locator("#editor")).to_be_hidden()
        expect(page.locator("#forgotten")).to_have_text("forgotten")


def culture(count: int = 800, size: tuple[int, int] = (704, 960)) -> NDArray[np.uint8]:
    """So many bright ellipses on a noisy ground, each apart from the others."""
    rng = np.random.default_rng(3)
    rows, columns = 25, 32
    y, x = np.mgrid[: size[0], : size[1]].astype(np.float32)
    light, step = np.zeros(size, np.float32), (size[0] / rows, size[1] / columns)
    for number in range(count):
        row, column = divmod(number, columns)
        cy, cx = (row + 0.5 + rng.uniform(-0.08, 0.08)) * step[0], (column + 0.5 + rng.uniform(-0.08, 0.08)) * step[1]
        a, b, turn = rng.uniform(9.5, 11.5), rng.uniform(6.5, 9), rng.uniform(0, np.pi)
        part = np.s_[max(0, int(cy) - 16) : int(cy) + 17, max(0, int(cx) - 16) : int(cx) + 17]
        u = (x[part] - cx) * np.cos(turn) + (y[part] - cy) * np.sin(turn)
        v = (y[part] - cy) * np.cos(turn) - (x[part] - cx) * np.sin(turn)
        light[part] = np.maximum(light[part], np.where(np.hypot(u / a, v / b) < 1, rng.uniform(150, 235), 0))
    return (
        np.where(light > 0, light + rng.normal(0, 6, size), 70 + rng.normal(0, 9, size)).clip(0, 255).astype(np.uint8)
    )


TIMER = """() => {
    window.work = []; window.shown = [];
    const ask = window.requestAnimationFrame.bind(window);
    window.requestAnimationFrame = (draw) => ask((time) => {
        const start = performance.now();
        draw(time);
        work.push(performance.now() - start);
    });
    const tick = (time) => { shown.push(time); ask(tick); };
    ask(tick);
}"""


def test_800_cells_at_60_frames_a_second(service: tuple[str, Path], context: BrowserContext) -> None:
    """What the editor computes for a frame, of strokes and of moving all of the image about."""
    pixels = culture()
    assert ndimage.label(pixels > 127)[1] == 800
    with editing(context, service[0], many_png=png(pixels)) as page:
        expect(page.locator("#editor-count")).to_have_text("800 cells")
        page.evaluate(TIMER)
        medians = {}
        for name, key, button in (("erase", "e", "left"), ("draw", "d", "left"), ("move all", "s", "middle")):
            page.keyboard.press(key)
            page.mouse.move(*on_screen(page, pixels.shape, (200, 200)))
            page.evaluate("work.length = shown.length = 0")
            page.mouse.down(button=button)  # type: ignore[arg-type]
            for turn in np.linspace(0, 4 * np.pi, 90):
                place = (int(480 + 250 * np.cos(turn)), int(350 + 200 * np.sin(turn)))
                page.mouse.move(*on_screen(page, pixels.shape, place))
            page.mouse.up(button=button)  # type: ignore[arg-type]
            work, shown = page.evaluate("[work, shown]")
            medians[name] = float(np.median(work))
            print(
                f"\n{name}: {len(work)} frames, median {medians[name]:.2f} ms of work (95th percentile "
                f"{np.percentile(work, 95):.2f}), {np.median(np.diff(shown)):.1f} ms from frame to frame"
            )
            assert len(work) > 10
        assert max(medians.values()) < FRAME_MS
        if SHOTS:
            page.keyboard.press("0")
            page.screenshot(path=Path(SHOTS) / "editor-800.png")
