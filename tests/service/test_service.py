"""The service: every form of answer holds the same cells, and what can't be answered is refused with the reason."""

from __future__ import annotations

import asyncio
import io
import json
import logging
import time
import zipfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pandas as pd
import pytest
import roifile
import tifffile
import yaml
from monolayer.coco import rle
from monolayer.params.steps import LinkParams
from monolayer.service import answers
from monolayer.service.answers import FORMS, Answer, from_score, preferred, record_of
from monolayer.service.door import SMALL, Door
from monolayer.service.state import LINKS, Settings
from monolayer.service.tracks import tracks
from monolayer.service.uploads import Limits
from numpy.typing import NDArray
from paths import ROOT
from PIL import Image as PillowImage
from service_fixtures import NEAR, SIZE, by_threshold, field, model, png, running, tiff

LIMITS = Limits(bytes=2_000_000, pixels=1_000_000, frames=10, waiting=8, seconds=30)


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    keep = tmp_path_factory.mktemp("kept")
    models = [model(), model("lines", ["round", "long"])]
    with running(models, Settings(limits=LIMITS, keep=keep)) as url:
        yield url


def ask(
    url: str, content: bytes, accept: str = "application/json", name: str = "cells.png", **query: Any
) -> httpx.Response:
    files = {"image": (name, content)}
    return httpx.post(f"{url}/segment", files=files, params=query, headers={"Accept": accept}, timeout=30)


def moving(lights: tuple[int, ...]) -> NDArray[np.uint8]:
    """Three frames of squares that move by 3 px, a row for each brightness."""
    series = np.zeros((3, *SIZE), np.uint8)
    for number, frame in enumerate(series):
        for row, light in enumerate(lights):
            frame[10 + 30 * row : 19 + 30 * row, 20 + 3 * number : 29 + 3 * number] = light
    return series


def test_json_has_the_tracks_of_a_series(url: str) -> None:
    """A single image, and who does not ask, get none."""
    series = moving((255, 240, 225))
    body = Answer.model_validate_json(ask(url, tiff(series), tracks=True, score_min=0).text)
    assert [[(c.track, c.parent) for c in frame.cells] for frame in body.frames] == [
        [(1, None), (2, None), (3, None)]
    ] * 3
    assert [frame.drift_px for frame in body.frames] == [(0, 0), (3, 0), (6, 0)]
    for content, asked in ((png(series[0]), True), (tiff(series), False)):
        frames = ask(url, content, tracks=asked).json()["frames"]
        assert {cell.get("track") for frame in frames for cell in frame["cells"]} == {None}


def test_cells_below_the_models_score_have_no_track_nor_frames_of_several_sizes() -> None:
    frames = list[answers.SegmentedFrame]()
    for image in [*moving((255, 240, 225, 130)), field(4, (90, 90))]:
        found = from_score(by_threshold([image], None)[0], 0)
        about = record_of("a.tif", len(frames), image, None)
        frames.append(answers.frame(about, (image, image), found, None, NEAR))
    assert [of.track.tolist() for of in tracks(frames[:3], 0.6, LINKS)] == [[1, 2, 3, 0]] * 3
    assert {number for of in tracks(frames, 0.6, LINKS) for number in of.track.tolist()} == {0}


def test_the_page_links_as_params_yaml_says() -> None:
    section = yaml.safe_load((ROOT / "params.yaml").read_text())["track"]
    assert {name: section[name] for name in LinkParams.model_fields} == LINKS.model_dump()


def test_json_holds_the_cells(url: str) -> None:
    image = field(30)
    answer = ask(url, png(image), score_min=0, pixel_size_um=0.5)
    assert answer.status_code == 200
    body = Answer.model_validate_json(answer.text)
    (frame,) = body.frames
    assert len(frame.cells) == 30
    scores = [cell.score for cell in frame.cells]
    assert scores == sorted(scores, reverse=True)
    for cell in answer.json()["frames"][0]["cells"]:
        mask = rle.mask_from_rle(cell["rle"])
        assert (cell["area_px2"], mask.sum(), cell["area_um2"]) == (25, 25, 6.25)
        assert (image[mask] >= 128).all()
        assert cell["intensity_mean"] == image[mask].mean()
    summary = answer.json()["frames"][0]["summary"]
    assert summary["confluence"] == pytest.approx(30 * 25 / np.prod(SIZE), abs=1e-4)


