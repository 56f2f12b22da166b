"""Prediction streams in order, sends each image to its line's network, and refuses lines without one."""

from __future__ import annotations

import csv
import gzip
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar, cast

import faults
import numpy as np
import pytest
import tifffile
import torch
import yaml
from culture import Culture
from monolayer import models
from monolayer.__main__ import main
from monolayer.backends import manifest
from monolayer.coco.instances import Instances
from monolayer.coco.records import Image
from monolayer.data.dataset import Sample
from monolayer.files import PIXEL_BYTES, InputError, write_bytes, write_json
from monolayer.measurement.formats import FORMATS, FileMaker
from monolayer.models import predict, predictor
from monolayer.models.journal import journal_of
from monolayer.models.predictor import Network, Predictor
from monolayer.models.rescaled import RescaledPipeline
from monolayer.models.train import networks
from monolayer.params.data import Percentiles
from monolayer.params.families import YoloPredict
from monolayer.params.steps import NeighbourParams, PredictParams
from monolayer.plates.views import with_views
from numpy.typing import NDArray
from paths import ROOT
from PIL import Image as PillowImage

PARAMS = PredictParams(settings=YoloPredict(imgsz=128, batch=4, score_min=0.1, nms_iou=0.7, max_det=300), cpu_threads=1)


def one_cell(height: int, width: int, size: int) -> Instances:
    return Instances(
        height=height,
        width=width,
        masks=[np.ones((size, size), bool), np.zeros((2, 2), bool)],
        offsets_xy=np.array([[3, 4], [0, 0]], np.int32),
        boxes_xyxy=np.array([[3, 4, 3 + size, 4 + size], [0, 0, 2, 2]], np.float32),
        scores=np.array([0.75, 0.5], np.float32),
    )


class Marker:
    """A finder whose network, a number, marks each image with one square of that size and one empty mask."""

    stride = 32
    axes: ClassVar[dict[str, tuple[int, int, int]]] = {}
    longest = 1 << 20  # px, to which larger images are shrunk

    def scale(self, side: int) -> float:
        return min(1.0, self.longest / side)

    def preprocess(self, image: NDArray[np.uint8]) -> NDArray[np.uint8]:
        return image

    def forward(self, backend: Any, prepared: Sequence[Any]) -> list[Any]:
        return [backend] * len(prepared)

    def postprocess(self, outputs: Any, height: int, width: int) -> Instances:
        return one_cell(height, width, outputs)


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """Sizes by network name, which a run of such networks draws."""
    sizes: dict[str, Any] = {}

    def from_weights(*_: object) -> Predictor:
        return Predictor({name: Network(Marker(), size) for name, size in sizes.items()}, 4)

    monkeypatch.setattr(predictor, "from_weights", from_weights)
    return sizes


def run(culture: Culture, output: Path) -> list[dict[str, Any]]:
    predict.predict(Path("weights.pt"), culture.images, culture.splits / "train.json", PARAMS, output)
    found: list[dict[str, Any]] = json.loads(gzip.decompress(output.read_bytes()))
    return found


@pytest.mark.parametrize("sizes", [{"round": 5, "long": 9}, {"all": 7, "long": 9}])
def test_each_image_goes_to_its_lines_network_or_that_of_all(
    sizes: dict[str, int], culture: Culture, tmp_path: Path, fake: dict[str, Any]
) -> None:
    fake |= sizes
    lines = {image["id"]: image["cell_line"] for image in culture.truth["images"]}
    found = run(culture, tmp_path / "r.json.gz")
    assert len(found) == 8  # one an image of train: an empty mask is no cell
    for result in found:
        line = lines[result["image_id"]]
        size = sizes[line] if line in sizes else sizes["all"]
        assert result["bbox"] == [3.0, 4.0, size, size]
        assert result["segmentation"]["size"] == [96, 128]


def test_a_line_without_a_network_is_an_error(culture: Culture, tmp_path: Path, fake: dict[str, Any]) -> None:
    fake |= {"round": 5}
    with pytest.raises(InputError, match="cell line long, for which this run has no network"):
        run(culture, tmp_path / "r.json.gz")
    assert not list(tmp_path.iterdir())


