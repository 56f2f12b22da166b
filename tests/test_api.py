"""The Python API gives the cells that the command line and the service give, and says what it can't take."""

from __future__ import annotations

import doctest
import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import httpx
import monolayer
import numpy as np
import pandas as pd
import pytest
import tifffile
from monolayer import InputError, api
from monolayer.backends.manifest import pretrained
from monolayer.measurement import dictionary
from monolayer.models import predict
from monolayer.service import serve
from monolayer.service.sample import sample
from monolayer.service.state import Settings
from numpy.typing import NDArray
from service_fixtures import running

LEAST = 0.3  # low enough for cells that the score threshold leaves out


@pytest.fixture(scope="module")
def model() -> api.Model:
    return monolayer.load(threads=1)


def deep() -> NDArray[np.uint16]:
    """The drawn field as a 16-bit camera would see it."""
    return (300 + 37 * sample().astype(np.uint16)).astype(np.uint16)


def masks(cells: list[Any]) -> list[tuple[float, str]]:
    return sorted((cell["score"], cell["segmentation"]["counts"]) for cell in cells)


@pytest.mark.parametrize("image", [sample(), deep()], ids=["8 bit", "16 bit"])
def test_the_same_cells_as_predict_and_the_service(image: NDArray[Any], model: api.Model, tmp_path: Path) -> None:
    cells = model.segment(image, score_min=LEAST)
    assert len(cells) > 5
    folder = tmp_path / "images"
    folder.mkdir()
    tifffile.imwrite(folder / "a.tif", image)
    choice = predict.Choice(LEAST, tmp_path / "labels")
    predict.predict_folder(pretrained(), folder, tmp_path / "found.json", choice, 1)
    assert masks(cells.coco()) == masks(json.loads((tmp_path / "found.json").read_text()))
    seen = tifffile.imread(tmp_path / "labels/a.tif")
    assert np.array_equal(seen > 0, cells.labels > 0)
    assert seen.max() == cells.labels.max() == len(cells)
    with running([serve.load(pretrained(), "fp32", 1, LEAST)], Settings()) as url:
        sent, accept = (folder / "a.tif").read_bytes(), {"Accept": "application/vnd.coco+json"}
        answer = httpx.post(f"{url}/segment", files={"image": ("a.tif", sent)}, headers=accept, timeout=60)
        assert masks(answer.json()["annotations"]) == masks(cells.coco())
        accept, query = {"Accept": "text/csv"}, {"pixel_size_um": 0.5}
        answer = httpx.post(
            f"{url}/segment", params=query, files={"image": ("a.tif", sent)}, headers=accept, timeout=60
        )
    (tmp_path / "service.csv").write_bytes(answer.content)
    theirs, ours = pd.read_csv(tmp_path / "service.csv"), cells.table(pixel_size_um=0.5)
    assert list(ours) == list(theirs) == list(dictionary.TABLES["cells"])
    for name in dictionary.with_um(dictionary.CELL):
        assert np.allclose(ours[name].astype(float), theirs[name].astype(float), equal_nan=True), name


def test_a_list_gives_a_list_and_the_threshold_is_vals(model: api.Model) -> None:
    whole = model.segment(sample(), score_min=0.0)
    first, second = model.segment([sample(), sample()[:200]])
    assert (first.scores >= model.score_threshold).all()
    assert len(first) == (whole.scores >= model.score_threshold).sum() < len(whole)
    assert second.labels.shape == (200, sample().shape[1])
    assert {cell["image_id"] for cell in second.coco()} <= {2}
    assert list(whole.scores) == sorted(whole.scores, reverse=True)
    assert model.segment([]) == []


def test_no_cell_is_an_empty_table(model: api.Model) -> None:
    cells = model.segment(np.zeros((64, 64), np.uint8))
    assert (len(cells), cells.labels.max(), cells.coco()) == (0, 0, [])
    assert list(cells.table()) == list(dictionary.TABLES["cells"])
    assert len(cells.table()) == 0


HOLE = np.where(np.arange(4096).reshape(64, 64) == 7, np.nan, 1.0)


