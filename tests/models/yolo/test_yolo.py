"""YOLO-seg: what it is taught is the truth, masks equal the library's, weights come from where the record says."""

from __future__ import annotations

import copy
import itertools
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
import torch
from culture import Culture
from monolayer import models
from monolayer.coco.io import read_truth
from monolayer.data.dataset import TrueCells, samples
from monolayer.files import InputError
from monolayer.models.yolo import crops, family
from monolayer.models.yolo.mask_loss import mask_loss, with_fast_masks
from monolayer.models.yolo.pipeline import PrototypeMasks, instances
from monolayer.params.families import YoloPredict, YoloTrain
from monolayer.params.fit import FitParams
from monolayer.params.steps import TrainParams
from numpy.typing import NDArray
from scipy import ndimage

PREDICT = YoloPredict(imgsz=128, batch=4, score_min=0.001, nms_iou=0.7, max_det=3000)
SETTINGS = YoloTrain(
    architecture="yolo11n-seg",
    weights="none",
    imgsz=128,
    crop=None,
    balance=True,
    scale_jitter=0.3,
    gamma=(0.7, 1.4),
    contrast=(0.8, 1.2),
    mask_ratio=2,
    best_by="ap",
    recall_floor=0.0,
    fit=FitParams(
        epochs=2,
        batch=4,
        grad_accumulation=1,
        optimizer="AdamW",
        learning_rate=0.002,
        momentum=0.9,
        weight_decay=0.0,
        warmup_steps=2,
        schedule="flat",
        final_lr_factor=1.0,
        milestones=[],
        max_grad_norm=10.0,
        ema_decay=0.9,
        patience=10,
        amp="none",
    ),
    val_images=100,
    val_predict=PREDICT,
)


def with_settings(**changes: object) -> YoloTrain:
    return SETTINGS.model_copy(update=changes)


@pytest.fixture(scope="module")
def network() -> torch.nn.Module:
    torch.manual_seed(0)
    return family._network(SETTINGS).eval()


@pytest.fixture
def task(culture: Culture) -> family._Task:
    train = samples(read_truth(culture.splits / "train.json"), culture.images)
    return family._Task(TrueCells(train), train, SETTINGS)


def test_a_draw_moves_image_and_truth_together(task: family._Task) -> None:
    for index in range(len(task)):
        image, labels = task.draw(index, np.random.default_rng(index))[1]
        bright = "round" in task.cells.samples[task.epoch[index]].image["file_name"]
        inside, outside = image[labels > 0].mean(), image[labels == 0].mean()
        assert (inside > outside + 20) if bright else (inside < outside - 20)


def test_a_rare_line_is_drawn_as_often_as_a_frequent_one(task: family._Task) -> None:
    frequent = [s for s in task.cells.samples if s.image["cell_line"] == "round"]
    rare = next(s for s in task.cells.samples if s.image["cell_line"] == "long")
    other = family._Task(TrueCells([*frequent, rare]), task.val, SETTINGS)
    assert [other.cells.samples[i] for i in other.epoch] == frequent + [rare] * len(frequent)


def test_a_draw_follows_from_its_random_numbers_alone(task: family._Task) -> None:
    one, other = (task.draw(1, np.random.default_rng(7))[1] for _ in range(2))
    assert np.array_equal(one[0], other[0])
    assert np.array_equal(one[1], other[1])


def test_a_batch_holds_the_box_and_the_plane_of_each_cell(task: family._Task) -> None:
    batch = task.collate([task.draw(i, np.random.default_rng(i))[1] for i in range(3)])
    for image in range(3):
        boxes = batch["bboxes"][batch["batch_idx"] == image] * SETTINGS.imgsz
        plane = batch["masks"][image]
        assert int(plane.max()) <= len(boxes)
        for number, (x, y, w, h) in enumerate(boxes.tolist(), start=1):
            ys, xs = np.nonzero(plane.numpy() == number)
            if len(ys):  # in px of the input; the plane has every second one
                assert abs(2 * xs.min() - (x - w / 2)) <= 2
                assert abs(2 * ys.max() + 1 - (y + h / 2)) <= 2


