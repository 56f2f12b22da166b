"""The page of a plate in a browser: the map follows the slider, a well shows its curve and its picture."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import plate_samples as made
import pytest
import tifffile
from browser import faults_of
from monolayer.measurement.files import arrow
from monolayer.plates import dictionary, plan, report, tabulate
from monolayer.plates.expected import looks
from monolayer.plates.labels import write_plane
from monolayer.plates.parts import PARTS, part_journal
from monolayer.plates.pictures import outlines
from monolayer.plates.plan import read_plan
from monolayer.plates.segment import key_of
from test_plates import run, table

if TYPE_CHECKING:
    from playwright.sync_api import Browser


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two wells with a plate map."""
    folder = tmp_path_factory.mktemp("plate")
    plate = made.incucyte(folder / "VID7", wells=2, fields=1, times=4)
    (folder / "map.csv").write_text("well,dose\nA1,0\nB1,<b>10\n")
    changes = {"conditions": str(folder / "map.csv")}
    output = run(plate, folder / "out", 100, **changes)
    report.report(output, made.settings(**changes), output / "report.html")
    return output


@pytest.mark.browser
def test_the_map_follows_its_slider(results: Path, browser: Browser) -> None:
    page = browser.new_page()
    faults = faults_of(page, "file:", "data:", "blob:")
    page.goto((results / "report.html").as_uri())
    wells = page.locator(".map button")
    assert wells.count() == 2
    assert [wells.nth(n).inner_text() for n in range(2)] == [str(made.count(n, 3)) for n in range(2)]
    page.locator("#time").fill("0")
    assert wells.nth(0).inner_text() == str(made.count(0, 0))
    assert page.locator("#moment").inner_text() == "0 h"
    wells.nth(1).click()
    assert page.locator("#chosen").inner_text() == "B1, dose <b>10", "what a map says is text"
    assert "Counts double in" in page.locator("#fitted").inner_text()
    assert page.locator("#shot path").get_attribute("d")
    page.locator("#quantity").select_option("confluence")
    assert page.locator("#low").inner_text() == "0"
    page.locator("#wells th button").first.click()
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), "nothing is wider than the page"
    page.close()
    assert not faults


@pytest.mark.browser
@pytest.mark.parametrize(
    ("change", "said"),
    [
        ("well[RATE] = -0.02", "counts change by −2 % per h"),
        ("well[RATE] = null", "no exponential fits the counts"),
        ("plate.cells_per_image.A1 = [3, 4, null, null]", "a fit needs three times, and this well has 2"),
        ("plate.cells_per_image.A1 = [0, 0, 0, 0]", "no cell was found"),
    ],
)
def test_a_well_without_a_doubling_time_says_why(results: Path, browser: Browser, change: str, said: str) -> None:
    page = browser.new_page()
    page.goto((results / "report.html").as_uri())
    page.evaluate(f"() => {{ const well = plate.wells.A1; well[DOUBLING] = null; {change}; choose('A1'); }}")
    assert page.locator("#fitted").inner_text().endswith(f"No doubling time: {said}")
    page.close()


@pytest.mark.browser
def test_confluence_is_in_per_cent_wherever_the_page_shows_it(results: Path, browser: Browser) -> None:
    page = browser.new_page()
    page.goto((results / "report.html").as_uri())
    shares = table(results / "curves.csv").groupby("well")["confluence"].apply(list)
    page.locator("#quantity").select_option("confluence")
    shown = [float(text) for text in page.locator(".map button").all_inner_texts()]
    assert shown == pytest.approx([100 * of_well[-1] for of_well in shares], abs=0.05)
    assert float(page.locator("#high").inner_text()) == pytest.approx(100 * shares.explode().max(), abs=0.05)
    label = page.locator(".map button").first.get_attribute("aria-label")
    assert label == f"A1 dose 0: {shown[0]:g}"
    top = page.locator("#curve text").nth(2).text_content()
    assert float(str(top)) == pytest.approx(100 * max(shares["A1"]), abs=0.05)
    cells = page.locator("#wells tbody tr").first.locator("td").all_inner_texts()
    assert [float(cells[n]) for n in (4, 5)] == pytest.approx([100 * shares["A1"][n] for n in (0, -1)], abs=0.05)
    page.close()


@pytest.mark.browser
@pytest.mark.parametrize("width", [1280, 390])
def test_no_number_of_a_full_plate_is_cut_off_or_rounded_to_another(
    width: int, results: Path, tmp_path: Path, browser: Browser
) -> None:
    """384 wells with counts of four digits, the first one without a cell and without an expected F1."""
    text = (results / "report.html").read_text()
    before, rest = text.split('id="plate-data">')
    data, after = rest.split("</script>", 1)
    plate, wells = json.loads(data), [f"{row}{column}" for row in "ABCDEFGHIJKLMNOP" for column in range(1, 25)]
    for name in ("wells", "cells_per_image", "confluence", "expected_f1", "flagged"):
        plate[name] = dict.fromkeys(wells, plate[name]["B1"])
    plate["cells_per_image"] = {well: [1111 + number] * 4 for number, well in enumerate(wells)} | {"A1": [0] * 4}
    plate["expected_f1"]["A1"] = [None] * 4
    plate["wells"]["A1"] = ["", *[None] * 8]
    (tmp_path / "full.html").write_text(f'{before}id="plate-data">{json.dumps(plate)}</script>{after}')
    page = browser.new_page(viewport={"width": width, "height": 900})
    faults = faults_of(page, "file:", "data:", "blob:")
    page.goto((tmp_path / "full.html").as_uri())
    assert page.locator(".map button").all_inner_texts() == ["0", *(str(1111 + number) for number in range(1, 384))]
    assert page.locator("#curve text").nth(2).text_content() == "1", "the axis of no cells"
    cut = "[...document.querySelectorAll('.map button')].filter((one) => one.scrollWidth > one.clientWidth).length"
    for quantity in ("cells_per_image", "expected_f1", "confluence", "doubling_time"):
        page.locator("#quantity").select_option(quantity)
        assert page.evaluate(cut) == 0, quantity
    page.locator("#quantity").select_option("expected_f1")
    page.locator(".map button").nth(1).click()
    page.locator(".map button").first.click()
    assert page.locator("#chosen").inner_text().startswith("A1"), "a well without a value can be chosen"
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), "nothing is wider than the page"
    page.close()
    assert not faults


