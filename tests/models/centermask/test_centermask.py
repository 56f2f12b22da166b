"""CenterMask as a whole: gradients, independence of the batch, instances at native size, learning, bounded memory."""

from __future__ import annotations

import resource
import subprocess
import sys
from pathlib import Path
from typing import Any, cast, get_args

import numpy as np
import pytest
import torch
from centermask_samples import TINY, annotation, network_of, random_cells, settings
from culture import Culture
from monolayer import models
from monolayer.backends.eager import eager
from monolayer.coco.io import read_truth
from monolayer.coco.records import Image
from monolayer.coco.rle import rles_from_crops
from monolayer.data import download
from monolayer.data.dataset import Sample, evenly, samples
from monolayer.files import InputError
from monolayer.models.centermask import family, mask_heads, pipeline
from monolayer.models.centermask.crops import TargetCells, cells_in, whole
from monolayer.models.centermask.family import CenterMaskTask, build, predict, train
from monolayer.models.centermask.network import CenterMask
from monolayer.models.centermask.pipeline import DetectedMasks, Pipeline
from monolayer.models.validation import validation_scores
from monolayer.params.data import LivecellFile, LivecellSource
from monolayer.params.families import CenterMaskPredict, DetectionLimits
from monolayer.params.steps import TrainParams
from numpy.typing import NDArray
from paths import DATA, ROOT, needs_data
from PIL import Image as PillowImage
from torch import Tensor
from torchvision.ops import roi_align

ALL = DetectionLimits(score_min=0.0, per_level=40, nms_iou=0.9, max_det=60)


def losses(network: CenterMask, images: list[Tensor], cells: list[TargetCells]) -> dict[str, Tensor]:
    torch.manual_seed(0)  # regions are chosen by lot
    return network.losses(images, cells, ALL, 20)


# ---- the net -------------------------------------------------------------------------------------


def test_whole_networks_have_the_parameters_of_their_parts() -> None:
    """Backbone (test_vovnet), pyramid, FCOS, mask and mask-IoU heads counted by hand from the layers' shapes."""
    for chosen, backbone in ((settings("full"), 1_384_752), (settings("full", "centermask_v99"), 69_523_520)):
        c, n = chosen.network.channels, chosen.network.convs
        outs = (256, 384, 512) if c == 128 else (512, 768, 1024)
        conv = 9 * c * c + c
        pyramid = sum(out * c + c for out in outs) + 5 * conv
        fcos = 2 * n * (conv + 2 * c) + 6 * (9 * c + 1) + 5
        mask = n * conv + 18 + 4 * c * c + c + c + 1
        iou = n * conv + 9 * c + (49 * c * 1024 + 1024) + (1024 * 1024 + 1024) + 1025
        with torch.device("meta"):
            count = sum(p.numel() for p in CenterMask(chosen.network).parameters())
        assert count == backbone + pyramid + fcos + mask + iou


def test_a_gradient_reaches_every_parameter() -> None:
    network = network_of().train()
    found = losses(network, [torch.rand(96, 128) * 255, torch.rand(64, 96) * 255], [random_cells(12, 64, 96)] * 2)
    assert sorted(found) == ["box_loss", "centreness_loss", "class_loss", "iou_loss", "mask_loss"]
    torch.stack(list(found.values())).sum().backward()  # type: ignore[no-untyped-call]
    # these scales belong to levels that no cell of this size is assigned to
    far = {f"detector.scales.{level}" for level in (1, 2, 3, 4)}
    without = {name for name, p in network.named_parameters() if p.grad is None or not p.grad.any()}
    assert without <= far | {"pyramid.extra_blocks.p6.bias"}


def test_a_large_cell_teaches_the_coarser_levels() -> None:
    network = network_of().train()
    cell = annotation(rles_from_crops([(np.ones((300, 300), np.bool_), 10, 10)], 320, 320)[0])
    found = losses(network, [torch.rand(320, 320) * 255], [cells_in([cell], whole(320, 320, 1.0))])
    torch.stack(list(found.values())).sum().backward()  # type: ignore[no-untyped-call]
    learnt = [bool(scale.grad is not None and scale.grad.any()) for scale in network.detector.scales]
    assert learnt == [False, False, True, False, False]


def test_images_without_cells_train() -> None:
    network = network_of().train()
    empty = cells_in([], whole(64, 96, 1.0))
    found = losses(network, [torch.rand(64, 96) * 255] * 2, [empty, empty])
    assert found["mask_loss"] == found["iou_loss"] == found["box_loss"] == 0
    torch.stack(list(found.values())).sum().backward()  # type: ignore[no-untyped-call]
    assert all(p.grad is None or p.grad.isfinite().all() for p in network.parameters())