@pytest.mark.parametrize("step", [1, 2, 4])
def test_truth_lies_where_the_picture_shows_it(step: int) -> None:
    """Of disks in white at any scale, to a tenth of a pixel in the mean, their boxes too; and is as large."""
    rng, apart, larger = np.random.default_rng(0), [], []
    y, x = np.mgrid[:100, :100] + 0.5
    for _ in range(80):
        centre, radius, gain = rng.uniform(40, 60, 2), rng.uniform(6, 14), rng.uniform(0.7, 1.6)
        disk = ((y - centre[0]) ** 2 + (x - centre[1]) ** 2 < radius**2).astype(np.int32)
        image, labels = crops.placed(np.uint8(255 * disk), disk, gain, 192, rng)
        shown, plane = np.array(ndimage.center_of_mass(image)) + 0.5, crops.reduced(labels, step)
        placed = (np.array(ndimage.center_of_mass(plane)) + 0.5) * step
        apart.append([*(placed - shown), *(crops.boxes_xywh(labels)[0, 1::-1] - shown)])
        larger.append(plane.sum() * step**2 / (image.sum() / 255))
    assert np.abs(np.mean(apart, axis=0)).max() < 0.1
    assert np.mean(larger) == pytest.approx(1, abs=0.04)  # squares of 4 px round small disks off


@pytest.mark.parametrize("side", [2, 3, 5])
def test_no_cell_vanishes_where_masks_are_compared_at_a_quarter(side: int) -> None:
    """Of cells of 3 px in rows of 8, whose places vary, every fourth pixel shows three quarters."""
    plane, number = np.zeros((160, 160), np.int32), 0
    for y in range(0, 152, 8):
        for x in range(0, 152, 8):
            number += 1
            top, left = y + number % 3, x + number // 3 % 3
            plane[top : top + side, left : left + side] = number
    assert (len(np.unique(plane[::4, ::4])) - 1 < number) == (side < 4)
    reduced = crops.reduced(plane, 4)
    assert np.unique(reduced).tolist() == list(range(number + 1))
    assert crops.reduced(plane, 1).tolist() == plane.tolist()


def test_cells_with_holes_and_parts_reach_the_loss_whole() -> None:
    labels = np.zeros((16, 16), np.int32)
    labels[2:9, 2:9] = 4
    labels[4:6, 4:6] = 0  # a hole
    labels[12:14, 2:4] = 4  # a second part
    plane = crops.renumbered(labels)
    assert np.array_equal(plane == 1, labels == 4)
    assert crops.boxes_xywh(plane).tolist() == [[5.5, 8.0, 7.0, 12.0]]


def test_losses_reach_every_parameter(task: family._Task, network: torch.nn.Module) -> None:
    batch = task.collate([task.draw(i, np.random.default_rng(i))[1] for i in range(2)])
    network.train()
    torch.stack(list(task.losses(network, batch).values())).sum().backward()  # type: ignore[no-untyped-call]
    without = [name for name, p in network.named_parameters() if p.requires_grad and p.grad is None]
    network.zero_grad()
    network.eval()
    assert without in ([], ["model.23.dfl.conv.weight"])


def test_half_precision_ends_where_the_losses_begin(task: family._Task, network: torch.nn.Module) -> None:
    """Boxes have places in the image: in bfloat16 those beyond 256 px would lie up to 1 px off."""
    batch = task.collate([task.draw(i, np.random.default_rng(i))[1] for i in range(2)])
    mine, given = cast(Any, copy.deepcopy(network).train()), list[dict[str, Any]]()
    mine.model[-1].register_forward_hook(lambda *call: given.append(call[-1]))
    with torch.autocast("cpu", torch.bfloat16):
        losses = task.losses(mine, batch)
    assert {part.dtype for part in given[0].values() if isinstance(part, torch.Tensor)} == {torch.bfloat16}
    wide = {name: part if name == "feats" else part.float() for name, part in given[0].items()}
    exact, names = mine.criterion(wide | {"feats": [level.float() for level in wide["feats"]]}, batch)
    for name, loss in zip(names, exact, strict=True):
        torch.testing.assert_close(losses[name], loss)


@pytest.mark.parametrize("architecture", ["yolo11n-seg", "yolo26n-seg"])
def test_half_precision_rounds_no_edge(architecture: str) -> None:
    """On a GPU products are in float16: boxes made of them would have edges on whole pixels far from the corner."""
    torch.manual_seed(0)
    network = family._network(with_settings(architecture=architecture)).eval()
    for level in cast(Any, network).model[-1].cv2:
        torch.nn.init.normal_(level[-1].bias)  # untrained, all distances would be alike
    images = torch.randint(0, 256, (1, 64, 1024), dtype=torch.uint8)
    with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16):
        boxes = family.CellGraph(network)(images)[0]
    right = boxes[boxes[..., 2] > 800][:, 2]
    assert (right % 1 != 0).float().mean() > 0.9  # of bfloat16's 8 digits none is left for a pixel here