def sample(line: str) -> Sample:
    image = cast("Image", {"cell_line": line})
    return Sample(image, Path(line), [])


def test_each_line_of_train_and_val_gets_a_network_and_the_others_one_of_all() -> None:
    one, two = [sample("round")], [sample("round"), sample("long")]
    assert networks("each", two, two) == {"round": (one, one), "long": (two[1:], two[1:])}
    assert networks("each", two, one) == {"all": (two, one), "round": (one, one)}
    assert networks("each", one, two) == {"all": (one, two), "round": (one, one)}


def test_weights_of_something_else_are_refused(culture: Culture, tmp_path: Path) -> None:
    (tmp_path / "weights.pt").write_bytes(b"not a zip")
    with pytest.raises(InputError, match=r"weights.pt is not a weights.pt of this pipeline"):
        models.load_weights(tmp_path / "weights.pt", "cpu")


def test_weights_of_the_first_format_are_refused_with_the_cure(tmp_path: Path) -> None:
    torch.save({"params": "{}", "networks": {}}, tmp_path / "weights.pt")
    text = r"weights\.pt is of format 1, and this version reads 2; train the run, or import the weights, again$"
    with pytest.raises(InputError, match=text):
        models.load_weights(tmp_path / "weights.pt", "cpu")


# ---- any folder ----------------------------------------------------------------------------------


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Images as microscopes and users leave them: deep, coloured, in folders; and a file that is none."""
    images = tmp_path / "images"
    (images / "day 2").mkdir(parents=True)
    ramp = np.linspace(0, 1, 40 * 60).reshape(40, 60)
    tifffile.imwrite(images / "b.tif", (900 + 3000 * ramp).astype(np.uint16))
    PillowImage.fromarray((255 * ramp).astype(np.uint8)).convert("RGB").save(images / "day 2" / "a.png")
    (images / "notes.txt").write_text("not an image")
    return images


ALL = predict.Choice(0.0, None, percentiles=Percentiles(low=0.5, high=99.8))


def folder_results(folder: Path, output: Path, choice: predict.Choice = ALL) -> list[Any]:
    predict.predict_folder(Path("weights.pt"), folder, output, choice, threads=1)
    text = gzip.decompress(output.read_bytes()) if output.suffix == ".gz" else output.read_bytes()
    found: list[Any] = json.loads(text)
    return found


def test_of_images_none_of_which_can_be_used_it_is_told_how_many(fake: dict[str, Any], tmp_path: Path) -> None:
    fake["all"] = 5
    (tmp_path / "images").mkdir()
    for number in range(predict.SHOWN + 2):
        (tmp_path / f"images/{number}.png").write_bytes(b"no image")
    with pytest.raises(InputError, match=r"4\.png is no .*; and 2 more, listed above$"):
        folder_results(tmp_path / "images", tmp_path / "out.json")


def test_a_folder_gives_results_by_file_name_and_label_images(
    folder: Path, fake: dict[str, Any], tmp_path: Path
) -> None:
    fake["all"] = 5
    labels = tmp_path / "labels"
    found = folder_results(folder, tmp_path / "out.json", ALL._replace(score_min=0.6, labels=labels))
    assert [(one["file_name"], one["image_id"], one["score"]) for one in found] == [
        ("b.tif", 1, 0.75),
        ("day 2/a.png", 2, 0.75),
    ]
    for name in ("b.tif", "day 2/a.tif"):
        seen = tifffile.imread(labels / name)
        assert seen.shape == (40, 60)
        assert np.array_equal(np.argwhere(seen == 1), [(y, x) for y in range(4, 9) for x in range(3, 8)])
    assert folder_results(folder, tmp_path / "out.json.gz") == folder_results(folder, tmp_path / "again.json")


def test_files_of_other_forms(folder: Path, fake: dict[str, Any], tmp_path: Path) -> None:
    """Measured in the file's own grey values; a weights.pt does not say how neighbours are counted."""
    fake["all"] = 5
    forms = {name: FORMATS[name].suffix for name in ("geojson", "seg-npy", "ome-tiff")}
    choice = ALL._replace(labels=tmp_path / "files", forms=forms)

    def make(near: NeighbourParams | None) -> list[str]:
        maker = FileMaker(choice.which, choice.limits, near, 0.5)
        predict.predict_folder(Path("weights.pt"), folder, tmp_path / "out.json", choice, 1, make=maker)
        return sorted(path.name for path in (tmp_path / "files").rglob("*.*"))

    with pytest.raises(InputError, match="does not say how neighbours are counted; export the run"):
        make(None)
    expected = [f"{stem}{suffix}" for stem in "ab" for suffix in (".geojson", ".ome.tif", "_seg.npy")]
    assert make(NeighbourParams(gap=1, radius=50)) == expected
    [cell] = json.loads((tmp_path / "files/day 2/a.geojson").read_text())["features"]
    values = np.asarray(PillowImage.open(folder / "day 2/a.png"))[4:9, 3:8]
    assert cell["properties"]["measurements"]["intensity_mean"] == pytest.approx(values.mean(), abs=1e-3)
    assert cell["properties"]["measurements"]["area_um2"] == 25 / 4