def test_every_form_holds_as_many_cells(url: str) -> None:
    content, least = png(field(40)), 0.7
    expected = len(ask(url, content, score_min=least).json()["frames"][0]["cells"])
    assert 0 < expected < 40
    labels = tifffile.imread(io.BytesIO(ask(url, content, "image/tiff", score_min=least).content))
    assert len(np.unique(labels)) - 1 == expected
    table = pd.read_csv(io.BytesIO(ask(url, content, "text/csv", score_min=least).content))
    assert len(table) == expected
    with zipfile.ZipFile(io.BytesIO(ask(url, content, "application/zip", score_min=least).content)) as archive:
        rois = [roifile.ImagejRoi.frombytes(archive.read(name)) for name in archive.namelist()]
    assert len(rois) == expected
    assert len(ask(url, content, "application/vnd.coco+json", score_min=least).json()["annotations"]) == expected
    qupath = ask(url, content, "application/geo+json", score_min=least, pixel_size_um=0.5)
    assert len(qupath.json()["features"]) == expected
    assert {one["properties"]["measurements"]["area_um2"] for one in qupath.json()["features"]} == {25 / 4}
    ome = ask(url, content, "image/x-ome-tiff", score_min=least, pixel_size_um=0.5)
    assert ome.headers["content-disposition"].endswith('.labels.ome.tif"')
    with tifffile.TiffFile(io.BytesIO(ome.content)) as tif:
        assert np.array_equal(tif.asarray(), labels)
        assert 'PhysicalSizeX="0.5"' in (tif.ome_metadata or "")
    cellpose = np.load(io.BytesIO(ask(url, content, "application/x-npy", score_min=least).content), allow_pickle=True)
    assert np.array_equal(cellpose.item()["masks"], labels)
    overlay = np.asarray(PillowImage.open(io.BytesIO(ask(url, content, "image/png", score_min=least).content)))
    assert overlay.shape == (*SIZE, 3)
    assert (overlay == (255, 157, 28)).all(2).sum() == 16 * expected  # the border of 5 x 5 px


@pytest.mark.parametrize("name", ["=1+1.png", "+cmd.png", "-2.png", "@SUM(A1).png"])
def test_a_files_name_is_no_formula(url: str, name: str) -> None:
    table = pd.read_csv(io.BytesIO(ask(url, png(field(3)), "text/csv", name=name).content))
    assert set(table["file_name"]) == {f"'{name}"}
    assert ask(url, png(field(3)), name=name).json()["file_name"] == name


def test_polygons_and_picture_for_the_page(url: str) -> None:
    answer = ask(url, png(field(5)), masks="polygons", picture=True).json()["frames"][0]
    assert answer["cells"][0]["polygons"] == [[6, 1, 6, 6, 1, 6, 1, 1]]
    assert answer["picture"].startswith("data:image/png;base64,")
    assert "polygons" not in ask(url, png(field(5)), masks="none").json()["frames"][0]["cells"][0]


def test_a_tiff_of_several_pages_is_a_series(url: str) -> None:
    counts = [3, 11, 7]
    content = tiff(np.stack([field(count) for count in counts]))
    frames = ask(url, content, name="series.tif").json()["frames"]
    assert [len(frame["cells"]) for frame in frames] == counts
    labels = tifffile.imread(io.BytesIO(ask(url, content, "image/tiff").content))
    assert [frame.max() for frame in labels] == counts
    table = pd.read_csv(io.BytesIO(ask(url, content, "text/csv").content))
    assert table.groupby("frame").size().tolist() == counts
    with tifffile.TiffFile(io.BytesIO(ask(url, content, "image/x-ome-tiff").content)) as tif:
        assert tif.series[0].axes == "TYX"
    cells = ask(url, content, "application/geo+json").json()["features"]
    assert [cell["geometry"]["plane"]["t"] for cell in cells] == [t for t, n in enumerate(counts) for _ in range(n)]
    for accept in ("image/png", "application/x-npy"):
        refused = ask(url, content, accept)
        assert refused.status_code == 422
        assert "has 3" in refused.json()["detail"]


def test_16_bits_are_scaled_for_the_network_and_measured_as_they_are(url: str) -> None:
    image = field(6).astype(np.uint16) * 200 + 1000
    cells = ask(url, tiff(image), score_min=0).json()["frames"][0]["cells"]
    assert len(cells) == 6
    assert max(cell["intensity_max"] for cell in cells) == image.max()


def test_the_bare_body_is_taken_too(url: str) -> None:
    answer = httpx.post(f"{url}/segment", content=png(field(4)), headers={"Content-Type": "image/png"})
    assert len(answer.json()["frames"][0]["cells"]) == 4