@pytest.mark.parametrize("cells", ["some", "none in an image", "none"])
def test_the_mask_loss_equals_the_librarys(task: family._Task, network: torch.nn.Module, cells: str) -> None:
    """At full size, where the edges of boxes are those of pixels."""
    task = family._Task(task.cells, task.val, with_settings(mask_ratio=1))
    drawn = [task.draw(k, np.random.default_rng(k))[1] for k in range(3)]
    for _, labels in drawn[: {"some": 0, "none in an image": 1, "none": 3}[cells]]:
        labels[:] = 0
    batch = task.collate(drawn)
    found = []
    for fast in (False, True):
        mine: Any = copy.deepcopy(network).train()
        mine.criterion = mine.init_criterion()
        if fast:
            mine.criterion = with_fast_masks(mine.criterion)
        losses = task.losses(mine, batch)
        torch.stack(list(losses.values())).sum().backward()  # type: ignore[no-untyped-call]
        found.append(
            (
                {name: loss.detach() for name, loss in losses.items()},
                {name: p.grad for name, p in mine.named_parameters() if p.grad is not None},
            )
        )
    (theirs, their_grads), (ours, our_grads) = found
    assert float(ours["seg_loss"]) > 0 or cells == "none"
    for name, loss in theirs.items():
        torch.testing.assert_close(ours[name], loss, rtol=1e-4, atol=1e-5)
    assert our_grads.keys() == their_grads.keys()
    for name, gradient in their_grads.items():
        torch.testing.assert_close(our_grads[name], gradient, rtol=1e-2, atol=1e-4 * float(1 + gradient.abs().max()))


@pytest.mark.parametrize("step", [1, 2, 4])
def test_every_pixel_of_a_cell_is_taught(step: int) -> None:
    """Of cells anywhere on the squares of `step` px that one pixel of the loss stands for."""
    for left, side in itertools.product(range(16, 24), range(9, 20)):
        plane = np.zeros((64, 64), np.int32)
        plane[left : left + side, left + 1 : left + 1 + side] = 1
        reduced = torch.from_numpy(crops.reduced(plane, step))
        box = torch.tensor([[[left + 1.0, left, left + 1 + side, left + side]]])
        protos = torch.zeros(1, 1, *reduced.shape, requires_grad=True)
        first, size = torch.zeros(1, 1, dtype=torch.long), torch.tensor([64, 64])
        mask_loss(first == 0, reduced[None], first, box, first, protos, torch.ones(1, 1, 1), size).backward()  # type: ignore[no-untyped-call]
        assert protos.grad is not None
        assert (protos.grad[0, 0][reduced == 1] < 0).all()


def test_masks_equal_the_librarys(network: torch.nn.Module) -> None:
    """Against ultralytics' process_mask_native, which upsamples N x H x W; ours never leaves the boxes.

    Boxes are of whole pixels: of others it takes the pixels whose corner lies inside, we those whose centre does.
    """
    from ultralytics.utils.ops import process_mask_native

    generator = torch.Generator().manual_seed(0)
    protos = torch.randn(32, 32, 32, generator=generator)
    coefficients = torch.randn(50, 32, generator=generator)
    corner = (torch.rand(50, 2, generator=generator) * 200).round()
    boxes = torch.cat([corner, corner + 8 + (torch.rand(50, 2, generator=generator) * 40).round()], 1).clamp(max=256)
    theirs = process_mask_native(protos, coefficients, boxes, (256, 256)).numpy().astype(bool)  # type: ignore[no-untyped-call]
    masks = PrototypeMasks(coefficients.numpy(), protos.numpy(), (0.5, 0.5))
    ours = instances((256, 256), boxes.numpy(), np.linspace(1, 0.5, 50, dtype=np.float32), masks)
    assert len(ours.masks) == 50
    for mask, (x, y), other in zip(ours.masks, ours.offsets_xy, theirs, strict=True):
        whole = np.zeros((256, 256), bool)
        whole[y : y + mask.shape[0], x : x + mask.shape[1]] = mask
        # the library interpolates twice, so pixels on the outline may differ
        assert (whole ^ other).sum() <= 0.1 * max(1, (whole | other).sum())


