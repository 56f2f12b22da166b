"""The page: what stands on it, that it needs nothing else, and that it is the same every time."""

from __future__ import annotations

import base64
import io
import re
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from culture import HEIGHT, WIDTH, Culture, make_culture
from monolayer.backends.manifest import CellDiameters, ExportedGraph, ExportedNetwork, Manifest
from monolayer.coco.io import read_truth, write_results
from monolayer.coco.records import Image, Result, Truth
from monolayer.coco.rle import annotation, mask_from_rle, rle_from_mask, rles_from_crops
from monolayer.data import dataset
from monolayer.evaluation import evaluate
from monolayer.files import FORMAT, InputError, write_json
from monolayer.measurement.measure import CellSource, measure
from monolayer.params.families import YoloPredict
from monolayer.params.steps import EvaluateParams, MeasureParams, NeighbourParams, ReportParams, ReportSettings
from monolayer.reporting import card, charts, pictures, tables
from monolayer.reporting.biology import biology
from monolayer.reporting.gallery import ranked, spread
from monolayer.reporting.page import render
from monolayer.reporting.pictures import Album
from monolayer.reporting.report import SECTIONS, data, overlays, overview, report
from monolayer.reporting.study import SPLITS, Study, read_run
from paths import ROOT
from PIL import Image as PillowImage
from playwright.sync_api import Browser

VOID = {"meta", "input", "col", "br", "img", "link", "hr"}
RUNS = ["yolo", "unet"]
MEASURED = MeasureParams(
    pixel_size_um={"round": 0.5}, frame_hours={}, neighbours=NeighbourParams(gap=1, radius=40), files=[]
)

FINDING = {"kind": "few", "severity": "warn", "meaning": "images with few cells", "count": 1, "examples": ["a.png: 3"]}


@dataclass
class Page(HTMLParser):
    """The elements of a page as (tag, attributes), and an error for a tag that closes another's."""

    source: str
    strict: bool = True
    elements: list[tuple[str, dict[str, str | None]]] = field(default_factory=list)
    text: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.feed(self.source)
        assert not self.strict or self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        if self.strict:
            assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text.append(data)

    def all(self, tag: str) -> Iterator[dict[str, str | None]]:
        return (attributes for name, attributes in self.elements if name == tag)


def params(samples: int = 2, overlays: int = 3, micrographs: bool = True) -> ReportParams:
    settings = ReportSettings(
        title="monolayer", micrographs=micrographs, samples_per_line=samples, overlays_per_line=overlays
    )
    rows = {run: {"model": "unet", "lines": "all", "extension": None} for run in RUNS}
    rows[RUNS[-1]] |= {"extension": "matched"}
    used = {
        "seed": 0,
        "evaluate": {"resample": "image"},
        "runs": rows,
        "extensions": {"matched": {"layout": "matched"}},
        "measure": MEASURED.model_dump(),
    }
    return ReportParams(settings=settings, dataset="culture", scale="quick", used=used)


def noisy(truth: Truth, rng: np.random.Generator) -> list[Result]:
    """Most true cells as they are, and one spurious cell in each image's corner."""
    found = [
        Result(
            image_id=cell["image_id"],
            category_id=1,
            segmentation=cell["segmentation"],
            bbox=cell["bbox"],
            score=round(float(rng.uniform(0.5, 1)), 5),
        )
        for cell in truth["annotations"]
        if rng.random() < 0.8
    ]
    for image in truth["images"]:
        rle = rles_from_crops([(np.ones((3, 3), bool), 0, 0)], image["height"], image["width"])[0]
        found.append(Result(image_id=image["id"], category_id=1, segmentation=rle, bbox=[0, 0, 3, 3], score=0.95))
        found.append(Result(image_id=image["id"], category_id=1, segmentation=rle, bbox=[0, 0, 3, 3], score=0.1))
    return sorted(found, key=lambda result: result["image_id"])


def write_run(folder: Path, run: str, find: Callable[[Truth], list[Result]]) -> None:
    """All files of a run that finds these cells."""
    files = {
        split: (folder / "splits" / f"{split}.json", folder / "predictions" / run / f"{split}.json.gz")
        for split in ("val", "test")
    }
    for truth, results in files.values():
        write_results(results, find(read_truth(truth)))
    settings = EvaluateParams(protocol="livecell", n_resamples=20, seed=0, resample="image")
    evaluate.evaluate(files["test"], files["val"], settings, folder / "metrics" / f"{run}.json", threads=1)
    record = {
        "format": FORMAT,
        "params": {"family": "yolo"},
        "networks": {"all": {"initial": "none", "train_images": 8, "train_cells": 80, "sizes": [1, 2]}},
        "device": "a CPU, 2 threads",
        "duration_s": 75.5,
        "commit": "0123456789abcdef0123456789abcdef01234567",
        "uncommitted_changes": False,
        "versions": {"python": "3.11.7"},
    }
    write_json(folder / "models" / run / "run.json", record)
    history = pd.DataFrame(
        {
            "network": "all",
            "epoch": [1, 2, 3],
            "step": [5, 10, 15],
            "train_loss": [3, 2, 1.5],
            "val_mask_ap": [0.1, 0.2, 0.4],
            "score": [0.1, 0.2, 0.4],
        }
    )
    history.to_csv(folder / "models" / run / "history.csv", index=False)


