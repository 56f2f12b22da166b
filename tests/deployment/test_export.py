"""Exported runs find torch's cells, say what they are, and are refused where they can't run."""

from __future__ import annotations

import gzip
import json
import shutil
import subprocess
import sys
import time
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import faults
import numpy as np
import onnx
import pytest
import torch
from culture import Culture
from monolayer import models
from monolayer.__main__ import main
from monolayer.backends import cuda, trt
from monolayer.backends.manifest import EngineFile, ImageSides, read_manifest, read_seen
from monolayer.backends.ort import OnnxRuntime
from monolayer.coco import rle
from monolayer.coco.io import read_truth, write_results
from monolayer.coco.records import Result
from monolayer.coco.table import CellTable, Images, read_results
from monolayer.data.dataset import read_image, samples
from monolayer.deployment import arithmetic, engines, export, onnx_graph, parity
from monolayer.files import InputError
from monolayer.models import predict, predictor
from monolayer.models.pipeline import pipeline
from monolayer.models.predictor import Frame
from monolayer.models.unet import family
from monolayer.params.steps import ExportParams, ParityLimits, PredictParams, TrainParams
from numpy.typing import NDArray
from unet_settings import SETTINGS

LIMITS = {"mask_iou": 0.9, "lost": 0.2, "ap": 0.05}
PARAMS = ExportParams.model_validate(
    {
        "run": "tiny",
        "predict": {"batch": 2, "tile": 64, "overlap": 16, "tta": 1, "saddle_ratio": 0.65},
        "settings": {
            "dtypes": ["fp32", "fp16", "int8"],
            "calibration": 2,
            "engines": ["fp16"],
            "percentiles": {"low": 1, "high": 99},
            "targets": ["SM86", "SM89"],
            "parity": {"fp32": {"mask_iou": 0.99, "lost": 0.01, "ap": 0.001}, "fp16": LIMITS, "int8": LIMITS},
            "fp16_range": 0.5,
            "exclude": {},
            "runs": "all",
            "notes": {"Licence": "none, the cells are drawn"},
        },
        "neighbours": {"gap": 2, "radius": 30},
        "cpu_threads": 1,
    }
)
SEEN = {f"{number:032x}" for number in (7, 255)}  # fingerprints of images