def test_no_cells_is_an_answer(url: str) -> None:
    for accept in FORMS:
        answer = ask(url, png(field(0)), accept)
        assert answer.status_code == 200, answer.text
    assert ask(url, png(field(0))).json()["frames"][0]["summary"]["median_area_px2"] is None


def jpeg(mode: str) -> bytes:
    buffer = io.BytesIO()
    PillowImage.new(mode, (40, 30)).save(buffer, "jpeg")
    return buffer.getvalue()


def animated() -> bytes:
    buffer = io.BytesIO()
    first, second = (PillowImage.fromarray(field(count)) for count in (1, 2))
    first.save(buffer, "png", save_all=True, append_images=[second])
    return buffer.getvalue()


def header_of(width: int, height: int) -> bytes:
    """A PNG that is small and says that it is large."""
    content = bytearray(png(field(1)))
    content[16:24] = width.to_bytes(4, "big") + height.to_bytes(4, "big")
    import zlib

    content[29:33] = zlib.crc32(bytes(content[12:29])).to_bytes(4, "big")
    return bytes(content)


def vast_tiff(**how: Any) -> bytes:
    """A TIFF of a few kB whose header announces 100,000 x 100,000 px."""
    buffer = bytearray(tiff(field(2), **how))
    with tifffile.TiffFile(io.BytesIO(buffer)) as tif:
        for name in ("ImageWidth", "ImageLength"):
            tag = tif.pages.first.tags[name]
            buffer[tag.valueoffset : tag.valueoffset + 4] = (100_000).to_bytes(4, "little")
    return bytes(buffer)


@pytest.mark.parametrize(
    ("content", "status", "reason"),
    [
        (b"", 415, "empty"),
        (b"GIF89a and so on", 415, "no PNG, JPEG or TIFF"),
        (png(field(300))[:200], 422, "cut short"),
        (tiff(field(3))[:300], 422, "cut short"),
        (jpeg("CMYK"), 422, "colour mode CMYK"),
        (animated(), 422, "several frames"),
        (header_of(50_000, 50_000), 413, "pixels"),
        (header_of(2_000, 2_000), 413, "4,000,000 pixels; this service takes 1,000,000"),
        (vast_tiff(), 413, "pixels"),
        (tiff(np.zeros((11, 20, 20), np.uint8)), 413, "more than 10 pages"),
        (tiff(np.full((20, 20), np.nan, np.float32)), 422, "NaN"),
        (tiff(np.zeros((3, 20, 20, 3), np.uint8), photometric="rgb", planarconfig="contig")[:-500], 422, "cut short"),
        (bytes(2_100_000), 413, "2,000,000 bytes"),
    ],
)
def test_what_can_not_be_segmented_is_refused_with_the_reason(
    url: str, content: bytes, status: int, reason: str
) -> None:
    answer = ask(url, content)
    assert answer.status_code == status, answer.text
    assert reason in answer.json()["detail"]
    assert answer.json()["request_id"] == answer.headers["X-Request-ID"]


@pytest.mark.parametrize(
    ("query", "reason"),
    [
        ({"score_min": 2}, "score_min"),
        ({"masks": "all"}, "masks"),
        ({"scoremin": 0.1}, "scoremin"),
        ({"model": "none"}, "there are squares, lines"),
        ({"model": "lines"}, "say which cell_line"),
        ({"model": "lines", "cell_line": "flat"}, "knows round, long"),
    ],
)
def test_a_query_that_can_not_be_is_refused(url: str, query: dict[str, Any], reason: str) -> None:
    answer = ask(url, png(field(1)), **query)
    assert answer.status_code == 422
    assert reason in answer.json()["detail"]


def test_a_network_for_each_line(url: str) -> None:
    assert ask(url, png(field(2)), model="lines", cell_line="long").json()["cell_line"] == "long"


def test_a_line_without_a_network_of_its_own_has_that_of_all() -> None:
    asked: list[str | None] = []

    def segment(images: Any, cell_line: str | None, check: Any) -> Any:
        asked.append(cell_line)
        return by_threshold(images, cell_line)

    with running([replace(model("some", ["long"]), line_required=False, segment=segment)], Settings()) as url:
        asked.clear()
        for line in ({}, {"cell_line": "long"}, {"cell_line": "flat"}):
            assert ask(url, png(field(2)), **line).json()["cell_line"] == line.get("cell_line")
    assert asked == [None, "long", None]