def write_extension(folder: Path, name: str, lines: list[str]) -> None:
    """What `monolayer shift` leaves of an extension."""
    table = pd.DataFrame({"cell_line": lines, "originals": 8, "synthetic": 40, "energy_distance": 0.75})
    table = table.assign(null_distance=0.05, p_value=0.001, count_ks=0.1, confluence_ks=0.2, area_ks=0.3)
    (folder / "extensions" / name).mkdir(parents=True)
    table.to_csv(folder / "extensions" / name / "shift.csv", index=False)
    (folder / "extensions" / name / "shift.svg").write_text("<svg/>")
    (folder / "extensions" / name / "samples.png").write_bytes(b"png")


def write_study(folder: Path, culture: Culture, runs: list[str], find: Callable[..., Any] = noisy) -> Path:
    """A results folder of these runs, as the pipeline leaves it."""
    (folder / "data").mkdir(parents=True)
    (folder / "data" / "images").symlink_to(culture.images)
    shutil.copytree(culture.splits, folder / "splits")
    write_json(folder / "splits" / "test.json", culture.truth)  # all 12 images: ranks need more than one of a line
    names = {image["cell_line"] for image in culture.truth["images"]}
    lines = [{"cell_line": name, "confluence_median": 0.25} for name in sorted(names)]
    write_json(folder / "data" / "audit.json", {"findings": [FINDING], "near_copies": [], "lines": lines})
    write_extension(folder, "matched", sorted(names))
    for seed, run in enumerate(runs):
        write_run(folder, run, partial(find, rng=np.random.default_rng(seed)))
    evaluate.compare([folder / "metrics" / f"{run}.json" for run in runs], folder / "metrics.csv")
    for source in ("truth", *runs):
        cells = CellSource(folder / "predictions" / source / "test.json.gz" if source in runs else None, 0.2)
        truth = folder / "splits" / "test.json"
        measure(folder / "data" / "images", truth, cells, MEASURED, folder / "cells" / source)
    return folder


def section_html(name: str, study: Study, micrographs: bool = True) -> str | None:
    """A section by itself, as it stands on the page; None where it does not."""
    [section] = [section for section in SECTIONS if section.name == name]
    content = section.content(study, Album(study.folder / "data" / "images", micrographs))
    return None if content is None else render(f"{name}.html", study=study, **content)