@pytest.fixture(scope="module")
def weights(culture: Culture, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run with a network for each line; both are the same one."""
    folder = tmp_path_factory.mktemp("run")
    torch.set_num_threads(1)
    parts = [samples(read_truth(culture.splits / f"{split}.json"), culture.images) for split in ("train", "val")]
    state = family.train(parts[0], parts[1], SETTINGS, 0, folder).state
    params = TrainParams(family="unet", settings=SETTINGS, lines="each", seed=0, cpu_threads=1)
    models.save_weights(folder / "weights.pt", params, {"round": state, "long": state}, SEEN)
    return folder / "weights.pt"


@pytest.fixture(scope="module")
def exported(weights: Path, culture: Culture, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("export") / "tiny"
    export.export(weights, culture.images, culture.splits, PARAMS, folder, score_threshold=0.25)
    return folder


@pytest.fixture(scope="module")
def reference(weights: Path, culture: Culture, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Torch's results on test."""
    path = tmp_path_factory.mktemp("torch") / "test.json.gz"
    params = PredictParams(settings=PARAMS.predict, cpu_threads=1)
    predict.predict(weights, culture.images, culture.splits / "test.json", params, path)
    return path


# ---- the same cells ------------------------------------------------------------------------------


def test_exports_find_torchs_cells(exported: Path, reference: Path, culture: Culture) -> None:
    found = export.check(exported, culture.images, culture.splits, reference, PARAMS)
    ran = {row["dtype"]: row for row in found["rows"] if "not_run" not in row}
    assert list(ran) == ["fp32", "fp16", "int8"]
    for row in ran.values():
        assert row["matched"] > 10
        assert row["ap_torch"] > 0.3  # there is something to lose
    assert list(ran["fp32"]["products"]) == ["fp32"]
    assert ran["int8"]["products"]["int8"] > ran["int8"]["products"].get("fp32", 0)  # and not between two conversions
    assert 0 < ran["fp16"]["largest"] < 65_504
    assert ran["fp32"]["mask_iou"] > 0.999
    assert ran["fp32"]["ap"] == pytest.approx(ran["fp32"]["ap_torch"], abs=1e-6)


def test_values_beyond_half_precision_are_seen_where_they_do_not_overflow(tmp_path: Path) -> None:
    """300 times 300 is beyond fp16, and 1/300 of it is 300 again: on a CPU, which computes in fp32."""
    names = ("times", "by")
    factors = [
        onnx.numpy_helper.from_array(np.array([v], np.float16), n) for n, v in zip(names, (300, 1 / 300), strict=True)
    ]
    nodes = [
        onnx.helper.make_node("Cast", ["x"], ["half"], to=onnx.TensorProto.FLOAT16),
        onnx.helper.make_node("Mul", ["half", "times"], ["between"]),
        onnx.helper.make_node("Mul", ["between", "by"], ["back"]),
        onnx.helper.make_node("Cast", ["back"], ["y"], to=onnx.TensorProto.FLOAT),
    ]
    ends = [onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, [1]) for name in "xy"]
    graph = onnx.helper.make_graph(nodes, "g", ends[:1], ends[1:], factors)
    file = tmp_path / "g.onnx"
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 17)], ir_version=8)
    file.write_bytes(model.SerializeToString())
    [y] = OnnxRuntime({"g": file}, {"g": {}}, 1).run("g", np.array([300], np.float32))
    assert y[0] == pytest.approx(300, rel=1e-3)
    value, name = arithmetic.largest_half(file, [(np.array([300], np.float32),)])
    assert value > 65_504
    assert name == "between"
    with pytest.raises(InputError, match=r"run tiny: between of the graph g reaches .* leave fp16 out"):
        arithmetic.check_range({"g": (value, name)}, "tiny", 1.0)
    assert arithmetic.largest_half(file, [(np.array([3], np.float32),)])[0] == pytest.approx(900, rel=1e-3)


def test_an_export_without_room_in_half_precision_is_refused(exported: Path, reference: Path, culture: Culture) -> None:
    params = PARAMS.model_copy(update={"settings": PARAMS.settings.model_copy(update={"fp16_range": 1e-6})})
    with pytest.raises(
        InputError, match=r"of the graph round maps reaches .* more than 1e-06 of fp16's largest number"
    ):
        export.check(exported, culture.images, culture.splits, reference, params)


def test_engines_that_cannot_run_here_are_listed_with_the_reason(
    exported: Path, reference: Path, culture: Culture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cuda, "capability", lambda: None)
    found = export.check(exported, culture.images, culture.splits, reference, PARAMS)
    [row] = [row for row in found["rows"] if row["backend"] == "tensorrt"]
    assert "are for SM86, SM89, and no NVIDIA GPU" in row["not_run"]


def test_an_export_that_finds_other_cells_is_refused_by_its_worst_image(
    exported: Path, reference: Path, culture: Culture, tmp_path: Path
) -> None:
    results = json.loads(gzip.decompress(reference.read_bytes()))
    spoiled = results[0]["image_id"]
    for result in results:
        if result["image_id"] == spoiled:  # torch's masks, grown by a pixel
            mask = np.pad(rle.mask_from_rle(result["segmentation"]), 1)
            grown = mask[2:, 1:-1] | mask[:-2, 1:-1] | mask[1:-1, 2:] | mask[1:-1, :-2] | mask[1:-1, 1:-1]
            result["segmentation"] = rle.rle_from_mask(grown)
    write_results(tmp_path / "spoiled.json.gz", results)
    names = {image["id"]: image["file_name"] for image in culture.truth["images"]}
    with pytest.raises(InputError, match=rf"fp32: masks of {names[spoiled]} have a mean IoU of 0\.\d+ with torch's"):
        export.check(exported, culture.images, culture.splits, tmp_path / "spoiled.json.gz", PARAMS)