def test_boxes_a_little_off_hold_the_same_pixels() -> None:
    full = PrototypeMasks(np.ones((1, 1), np.float32), np.ones((1, 32, 32), np.float32), (1.0, 1.0))
    box = np.array([[20, 30, 36, 40]], np.float32)
    for off in (-0.4, 0.0, 0.4):
        found = instances((128, 128), box + np.float32(off), np.ones(1, np.float32), full)
        assert found.offsets_xy.tolist() == [[20, 30]]
        assert found.masks[0].shape == (10, 16)
        assert found.masks[0].all()


def test_predictions_do_not_depend_on_the_batch(network: torch.nn.Module) -> None:
    rng = np.random.default_rng(0)
    images: list[NDArray[np.uint8]] = [
        rng.integers(0, 255, shape, np.uint8) for shape in ((96, 128), (128, 96), (96, 128), (40, 50))
    ]
    together = family.predict(network, images, PREDICT)
    for image, found in zip(images, together, strict=True):
        [alone] = family.predict(network, [image], PREDICT)
        assert (alone.height, alone.width) == image.shape
        assert np.allclose(alone.boxes_xyxy[:20], found.boxes_xyxy[:20], atol=1e-2)


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"architecture": "yolo99z-seg"}, "architecture yolo99z-seg is not one"),
        ({"weights": "nowhere.pt"}, "weights nowhere.pt can't be read"),
    ],
)
def test_what_cannot_be_had_is_an_error(changes: dict[str, Any], text: str) -> None:
    with pytest.raises(InputError, match=text):
        family._initial(with_settings(**changes))