def test_scores_are_the_same_number_in_every_form() -> None:
    """With five decimals; of a family that rates its masks these rates. From a score up means from it as written."""
    found = by_threshold([field(3, light=200)], None)[0]
    rated = replace(found, scores=np.array([0.9, 0.8, 0.7], np.float32))
    rated = replace(rated, mask_scores=np.array([0.123456, 0.708767, 0.5], np.float32))
    assert len(from_score(rated, 0.70877).masks) == 1
    for cells, names in ((found, {"score"}), (rated, {"score", "mask_score"})):
        kept = from_score(cells, 0.0)
        written = np.round(kept.ranking.astype(np.float64), 5).tolist()
        image = field(3)
        one = answers.frame(record_of("a.png", 0, image, None), (image, image), kept, 0.37, NEAR)
        sent = json.loads(answers.as_json([one], {}, "rle", False))["frames"][0]
        table = pd.read_csv(io.BytesIO(FORMS["text/csv"][0]([one])))  # type: ignore[misc]
        for column in set(sent["cells"][0]) & set(table.columns):
            assert [cell[column] for cell in sent["cells"]] == table[column].tolist(), column
        marked = json.loads(answers.as_coco([one]))["annotations"]
        for name in names:
            assert [cell[name] for cell in marked] == table["score"].tolist() == written
        assert {key for key in marked[0] if key.endswith("score")} == names
        measured = [cell["properties"]["measurements"] for cell in json.loads(answers.as_geojson([one]))["features"]]
        assert [cell["area_um2"] for cell in measured] == table["area_um2"].tolist()


def test_grey_values_near_the_end_of_floats_are_measured(url: str) -> None:
    vast = tiff(np.where(field(3) > 0, 1.7e308, -1.5e300))
    answer = ask(url, vast)
    assert answer.status_code == 200, answer.text
    cells = answer.json()["frames"][0]["cells"]
    assert [cell["intensity_mean"] for cell in cells] == [1.7e308] * 3
    assert [cell["intensity_std"] for cell in cells] == [0] * 3


def test_a_small_upload_is_called_by_its_name() -> None:
    with running([replace(model(), stride=32)], Settings()) as url:
        assert ask(url, png(field(1, (8, 64))), name="my.png").json()["detail"].startswith("my.png is 64x8 px")


@pytest.mark.parametrize("kind", ["image/x-png", "image/pjpeg", "image/png; charset=binary"])
def test_types_by_their_old_names(kind: str, url: str) -> None:
    sent = httpx.post(f"{url}/segment", content=png(field(3)), headers={"Content-Type": kind})
    assert sent.status_code == 200, sent.text