def found_in(network: CenterMask, images: list[NDArray[np.uint8]]) -> list[DetectedMasks]:
    """Detections with the probabilities of their masks, at the images' own size."""
    chosen = CenterMaskPredict(**ALL.model_dump(), zoom=1.0, max_side=1000, batch=4, amp=False)
    pipeline = Pipeline.of(chosen, family.constants(network))
    return pipeline.forward(eager(family.graphs(network)), [pipeline.preprocess(image) for image in images])


def test_in_eval_an_image_is_seen_alike_whatever_its_batch() -> None:
    network = network_of().eval()
    one, other = np.random.default_rng(0).integers(0, 255, (2, 96, 128), np.uint8)
    alone, together = found_in(network, [one])[0], found_in(network, [other, one])[1]
    assert len(alone.scores) > 30
    for a, b in zip(alone[:4], together[:4], strict=True):
        np.testing.assert_allclose(a, b, atol=1e-4, rtol=1e-4)


def test_masks_of_thousands_come_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    network, image = network_of().eval(), np.random.default_rng(0).integers(0, 255, (96, 128), np.uint8)
    at_once = found_in(network, [image])[0]
    monkeypatch.setattr(pipeline, "CHUNK", 7)
    in_parts = found_in(network, [image])[0]
    for a, b in zip(at_once[:4], in_parts[:4], strict=True):
        np.testing.assert_allclose(a, b, atol=1e-5, rtol=1e-5)


def test_padding_is_what_normalisation_makes_zero() -> None:
    network = network_of().eval()
    image = torch.rand(40, 50) * 255
    filled = torch.full((64, 64), TINY.network.pixel_mean)
    filled[:40, :50] = image
    for a, b in zip(network.levels([image]), network.levels([filled]), strict=True):
        torch.testing.assert_close(a, b)


# ---- the family ----------------------------------------------------------------------------------


def test_instances_are_at_native_size_and_best_first() -> None:
    network, image = network_of().eval(), np.random.default_rng(0).integers(0, 255, (61, 97), np.uint8)
    chosen = CenterMaskPredict(**ALL.model_dump(), zoom=1.7, max_side=1000, batch=4, amp=False)
    found = predict(network, [image, image[:50]], chosen)
    for instances, (height, width) in zip(found, ((61, 97), (50, 97)), strict=True):
        assert (instances.height, instances.width) == (height, width)
        assert len(instances.masks) > 30
        assert instances.boxes_xyxy.min() >= 0
        assert (instances.boxes_xyxy.max(0) <= [width, height, width, height]).all()
        assert (np.diff(instances.scores) <= 0).all()
        assert instances.mask_scores is not None
        assert ((instances.mask_scores >= 0) & (instances.mask_scores <= instances.scores)).all()
        for mask, (x, y), box in zip(instances.masks, instances.offsets_xy, instances.boxes_xyxy, strict=True):
            assert x <= box[0] < box[2] <= x + mask.shape[1]
            assert y <= box[1] < box[3] <= y + mask.shape[0]
        assert list(instances.results(1)) or not any(mask.any() for mask in instances.masks)


def test_an_image_without_detections_has_no_instances() -> None:
    network = network_of().eval()
    chosen = CenterMaskPredict(
        score_min=1.0, per_level=10, nms_iou=0.5, max_det=10, zoom=1.0, max_side=1000, batch=1, amp=False
    )
    found = predict(network, [np.zeros((64, 64), np.uint8)], chosen)[0]
    assert (len(found.masks), found.boxes_xyxy.shape, list(found.results(1))) == (0, (0, 4), [])


def test_large_images_are_zoomed_less() -> None:
    chosen = CenterMaskPredict(**ALL.model_dump(), zoom=2.0, max_side=100, batch=1, amp=False)
    pipeline = Pipeline.of(chosen, {"mean": [0.0] * 3, "std": [1.0] * 3})
    sizes = [pipeline.preprocess(np.zeros(shape, np.uint8)).size for shape in ((40, 80), (40, 48))]
    assert sizes == [(50, 100), (80, 96)]


def test_draws_follow_from_their_generator_alone(culture: Culture) -> None:
    found = samples(read_truth(culture.splits / "train.json"), culture.images)
    task = CenterMaskTask(found, found, settings(window=64, zoom=[1.0, 1.5]))
    draws = [task.draw(3, np.random.default_rng(seed)) for seed in (1, 1, 2)]
    (name, (image, cells)), (again, (same, cells_again)), (_, (other, _)) = draws
    assert name == again == found[3].image["file_name"]
    assert torch.equal(image, same)
    assert all(torch.equal(a, b) for a, b in zip(cells, cells_again, strict=True))
    assert image.shape != other.shape or not torch.equal(image, other)
    assert image.shape in {(64, 64), (96, 96)}