def test_a_failed_fetch_is_not_from_scratch(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:

    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    monkeypatch.setattr(family, "attempt_download_asset", str)
    with pytest.raises(InputError, match="can't be fetched; give the path of a downloaded file"):
        family._initial(with_settings(weights="pretrained"))


@pytest.mark.parametrize("architecture", ["yolo11n-seg", "yolo26n-seg"])
def test_weights_of_another_class_count_are_taken_but_for_the_classes(tmp_path: Path, architecture: str) -> None:
    from ultralytics.nn.tasks import SegmentationModel

    other = SegmentationModel(f"{architecture}.yaml", ch=3, nc=80, verbose=False)  # type: ignore[no-untyped-call]
    torch.save({"model": other, "train_args": {}}, tmp_path / "coco.pt")
    changes = {"architecture": architecture, "weights": str(tmp_path / "coco.pt")}
    network, initial = family._initial(with_settings(**changes))
    assert initial.said.startswith("coco.pt, sha256 ")  # a checkpoint is of these bytes, not of any file of that name
    assert "tensors, new: model.23.cv3" in initial.said
    assert not initial.whole
    assert torch.equal(network.state_dict()["model.0.conv.weight"], other.state_dict()["model.0.conv.weight"])


def test_weights_that_make_no_masks_are_refused(tmp_path: Path) -> None:
    """Of a detector of that size 90 % of the tensors fit; its masks would be learned from nothing."""
    from ultralytics.nn.tasks import DetectionModel

    detector = DetectionModel("yolo11m.yaml", ch=3, nc=80, verbose=False)  # type: ignore[no-untyped-call]
    torch.save({"model": detector, "train_args": {}}, tmp_path / "detector.pt")
    changes = {"architecture": "yolo11m-seg", "weights": str(tmp_path / "detector.pt")}
    with pytest.raises(
        InputError, match=r"(?s)detector.pt, sha256 .* does not fit a network .*missing: model.23.proto"
    ):
        family._initial(with_settings(**changes))


def test_a_run_begins_with_another_runs_weights(tmp_path: Path, network: torch.nn.Module) -> None:
    run = TrainParams(family="yolo", settings=SETTINGS, lines="all", seed=0, cpu_threads=1)
    models.save_weights(tmp_path / "weights.pt", run, {"all": network.state_dict()}, {"7" * 32})
    begun, initial = family._initial(with_settings(weights=str(tmp_path / "weights.pt")))
    assert all(torch.equal(value, begun.state_dict()[name]) for name, value in network.state_dict().items())
    assert initial.whole
    assert initial.seen == {"7" * 32}
    count = len(network.state_dict())
    assert initial.said.endswith(f"; {count} of {count} tensors")
    with pytest.raises(InputError, match=r"(?s)does not fit a network of these settings:.*mis-shaped: model\."):
        family._initial(with_settings(architecture="yolo11s-seg", weights=str(tmp_path / "weights.pt")))


class Evil:
    """Writes a file as soon as it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.path,)


def test_a_strangers_weights_run_no_code_of_theirs(tmp_path: Path) -> None:
    from ultralytics.nn.tasks import SegmentationModel

    honest = SegmentationModel("yolo11n-seg.yaml", ch=3, nc=1, verbose=False)  # type: ignore[no-untyped-call]
    mark, path = tmp_path / "it ran", tmp_path / "evil.pt"
    for content in ({"model": Evil(mark)}, {"model": honest, "train_args": {}, "more": Evil(mark)}):
        torch.save(content, path)
        with pytest.raises(InputError, match=r"evil\.pt can't be read"):
            family._initial(with_settings(weights=str(path)))
        assert not mark.exists()


@pytest.mark.parametrize(("recall", "score"), [(0.5, 0.9), (0.1, -0.9)])
def test_best_by_precision_has_a_floor_of_recall(
    task: family._Task, monkeypatch: pytest.MonkeyPatch, recall: float, score: float
) -> None:
    task.settings = with_settings(best_by="precision", recall_floor=0.2)
    scores = {"val_mask_ap": 0.3, "val_precision": 0.9, "val_recall": recall}
    monkeypatch.setattr(family, "validation_scores", lambda *_: dict(scores))
    assert task.validate(torch.nn.Identity())["score"] == pytest.approx(score)


def test_the_articles_network_has_its_parameters() -> None:
    """27.9 M, the article's table."""
    network = family._network(with_settings(architecture="yolov9c-seg"))
    assert sum(p.numel() for p in network.parameters()) == pytest.approx(27.9e6, rel=0.02)


# ---- YOLO26: two heads, of which one gives 300 cells at most -------------------------------------------------


@pytest.fixture(scope="module")
def two_heads() -> torch.nn.Module:
    torch.manual_seed(0)
    return family._network(with_settings(architecture="yolo26n-seg")).eval()


def test_both_heads_are_trained(task: family._Task, two_heads: torch.nn.Module) -> None:
    batch = task.collate([task.draw(i, np.random.default_rng(i))[1] for i in range(2)])
    mine = copy.deepcopy(two_heads).train()
    losses = task.losses(mine, batch)
    assert float(losses["sem_loss"]) > 0
    torch.stack(list(losses.values())).sum().backward()  # type: ignore[no-untyped-call]
    assert [name for name, p in mine.named_parameters() if p.requires_grad and p.grad is None] == []


def test_more_than_300_cells_come_out(two_heads: torch.nn.Module) -> None:
    """Of each of the 336 places of a 128 px input one."""
    images = torch.zeros(1, 128, 128, dtype=torch.uint8)
    with torch.no_grad():
        boxes, scores, coefficients, protos = family.CellGraph(two_heads)(images)
    assert boxes.shape == (1, 336, 4)
    assert scores.shape == (1, 336)
    assert coefficients.shape == (1, 336, 32)
    assert protos.shape == (1, 32, 32, 32)
    assert (boxes[..., 2:] > boxes[..., :2]).all()
    everything = YoloPredict(imgsz=128, batch=1, score_min=0.0, nms_iou=1.0, max_det=3000)
    [found] = family.predict(two_heads, [np.zeros((128, 128), np.uint8)], everything)
    assert len(found.masks) > 300


def test_its_export_is_the_head_that_is_asked(two_heads: torch.nn.Module) -> None:
    import onnxruntime
    from monolayer.deployment.onnx_graph import export_graph

    graph = family.graphs(two_heads)["cells"]
    model = export_graph(graph)
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    images = np.random.default_rng(0).integers(0, 255, (2, 96, 160), np.uint8)
    with torch.no_grad():
        expected = graph.module(torch.from_numpy(images))
    for ours, torchs in zip(session.run(None, {"images": images}), expected, strict=True):
        np.testing.assert_allclose(ours, torchs.numpy(), rtol=1e-3, atol=1e-3)
    assert not [value.name for value in model.graph.initializer if "one2one" in value.name]  # what nobody asks


def test_it_trains(culture: Culture, tmp_path: Path) -> None:
    settings = with_settings(architecture="yolo26n-seg", fit=SETTINGS.fit.model_copy(update={"epochs": 1}))
    train, val = (samples(read_truth(culture.splits / f"{split}.json"), culture.images) for split in ("train", "val"))
    trained = family.train(train, val, settings, 0, tmp_path)
    assert len(trained.history) == 1
    again = family.build(settings, trained.state, "cpu")
    assert cast(Any, again).end2end is False