def test_what_a_diameter_enlarges_counts_as_the_network_sees_it() -> None:
    """Pixels of a request, and whether it is a small one that passes the large ones."""
    limits = Limits(pixels=10 * field(1).size)
    with running([replace(model(), enlarged=16.0)], Settings(limits)) as url:
        answer = ask(url, png(field(1)), name="my.png")
    assert answer.status_code == 413
    assert "my.png has 307,200 pixels at the scale of squares; this service takes 192,000" in answer.json()["detail"]

    async def lane(enlarged: float) -> bool:
        door = Door(Limits(), lambda _: None)
        door.offer("a", by_threshold, 4, enlarged)
        door.speeds["a"] = 1e9
        async with door.turn("a", "my.png", SMALL // 2) as taken:
            small = taken is door.small
        door.close(1)
        return small

    assert asyncio.run(lane(1.0))
    assert not asyncio.run(lane(16.0))


def test_a_broken_form_and_a_missing_file(url: str) -> None:
    broken = httpx.post(f"{url}/segment", content=b"--x", headers={"Content-Type": "multipart/form-data; boundary=y"})
    assert broken.status_code in (400, 422)
    missing = httpx.post(f"{url}/segment", files={"picture": ("a.png", png(field(1)))})
    assert missing.status_code == 422
    assert "image=@" in missing.json()["detail"]
    assert httpx.post(f"{url}/segment", content=b"{}", headers={"Content-Type": "application/json"}).status_code == 415


@pytest.mark.parametrize(
    ("accept", "media"),
    [
        ("", "application/json"),
        ("*/*", "application/json"),
        ("text/csv", "text/csv"),
        ("image/*", "image/png"),
        ("image/tiff;q=0.9, text/csv;q=0.5", "image/tiff"),
        ("text/html, */*;q=0.1", "application/json"),
        ("text/html", None),
        ("application/json;q=0", None),
        ("application/json;q=much", None),
    ],
)
def test_accept(accept: str, media: str | None) -> None:
    assert preferred(accept) == media


def test_nothing_acceptable_is_406(url: str) -> None:
    assert ask(url, png(field(1)), "text/html").status_code == 406


def test_the_key_is_asked_for() -> None:
    with running([model()], Settings(key="sésame")) as url:
        assert ask(url, png(field(1))).status_code == 401
        assert httpx.get(f"{url}/models").status_code == 401
        assert httpx.get(f"{url}/health").status_code == 200
        wrong = httpx.get(f"{url}/models", headers={"X-API-Key": "sesame"})
        assert (wrong.status_code, wrong.json()["detail"]) == (401, "give the API key as X-API-Key")
        given = httpx.get(f"{url}/models", headers={b"X-API-Key": "sésame".encode()})
        assert given.json()[0]["name"] == "squares"
        for scheme in ("Bearer", "bearer", "BEARER "):
            bearer = httpx.get(f"{url}/models", headers={b"Authorization": f"{scheme} sésame".encode()})
            assert bearer.status_code == 200
        basic = httpx.get(f"{url}/models", headers={b"Authorization": "Basic sésame".encode()})
        assert basic.status_code == 401


def test_nothing_is_kept_unless_asked(tmp_path: Path) -> None:
    with running([model()], Settings(keep=tmp_path)) as url:
        content = png(field(3))
        ask(url, content)
        assert list(tmp_path.iterdir()) == []
        kept = ask(url, content, keep=True)
        request = kept.json()["request_id"]
        assert (tmp_path / f"{request}.image").read_bytes() == content
        assert json.loads((tmp_path / f"{request}.answer").read_text())["request_id"] == request
    with running([model()], Settings()) as url:
        assert ask(url, content, keep=True).status_code == 422


def test_the_log_has_a_line_for_each_request(url: str, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "monolayer.service"):
        answer = httpx.post(
            f"{url}/segment",
            files={"image": png(field(3))},
            headers={"X-Request-ID": "my-own-request"},
            params={"score_min": 0},
        )
        assert answer.headers["X-Request-ID"] == "my-own-request"
        lines, end = list[str](), time.monotonic() + 30  # a line is written once its answer is on the way
        while not lines and time.monotonic() < end:
            time.sleep(0.01)
            lines = [record.message for record in caplog.records if "my-own-request" in record.message]
    (line,) = map(json.loads, lines)
    assert (line["status"], line["images"], line["cells"], line["path"]) == (200, 1, 3, "/segment")
    odd = httpx.get(f"{url}/health", headers={"X-Request-ID": "../../etc/passwd"})
    assert odd.headers["X-Request-ID"] != "../../etc/passwd"


def test_metrics_count(url: str) -> None:
    def value(name: str) -> float:
        lines = httpx.get(f"{url}/metrics").text.splitlines()
        return sum(float(line.split()[-1]) for line in lines if line.startswith(name))

    before = value("monolayer_images_total"), value("monolayer_cells_total")
    ask(url, tiff(np.stack([field(2), field(5)])))
    assert (value("monolayer_images_total"), value("monolayer_cells_total")) == (before[0] + 2, before[1] + 7)
    for number in range(20):
        httpx.get(f"{url}/no/such/{number}")
    assert "no/such" not in httpx.get(f"{url}/metrics").text
    assert value('monolayer_requests_total{route="other",status="404"}') >= 20


def test_candidates_that_the_page_asks_for_are_no_cells_found() -> None:
    """Its threshold moves over all that there is, whatever scores: it asks for the cells from 0 up."""
    with running([replace(model(), score_min=0.9)], Settings(limits=LIMITS)) as url:
        answer = ask(url, png(moving((255, 240, 200))[0]), score_min=0)
        assert len(answer.json()["frames"][0]["cells"]) == 3
        assert "monolayer_cells_total 2.0" in httpx.get(f"{url}/metrics").text.splitlines()


def test_the_page_needs_nothing_from_elsewhere(url: str) -> None:
    page = httpx.get(f"{url}/")
    assert page.headers["content-type"].startswith("text/html")
    assert "http://" not in page.text.replace("http://www.w3.org", "")
    assert "https://" not in page.text
    assert httpx.get(f"{url}/web/page.js").status_code == 200
    assert httpx.get(f"{url}/web/../app.py").status_code == 404
    assert "default-src 'self'" in page.headers["content-security-policy"]
    assert httpx.get(f"{url}/sample").headers["content-type"] == "image/png"