@pytest.mark.parametrize(
    ("change", "text"),
    [({"lost": 0.5}, "50.00% of torch's cells.*; most on b.png;"), ({"ap": 0.2}, "mask AP is 0.2000, torch's 0.5000")],
)
def test_lost_cells_and_lost_ap_are_refused(change: dict[str, float], text: str) -> None:
    row = {"backend": "onnxruntime", "dtype": "fp32", "mask_iou": 1.0, "lost": 0.0, "worst_image": "a.png"}
    row |= {"lost_image": "b.png"}
    with pytest.raises(InputError, match=text):
        parity.check_limits(row | {"ap": 0.5, "ap_torch": 0.5} | change, "tiny", ParityLimits.model_validate(LIMITS))


def compared_squares(tmp_path: Path, one: list[list[tuple[int, int]]], other: list[list[tuple[int, int]]]) -> Any:
    """Two runs' cells of images a.png, b.png, ...: squares at x with that side, of falling score."""
    names = ["a.png", "b.png"][: len(one)]
    ids = list(range(1, len(one) + 1))
    images = Images(
        ids=ids, names=names, lines=[""] * len(ids), wells=[""] * len(ids), sizes=[[20, 60]] * len(ids), categories=[1]
    )

    def cells(squares: list[list[tuple[int, int]]]) -> CellTable:
        records = [
            Result(
                image_id=image_id,
                category_id=1,
                segmentation=rle.rles_from_crops([(np.ones((side, side), np.bool_), x, 0)], 20, 60)[0],
                bbox=[x, 0, side, side],
                score=0.9 - 0.2 * index,
            )
            for image_id, own in zip(ids, squares, strict=True)
            for index, (x, side) in enumerate(own)
        ]
        write_results(tmp_path / "results.json", records)
        return read_results(tmp_path / "results.json", images)

    return parity.compared(images, cells(one), cells(other))


def test_partners_are_each_others_best(tmp_path: Path) -> None:
    one, other = [(0, 10), (20, 10), (40, 4)], [(1, 10), (0, 9), (21, 10)]
    row = compared_squares(tmp_path, [one], [other])
    assert (row["matched"], row["extra"], row["worst_image"]) == (2, 1, "a.png")
    assert row["mask_iou"] == row["mask_iou_mean"] == pytest.approx(90 / 110)
    assert row["lost"] == pytest.approx(0.5 / 2.1)
    assert compared_squares(tmp_path, [one], [[]])["lost"] == 1
    assert compared_squares(tmp_path, [[]], [other])["extra"] == 3


def test_the_image_that_lost_most_is_not_the_one_whose_masks_differ_most(tmp_path: Path) -> None:
    row = compared_squares(tmp_path, [[(0, 10)], [(0, 10), (20, 10)]], [[(1, 10)], []])
    assert (row["worst_image"], row["lost_image"]) == ("a.png", "b.png")
    assert compared_squares(tmp_path, [[(0, 10)]], [[(0, 10)]])["lost_image"] is None


# ---- streaming -----------------------------------------------------------------------------------


def test_a_stream_gives_what_single_images_give(exported: Path, culture: Culture) -> None:
    run = predictor.load(exported)
    rng = np.random.default_rng(0)
    images = [rng.integers(0, 255, (int(h), 70), np.uint8) for h in rng.integers(40, 150, 9)]
    lines = ["round", "round", "long", "long", "long", "round", "long", "round", "round"]
    frames = [Frame("", line, partial(np.copy, image)) for image, line in zip(images, lines, strict=True)]
    streamed = list(run.stream(frames))
    for image, line, found in zip(images, lines, streamed, strict=True):
        [alone] = run.segment([image], line)
        assert (found.height, found.width) == image.shape
        assert list(found.results(1)) == list(alone.results(1))


