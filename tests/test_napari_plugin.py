"""The plugin by napari's own check of manifests, and its reader and widget as napari calls them."""

from __future__ import annotations

import importlib
import subprocess
import tomllib
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import yaml
from culture import Culture
from monolayer import api, napari_plugin
from monolayer.coco import rle
from monolayer.coco.records import CELL, Rle
from monolayer.files import InputError, write_json
from monolayer.measurement.measure import CellSource, measure
from monolayer.params.steps import MeasureParams, NeighbourParams
from monolayer.service.sample import sample
from paths import ROOT
from PIL import Image as PillowImage

MANIFEST = ROOT / "workflow/monolayer/napari.yaml"
PARAMS = MeasureParams(pixel_size_um={}, frame_hours={}, neighbours=NeighbourParams(gap=1, radius=40), files=["labels"])


def test_the_manifest_is_valid_by_napari() -> None:
    """By its own tool, in an environment of its own: beside pytest it adds itself to it."""
    words = ["uvx", "--python", "3.11", "--from", "npe2==0.10.0", "npe2", "validate", "--no-imports"]
    done = subprocess.run([*words, str(MANIFEST)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_manifest_names_what_is_there_and_is_installed_by_name() -> None:
    manifest = yaml.safe_load(MANIFEST.read_text())
    for command in manifest["contributions"]["commands"]:
        module, name = command["python_name"].split(":")
        assert callable(getattr(importlib.import_module(module), name))
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert project["entry-points"]["napari.manifest"] == {"monolayer": "monolayer:napari.yaml"}
    assert MANIFEST.parent == Path(importlib.import_module("monolayer").__path__[0])


@pytest.fixture(scope="module")
def folder(culture: Culture, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Measured truth, as the workflow lays it out."""
    results = tmp_path_factory.mktemp("results")
    write_json(results / "truth.json", culture.truth)
    (results / "data").mkdir()
    (results / "data/images").symlink_to(culture.images)
    measure(culture.images, results / "truth.json", CellSource(None, 0), PARAMS, results / "cells/truth")
    return results / "cells/truth"


def test_a_measured_folder_opens_with_its_table(folder: Path, culture: Culture) -> None:
    read = napari_plugin.reader(str(folder))
    assert read is not None
    (image, _, kind), (labels, about, of) = read(str(folder))
    assert (kind, of) == ("image", "labels")
    assert image.shape == labels.shape == (12, 96, 128)
    cells = about["features"]
    assert sorted(set(np.unique(labels)) - {0}) == sorted(cells["index"]) == list(range(1, len(cells) + 1))
    areas = np.bincount(labels.ravel())[cells["index"]]
    assert areas.tolist() == cells["area_px2"].tolist()


def rectangle(left: int) -> Rle:
    [run] = rle.rles_from_crops([(np.ones((9, 9), np.bool_), left, 5)], 320, 448)
    return run


def test_images_whose_names_differ_in_their_ends_alone_open(tmp_path: Path) -> None:
    """Their masks are called apart by `measure`."""
    (tmp_path / "images").mkdir()
    records = []
    for number, name in enumerate(("a.jpg", "a.png", "b.png"), start=1):
        PillowImage.fromarray(sample()).save(tmp_path / "images" / name)
        records.append({"id": number, "file_name": name, "width": 448, "height": 320})
    squares = [rectangle(30 * cell) for cell in range(3)]
    cells = [(number, squares[cell]) for number in (1, 2, 3) for cell in range(number)]
    annotations = [rle.annotation(place, number, mask) for place, (number, mask) in enumerate(cells, start=1)]
    write_json(tmp_path / "truth.json", {"images": records, "annotations": annotations, "categories": [CELL]})
    measure(tmp_path / "images", tmp_path / "truth.json", CellSource(None, 0), PARAMS, tmp_path / "measured")
    [(labels, about, _)] = napari_plugin.measured(tmp_path / "measured")
    assert [len(np.unique(one)) - 1 for one in labels] == [1, 2, 3]
    assert len(about["features"]) == 6


def test_what_is_no_such_folder_is_left_to_others(folder: Path) -> None:
    for path in (str(folder.parent), [str(folder)], str(folder / "cells.parquet")):
        assert napari_plugin.reader(path) is None
    (folder / "masks").rename(folder / "away")
    (folder / "masks").mkdir()
    with pytest.raises(InputError, match="measure with `labels` among"):
        napari_plugin.measured(folder)


def layer(data: Any, **more: Any) -> Any:
    return SimpleNamespace(name="a", data=data, **more)


def test_the_cells_lie_where_their_layer_lies() -> None:
    place = {"scale": [0.65, 0.65], "translate": [7.0, -2.0], "rotate": np.eye(2), "shear": [0.0], "affine": np.eye(3)}
    _, about, _ = napari_plugin.segment(layer(sample(), rgb=False, **place))
    assert {name: about[name] for name in place} == place
    assert about["features"] is not None


@pytest.mark.parametrize("frames", [1, 2])
@pytest.mark.parametrize("samples", [3, 4])
def test_colours_are_no_frames(frames: int, samples: int) -> None:
    """They are read as a file's: what is grey in all of them is that grey."""
    coloured = np.stack([sample()] * samples, -1)
    coloured[..., 3:] = 255
    data = coloured if frames == 1 else np.stack([coloured] * frames)
    ours = api.load().segment(sample())
    labels, _, _ = napari_plugin.segment(layer(data, rgb=True))
    assert labels.shape == data.shape[:-1]
    assert np.array_equal(labels.reshape(frames, *sample().shape)[0], ours.labels)


def test_the_widget_finds_cells_in_each_frame() -> None:
    ours = api.load(tta=None).segment(sample())
    labels, about, kind = napari_plugin.segment(layer(np.stack([sample(), sample()])), pixel_size_um=0.5)
    assert kind == "labels"
    assert np.array_equal(labels[0], ours.labels)
    assert np.array_equal(labels[1], np.where(ours.labels, ours.labels + len(ours), 0))
    assert about["features"]["index"].tolist() == list(range(1, 2 * len(ours) + 1))
    assert about["features"]["area_um2"].notna().all()
    with pytest.raises(InputError, match="choose one of"):
        napari_plugin.segment(layer(np.zeros((2, 3, 4, 5))))
