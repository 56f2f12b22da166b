"""What lies between images, networks and cells: held to torch and torchvision, which the pipelines do without."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
import torch
from monolayer.coco.instances import Instances
from monolayer.coco.rle import rle_from_mask
from monolayer.files import InputError
from monolayer.models.centermask import fcos
from monolayer.models.centermask.crops import cropped, whole
from monolayer.models.centermask.pipeline import Locations, decode, paste, shapes, zoom
from monolayer.models.nms import suppress
from monolayer.params.families import DetectionLimits
from torch.nn import functional
from torchvision.ops import nms


def test_no_pipeline_needs_torch() -> None:
    names = [
        *(f"models.{family}.pipeline" for family in ("unet", "yolo", "centermask")),
        "models.predictor",
        "backends.ort",
    ]
    text = "; ".join(f"import monolayer.{name}" for name in names)
    text += "; import sys; assert not {'torch', 'torchvision', 'ultralytics'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", text], check=True)


# ---- suppression ---------------------------------------------------------------------------------


@pytest.mark.parametrize("iou_max", [0.0, 0.3, 0.7, 1.0])
def test_suppression_is_torchvisions(iou_max: float) -> None:
    rng = np.random.default_rng(0)
    corner = rng.uniform(0, 300, (2000, 2)).round(rng.integers(3))
    boxes = np.concatenate([corner, corner + rng.uniform(0, 60, (2000, 2)).round(1)], 1).astype(np.float32)
    scores = rng.random(2000).round(2).astype(np.float32)  # with many ties
    theirs = nms(torch.from_numpy(boxes), torch.from_numpy(scores), iou_max).tolist()
    assert suppress(boxes, scores, iou_max).tolist() == theirs


def test_no_boxes_stay_no_boxes() -> None:
    assert suppress(np.zeros((0, 4), np.float32), np.zeros(0, np.float32), 0.5).tolist() == []


def test_thousands_of_cells_are_kept() -> None:
    """ultralytics' own limit is 300."""
    ys, xs = np.mgrid[:60, :60].reshape(2, -1) * np.float32(10)
    boxes = np.stack([xs, ys, xs + 8, ys + 8], 1).astype(np.float32)
    assert suppress(boxes, np.linspace(0.9, 0.1, 3600, dtype=np.float32), 0.7).tolist() == list(range(3600))


# ---- run lengths ---------------------------------------------------------------------------------


@pytest.mark.parametrize(("height", "width"), [(40, 30), (7, 200), (1, 9)])
def test_run_lengths_of_all_cells_are_those_of_each(height: int, width: int) -> None:
    rng = np.random.default_rng(0)
    masks, corners = [], []
    for share in rng.uniform(0, 1, 300):
        h, w = int(rng.integers(1, height + 1)), int(rng.integers(1, width + 1))
        corners.append((int(rng.integers(width - w + 1)), int(rng.integers(height - h + 1))))
        masks.append(rng.random((h, w)) < (1.0 if share > 0.9 else 0.0 if share < 0.1 else share))
    boxes = np.zeros((300, 4), np.float32)
    found = Instances(height, width, masks, np.array(corners, np.int32), boxes, boxes[:, 0])
    whole = []
    for mask, (x, y) in zip(masks, corners, strict=True):
        plane = np.zeros((height, width), np.bool_)
        plane[y : y + mask.shape[0], x : x + mask.shape[1]] = mask
        whole += [rle_from_mask(plane)] if mask.any() else []
    assert 200 < len(whole) < 300
    assert [result["segmentation"] for result in found.results(1)] == whole


def test_a_mask_that_leaves_its_image_is_an_error() -> None:
    boxes = np.zeros((1, 4), np.float32)
    found = Instances(10, 10, [np.ones((4, 4), np.bool_)], np.array([[7, 0]], np.int32), boxes, boxes[:, 0])
    with pytest.raises(InputError, match=r"a mask of 4x4 px at \(7, 0\) leaves its image of 10x10 px"):
        list(found.results(1))


# ---- CenterMask ----------------------------------------------------------------------------------


@pytest.mark.parametrize("per_level", [20, 4000])
def test_decoding_is_that_of_training(per_level: int) -> None:
    torch.manual_seed(0)
    levels = shapes(128, 192)
    count = sum(height * width for height, width in levels)
    maps = fcos.Maps(torch.randn(1, count) - 2, torch.rand(1, count, 4) * 4, torch.randn(1, count), levels)
    limits = DetectionLimits(score_min=0.1, per_level=per_level, nms_iou=0.6, max_det=50)
    [theirs] = fcos.decode(maps, [(120, 180)], limits)
    outputs = (maps.logits.sigmoid(), maps.centreness.sigmoid(), maps.ltrb)
    boxes, scores = decode(Locations(*(value[0].numpy() for value in outputs)), levels, (120, 180), limits)
    assert len(scores) == len(theirs.scores) > 30
    np.testing.assert_allclose(boxes, theirs.boxes.numpy(), atol=1e-4)
    np.testing.assert_allclose(scores, theirs.scores.numpy(), atol=1e-6)


@pytest.mark.parametrize("factor", [0.37, 1.0, 1.5, 2.6])
def test_zooming_is_that_of_training(factor: float) -> None:
    image = np.random.default_rng(0).integers(0, 255, (61, 97), np.uint8)
    np.testing.assert_allclose(zoom(image, factor), cropped(image, whole(61, 97, factor)).numpy(), atol=2e-3)


# ---- masks at native size ------------------------------------------------------------------------


def test_pasting_is_bilinear_sampling_at_pixel_centres() -> None:
    rng = np.random.default_rng(0)
    for _ in range(20):
        coarse = torch.from_numpy(rng.random((1, 1, 4, 4)).astype(np.float32))
        probability = functional.interpolate(coarse, (28, 28), mode="bilinear")[0, 0]
        x0, y0 = rng.uniform(0, 60, 2)
        x1, y1 = x0 + rng.uniform(2, 40), y0 + rng.uniform(2, 40)
        mask, x, y = paste(probability.numpy(), np.array([x0, y0, x1, y1], np.float32), 90, 80)
        v, u = np.mgrid[y : y + mask.shape[0], x : x + mask.shape[1]] + 0.5
        grid = np.stack([(u - x0) / (x1 - x0), (v - y0) / (y1 - y0)], -1) * 2 - 1
        sampled = functional.grid_sample(
            probability[None, None], torch.from_numpy(grid[None]).float(), align_corners=False
        )[0, 0].numpy()
        clear = np.abs(sampled - 0.5) > 1e-4
        assert np.array_equal(mask[clear], (sampled >= 0.5)[clear])


def test_a_pasted_mask_stays_within_box_and_image() -> None:
    mask, x, y = paste(np.ones((28, 28), np.float32), np.array([10.2, 5.5, 30.0, 19.9], np.float32), 18, 25)
    assert (x, y, mask.shape) == (10, 5, (13, 15))
    assert mask[2:-2, 2:-2].all()


@pytest.mark.parametrize("side", [9, 28, 100])
def test_a_disk_goes_through_bins_and_back(side: int) -> None:
    y, x = np.mgrid[:28, :28] - 13.5
    probability = (x**2 + y**2 < 12**2).astype(np.float32)
    mask, *_ = paste(probability, np.array([3, 4, 3 + side, 4 + side], np.float32), 200, 200)
    assert mask.sum() == pytest.approx(np.pi * (12 / 28 * side) ** 2, rel=0.06)
    assert np.array_equal(mask, mask[::-1])
    assert np.array_equal(mask, mask.T)