def test_format_needs_a_folder(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["predict", "--images", str(tmp_path), "--output", str(tmp_path / "y.json"), "--format", "geojson"])
    assert "name a folder for them" in capsys.readouterr().err


def test_a_folder_without_images_a_broken_one_and_taken_names_are_refused(
    folder: Path, fake: dict[str, Any], tmp_path: Path
) -> None:
    fake["all"] = 5
    empty = tmp_path / "empty"
    empty.mkdir()
    with pytest.raises(InputError, match="empty holds no image"):
        folder_results(empty, tmp_path / "out.json")
    (tmp_path / "labels").mkdir()
    (tmp_path / "labels" / "b.tif").write_bytes(b"mine")
    with pytest.raises(InputError, match=r"b\.tif exists and would be overwritten"):
        folder_results(folder, tmp_path / "out.json", ALL._replace(labels=tmp_path / "labels"))
    assert (tmp_path / "labels" / "b.tif").read_bytes() == b"mine"
    for inside in (folder, folder / "day 2" / "labels"):
        with pytest.raises(InputError, match="would be taken for images the next time; give a folder beside it"):
            folder_results(folder, tmp_path / "out.json", ALL._replace(labels=inside))
    (folder / "b.png").write_bytes((folder / "day 2" / "a.png").read_bytes())
    with pytest.raises(InputError, match=r"2 images would have the label image .*b\.tif; rename"):
        folder_results(folder, tmp_path / "out.json", ALL._replace(labels=tmp_path / "other"))
    (folder / "c.png").write_bytes(b"no picture")
    with pytest.raises(InputError, match=r"c\.png"):
        folder_results(folder, tmp_path / "out.json")
    assert not (tmp_path / "out.json").exists()


def test_shards_are_the_whole(folder: Path, fake: dict[str, Any], tmp_path: Path) -> None:
    fake["all"] = 5
    for number in range(5):
        (folder / f"c{number}.png").write_bytes((folder / "day 2" / "a.png").read_bytes())
    whole = folder_results(folder, tmp_path / "whole.json")
    choices = [ALL._replace(labels=tmp_path / "labels", shard=(first, 9)) for first in range(1, 10)]
    parts = [folder_results(folder, tmp_path / "part.json", choice) for choice in choices]
    assert [len(part) > 0 for part in parts] == [True] * 7 + [False] * 2
    assert [one for part in parts for one in part] == whole
    assert len([path for path in (tmp_path / "labels").rglob("*") if path.is_file()]) == 7


def many(folder: Path, count: int) -> list[str]:
    """A folder of so many equal images, the last one broken."""
    folder.mkdir()
    for number in range(count):
        PillowImage.fromarray(np.full((40, 60), number, np.uint8)).save(folder / f"{number:02d}.png")
    (folder / f"{count - 1:02d}.png").write_bytes(b"no picture")
    return [f"{number:02d}.png" for number in range(count)]


