"""Every entry point does with an image file what docs/inputs.md says: the cases of image_inputs, run through each."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Callable, Iterator, Sequence
from io import BytesIO
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pandas as pd
import pytest
from image_inputs import ENTRIES, FILES, HEIGHT, PLANES, WIDTH, ImageFile, case
from monolayer.coco.instances import Instances
from monolayer.data import download
from monolayer.data.dataset import read_image
from monolayer.data.plane import ImagePlane
from monolayer.files import InputError
from monolayer.measurement import measure
from monolayer.models import predict, predictor
from monolayer.params.data import CocoSource
from monolayer.params.steps import MeasureParams
from monolayer.service.journal import Tables, WatchedFile
from monolayer.service.state import Settings
from monolayer.service.watch import Watching, segmented
from numpy.typing import NDArray
from PIL import Image as PillowImage
from service_fixtures import DEEP, NEAR, by_threshold, model, running

BOX = [5, 5, 20, 10]
CORNERS = [5, 5, 25, 5, 25, 15, 5, 15]
Planes = list[NDArray[Any]]


def listed(file: ImageFile, folder: Path) -> tuple[Path, str]:
    """The folder with the file and a COCO file that draws a cell in it."""
    data = file.data()
    name = f"a{'.png' if data[:4] == bytes([137]) + b'PNG' else '.jpg' if data[:1] == bytes([255]) else '.tif'}"
    (folder / "images").mkdir()
    (folder / "images" / name).write_bytes(data)
    image = {"id": 1, "file_name": name, "width": WIDTH, "height": HEIGHT}
    cell = {"id": 1, "image_id": 1, "category_id": 1, "segmentation": [CORNERS], "bbox": BOX, "area": 200, "iscrowd": 0}
    truth = {"images": [image], "annotations": [cell], "categories": [{"id": 1, "name": "cell"}]}
    (folder / "truth.json").write_text(json.dumps(truth))
    return folder / "images", name


def by_source(file: ImageFile, folder: Path) -> Planes:
    images, _ = listed(file, folder)
    source = CocoSource(
        source="coco",
        images=str(images),
        annotations=str(folder / "truth.json"),
        cell_line="category",
        well=None,
        time=None,
        percentiles=DEEP,
        max_images=None,
        channel=file.channel,
        z=file.z,
    )
    download.download(source, folder / "out", folder / "out.json")
    return [read_image(folder / "out/a.png")]


def by_predict(file: ImageFile, folder: Path, monkeypatch: pytest.MonkeyPatch) -> Planes:
    seen: Planes = []

    class Seeing:
        stride, axes = 8, dict[str, tuple[int, int, int]]()

        def preprocess(self, image: NDArray[np.uint8]) -> NDArray[np.uint8]:
            seen.append(image)
            return image

        def forward(self, backend: Any, inputs: Sequence[Any], check: Callable[[], None] | None = None) -> list[Any]:
            return list(inputs)

        def postprocess(self, outputs: Any, height: int, width: int) -> Instances:
            return by_threshold([outputs], None)[0]

    run = predictor.Predictor({"all": predictor.Network(Seeing(), None)}, 1)  # type: ignore[arg-type]
    monkeypatch.setattr(predictor, "from_weights", lambda *_: run)
    choice = predict.Choice(0.0, None, percentiles=DEEP, which=ImagePlane(file.channel, file.z))
    predict.predict_folder(Path("weights.pt"), listed(file, folder)[0], folder / "o.json", choice, 1)
    return seen


def by_measure(file: ImageFile, folder: Path) -> Planes:
    """Not the planes, but what their cell's brightness shows of them."""
    images, _ = listed(file, folder)
    params = MeasureParams(pixel_size_um={}, frame_hours={}, neighbours=NEAR, files=[])
    cells = measure.CellSource(None, 0.0)
    which = ImagePlane(file.channel, file.z)
    measure.measure(images, folder / "truth.json", cells, params, folder / "out", which=which)
    return [np.array(pd.read_csv(folder / "out/cells.csv")["intensity_mean"])]


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with running([model()], Settings()) as url:
        yield url


def by_service(file: ImageFile, url: str) -> Planes:
    asked = {"picture": True} | {key: value for key in ("channel", "z") if (value := getattr(file, key))}
    answer = httpx.post(f"{url}/segment", files={"image": ("a.tif", file.data())}, params=asked, timeout=30)
    if answer.status_code != 200:
        raise InputError(answer.json()["detail"])
    pictures = [frame["picture"].partition(",")[2] for frame in answer.json()["frames"]]
    return [np.asarray(PillowImage.open(BytesIO(base64.b64decode(picture)))) for picture in pictures]


def by_watch(file: ImageFile, folder: Path) -> Planes:
    what = Watching(folder, folder, model(), None, None, None, 0.0, which=ImagePlane(file.channel, file.z))
    return [
        frame.grey
        for frame in segmented(what, WatchedFile("a.tif", file.data(), 0), Tables.open(folder, what.settings))
    ]


@pytest.mark.parametrize("entry", ENTRIES)
@pytest.mark.parametrize("file", FILES, ids=[file.name for file in FILES])
def test_it_does_what_the_page_says(
    file: ImageFile, entry: str, tmp_path: Path, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = case(file, entry)
    run: dict[str, Callable[[], Planes]] = {
        "source: coco": lambda: by_source(file, tmp_path),
        "predict": lambda: by_predict(file, tmp_path, monkeypatch),
        "measure": lambda: by_measure(file, tmp_path),
        "service": lambda: by_service(file, url),
        "watch": lambda: by_watch(file, tmp_path),
    }
    if expected.outcome == "refused":
        with pytest.raises(InputError, match=re.escape(expected.words)):
            run[entry]()
        return
    planes = PLANES[list(file.read)]
    seen = run[entry]()
    if entry == "measure":
        assert seen[0] == pytest.approx(planes[0, 5:15, 5:25].mean(), abs=0.01)
    else:
        assert np.array_equal(seen, planes)
