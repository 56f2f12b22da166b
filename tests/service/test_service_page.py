"""The web page in a real browser: images in, overlay, threshold, hover, downloads, messages, narrow and dark."""

from __future__ import annotations

import csv
import io
import json
import os
import zipfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import httpx
import numpy as np
import pytest
import tifffile
from browser import faults_of
from monolayer.service.state import Settings
from playwright.sync_api import Browser, Download, FilePayload, Page, expect
from service_fixtures import by_threshold, field, model, png, running, tiff

pytestmark = pytest.mark.browser
SHOTS = os.environ.get("MONOLAYER_SCREENSHOTS")  # a folder to look at them in


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with running([model()], Settings()) as url:
        yield url


@pytest.fixture
def page(browser: Browser, url: str) -> Iterator[Page]:
    """A fresh page; any error of a script and any request that leaves the service fails the test."""
    context = browser.new_context(viewport={"width": 1280, "height": 900}, accept_downloads=True)
    context.set_default_timeout(60_000)
    page = context.new_page()
    faults = faults_of(page, url, "data:", "blob:")
    page.goto(url)
    yield page
    assert faults == []
    context.close()


def shot(page: Page, name: str) -> None:
    if SHOTS:
        page.screenshot(path=Path(SHOTS) / f"{name}.png", full_page=True)


def choose(page: Page, **files: bytes) -> None:
    payloads = [FilePayload(name=name.replace("_", "."), mimeType="", buffer=file) for name, file in files.items()]
    page.set_input_files("#files", payloads)


def cells(page: Page) -> int:
    return int(page.locator("#count").inner_text())


def outlined(page: Page) -> int:
    """Pixels of the canvas that have the outlines' colour, or that over black."""
    script = """() => {
        const c = document.getElementById("canvas"), d = c.getContext("2d").getImageData(0, 0, c.width, c.height).data;
        let n = 0;
        for (let i = 0; i < d.length; i += 4)
            n += d[i] > 100 && Math.abs(d[i + 1] / d[i] - 157 / 255) < 0.08 && d[i + 2] / d[i] < 0.2;
        return n;
    }"""
    return int(page.evaluate(script))


def test_an_image_gets_its_overlay_and_numbers(page: Page) -> None:
    choose(page, cells_png=png(field(40)))
    expect(page.locator("#count")).to_have_text("40")
    assert outlined(page) > 100
    page.uncheck("#outlines")
    assert outlined(page) == 0
    page.check("#outlines")
    assert page.locator("#histogram rect").count() == 1  # all of one size
    assert page.locator("#area").inner_text() == "25 px²"
    shot(page, "overlay")