def test_official_crops_are_whole_mirrored_or_not(culture: Culture) -> None:
    found = samples(read_truth(culture.splits / "train.json"), culture.images)
    task = CenterMaskTask(found, found, settings("full"))
    crops = {task._crop((520, 704), np.random.default_rng(seed)) for seed in range(200)}
    assert {crop.window for crop in crops} == {(0, 0, 704, 520)}
    assert {crop.way for crop in crops} == {0, 4}
    assert {min(crop.shape) for crop in crops} == {440, 480, 520, 560, 580, 620}


def test_with_all_symmetries_every_way_to_turn_is_drawn_alike(culture: Culture) -> None:
    found = samples(read_truth(culture.splits / "train.json"), culture.images)
    task = CenterMaskTask(found, found, settings(symmetry="all"))
    ways = np.bincount([task._crop((96, 128), np.random.default_rng(seed)).way for seed in range(800)], minlength=8)
    assert len(ways) == 8
    assert ways.min() > 70


def test_windows_are_zoomed_as_predict_zooms_their_image(culture: Culture) -> None:
    found = samples(read_truth(culture.splits / "train.json"), culture.images)
    task = CenterMaskTask(found, found, settings(window=64, zoom=[1.5], max_side=100))
    asked = CenterMaskPredict(**ALL.model_dump(), zoom=1.5, max_side=100, batch=1, amp=False)
    seen = Pipeline.of(asked, {"mean": [0.0] * 3, "std": [1.0] * 3}).preprocess(np.zeros((96, 128), np.uint8))
    assert task._crop((96, 128), np.random.default_rng(0)).zoom == seen.size[1] / 128