def test_only_a_few_images_are_in_memory_at_a_time(exported: Path) -> None:
    read, run = [], predictor.load(exported)

    def image(index: int) -> Any:
        read.append(index)
        return np.full((40, 40), index, np.uint8)

    frames = (Frame(str(i), "round", partial(image, i)) for i in range(60))
    for done, _ in enumerate(run.stream(frames), 1):
        assert len(read) <= done + 9 * run.batch


def blank(height: int, width: int) -> NDArray[np.uint8]:
    return np.zeros((height, width), np.uint8)


def test_a_fault_in_the_middle_comes_out_of_the_stream(exported: Path) -> None:
    run = predictor.load(exported)
    frames = [Frame(f"{i}.png", "round", partial(blank, 40, 1 if i == 5 else 40)) for i in range(9)]
    with pytest.raises(InputError, match=r"5.png is 1x40 px; this network needs 4 px a side"):
        list(run.stream(frames))


def test_no_thread_spins_behind_a_run(exported: Path) -> None:
    """The network of one line would have to share its cores with the threads of another's that ran before."""
    run, image, spent = predictor.load(exported, threads=2), blank(512, 512), []
    for _ in range(5):
        run.segment([image], "round")
        before = time.process_time()
        time.sleep(0.05)
        spent.append(time.process_time() - before)
    assert min(spent) < 0.01, spent  # s; spinning for all of the time: 0.05


def test_augmentation_is_chosen_when_it_runs(exported: Path, culture: Culture) -> None:
    path = sorted(culture.images.iterdir())[0]
    image = read_image(path)
    settings = read_manifest(exported)[1].settings
    once, turned, mirror = (
        predictor.load(exported, settings=predictor.with_tta(settings, tta)).segment([seen], "round")[0]
        for tta, seen in ((None, image), (8, image), (8, image[:, ::-1].copy()))
    )
    assert once.height == turned.height == 96
    # the mean over all eight ways to turn it is blind to how the image lies
    assert np.allclose(np.sort(turned.scores), np.sort(mirror.scores), atol=1e-4)
    assert not np.allclose(np.sort(once.scores), np.sort(turned.scores), atol=1e-4)


# ---- what is refused -----------------------------------------------------------------------------


def test_a_line_without_a_network_is_refused(exported: Path) -> None:
    with pytest.raises(
        InputError, match=r"cell line unknown, for which this run has no network \(it has round, long\)"
    ):
        predictor.load(exported).segment([np.zeros((64, 64), np.uint8)])


def test_a_graph_of_another_family_is_refused(exported: Path, tmp_path: Path) -> None:
    moved = Path(shutil.copytree(exported, tmp_path / "moved"))
    other = onnx.load(moved / "networks/round.maps.fp32.onnx")
    onnx.helper.set_model_props(other, {"run": "tiny", "family": "yolo"})
    onnx.save(other, moved / "networks/round.maps.fp32.onnx")
    with pytest.raises(InputError, match=r"round.maps.fp32.onnx is of family yolo, not unet"):
        predictor.load(moved)


def test_what_is_no_graph_or_no_export_is_refused(exported: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"is not the model.json of an exported run"):
        predictor.load(tmp_path)
    moved = Path(shutil.copytree(exported, tmp_path / "moved"))
    for file in moved.glob("networks/*.onnx"):
        file.write_bytes(b"x")
    with pytest.raises(InputError, match="can't be read by onnxruntime"):
        predictor.load(moved)
    with pytest.raises(InputError, match="backend torch is unknown; an exported run has onnxruntime, tensorrt"):
        predictor.load(exported, "torch")