def test_the_threshold_acts_at_once(page: Page, url: str) -> None:
    requests: list[str] = []
    choose(page, cells_png=png(field(40)))
    expect(page.locator("#result")).to_be_visible()
    page.on("request", lambda request: requests.append(request.url))
    seen = []
    for value in ("0", "0.6", "0.9", "1"):
        page.locator("#threshold").fill(value)
        seen.append((cells(page), outlined(page), page.locator("#confluence").inner_text()))
    counts, outlines, confluences = zip(*seen, strict=True)
    levels = (255 - 127 * np.arange(40) // 39) / 255
    assert list(counts) == [int((np.round(levels, 4) >= least).sum()) for least in (0, 0.6, 0.9, 1)]
    assert list(outlines) == sorted(outlines, reverse=True)
    assert confluences[0] == f"{100 * 40 * 25 / (120 * 160):.1f} %"
    assert requests == []


def test_pointing_at_a_cell_tells_its_numbers(page: Page) -> None:
    choose(page, cells_png=png(field(3)))
    expect(page.locator("#result")).to_be_visible()
    page.locator("#threshold").fill("0")
    box = page.locator("#canvas").bounding_box()
    assert box is not None
    page.mouse.move(box["x"] + box["width"] * 11.5 / 160, box["y"] + box["height"] * 3.5 / 120)  # the second square
    expect(page.locator("#cell")).to_contain_text("192")
    shot(page, "hover")
    page.mouse.move(box["x"] + box["width"] * 0.9, box["y"] + box["height"] * 0.9)
    expect(page.locator("#cell tbody tr")).to_have_count(0)
    page.locator("#canvas").focus()
    for _ in range(3):
        page.keyboard.press("ArrowRight")
    expect(page.locator("#cell")).to_contain_text("128")
    assert "Cell 3" in page.locator("#said").inner_text()
    page.keyboard.press("Escape")
    expect(page.locator("#cell tbody tr")).to_have_count(0)


def test_cells_below_the_threshold_are_nobodys_neighbours(page: Page) -> None:
    """The service tells neighbours among all that the page asked it for, which is whatever scores."""
    choose(page, cells_png=png(field(3)))
    expect(page.locator("#result")).to_be_visible()
    for least, distance in (("0", "8 px"), ("0.9", "–")):
        page.locator("#threshold").fill(least)
        page.locator("#canvas").focus()
        page.keyboard.press("ArrowRight")
        expect(page.locator("#cell tr", has_text="nearest neighbour").locator("td")).to_have_text(distance)
        page.keyboard.press("Escape")


def content(download: Download) -> bytes:
    path = download.path()
    return Path(path).read_bytes()


def test_downloads_hold_the_cells_that_are_shown(page: Page) -> None:
    choose(page, my_png=png(field(40)))
    expect(page.locator("#result")).to_be_visible()
    page.locator("#threshold").fill("0.8")
    count = cells(page)
    assert 0 < count < 40
    found = {}
    for media in ("text/csv", "image/tiff", "application/zip", "application/vnd.coco+json", "image/png"):
        with page.expect_download() as waiting:
            page.click(f'button[data-media="{media}"]')
        found[waiting.value.suggested_filename] = content(waiting.value)
    assert set(found) == {"my.csv", "my.labels.tif", "my.rois.zip", "my.coco.json", "my.overlay.png"}
    assert len(found["my.csv"].decode().splitlines()) == count + 1
    assert tifffile.imread(io.BytesIO(found["my.labels.tif"])).max() == count
    assert len(zipfile.ZipFile(io.BytesIO(found["my.rois.zip"])).namelist()) == count
    assert len(json.loads(found["my.coco.json"])["annotations"]) == count


def test_bad_files_are_named_and_the_others_shown(page: Page) -> None:
    choose(page, notes_txt=b"no image", good_png=png(field(7)), cut_tif=tiff(field(3))[:300])
    expect(page.locator("#problems li")).to_have_count(2)
    text = page.locator("#problems").inner_text()
    assert "notes.txt" in text
    assert "no PNG, JPEG or TIFF" in text
    assert "cut short" in text
    expect(page.locator("#name")).to_have_text("good.png")
    shot(page, "problems")


def test_a_batch_has_progress_tabs_and_a_table(page: Page) -> None:
    choose(page, **{f"image{n}_png": png(field(4 * n)) for n in range(1, 9)})
    expect(page.locator("#progress")).to_be_visible()
    expect(page.locator("#images button")).to_have_count(8)
    expect(page.locator("#work")).to_be_hidden()
    page.locator("#threshold").fill("0")
    page.locator("#images button", has_text="image5.png").click()
    expect(page.locator("#count")).to_have_text("20")
    with page.expect_download() as waiting:
        page.click("#summary")
    rows = content(waiting.value).decode().splitlines()[1:]
    assert sorted(int(row.split(",")[3]) for row in rows) == [4 * n for n in range(1, 9)]
    shot(page, "batch")


def test_a_series_is_stepped_through(page: Page) -> None:
    choose(page, series_tif=tiff(np.stack([field(n) for n in (3, 9, 6)])))
    expect(page.locator("#frame-choice")).to_be_visible()
    page.locator("#threshold").fill("0")
    seen = []
    for frame in "012":
        page.locator("#frame").fill(frame)
        seen.append(cells(page))
    assert seen == [3, 9, 6]


def of_colour(page: Page, red: int, green: int, blue: int) -> int:
    """Pixels of the canvas that have this colour, about."""
    script = """([r, g, b]) => {
        const c = document.getElementById("canvas"), d = c.getContext("2d").getImageData(0, 0, c.width, c.height).data;
        let n = 0;
        for (let i = 0; i < d.length; i += 4)
            n += Math.abs(d[i] - r) + Math.abs(d[i + 1] - g) + Math.abs(d[i + 2] - b) < 30;
        return n;
    }"""
    return int(page.evaluate(script, [red, green, blue]))


def test_the_slider_shows_tracks(page: Page) -> None:
    """A cell that wanders to the right, and two daughters of another: tails grow with the frames, and can be hidden."""
    series = np.zeros((8, 120, 160), np.uint8)
    for number, frame in enumerate(series):
        frame[20:32, 10 + 8 * number : 22 + 8 * number] = 255
        frame[90:102, 130:142] = 250  # so that no step is the stage's
        frame[60:72, 20:32] = 245
        if number < 4:
            frame[60:70, 100:112] = 240
        else:
            frame[58:67, 94:102] = frame[58:67, 106:114] = 240
    choose(page, series_tif=tiff(series))
    expect(page.locator("#tails")).to_be_checked()
    seen = []
    for shown in "0257":
        page.locator("#frame").fill(shown)
        seen.append(of_colour(page, 0x5F, 0xD3, 0x8D))
    assert seen[0] == 0
    assert seen == sorted(seen)
    assert seen[3] > 50
    shot(page, "tracks")
    page.uncheck("#tails")
    assert of_colour(page, 0x5F, 0xD3, 0x8D) == 0
    page.locator("#canvas").focus()
    page.locator("#canvas").press("ArrowLeft")  # the last of the cells, a daughter
    expect(page.locator("#cell")).to_contain_text("daughter of track")


def test_pixel_size_gives_micrometres(page: Page) -> None:
    page.fill("#pixel", "0.5")
    choose(page, cells_png=png(field(9)))
    expect(page.locator("#area")).to_have_text("6.25 µm²")


def test_what_is_shown_is_what_its_model_found(browser: Browser) -> None:
    """Also after another model, line or pixel size was chosen; its first count is the service's."""
    small = replace(
        model("small", lines=["one"]), segment=lambda images, *_: by_threshold([im // 2 for im in images], None)
    )
    low = 0.70877  # between the slider's old steps, which made it 0.71
    light = field(40)
    light[light > 0] = np.linspace(178, 183, (light > 0).sum())
    with running([replace(model("large"), score_min=low), small], Settings()) as url:
        page = browser.new_context(accept_downloads=True).new_page()
        page.goto(url)
        expect(page.locator("#model option")).to_have_count(2)
        choose(page, a_png=png(light))
        expect(page.locator("#made")).to_have_text("large")
        asked = httpx.post(f"{url}/segment", files={"image": ("a.png", png(light))}).json()
        assert asked["score_min"] == low
        count = len(asked["frames"][0]["cells"])
        assert 0 < count == cells(page) < 40
        page.select_option("#model", "small")
        page.fill("#pixel", "0.5")
        assert cells(page) == count
        with page.expect_download() as waiting:
            page.click('button[data-media="text/csv"]')
        rows = list(csv.DictReader(io.StringIO(content(waiting.value).decode())))
        assert [row["area_um2"] for row in rows] == [""] * count
        choose(page, b_png=png(light))
        expect(page.locator("#images button")).to_have_count(2)
        page.locator("#images button", has_text="b.png").click()
        expect(page.locator("#made")).to_have_text("small, one, 0.5 µm")
        assert cells(page) == 0
        page.locator("#threshold").fill("0")
        page.locator("#images button", has_text="a.png").click()
        assert cells(page) == count  # another model's scores are its own
        with page.expect_download() as waiting:
            page.click("#summary")
        found = list(csv.DictReader(io.StringIO(content(waiting.value).decode())))
        assert [(row["model"], row["score_min"], row["cells"]) for row in found] == [
            ("large", str(low), str(count)),
            ("small", "0", "0"),
        ]
        page.context.close()


def test_the_sample_and_the_keyboard_alone(page: Page) -> None:
    for _ in range(12):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.id") == "sample":
            break
    page.keyboard.press("Enter")
    expect(page.locator("#name")).to_have_text("sample.png")
    assert cells(page) > 5
    shot(page, "sample")


def test_a_narrow_and_dark_screen(browser: Browser, url: str) -> None:
    context = browser.new_context(viewport={"width": 360, "height": 740}, color_scheme="dark")
    page = context.new_page()
    page.goto(url)
    choose(page, cells_png=png(field(40)))
    expect(page.locator("#result")).to_be_visible()
    assert page.evaluate("document.documentElement.scrollWidth") <= 360
    background = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert background == "rgb(18, 21, 24)"
    shot(page, "narrow")
    context.close()


def test_the_key_is_asked_for(browser: Browser) -> None:
    with running([model()], Settings(key="secret")) as url:
        context = browser.new_context()
        page = context.new_page()
        page.goto(url)
        expect(page.locator("#key-choice")).to_be_visible()
        page.fill("#key", "secret")
        page.press("#key", "Enter")
        expect(page.locator("#model option")).to_have_count(1)
        choose(page, cells_png=png(field(5)))
        expect(page.locator("#result")).to_be_visible()
        context.close()