def test_a_broken_image_is_named_and_the_others_are_done(tmp_path: Path, fake: dict[str, Any]) -> None:
    """The same command goes on with what was found once the image is mended; the end is that of a run without fault."""
    fake["all"] = 5
    images, out, labels = tmp_path / "images", tmp_path / "out.json", tmp_path / "labels"
    names = many(images, 60)
    choice = ALL._replace(labels=labels)
    with pytest.raises(
        InputError, match=r"59\.png is no PNG, JPEG or TIFF.*incomplete\.out\.json has .* other 59 of 60"
    ):
        folder_results(images, out, choice)
    assert not out.exists()
    rest = json.loads((tmp_path / "incomplete.out.json").read_text())
    assert sorted({one["file_name"] for one in rest}) == names[:59]
    assert sorted(path.name for path in labels.iterdir()) == [f"{name[:2]}.tif" for name in names[:59]]
    before = {path: path.stat().st_mtime_ns for path in labels.iterdir()}
    (images / "59.png").write_bytes((images / "58.png").read_bytes())
    found = folder_results(images, out, choice)
    assert {path: path.stat().st_mtime_ns for path in before} == before  # nothing is done twice
    assert found == folder_results(images, tmp_path / "again.json", ALL._replace(labels=tmp_path / "others"))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["again.json", "images", "labels", "others", "out.json"]
    with pytest.raises(InputError, match=r"00\.tif exists and would be overwritten"):
        folder_results(images, out, choice)


def test_a_changed_image_a_lost_label_and_other_settings_are_done_again(tmp_path: Path, fake: dict[str, Any]) -> None:
    fake["all"] = 5
    images, out, labels = tmp_path / "images", tmp_path / "out.json", tmp_path / "labels"
    names, choice = many(images, 4), ALL._replace(labels=labels)
    with pytest.raises(InputError, match="03"):
        folder_results(images, out, choice)
    before = {path: path.stat().st_ino for path in labels.iterdir()}
    (labels / "00.tif").unlink()
    (images / "01.png").write_bytes((images / "02.png").read_bytes())
    (images / "03.png").unlink()
    folder_results(images, out, choice)
    again = {path.name: path.stat().st_ino != before[path] for path in sorted(labels.iterdir())}
    assert again["02.tif"] is False
    assert again["01.tif"] is True
    (images / names[3]).write_bytes(b"no picture")
    for path in labels.iterdir():
        path.unlink()
    with pytest.raises(InputError, match="03"):
        folder_results(images, out.with_name("other.json"), choice)
    with pytest.raises(InputError, match="03"):  # what that call wrote may be overwritten by this one
        folder_results(images, out.with_name("other.json"), choice._replace(score_min=0.6))


def outcome(images: Path, out: Path, choice: predict.Choice) -> str:
    try:
        folder_results(images, out, choice)
    except InputError as error:
        return str(error)
    return ""


def test_no_label_of_the_users_is_overwritten(tmp_path: Path, fake: dict[str, Any]) -> None:
    """The journal of an earlier try exempts what that try wrote, as it wrote it, and no more."""
    fake["all"] = 5
    images, out, labels = tmp_path / "images", tmp_path / "out.json", tmp_path / "mine"
    many(images, 3)
    labels.mkdir()
    (labels / "00.tif").write_bytes(b"mine")
    assert "02.png is no PNG" in outcome(images, out, ALL)  # without labels; its journal knows the images
    for _ in range(2):
        assert "00.tif exists and would be overwritten" in outcome(images, out, ALL._replace(labels=labels))
    assert (labels / "00.tif").read_bytes() == b"mine"
    (labels / "00.tif").unlink()
    assert "02.png is no PNG" in outcome(images, out, ALL._replace(labels=labels))
    (labels / "01.tif").write_bytes(b"corrected")
    assert "02.png is no PNG" in outcome(images, out, ALL._replace(labels=labels))  # done: nothing is written
    for _ in range(2):
        other = ALL._replace(labels=labels, score_min=0.6)
        assert "01.tif exists and would be overwritten" in outcome(images, out, other)
    assert (labels / "01.tif").read_bytes() == b"corrected"
    (labels / "01.tif").unlink()
    (images / "02.png").unlink()
    assert outcome(images, out, other) == ""