def test_a_dtype_that_was_not_exported_is_refused(weights: Path, culture: Culture, tmp_path: Path) -> None:
    settings = PARAMS.settings.model_copy(update={"dtypes": ["fp32"], "engines": []})
    params = PARAMS.model_copy(update={"settings": settings})
    export.export(weights, culture.images, culture.splits, params, tmp_path, score_threshold=0.25)
    with pytest.raises(InputError, match="has no fp16; it has fp32"):
        predictor.load(tmp_path, dtype="fp16")
    assert sorted(path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*.*")) == [
        "model.json",
        "networks/long.maps.fp32.onnx",
        "networks/round.maps.fp32.onnx",
        "seen.txt",
    ]


@pytest.mark.parametrize("number", [1, 3])
def test_a_folder_of_another_format_is_refused_with_the_cure(exported: Path, tmp_path: Path, number: int) -> None:
    content = json.loads((exported / "model.json").read_text())
    (tmp_path / "model.json").write_text(json.dumps(content | {"format": number}))
    text = rf"model\.json is of format {number}, and this version reads 2; export the run again$"
    with pytest.raises(InputError, match=text):
        read_manifest(tmp_path)


ENGINE = EngineFile(
    network="all",
    graph="maps",
    dtype="fp16",
    file="all.engine",
    library="tensorrt_rtx",
    version="1.0",
    targets=["SM86"],
)


@pytest.mark.parametrize(
    "change",
    [
        lambda about: about["engines"].append(ENGINE.model_dump() | {"file": "../stolen.engine"}),
        lambda about: about["engines"].append(ENGINE.model_dump() | {"file": "/etc/passwd"}),
        lambda about: about["networks"]["long"]["graphs"].update(
            {"x/../../../y": about["networks"]["long"]["graphs"]["maps"]}
        ),
        lambda about: about.update(family="..evil"),
    ],
)
def test_a_strangers_manifest_names_nothing_outside_of_its_folder(exported: Path, tmp_path: Path, change: Any) -> None:
    about = json.loads((exported / "model.json").read_text())
    change(about)
    (tmp_path / "model.json").write_text(json.dumps(about))
    with pytest.raises(InputError, match=r"outside of its folder|is not the model\.json"):
        predictor.load(tmp_path)


def test_a_network_of_any_name_has_its_files_in_the_folder(exported: Path, tmp_path: Path) -> None:
    """A cell line may be called so: the manifest keeps the name, the files are called after it."""
    about = json.loads((exported / "model.json").read_text())
    about["networks"]["../../all"] = about["networks"]["long"]
    (tmp_path / "model.json").write_text(json.dumps(about))
    _, manifest = read_manifest(tmp_path)
    assert "../../all" in manifest.networks
    assert all((tmp_path / name).resolve().is_relative_to(tmp_path.resolve()) for name in manifest.files())


def with_outer_data(path: Path, location: str) -> Path:
    """A graph whose weights lie in another file."""
    weights = onnx.TensorProto(name="w", data_type=1, dims=[4], data_location=onnx.TensorProto.EXTERNAL)
    for key, value in (("location", location), ("offset", "0"), ("length", "16")):
        weights.external_data.add(key=key, value=value)
    output = onnx.helper.make_tensor_value_info("y", 1, [4])
    graph = onnx.helper.make_graph([onnx.helper.make_node("Identity", ["w"], ["y"])], "g", [], [output], [weights])
    opset = [onnx.helper.make_opsetid("", 17)]
    path.write_bytes(onnx.helper.make_model(graph, opset_imports=opset, ir_version=8).SerializeToString())
    return path