def test_a_chart_of_many_long_conditions_names_those_that_have_a_colour(
    tmp_path: Path, recwarn: pytest.WarningsRecorder
) -> None:
    plate = made.incucyte(tmp_path / "VID7", wells=12, fields=1, times=1)
    rows = [f"{'AB'[well % 2]}{1 + well // 2},{'a compound of a long name ' * 6}{well:02d}" for well in range(11)]
    (tmp_path / "map.csv").write_text("\n".join(["well,drug", *rows]) + "\n")
    conditions = str(tmp_path / "map.csv")
    output = run(plate, tmp_path / "out", conditions=conditions)
    report.report(output, made.settings(conditions=conditions), output / "report.html")
    assert not [one for one in recwarn if "layout" in str(one.message)], "the chart has room"
    keys = (output / "report.html").read_text().split('<ul class="keys">')[1].split("</ul>")[0]
    assert "not in the plate map" in keys
    assert [f"{well:02d}</li>" in keys for well in range(11)] == [well < 7 for well in range(11)]
    assert "4 others" in keys


def test_the_same_files_give_the_same_page(results: Path, tmp_path: Path) -> None:
    conditions = str(results.parent / "map.csv")
    report.report(results, made.settings(conditions=conditions), tmp_path / "again.html")
    assert (tmp_path / "again.html").read_bytes() == (results / "report.html").read_bytes()


def test_a_well_is_called_the_same_in_map_and_picture(tmp_path: Path) -> None:
    """Tables have a ' before what a spreadsheet would compute."""
    (tmp_path / "scans").mkdir()
    for name in ("+dox", "=x", "'q"):
        tifffile.imwrite(tmp_path / "scans" / f"{name}.tif", made.field(3, 0))
    output = run(tmp_path / "scans", tmp_path / "out")
    report.report(output, made.settings(), output / "report.html")
    page = (output / "report.html").read_text()
    data, shown = (
        json.loads(page.split(f'id="plate-{kind}">')[1].split("</script>")[0]) for kind in ("data", "pictures")
    )
    assert {*data["wells"]} == {*shown} == {"+dox", "=x", "'q"}


def test_outlines_go_around_cells_and_holes() -> None:
    labels = np.zeros((10, 12), np.uint32)
    labels[2:6, 3:9] = 1
    assert outlines(labels, 0.1) == "M3.5,2.5l0,3 5,0 0,-3z", "through the middle of the pixels at the edge"
    labels[3:5, 5:7] = 0
    assert outlines(labels, 0.1).count("z") == 2


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_a_full_plate_stays_under_20_megabytes(tmp_path: Path) -> None:
    """384 wells of 100 times, with 500 cells in each picture; the part is what a shard would leave."""
    plate, output = tmp_path / "VID384", tmp_path / "out"
    plate.mkdir()
    pixels = np.tile(made.field(12, 1), (6, 6))[:520, :704]
    cells = np.kron(np.arange(1, 501).reshape(20, 25), np.ones((26, 28), int)).astype(np.uint32)
    tifffile.imwrite(tmp_path / "image.tif", pixels)
    for well, time in np.ndindex(384, 100):
        place = f"{'ABCDEFGHIJKLMNOP'[well // 24]}{1 + well % 24}"
        file = plate / f"V_{place}_1_{time // 12:02d}d{time % 12 * 2:02d}h00m.tif"
        file.hardlink_to(tmp_path / "image.tif")
    plan.plan(plate, made.reading(), output)
    images = read_plan(output)
    numbers = {"cells": 500, "confluence": 0.5, "sharpness": 1.0, "light_range": 0.1, "saturated": 0.0}
    numbers |= {"not_stored": 0.0, "median_diameter_px": 25.0, "mean_score": 0.8, "doubt": 0.2, "disagreement": 0.1}
    row = numbers | {"looks": looks(pixels)}
    for image in images:
        if image.frame == 99:
            write_plane(output, image.labels, 99, np.pad(cells, ((0, 0), (0, 4))))
    none = arrow(dictionary.CELLS, dict.fromkeys(dictionary.CELLS, ()))
    with part_journal(output / PARTS, f"1-{len(images)}", {}, ()) as journal:
        for image in images:
            journal.add(key_of(image, []), row, none)
        journal.finish([key_of(image, []) for image in images])
    tabulate.tabulate(output, len(images), made.settings())
    report.report(output, made.settings(), output / "report.html")
    assert 1_000_000 < (output / "report.html").stat().st_size < 20_000_000