def test_windows_teach_masks_on_the_level_that_predict_cuts_them_from(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """P3, as for every cell of less than a quarter of its image, though it fills half of the window."""
    PillowImage.fromarray(np.zeros((400, 400), np.uint8)).save(tmp_path / "large.png")
    cell = annotation(rles_from_crops([(np.ones((150, 150), np.bool_), 125, 125)], 400, 400)[0])
    image = Image(
        id=1, file_name="large.png", height=400, width=400, cell_line="a", well="a", timestamp=None, split=None
    )
    task = CenterMaskTask([Sample(image, tmp_path / "large.png", [cell])], [], settings(window=200, zoom=[1.0]))
    _, drawn = task.draw(0, np.random.default_rng(1))
    assert (drawn[1].boxes[0, 2:] - drawn[1].boxes[0, :2]).tolist() == [150, 150]
    cut = list[tuple[int, int]]()

    def noted(features: Tensor, rows: Tensor, *sizes: Any, **how: Any) -> Tensor:
        cut.append((features.shape[-1], len(rows)))
        return cast(Tensor, roi_align(features, rows, *sizes, **how))

    monkeypatch.setattr(mask_heads, "roi_align", noted)
    losses(network_of().train(), [drawn[0]], [drawn[1]])
    assert sum(count for _, count in cut) > 0
    assert {level for level, count in cut if count} == {224 // 8}


def test_training_learns_and_its_weights_build_the_same_network(culture: Culture, tmp_path: Path) -> None:
    parts = {split: samples(read_truth(culture.splits / f"{split}.json"), culture.images) for split in ("train", "val")}
    chosen = settings(
        network={"convs": 1},
        window=64,
        zoom=[1.0],
        roi_batch=8,
        val_images=1,
        val_predict={"zoom": 1.0, "max_det": 10},
        fit={"epochs": 2, "batch": 2, "ema_decay": 0.0},
    )
    trained = train(parts["train"], parts["val"], chosen, 0, tmp_path)
    assert trained.initial == "from scratch"
    assert trained.history[1]["class_loss"] < trained.history[0]["class_loss"]
    assert {"val_mask_ap", "score", "best"} <= set(trained.history[0])
    again = train(parts["train"], parts["val"], chosen, 0, tmp_path / "again")
    assert all(torch.equal(value, again.state[key]) for key, value in trained.state.items())
    network = build(chosen, trained.state, "cpu")
    assert not network.training
    assert all(torch.equal(value, trained.state[key]) for key, value in network.state_dict().items())


def test_weights_of_another_network_are_refused_by_name() -> None:
    state = network_of().state_dict()
    state["iou_head.layers.0.weight"] = state["iou_head.layers.0.weight"][:, :-1]
    state["extra"] = state.pop("detector.ltrb.bias")
    with pytest.raises(InputError) as error:
        build(TINY, state, "cpu")
    assert str(error.value).splitlines()[1:] == [
        "  missing: detector.ltrb.bias (4,)",
        "  unexpected: extra (4,)",
        "  mis-shaped: iou_head.layers.0.weight is (1024, 3135), not (1024, 3136)",
    ]


def test_imported_weights_start_the_training(tmp_path: Path) -> None:
    network = network_of()
    run = TrainParams(family="centermask", settings=TINY, lines="all", seed=0, cpu_threads=1)
    models.save_weights(tmp_path / "weights.pt", run, {"all": network.state_dict()}, {"7" * 32})
    torch.manual_seed(1)
    other = CenterMask(TINY.network)
    begun = family.start_from(other, tmp_path / "weights.pt")
    assert begun.said.startswith("whole network of weights.pt, sha256 ")
    assert begun.seen == {"7" * 32}
    assert all(torch.equal(a, b) for a, b in zip(network.parameters(), other.parameters(), strict=True))
    (tmp_path / "broken.pt").write_bytes(b"")
    with pytest.raises(InputError, match="import-weights"):
        family.start_from(other, tmp_path / "broken.pt")


def test_frozen_norms_without_weights_are_refused() -> None:
    with pytest.raises(ValueError, match="needs imported weights"):
        settings(network={"norm": "frozen"})


def test_validation_images_are_spread_over_the_split() -> None:
    ten: Any = list(range(10))
    few: Any = evenly(ten, 4)
    all_of_them: Any = evenly(ten, 20)
    assert few == [0, 3, 6, 9]
    assert all_of_them == ten


# ---- by hand (-m slow) ---------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.timeout(3600)
@needs_data("livecell_sample")
def test_two_real_images_are_learnt_by_heart(tmp_path: Path) -> None:
    pins = {name: {"size": None, "sha256": None} for name in get_args(LivecellFile)}
    mirror = {"source": "livecell", "url": "http://127.0.0.1:9", "mirror": str(DATA / "livecell_sample")}
    pack = LivecellSource.model_validate(mirror | {"dedup": "keep", "merge_iou": 0.5, "max_images": None, "pins": pins})
    download.download(pack, tmp_path / "images", tmp_path / "truth.json")
    names = ("A172_Phase_A7_1_00d00h00m_1.png", "Huh7_Phase_A10_1_02d12h00m_3.png")
    every = samples(read_truth(tmp_path / "truth.json"), tmp_path / "images")
    two = [sample for sample in every if sample.image["file_name"] in names]
    assert len(two) == 2
    chosen = settings(
        network={"pixel_mean": 128.0, "pixel_std": 11.578},
        window=256,
        symmetry="mirror",
        zoom=[1.0],
        roi_batch=24,
        fit={"epochs": 45, "learning_rate": 0.004},
        val_images=2,
        val_predict={"zoom": 1.0, "score_min": 0.1},
    )
    trained = train(two * 30, two, chosen, 0, tmp_path)  # 15 steps an epoch
    network = build(chosen, trained.state, "cpu")
    scores = validation_scores(two, lambda images: predict(network, images, chosen.val_predict), 2)
    print(scores)
    assert scores["val_mask_ap50"] >= 0.7


V99 = """
import torch
from monolayer.models.centermask.family import predict
from centermask_samples import network_of, random_cells, settings
torch.set_num_threads(1)
chosen = settings("full", "centermask_v99")
network = network_of(chosen).train()
torch.nn.init.ones_(network.detector.ltrb.bias)  # else many boxes of an untrained network have no area
for module in network.modules():
    if isinstance(module, torch.nn.BatchNorm2d):
        module.momentum = None  # the mean of both steps: after two of an exponential one, evaluation would see noise
optimizer = torch.optim.SGD(network.parameters(), lr=1e-4, momentum=0.9)
image, cells = torch.rand(520, 704) * 255, random_cells(800, 520, 704)
for _ in range(2):
    losses = network.losses([image], [cells], chosen.proposals, chosen.roi_batch)
    optimizer.zero_grad()
    torch.stack(list(losses.values())).sum().backward()
    optimizer.step()
    print({name: round(value.item(), 4) for name, value in losses.items()}, flush=True)
limits = chosen.val_predict.model_copy(update={"score_min": 0.0, "nms_iou": 1.0, "max_det": 2000})
network.eval()
print(len(predict(network, [image.numpy().astype("uint8")], limits)[0].masks))
"""


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_v99_trains_on_800_cells_and_finds_2000_within_16_gb() -> None:
    run = subprocess.run(
        [sys.executable, "-c", V99], cwd=ROOT / "tests", capture_output=True, text=True, check=False, timeout=3000
    )
    assert run.returncode == 0, run.stderr
    assert run.stdout.splitlines()[-1] == "2000"
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024
    print(run.stdout, f"peak {peak / 1e9:.1f} GB")
    assert peak < 16e9