def test_weights_outside_of_the_folder_are_not_read(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    for place in ("secret", "folder/own"):
        (tmp_path / place).write_bytes(bytes(16))
    (tmp_path / "folder/link").symlink_to(tmp_path / "secret")
    for location in ("../secret", str(tmp_path / "secret"), "link", "x/../../secret"):
        path = with_outer_data(tmp_path / "folder/m.onnx", location)
        with pytest.raises(InputError, match="can't be read by onnxruntime"):
            OnnxRuntime({"g": path}, {"g": {}}, 1)
    OnnxRuntime({"g": with_outer_data(tmp_path / "folder/m.onnx", "own")}, {"g": {}}, 1)


@pytest.mark.parametrize(
    ("here", "text"),
    [
        (None, "engines in .* are for SM86, and no NVIDIA GPU"),
        ("SM90", "are for SM86; the GPU here is SM90: add it to export.targets"),
        ("SM86", r"built by tensorrt_rtx 1.0, and [\d.]+ is installed"),
    ],
)
def test_engines_for_another_gpu_or_version_are_refused(here: str | None, text: str) -> None:
    with pytest.raises(InputError, match=text):
        trt.fitting(Path("export"), [ENGINE], here)


def test_a_missing_vendor_library_is_one_clear_error() -> None:
    with pytest.raises(InputError, match=r"tensorrt is not installed; pip install -r envs/tensorrt.txt"):
        trt.fitting(Path("export"), [ENGINE.model_copy(update={"library": "tensorrt"})], "SM86")


# ---- files ---------------------------------------------------------------------------------------


def test_a_line_of_few_images_has_its_cells_within_the_range(culture: Culture) -> None:
    """Its cells are four times as large; 5 % of all images would pass it over, and predict warn of what it knows."""
    usual = samples(read_truth(culture.splits / "train.json"), culture.images)
    large = replace(usual[0], image={**usual[0].image, "cell_line": "large"}, annotations=[])
    large.annotations.extend({**cell, "area": 16 * cell["area"]} for cell in usual[0].annotations)
    alone, both = export.cell_diameters(20 * usual), export.cell_diameters([*20 * usual, large])
    rare = export.cell_diameters([large])
    assert alone is not None
    assert both is not None
    assert rare is not None
    assert (both.low, both.high) == (alone.low, rare.high)
    assert both.median == pytest.approx(alone.median, rel=0.02)
    assert rare.high > 3 * alone.high
    assert export.cell_diameters([replace(large, annotations=[])]) is None


def test_the_manifest_says_what_goes_in_and_comes_out(exported: Path) -> None:
    _, manifest = read_manifest(exported)
    assert (manifest.score_threshold, manifest.notes) == (0.25, PARAMS.settings.notes)
    assert (manifest.percentiles, manifest.neighbours) == (PARAMS.settings.percentiles, PARAMS.neighbours)
    assert manifest.sides == ImageSides(low=128, high=128)
    assert manifest.diameters is not None
    assert 5 < manifest.diameters.low <= manifest.diameters.median <= manifest.diameters.high < 40
    graph = manifest.networks["round"].graphs["maps"]
    assert [(value.name, value.dtype, value.shape) for value in graph.inputs] == [
        ("tiles", "float32", ["batch", 1, "height", "width"])
    ]
    assert graph.multiple == manifest.networks["round"].constants["stride"] == 4
    assert {file.targets[0] for file in manifest.engines} == {"SM86"}
    assert {path.relative_to(exported).as_posix() for path in exported.rglob("*.*")} == {
        "model.json",
        "seen.txt",
        *(f"networks/{line}.maps.{dtype}.onnx" for line in ("round", "long") for dtype in ("fp32", "fp16", "int8")),
        *(file.file for file in manifest.engines),
    }


def test_the_folder_says_what_the_run_learned_from(exported: Path, tmp_path: Path) -> None:
    assert read_seen(exported) == SEEN
    assert read_seen(tmp_path) == set()
    (tmp_path / "seen.txt").write_text("0007\n")
    with pytest.raises(InputError, match=r"seen.txt has the line '0007', no fingerprint of an image; export"):
        read_seen(tmp_path)


def test_an_engine_takes_every_input_that_its_pipeline_makes(exported: Path) -> None:
    _, manifest = read_manifest(exported)
    constants = manifest.networks["round"].constants
    axes = pipeline(manifest.family, manifest.settings, constants).axes
    shapes = engines._shapes(manifest.networks["round"].graphs["maps"].inputs[0].shape, axes)
    assert shapes == [(1, 1, 4, 4), (2, 1, 64, 64), (2, 1, 64, 64)]


def test_half_graphs_hold_half_weights_and_take_full_inputs(exported: Path) -> None:
    half, full = (onnx.load(exported / f"networks/round.maps.{dtype}.onnx") for dtype in ("fp16", "fp32"))
    onnx.checker.check_model(half, full_check=True)
    kinds = {value.data_type for value in half.graph.initializer}
    assert kinds == {onnx.TensorProto.FLOAT16}
    for value in (*half.graph.input, *half.graph.output):
        assert value.type.tensor_type.elem_type == onnx.TensorProto.FLOAT
    assert half.ByteSize() < 0.7 * full.ByteSize()


def test_graphs_tell_nothing_of_the_machine(exported: Path) -> None:
    for path in exported.glob("networks/*.fp32.onnx"):
        assert str(Path(export.__file__).parent).encode() not in path.read_bytes()


def test_exported_runs_need_no_torch(exported: Path) -> None:
    text = (
        "import sys, numpy as np; from pathlib import Path; from monolayer.models import predictor;"
        f"run = predictor.load(Path({str(exported)!r}));"
        "run.segment([np.full((64, 64), 9, np.uint8)], 'round');"
        "assert not {'torch', 'torchvision', 'ultralytics', 'onnx'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", text], check=True)