def test_a_file_of_before_that_a_kill_left_is_made_again(
    tmp_path: Path, fake: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its line is noted, its new content is not there yet: what is there is neither up to date nor the user's."""
    fake["all"] = 5
    images, out, labels = tmp_path / "images", tmp_path / "out.json", tmp_path / "labels"
    many(images, 3)
    choice = ALL._replace(labels=labels)

    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    assert "02.png is no PNG" in outcome(images, out, choice)
    for again in (choice, choice._replace(score_min=0.6)):
        fake["all"] += 2
        PillowImage.fromarray(np.zeros((50 + fake["all"], 60), np.uint8)).save(images / "00.png")
        with monkeypatch.context() as patch:
            patch.setattr(predict, "write_bytes", killed)
            with pytest.raises(KeyboardInterrupt):
                folder_results(images, out, again)
        assert "02.png is no PNG" in outcome(images, out, again)
        assert tifffile.imread(labels / "00.tif").shape == (50 + fake["all"], 60)


def test_another_pixel_size_is_not_gone_on_with(
    tmp_path: Path, fake: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    """Every option of the command that a file hangs on: files of two are not mixed."""
    fake["all"] = 5
    images, labels = tmp_path / "images", tmp_path / "labels"
    many(images, 3)
    weights = tmp_path / "weights.pt"
    weights.write_bytes(b"weights")
    words = ["predict", "--weights", str(weights), "--images", str(images), "--results", str(tmp_path / "out.json")]
    words += ["--labels", str(labels), "--format", "ome-tiff", "--pixel-size"]
    assert main([*words, "1"]) == 1
    assert "02.png is no PNG" in capsys.readouterr().err
    (images / "02.png").write_bytes((images / "01.png").read_bytes())
    assert main([*words, "2"]) == 0
    for path in sorted(labels.iterdir()):
        with tifffile.TiffFile(path) as tif:
            assert 'PhysicalSizeX="2.0"' in str(tif.ome_metadata)


def test_a_killed_prediction_goes_on(tmp_path: Path, fake: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    """What a kill leaves: a line that is cut, a label image without one; none of both is trusted."""
    fake["all"] = 5
    images, out = tmp_path / "images", tmp_path / "out.json"
    many(images, 6)
    (images / "05.png").write_bytes((images / "04.png").read_bytes())
    whole = folder_results(images, tmp_path / "whole.json")
    made = list[int]()

    def killed(path: Path, content: bytes) -> None:
        made.append(1)
        if len(made) == 4:
            raise KeyboardInterrupt
        write_bytes(path, content)

    monkeypatch.setattr(predict, "write_bytes", killed)
    choice = ALL._replace(labels=tmp_path / "labels")
    with pytest.raises(KeyboardInterrupt):
        folder_results(images, out, choice)
    journal = tmp_path / "out.json.journal"
    assert len(journal.read_bytes().splitlines()) == 5  # the settings, four images
    journal.write_bytes(journal.read_bytes()[:-30])
    assert folder_results(images, out, choice) == whole
    assert len(made) == 4 + 3
    assert not journal.exists()


def test_two_at_one_output_are_told(tmp_path: Path, fake: dict[str, Any]) -> None:
    fake["all"] = 5
    images = tmp_path / "images"
    many(images, 2)
    (images / "01.png").unlink()
    with journal_of(tmp_path / "out.json", {}), pytest.raises(InputError, match="is being written by another"):
        folder_results(images, tmp_path / "out.json")


def test_what_is_no_image_is_told_and_hidden_files_are_not(
    folder: Path, fake: dict[str, Any], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    fake["all"] = 5
    (folder / "._b.tif").write_bytes(b"of macOS")
    (folder / "c.bmp").write_bytes(b"BM")
    with caplog.at_level("INFO"):
        assert {one["file_name"] for one in folder_results(folder, tmp_path / "o.json")} == {"b.tif", "day 2/a.png"}
    assert "also holds 1 .bmp, 1 .txt: no images" in caplog.text
    with pytest.raises(InputError, match="label images would be taken for images the next time"):
        folder_results(folder, tmp_path / "o.json", ALL._replace(labels=folder / "labels"))


def test_an_image_too_large_is_named_with_the_cure(folder: Path, fake: dict[str, Any], tmp_path: Path) -> None:
    """20,000 x 20,000 px of one grey value are a TIFF of 405 kB."""
    fake["all"] = 5
    vast = np.lib.stride_tricks.as_strided(np.zeros(1, np.uint8), (20_000, 20_000), (0, 0))
    tifffile.imwrite(folder / "v.tif", vast, compression="zlib", photometric="minisblack", rowsperstrip=20_000)
    assert (folder / "v.tif").stat().st_size < 500_000
    with pytest.raises(InputError, match=r"v\.tif has 400,000,000 pixels; at most 268,435,456 are read: cut it into"):
        folder_results(folder, tmp_path / "out.json")


@pytest.mark.parametrize("text", ["0/3", "4/3", "3", "a/b", "-1/3"])
def test_no_shard(text: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["predict", "--images", "x", "--results", "y", f"--shard={text}"])
    assert f"{text} is no shard; write K/N with K from 1 to N, as 3/1000" in capsys.readouterr().err


def test_augmentation_is_of_exported_u_nets(folder: Path, fake: dict[str, Any], tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"--tta is of exported runs, and weights.pt is none"):
        folder_results(folder, tmp_path / "out.json", ALL._replace(tta=8))
    with pytest.raises(InputError, match="test-time augmentation is of the U-Nets"):
        predictor.with_tta(PARAMS.settings, 8)
    assert predictor.with_tta(PARAMS.settings, None) == PARAMS.settings


def test_deep_images_and_weights_need_percentiles(folder: Path, fake: dict[str, Any], tmp_path: Path) -> None:
    fake["all"] = 5
    with pytest.raises(InputError, match=r"b\.tif holds uint16 pixels.*predict takes --percentiles LOW HIGH"):
        folder_results(folder, tmp_path / "out.json", ALL._replace(percentiles=None))
    assert not (tmp_path / "out.json").exists()


@pytest.mark.parametrize("given", [["99", "1"], ["-1", "99"], ["0", "101"]])
def test_no_percentiles(given: list[str], folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["predict", "--images", str(folder), "--results", str(tmp_path / "out.json"), "--percentiles", *given]
    assert main(words) == 1
    assert f"--percentiles is {given[0]} {given[1]}; give 0 <= LOW < HIGH <= 100" in capsys.readouterr().err


def test_the_pretrained_model_is_named_where_it_is_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(manifest, "PRETRAINED", tmp_path)
    with pytest.raises(InputError, match="the pretrained model is not in"):
        manifest.pretrained()


def test_the_pretrained_model_is_the_studys() -> None:
    """Its threshold and card are those of the committed table, its files all there."""
    folder, found = manifest.read_manifest(manifest.pretrained())
    with (ROOT / "results/phase_contrast_self/metrics.csv").open() as file:
        rows = [row for row in csv.DictReader(file) if (row["run"], row["cell_line"]) == (found.run, "all")]
    assert [float(row["score_threshold"]) for row in rows] == [found.score_threshold]
    study = yaml.safe_load((ROOT / "workflow/studies/phase_contrast_self.yaml").read_text())
    assert found.notes == study["export"]["notes"]
    card = (folder / found.card).read_text()
    assert f"{float(rows[0]['mask_ap']):.3f}" in card
    assert all(text in card for text in found.notes.values())
    assert all((folder / manifest.onnx_name("all", "maps", dtype)).exists() for dtype in found.dtypes)


def test_a_fault_at_any_write_leaves_what_the_same_command_mends(
    culture: Culture, tmp_path: Path, fake: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    fake["all"] = 7
    count = faults.hold(lambda folder: run(culture, folder / "r.json.gz"), tmp_path, monkeypatch)
    print(f"\npredict: {count} writes, each failed twice")


@pytest.mark.parametrize(("size", "warned"), [(5, True), (16, False), (45, False), (70, True)])
def test_cells_of_another_size_than_the_models_are_told(
    size: int, warned: bool, folder: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    backend: Any = size
    for name in ("b.tif", "day 2/a.png"):
        PillowImage.new("L", (90, 90)).save(folder / name)
    run = Predictor({"all": Network(Marker(), backend)}, 4)
    monkeypatch.setattr(predictor, "load", lambda *_, **__: run)
    for choice in (predict.Choice(None, None), predict.Choice(None, None, diameter=size)):
        caplog.clear()
        predict.predict_folder(manifest.pretrained(), folder, folder.parent / "o.json", choice, threads=1)
        told = f"diameter of {size * 2 / np.pi**0.5:.1f} px, where the network saw it"
        assert (told in caplog.text) is (warned and choice.diameter is None)


@pytest.mark.parametrize(
    ("side", "factor", "warned"),
    [(150, 1.0, False), (220, 1.0, True), (70, 1.0, False), (300, 0.5, False), (440, 0.5, True), (110, 2.0, True)],
)
def test_images_that_are_seen_at_another_scale_than_those_of_training_are_told(
    side: int, factor: float, warned: bool, caplog: pytest.LogCaptureFixture
) -> None:
    """Of a network that sees images of up to 120 px as they are, and learned from some of 90 to 140 px."""
    predictor._tell_scale.cache_clear()
    marker, backend = Marker(), cast(Any, 5)
    marker.longest = 120
    of = marker if factor == 1 else RescaledPipeline(marker, factor)
    network = Network(of, backend, predictor._over((90, 140), factor))
    for _ in range(2):
        predictor.check_image("a", np.zeros((64, side), np.uint8), network)
        predictor.check_image("a", np.zeros((side, 64), np.uint8), network._replace(sides=None))
    assert caplog.text.count(f"images with a longer side of {side} px reach the network at") == warned


def test_a_diameter_is_of_exported_runs(folder: Path, fake: dict[str, Any], tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"--diameter is of exported runs, and weights.pt is none"):
        folder_results(folder, tmp_path / "out.json", ALL._replace(diameter=30.0))


def test_what_a_diameter_enlarges_is_counted_in_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Cells of a quarter of the usual diameter: 16 times the pixels."""
    _, about = manifest.read_manifest(manifest.pretrained())
    assert about.diameters is not None
    small = predictor.load(manifest.pretrained(), threads=1, diameter=about.diameters.median / 4)
    assert small.enlarged == pytest.approx(16)
    assert with_views(small, 0.5, mirror=False).enlarged == pytest.approx(16)  # as a plate's images are looked at
    assert predictor.load(manifest.pretrained(), threads=1, diameter=400.0).enlarged == 1
    (tmp_path / "images").mkdir()
    PillowImage.fromarray(np.zeros((100, 100), np.uint8)).save(tmp_path / "images/a.png")
    monkeypatch.setattr(predictor, "free_memory", lambda: PIXEL_BYTES * 15 * 100 * 100)
    choice = predict.Choice(None, None, tta=1, diameter=about.diameters.median / 4)
    with pytest.raises(InputError, match=r"a\.png, at .* scale \(4 times as wide\), has 160,000 pixels, .*tiles"):
        predict.predict_folder(manifest.pretrained(), tmp_path / "images", tmp_path / "o.json", choice, threads=1)


@pytest.mark.parametrize("way", ["segment", "stream"])
def test_a_diameter_that_no_memory_has_room_for_is_refused_whoever_asks(way: str) -> None:
    """A cell of 0.1 px makes an image some 140 times as wide and high."""
    run, image = predictor.load(manifest.pretrained(), threads=1, diameter=0.1), np.zeros((320, 448), np.uint8)
    found = iter(run.stream([predictor.Frame("image 0", None, lambda: image)]))
    with pytest.raises(InputError, match=r"scale \(\d+ times as wide\), has .* correct the diameter: px of its cells"):
        run.segment([image]) if way == "segment" else next(found)


def test_a_diameter_is_refused_where_every_image_is_scaled_to_one_size(tmp_path: Path) -> None:
    """It would be undone before the network sees the image, without a word."""
    about = json.loads((manifest.pretrained() / manifest.MANIFEST).read_text())
    settings = YoloPredict(imgsz=640, batch=1, score_min=0.1, nms_iou=0.7, max_det=10)
    write_json(tmp_path / manifest.MANIFEST, about | {"family": "yolo", "settings": settings.model_dump()})
    with pytest.raises(InputError, match=r"diameter is 30, .* scales every image to 640 px, however large its cells"):
        predictor.load(tmp_path, threads=1, diameter=30.0)


@pytest.mark.parametrize("diameter", [0, -20.0, float("nan"), float("inf"), "16"])
def test_no_diameter(diameter: Any) -> None:
    with pytest.raises(InputError, match=f"diameter is {diameter}; give the usual one of the cells in px"):
        predictor.load(manifest.pretrained(), threads=1, diameter=diameter)