@pytest.fixture(scope="module")
def folder(culture: Culture, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_study(tmp_path_factory.mktemp("study") / "culture", culture, RUNS)


@pytest.fixture(scope="module")
def html(folder: Path) -> str:
    report(folder, RUNS, params(), folder / "report.html")
    return (folder / "report.html").read_text()


@pytest.fixture(scope="module")
def page(html: str) -> Page:
    return Page(html)


def test_every_section_stands_on_the_page_and_in_its_navigation(page: Page) -> None:
    anchors = [a.get("id") for a in page.all("section")]
    assert anchors == [
        section.name for section in SECTIONS if section.name not in ("rounds", "speed", "tracks", "tools")
    ]  # nothing was timed, tracked or has a base here
    links = {a["href"] for a in page.all("a")}
    assert {f"#{name}" for name in anchors} <= links


def test_every_link_and_reference_within_the_page_has_its_target_and_ids_are_unique(html: str, page: Page) -> None:
    ids = [a["id"] for _, a in page.elements if "id" in a]
    assert len(ids) == len(set(ids))
    wanted = set(re.findall(r'(?:href="#|url\(#)([^")]+)', html))
    assert wanted <= set(ids)


def test_the_page_loads_nothing(html: str, page: Page) -> None:
    for tag, attributes in page.elements:
        for name in ("src", "href", "xlink:href", "data", "poster", "srcset"):
            target = attributes.get(name)
            assert target is None or target.startswith(("#", "data:image/")), (tag, target)
    assert not re.search(r"url\(\s*['\"]?(?!#)", html)
    assert "@import" not in html
    assert not list(page.all("link"))


def test_the_same_files_give_the_same_bytes(folder: Path, html: str, tmp_path: Path) -> None:
    report(folder, RUNS, params(), tmp_path / "again.html")
    assert (tmp_path / "again.html").read_text() == html


def test_pictures_have_texts_and_tables_captions(page: Page) -> None:
    for svg in page.all("svg"):
        assert svg.get("aria-hidden") == "true" or svg.get("aria-label")
    assert len(list(page.all("caption"))) == len(list(page.all("table")))


def test_outlines_are_the_numbers_of_the_table(folder: Path, page: Page) -> None:
    by_image = pd.read_csv(folder / "metrics" / "unet.images.csv").iloc[0]
    expected = f"{by_image.tp} found, {by_image.fn} missed, {by_image.tp} right, {by_image.fp} spurious"
    labels = [str(a.get("aria-label")) for a in page.all("svg")]
    assert any(expected in label and by_image.file_name in label and "unet" in label for label in labels)


def test_the_gain_by_an_extension_stands_beside_its_shift(folder: Path, html: str) -> None:
    twin, extended = RUNS[0], RUNS[-1]
    pairs = pd.read_csv(folder / "pairs.csv")
    chosen = (pairs["run_a"] == twin) & (pairs["run_b"] == extended) & (pairs["cell_line"] == "long")
    loss = float(pairs[chosen & (pairs["metric"] == "f1_50")]["difference"].iloc[0])
    gains = tables.gains(Study(folder, RUNS, params()), "matched", ["f1_50"])
    assert [(row["run"], row["twin"], row["line"]) for row in gains] == [
        (extended, twin, line) for line in ("all", "long", "round")
    ]
    assert gains[1]["cells"][0][1].value == pytest.approx(-loss)
    section = html[html.index('<section id="extensions"') : html.index('<section id="training"')]
    assert f"{extended} <small>against {twin}" in section
    assert section.count("0.750") == 4  # the shift of both lines, in both tables


def test_without_an_extension_there_is_no_such_section(folder: Path) -> None:
    plain = params()
    plain.used["extensions"] = {}
    assert section_html("extensions", Study(folder, RUNS, plain)) is None


def test_a_row_that_learnt_nothing_says_so_in_place_of_scores(folder: Path, tmp_path: Path) -> None:
    shutil.copytree(folder, tmp_path / "study", symlinks=True)
    path = tmp_path / "study/models" / RUNS[0] / "history.csv"
    pd.read_csv(path).assign(score=[0.0, 0.0, 0.004]).to_csv(path, index=False)
    section = section_html("results", Study(tmp_path / "study", RUNS, params()))
    assert section is not None
    rows = re.findall(r"<tr>(.*?)</tr>", section.partition("<tbody")[2].partition("</table>")[0], re.DOTALL)
    first, second = (re.sub(r"\s+", " ", re.sub(r"<[^>]*>", "", row)).split() for row in rows[:2])
    assert first[:5] == [RUNS[0], "15", "steps,", "too", "few"]
    assert set(first[5:]) == {"–"}
    assert second[:3] == [RUNS[1], "15", "steps"]
    assert float(second[3]) > 0
    assert "had not learnt to find cells" in section


def test_it_is_told_where_ap_counts_not_every_prediction(folder: Path, tmp_path: Path) -> None:
    shutil.copytree(folder, tmp_path / "study", symlinks=True)
    table = pd.read_csv(tmp_path / "study/metrics.csv")
    said = "there are more in 3 images of yolo."
    for capped, shown in ((np.nan, False), (3.0, True)):
        table.assign(capped_images=np.where(table["run"] == "yolo", capped, np.nan)).to_csv(
            tmp_path / "study/metrics.csv", index=False
        )
        assert (said in str(section_html("results", Study(tmp_path / "study", RUNS, params())))) == shown


def test_another_tool_stands_beside_ours_with_its_licence_and_time(folder: Path, tmp_path: Path) -> None:
    """It was not trained: no curve, no commit; in every table of scores it is a run like any other."""
    shutil.copytree(folder, tmp_path / "study", symlinks=True)
    shutil.rmtree(tmp_path / "study/models" / RUNS[0])
    tool = {"tool": "a tool <1.0>", "licence": "CC-BY-NC-4.0", "family": "command", "command": "segment {images}"}
    known = tool | {"images": 12, "cells": 99, "seconds": 24.0, "device": "a CPU, 2 threads"}
    write_json(tmp_path / "study/predictions" / RUNS[0] / "test.tool.json", known)
    report(tmp_path / "study", RUNS, params(), tmp_path / "report.html")
    text = (tmp_path / "report.html").read_text()
    section = text.partition('id="tools"')[2].partition("</section>")[0]
    cells = [part.strip() for part in re.findall(r"<t[hd][^>]*>([^<]*)</t", section)][-8:]
    assert cells == [RUNS[0], "a tool &lt;1.0&gt;", "CC-BY-NC-4.0", "12", "99", "24 s", "0.5", "a CPU, 2 threads"]
    assert "segment {images}" in section
    training = text.partition('id="training"')[2].partition("</section>")[0]
    assert f"<h3>{RUNS[0]}</h3>" not in training
    assert f"<h3>{RUNS[1]}</h3>" in training


def test_an_image_is_embedded_once(page: Page) -> None:
    embedded = list(page.all("image"))
    assert len(embedded) == len({a["href"] for a in embedded})
    assert len(list(page.all("use"))) > len(embedded)


def test_only_the_images_shown_are_read(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[Path] = []

    def counted(path: Path) -> Any:
        read.append(path)
        return dataset.read_image(path)

    monkeypatch.setattr(pictures, "read_image", counted)
    study, album = Study(folder, RUNS, params(samples=1, overlays=1)), Album(folder / "data" / "images", True)
    for section in (overview, data, overlays):
        section(study, album)
    assert len(read) == len(set(read)) <= 2 * (1 + len(RUNS))  # a sample and a test image of each run, of two lines


def test_without_micrographs_no_pixel_of_an_image_is_passed_on(folder: Path, tmp_path: Path) -> None:
    report(folder, RUNS, params(micrographs=False), tmp_path / "bare.html")
    text = (tmp_path / "bare.html").read_text() + (tmp_path / "overview.svg").read_text()
    embedded = re.findall(r"data:image/(?:webp|png);base64,([^\"]+)", text)
    assert embedded
    for one in embedded:
        with PillowImage.open(io.BytesIO(base64.b64decode(one))) as picture:
            assert picture.convert("L").getextrema() == (pictures.GROUND, pictures.GROUND)
    assert list(Page(text).all("path"))


def test_a_large_image_is_embedded_smaller_in_its_shape(tmp_path: Path) -> None:
    PillowImage.fromarray(np.zeros((40, 3000), np.uint8)).save(tmp_path / "wide.png")
    frame = Image(id=1, file_name="wide.png", width=3000, height=40, cell_line="a", well="", timestamp=None, split=None)
    album = Album(tmp_path, True)
    album.picture(frame, "", [], {})
    _, uri = album.images[1]
    with PillowImage.open(io.BytesIO(base64.b64decode(uri[uri.index(",") :]))) as embedded:
        assert embedded.size == (pictures.LONGEST, round(40 * pictures.LONGEST / 3000))


def test_hostile_names_are_text(tmp_path: Path) -> None:
    culture = make_culture(tmp_path / "culture")
    for image in culture.truth["images"]:
        evil = f"<_svg><script>alert({image['id']})<_script> & \"'$x$.png"
        (culture.images / image["file_name"]).rename(culture.images / evil)
        image["file_name"] = evil
        image["cell_line"] += "<b>$y$"
    for split in ("train", "val"):
        write_json(culture.splits / f"{split}.json", culture.truth)
    run = "<script>alert(0)<_script>"
    folder = write_study(tmp_path / "study", culture, [run])
    report(folder, [run], params(), folder / "report.html")
    page = Page((folder / "report.html").read_text())
    assert len(list(page.all("script"))) == 1
    text = "".join(page.text)
    assert run in text
    assert "round<b>$y$" in text
    assert "<_svg><script>alert(1)<_script> & \"'$x$.png" in text


def test_a_run_that_found_nothing_has_its_pictures(tmp_path: Path, culture: Culture) -> None:
    folder = write_study(tmp_path / "study", culture, ["yolo"], lambda truth, rng: [])
    found = overlays(Study(folder, ["yolo"], params()), Album(folder / "data" / "images", True))["pictures"]["yolo"]
    for shown in found.values():
        assert len(shown) == 3
        assert all([layer.count > 0 for layer in one.layers] == [False, True, False, False] for one in shown)


def test_a_single_run_without_intervals_has_no_differences(tmp_path: Path, culture: Culture) -> None:
    folder = write_study(tmp_path / "study", culture, ["yolo"])
    table = pd.read_csv(folder / "metrics.csv")
    table.loc[:, table.columns.str.endswith(("_low", "_high"))] = np.nan
    table.to_csv(folder / "metrics.csv", index=False)
    report(folder, ["yolo"], params(), folder / "report.html")
    html = re.sub(r"base64,[^\"]*", "", (folder / "report.html").read_text())
    assert not re.search(r"\bnan\b", html, re.IGNORECASE)
    assert "Which differences are real" not in html


def test_what_is_found_where_nobody_annotated_counts_neither_way_on_the_page(tmp_path: Path) -> None:
    """The left half of all images is such a region, and the run finds every cell: nothing is spurious, nothing off."""
    culture = make_culture(tmp_path / "culture")
    half = np.zeros((HEIGHT, WIDTH), np.bool_)
    half[:, : WIDTH // 2] = True
    every = culture.truth["annotations"].copy()
    outside = [c for c in every if (mask_from_rle(c["segmentation"]) & half).sum() < c["area"] / 2]
    assert len(outside) < len(every)
    regions = [annotation(0, image["id"], rle_from_mask(half)) for image in culture.truth["images"]]
    for number, one in enumerate(regions, start=9000):
        one["id"], one["iscrowd"] = number, 1
    culture.truth["annotations"] = outside + regions

    def exact(truth: Truth, rng: object) -> list[Result]:
        ids, common = {image["id"] for image in truth["images"]}, {"category_id": 1, "score": 0.9}
        return [
            Result(**common, **{key: c[key] for key in ("image_id", "segmentation", "bbox")})  # type: ignore[typeddict-item]
            for c in every
            if c["image_id"] in ids
        ]

    folder = write_study(tmp_path / "study", culture, ["yolo"], exact)
    study = Study(folder, ["yolo"], params())
    made = biology(study, Album(folder / "data/images", True))
    off = {row[name] for row in made["agreement"] for name in ("cells_off", "cells_off_image", "area_off")}
    assert off == {0}
    assert [abs(row["confluence_off"]) < 1e-9 for row in made["agreement"]] == [True] * 4
    assert len(study.counted_cells("yolo", [])) == len(study.counted_cells("truth", [])) == len(outside)
    for true, pred in made["maps"].values():
        assert true.numbers == pred.numbers
    shown = overlays(study, Album(folder / "data/images", True))["pictures"]["yolo"]
    for one in (one for line in shown.values() for one in line):
        layers = {layer.name: layer.count for layer in one.layers}
        assert (layers["spurious"], layers["regions not annotated"]) == (0, 1)
        assert layers["right"] == one.numbers["found"]
        assert layers["not counted"] > 0
    html = section_html("biology", study)
    assert html is not None
    assert "Of 12 test images a part is not annotated" in html
    blind = Study(write_study(tmp_path / "blind", culture, ["yolo"], lambda truth, rng: []), ["yolo"], params())
    assert blind.counted_cells("yolo", ["touches_border"]).shape == (0, 3)


READS: dict[str, Callable[[Study], object]] = {
    "metrics.csv": lambda study: study.table,
    "pairs.csv": lambda study: study.pairs,
    "metrics/yolo.images.csv": lambda study: study.by_image("yolo"),
    "metrics/unet.curves.csv": lambda study: study.breakdown("curves", []),
    "models/unet/run.json": lambda study: study.records,
    "models/unet/history.csv": lambda study: study.history("unet"),
    "data/audit.json": lambda study: study.audit,
    "splits/val.json": lambda study: study.census,
    "predictions/unet/test.json.gz": lambda study: study.predicted_cells("unet", {1}),
}


@pytest.mark.parametrize("path", READS)
def test_a_missing_file_is_named(path: str, folder: Path, tmp_path: Path) -> None:
    copy = shutil.copytree(folder, tmp_path / "study", symlinks=True)
    (copy / path).unlink()
    with pytest.raises(InputError, match=re.escape(path)):
        READS[path](Study(copy, RUNS, params()))


def test_a_page_that_fails_is_not_left_half_written(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"metrics\.csv"):
        report(tmp_path, RUNS, params(), tmp_path / "report.html")
    assert list(tmp_path.iterdir()) == []


def test_a_run_that_the_table_lacks_is_named(folder: Path) -> None:
    with pytest.raises(InputError, match="no row of run other; it has unet, yolo"):
        _ = Study(folder, ["other"], params()).table


def test_an_outline_follows_the_pixels_edges() -> None:
    mask = np.zeros((10, 12), bool)
    mask[2:6, 3:9] = True
    path = pictures.outline(rle_from_mask(mask), 0.5)
    x, y = map(float, path[1 : path.index("l")].split(","))
    points = [(x, y)]
    for step in path[path.index("l") + 1 : -1].split():
        dx, dy = map(float, step.split(","))
        points.append((points[-1][0] + dx, points[-1][1] + dy))
    assert min(p[0] for p in points) == pytest.approx(3, abs=0.5)
    assert max(p[0] for p in points) == pytest.approx(9, abs=0.5)
    assert min(p[1] for p in points) == pytest.approx(2, abs=0.5)
    assert max(p[1] for p in points) == pytest.approx(6, abs=0.5)


@pytest.mark.parametrize(
    ("length", "count", "ranks"),
    [(20, 3, [0, 9, 19]), (20, 1, [9]), (2, 3, [0, 1]), (1, 3, [0]), (5, 2, [0, 4]), (3, 3, [0, 1, 2])],
)
def test_spread(length: int, count: int, ranks: list[int]) -> None:
    assert spread(length, count) == ranks


@pytest.mark.parametrize(
    ("scores", "count", "ranks"),
    [
        ([0.3, 0.9, 0.5, 0.7], 3, ["2 best of 4", "4 median of 4", "1 worst of 4"]),
        ([0.3, 0.9, 0.5], 1, ["3 median of 3"]),
        ([0.3, 0.3], 3, ["1 best of 2", "2 worst of 2"]),
        ([0.3], 3, ["1 the only image"]),
        ([], 3, []),
    ],
)
def test_images_are_ranked_and_those_without_cells_are_not(scores: list[float], count: int, ranks: list[str]) -> None:
    rows = pd.DataFrame({"image_id": range(1, len(scores) + 1), "f1_50": scores, "cells_true": 5, "cells_pred": 0})
    empty = pd.DataFrame({"image_id": [99], "f1_50": [np.nan], "cells_true": [0], "cells_pred": [0]})
    found = ranked(pd.concat([rows, empty]).astype({"image_id": int}), count)
    assert [f"{row.image_id} {row.rank}" for row in found.itertuples()] == ranks


def test_every_score_has_its_column_and_definition(folder: Path, page: Page) -> None:
    names = pd.read_csv(folder / "metrics.csv").columns
    scores = {name for name in names if not name.endswith(("_low", "_high"))} - set(tables.NO_SCORES)
    columns = tables.columns(names)
    assert {column.name for column in columns} == scores
    assert {f"def-{column.about}" for column in columns} <= {a.get("id") for a in page.all("div")}


def test_the_best_of_a_column_is_marked_where_there_is_a_choice() -> None:
    table = pd.DataFrame({"run": ["a", "b", "c"], "mask_ap": [0.5, 0.50004, 0.4], "afnr": [0.2, 0.1, np.nan]})
    columns = tables.columns(["mask_ap", "afnr"])
    marks = [[cell.best for cell in row["cells"]] for row in tables.rows(table, columns, tables.NO_PAIRS)]
    assert marks == [[True, False], [True, True], [False, False]]
    assert not any(cell.best for row in tables.rows(table.head(1), columns, tables.NO_PAIRS) for cell in row["cells"])


def test_as_far_below_nothing_as_above_it_is_as_good() -> None:
    table = pd.DataFrame({"run": ["a", "b", "c"], "count_bias": [-0.1, 0.1, 0.3]})
    rows = tables.rows(table, tables.columns(["count_bias"]), tables.NO_PAIRS)
    assert [row["cells"][0].best for row in rows] == [True, True, False]


def test_headings_of_sizes_and_numbers_that_are_none() -> None:
    headings = [column.heading for column in tables.columns(["mask_ap_large", "box_ar_large", "mask_ar_100"])]
    assert headings == ["Mask AP large", "Box AR large", "Mask AR 100"]
    assert (tables.short(float("nan")), tables.score(float("nan")), tables.score(-0.0001)) == ("–", "", "0.000")
    assert [tables.short(value) for value in (55.0000001, 0.04, 0, 4.25, 99.97)] == ["55", "0.04", "0", "4.2", "100"]
    assert (tables.signed(-0.0001), tables.share(-0.00004)) == ("+0.000", "+0.0 %")
    assert [tables.number(value) for value in (123456.7, 75.5, 1e-9, 12)] == ["123,457", "75.5", "1e-09", "12"]


def test_colours_of_neighbours_have_a_key(folder: Path) -> None:
    html = section_html("biology", Study(folder, RUNS, params()))
    assert html is not None
    keys = re.findall(r'<path class="near near-(\d)"[^>]*/></svg> ([^<]*)</span>', html)
    assert keys == 2 * [("0", "0 touching"), ("1", "1 touching"), ("2", "2 touching"), ("3", "3 or more")]


def test_a_line_without_a_cell_has_an_empty_panel_and_every_split_its_colour() -> None:
    """The first line is in train alone: the legend stands where all splits are."""
    diameters: dict[str, dict[str, list[float]]] = {
        "empty": {"train": [], "val": [], "test": []},
        "first": {"train": [8.0, 9.0]},
        "second": {split: [8.0, 9.0] for split in SPLITS},
    }
    drawn = charts.distributions("diameter", "px", diameters, SPLITS)
    assert all(f">{text}<" in drawn for text in (*diameters, *SPLITS))


def test_a_run_without_real_difference_from_the_best_is_tied() -> None:
    table = pd.DataFrame({"run": ["a", "b", "c"], "mask_ap": [0.5, 0.3, 0.4]})
    pairs = pd.DataFrame({"run_a": ["a", "a", "b"], "run_b": ["b", "c", "c"], "real": ["true", "false", "false"]})
    rows = tables.rows(table, tables.columns(["mask_ap"]), pairs.assign(metric="mask_ap"))
    assert [row["cells"][0].tied for row in rows] == [False, False, True]


def test_differences_of_two_runs_are_turned_round() -> None:
    pairs = pd.DataFrame({"run_a": ["a"], "run_b": ["b"], "cell_line": ["all"], "metric": ["mask_ap"]})
    pairs = pairs.assign(difference=0.2, low=0.1, high=0.4, real="true")
    found = tables.differences(pairs, ["a", "b", "c"], "mask_ap")
    assert found["a"] == [None, tables.Difference(0.2, 0.1, 0.4, True), None]
    assert found["b"] == [tables.Difference(-0.2, -0.4, -0.1, True), None, None]


def test_reference_rows_keep_to_what_the_documents_say() -> None:
    references = tables.references(["all", "shsy5y"])
    rows = tables.reference_rows(references, "shsy5y", tables.columns(["pixel_f1", "f1_50"]))
    ensemble = next(row for row in rows if row["run"] == "Deep U-Net Ensemble (EL)")
    assert ensemble["cells"][0].value == 0.6104
    assert np.isnan(ensemble["cells"][1].value)
    assert tables.reference_rows(references, "HeLa", tables.columns(["pixel_f1"])) == []


@pytest.mark.parametrize(
    ("seconds", "text"), [(12.34, "12.3 s"), (75.5, "1 min 16 s"), (3599.9, "1 h 00 min"), (7320, "2 h 02 min")]
)
def test_durations(seconds: float, text: str) -> None:
    assert tables.duration(seconds) == text


def test_captions_of_the_workflows_own_report_exist() -> None:
    rules = ROOT / "workflow" / "rules"
    named = [rules / name for path in rules.glob("*.smk") for name in re.findall(r'caption="(.*?)"', path.read_text())]
    assert named
    assert all(path.is_file() for path in named)


# ---- in a browser --------------------------------------------------------------------------------


def browse(browser: Browser, path: Path, script: str, width: int = 1300) -> Any:
    """What `script`, the body of a function, returns in the page, opened in a window so many px wide."""
    page = browser.new_page(viewport={"width": width, "height": 800})
    page.goto(path.as_uri())
    answer = page.evaluate(f"() => {{{script}}}")
    page.close()
    return answer


@pytest.mark.browser
def test_all_sections_have_room_in_the_navigation_and_a_phone_shows_the_whole_width(
    browser: Browser, html: str, folder: Path
) -> None:
    script = f"""
        const nav = document.querySelector("nav div"), [brand, link] = nav.children;
        const links = {[section.title for section in SECTIONS[1:]]}.map((title) => {{
            const one = link.cloneNode();
            one.textContent = title;
            return one;
        }});
        nav.replaceChildren(brand, ...links);
        return nav.scrollWidth <= nav.clientWidth;
    """
    assert browse(browser, folder / "report.html", script)
    fits = "return document.documentElement.scrollWidth <= innerWidth;"
    assert browse(browser, folder / "report.html", fits, width=390)


@pytest.mark.browser
def test_a_click_on_a_heading_sorts_and_the_documents_rows_stay(browser: Browser, html: str, folder: Path) -> None:
    script = """
        const table = document.querySelector("table.sortable"), body = table.querySelector("tbody.ours");
        const before = table.querySelectorAll("tbody").length;
        body.insertAdjacentHTML("beforeend", "<tr><th>c</th><td data-value='0.9'>0.9</td></tr>");
        body.insertAdjacentHTML("beforeend", "<tr><th>d</th><td data-value=''>–</td></tr>");
        const order = () => [...body.rows].map((row) => row.cells[1].dataset.value);
        const button = table.tHead.querySelectorAll("button")[1], seen = [];
        for (const _ of [1, 2]) { button.click(); seen.push([order(), button.closest("th").ariaSort]); }
        return {seen, last: table.lastElementChild.className};
    """
    found = browse(browser, folder / "report.html", script)
    (down, falling), (up, rising) = found["seen"]
    assert (falling, rising) == ("descending", "ascending")
    numbers = [float(value) for value in down[:-1]]
    assert down[-1] == up[-1] == ""
    assert numbers == sorted(numbers, reverse=True)
    assert up[:-1] == down[-2::-1]
    assert found["last"] == "references"


@pytest.mark.browser
def test_layers_are_switched_off_and_a_picture_is_enlarged(browser: Browser, html: str, folder: Path) -> None:
    script = """
        const drawn = (kind) => [...document.querySelectorAll("#overlays details[open] .picture ." + kind)]
            .filter((path) => getComputedStyle(path).display !== "none").length;
        const box = (name) => document.querySelector("#overlays .show-" + name), seen = [];
        const state = () => seen.push(["true", "pred", "matched", "missed", "spurious"].map(drawn));
        state();
        box("true").checked = false; state();
        box("true").checked = true; box("matched").checked = false; state();
        document.querySelector("#overlays .enlarge").click();
        const dialog = document.getElementById("enlarged");
        return {seen, open: dialog.open, pictures: dialog.querySelectorAll("svg use").length,
                loaded: performance.getEntriesByType("resource").map((entry) => entry.name)};
    """
    found = browse(browser, folder / "report.html", script)
    every, without_true, errors = found["seen"]
    assert all(every)
    assert without_true == [0, every[1], every[1] - every[4], 0, every[4]]
    assert errors == [every[3], every[4], 0, every[3], every[4]]
    assert found["open"]
    assert found["pictures"] == 1
    assert all(name.startswith("data:") for name in found["loaded"])


def test_a_record_of_the_first_format_is_refused_with_the_cure(tmp_path: Path) -> None:
    write_json(tmp_path / "run.json", {"params": {}})
    with pytest.raises(InputError, match=r"run\.json is of format 1, and this version reads 2; train the run again$"):
        read_run(tmp_path)


def manifest(**told: Any) -> Manifest:
    return Manifest.model_construct(**{"diameters": None, "settings": None} | told)


def test_a_card_says_how_large_the_cells_were_and_in_what_its_products_run() -> None:
    diameters = CellDiameters(low=11.24, median=14.3, high=19.06)
    text = card.sizes(manifest(diameters=diameters))
    assert "median training cell has a diameter of 14.3 px" in text
    assert "between 11.2 and 19.1 px" in text
    assert "`--diameter`" in text
    assert card.sizes(manifest()) == ""
    yolo = YoloPredict(imgsz=320, batch=1, score_min=0.01, nms_iou=0.7, max_det=100)
    assert "--diameter" not in card.sizes(manifest(diameters=diameters, settings=yolo))  # which refuses it
    ran = {"backend": "onnxruntime", "dtype": "int8", "ap": 0.5, "ap_torch": 0.5, "mask_iou": 0.9}
    [row, other] = card.parity_rows([ran | {"products": {"fp32": 3, "int8": 15}}, ran])
    assert (row["products"], other["products"]) == ("3 in fp32, 15 in int8", "–")


def test_a_card_lists_the_files_of_the_export_and_none_that_an_earlier_one_left(tmp_path: Path) -> None:
    graphs = {"maps": ExportedGraph(inputs=[], outputs=[], multiple=1)}
    own = manifest(networks={"all": ExportedNetwork(constants={}, graphs=graphs)}, dtypes=["fp32"], engines=[])
    (tmp_path / "networks").mkdir()
    for dtype in ("fp32", "int8"):
        (tmp_path / f"networks/all.maps.{dtype}.onnx").write_bytes(bytes(1_500_000))
    assert card.files(tmp_path, own) == [{"file": "all.maps.fp32.onnx", "MB": "1.5"}]


@pytest.mark.parametrize(
    ("scores", "said"),
    [
        ([0.03, 0.5, 0.7], "scores 0.030 with the weights as given and thresholds of these images, and 0.700 after"),
        ([0.03, 0.02], "and no epoch of training made it better: what it gained is by the thresholds alone."),
        ([0.03], ""),  # not trained, so no thresholds were chosen either
    ],
)
def test_a_card_says_what_of_a_gain_was_learned(scores: list[float], said: str) -> None:
    history = pd.DataFrame({"network": "all", "epoch": range(len(scores)), "score": scores})
    text = card.gained({"said": "tuned against ready: better", "better": True}, history)
    assert text.startswith("tuned against ready: better.")
    assert said in text
    assert card.learned(history[history["epoch"] > 0]) == ""  # began with no weights
    assert bool(said) == (text != "tuned against ready: better.")


def test_names_in_a_card_are_text() -> None:
    """Markdown may hold HTML, and a name that is some is shown as it is."""
    rows = card.table([{"cell line": "<img src=x onerror=alert(1)>|b"}])
    assert rows.splitlines()[2] == r"| &lt;img src=x onerror=alert(1)&gt;\|b |"
    assert card.settings("training", {"lines": "`<script>"}) == "For training: `lines: '<script>`."