def test_an_export_that_is_cut_short_is_none(
    exported: Path, weights: Path, culture: Culture, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Over an earlier one: its model.json would give these graphs another run's thresholds and contrast."""
    folder = Path(shutil.copytree(exported, tmp_path / "tiny"))
    write = onnx_graph.write

    def killed(model: Any, facts: Any, path: Path) -> bytes:
        write(model, facts, path)
        raise KeyboardInterrupt

    monkeypatch.setattr(onnx_graph, "write", killed)
    with pytest.raises(KeyboardInterrupt):
        export.export(weights, culture.images, culture.splits, PARAMS, folder, score_threshold=0.9)
    with pytest.raises(InputError, match=r"is not the model.json of an exported run"):
        predictor.load(folder)


def test_an_export_that_finds_other_cells_than_torch_is_none(
    weights: Path, culture: Culture, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_results(tmp_path / "none.json.gz", [])
    (tmp_path / "scores.json").write_text(json.dumps({"score_threshold": 0.25}))
    settings = PARAMS.settings.model_copy(update={"dtypes": ["fp32"], "engines": []})
    words = ["export", "--weights", weights, "--images", culture.images, "--splits", culture.splits]
    words += ["--results", tmp_path / "none.json.gz", "--scores", tmp_path / "scores.json"]
    words += ["--params", PARAMS.model_copy(update={"settings": settings}).model_dump_json()]
    assert main([*map(str, words), "--output", str(tmp_path / "tiny")]) == 1
    assert "run tiny, onnxruntime fp32: mask AP is" in capsys.readouterr().err
    assert not (tmp_path / "tiny/model.json").exists()


@pytest.mark.slow
@pytest.mark.timeout(7200)
def test_a_fault_at_any_write_leaves_what_the_same_command_mends(
    weights: Path, culture: Culture, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = PARAMS.settings.model_copy(update={"dtypes": ["fp32"], "engines": []})
    params = PARAMS.model_copy(update={"settings": settings})

    def run(folder: Path) -> None:
        export.export(weights, culture.images, culture.splits, params, folder, score_threshold=0.25)

    print(f"\nexport: {faults.hold(run, tmp_path, monkeypatch)} writes, each failed twice")