@pytest.mark.parametrize(
    ("image", "text"),
    [
        (np.zeros((64, 64, 3), np.uint8), r"image 0 is uint8 \(64, 64, 3\); give a grey numpy array"),
        (np.zeros((2, 64, 64), np.uint16), r"image 0 is uint16 \(2, 64, 64\); give a grey numpy array"),
        (np.zeros((64, 64), np.bool_), r"image 0 is bool \(64, 64\); give a grey numpy array"),
        (np.zeros((64, 64), np.complex64), "image 0 is complex64"),
        (np.zeros((0, 64), np.uint16), r"image 0 is uint16 \(0, 64\)"),
        (None, "image 0 is NoneType; give a grey numpy array"),
        ("a.png", "image 0 is str; give a grey numpy array"),
        ([np.zeros((64, 64), np.uint8), [[1, 2]]], "image 1 is list; give a grey numpy array"),
        (HOLE, "image 0 has pixels that are NaN or infinite"),
        (np.zeros((4, 64), np.uint8), "is 64x4 px; this network needs 16 px a side"),
    ],
)
def test_what_is_no_grey_image_is_refused(image: Any, text: str, model: api.Model) -> None:
    with pytest.raises(InputError, match=text):
        model.segment(image)


def test_what_is_no_model_and_no_setting_is_refused(tmp_path: Path, model: api.Model) -> None:
    with pytest.raises(InputError, match=r"is not the model\.json of an exported run"):
        monolayer.load(tmp_path)
    with pytest.raises(InputError, match="has no int8; it has fp32, fp16"):
        monolayer.load(dtype="int8")
    with pytest.raises(InputError, match="tta is 3; give 1, 2, 4 or 8"):
        monolayer.load(tta=3)
    for threads in (0, -1, 1.5, "2"):
        with pytest.raises(InputError, match=f"threads is {threads!r}; give a whole number from 1 on"):
            monolayer.load(threads=threads)  # type: ignore[arg-type]
    with pytest.raises(InputError, match="pixel_size_um: -1 is no pixel size in µm"):
        model.segment(np.zeros((64, 64), np.uint8)).table(pixel_size_um=-1)
    with pytest.raises(InputError, match="score_min is 50; give a score from 0 to 1"):
        model.segment(np.zeros((64, 64), np.uint8), score_min=50)


def test_the_settings_come_with_the_folder(tmp_path: Path, model: api.Model) -> None:
    moved = Path(shutil.copytree(pretrained(), tmp_path / "moved"))
    content = json.loads((moved / "model.json").read_text())
    content |= {"score_threshold": LEAST, "percentiles": {"low": 0, "high": 50}, "neighbours": {"gap": 9, "radius": 50}}
    (moved / "model.json").write_text(json.dumps(content))
    other = monolayer.load(str(moved), threads=1)
    assert (other.name, other.score_threshold) == ("self_trained", LEAST)
    shining = np.square(np.maximum(sample(), 120).astype(np.uint16) - 120)  # rims on black, which percentiles stretch
    ours, theirs = model.segment(shining, LEAST), other.segment(shining)
    assert masks(ours.coco()) != masks(theirs.coco())
    ours, theirs = model.segment(sample(), LEAST), other.segment(sample())
    assert masks(ours.coco()) == masks(theirs.coco())
    touching = "touching_neighbours"
    assert ours.table()[touching].sum() < theirs.table()[touching].sum()


def test_the_documented_example_runs() -> None:
    assert doctest.testmod(api).failed == 0


def test_the_import_loads_no_library() -> None:
    code = "import sys, monolayer; print([n for n in ('numpy', 'pydantic', 'onnxruntime') if n in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
    with pytest.raises(AttributeError, match="module 'monolayer' has no attribute 'nothing'"):
        monolayer.nothing  # noqa: B018


def test_grey_levels_are_what_the_network_sees(model: api.Model) -> None:
    depth = model.manifest.percentiles
    levels = api.grey_levels(deep(), low=depth.low, high=depth.high)
    assert levels.dtype == np.uint8
    assert masks(model.segment(levels, LEAST).coco()) == masks(model.segment(deep(), LEAST).coco())
    assert np.array_equal(api.grey_levels(sample(), low=0.5, high=99.8), sample())
    with pytest.raises(InputError, match="low and high are 99 and 1; give percentiles"):
        api.grey_levels(deep(), low=99, high=1)


@pytest.mark.parametrize("diameter", [0, -16.39, float("nan"), float("inf"), "16"])
def test_no_diameter(diameter: Any) -> None:
    with pytest.raises(InputError, match=f"diameter is {diameter}; give the usual one"):
        monolayer.load(diameter=diameter)


def test_noise_is_no_cells_at_any_depth() -> None:
    from scipy.ndimage import gaussian_filter

    smooth = gaussian_filter(np.random.default_rng(0).standard_normal((256, 256)), 1)
    noise = 128 + 1.5 * smooth / smooth.std()
    model = monolayer.load(threads=1)
    for image in (np.rint(noise).astype(np.uint8), np.rint(256 * noise).astype(np.uint16), noise.astype(np.float32)):
        assert len(model.segment(image)) == 0
