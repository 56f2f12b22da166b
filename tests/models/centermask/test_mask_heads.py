"""Regions, attention and mask IoU against written-out references."""

from __future__ import annotations

import pytest
import torch
from monolayer.models.centermask import mask_heads
from monolayer.models.centermask.mask_heads import (
    IouHead,
    MaskHead,
    SpatialAttention,
    choose_regions,
    iou_loss,
    mask_loss,
    pool_each,
    pool_regions,
    region_level,
    true_iou,
)
from torch.nn import functional
from torchvision.ops import box_iou, roi_align

# ---- regions -------------------------------------------------------------------------------------


@pytest.mark.parametrize(("part", "level"), [(1.0, 2), (0.51, 2), (0.5, 1), (0.26, 1), (0.25, 0), (0.01, 0), (1e-5, 0)])
def test_a_region_below_a_quarter_of_the_image_is_cut_from_p3(part: float, level: int) -> None:
    side = (part * 400 * 300) ** 0.5
    assert region_level(torch.tensor([[10.0, 10, 10 + side, 10 + side]], dtype=torch.double), 400 * 300) == level


def test_every_cell_of_livecell_is_cut_from_p3() -> None:
    largest = torch.tensor([[0.0, 0, 541, 400]])  # a quarter of a 704 x 520 frame at 1083 x 800
    assert region_level(largest, 1083 * 800) == 0


def test_pooled_regions_keep_their_order_over_levels_and_images() -> None:
    torch.manual_seed(0)
    levels = [torch.randn(2, 3, 128 // 2**i, 128 // 2**i) for i in range(5)]
    boxes = [
        torch.tensor([[0.0, 0, 1000, 1000], [3, 5, 40, 60], [0, 0, 600, 600]]),
        torch.tensor([[100.0, 100, 130, 150]]),
    ]
    pooled = pool_regions(levels, boxes, [1024.0**2] * 2)
    assert [region_level(part, 1024.0**2).tolist() for part in boxes] == [[2, 0, 1], [0]]
    for row, (image, box, level) in enumerate([(0, 0, 2), (0, 1, 0), (0, 2, 1), (1, 0, 0)]):
        roi = torch.cat([torch.tensor([float(image)]), boxes[image][box]])[None]
        one = roi_align(levels[level], roi, 14, 1 / (8 * 2**level), sampling_ratio=0, aligned=True)
        torch.testing.assert_close(pooled[row : row + 1], one)


def test_no_regions_pool_to_nothing() -> None:
    levels = [torch.randn(1, 3, 8, 8)] * 5
    assert pool_regions(levels, [torch.zeros(0, 4)], [64.0**2]).shape == (0, 3, 14, 14)


def test_chosen_regions_overlap_the_cell_that_they_are_given() -> None:
    truth = torch.tensor([[0.0, 0, 20, 20], [30, 30, 60, 50], [31, 31, 60, 50]])
    shifts = torch.linspace(-12, 12, 25)[:, None]
    proposals = torch.cat([truth[0] + shifts, truth[1] + shifts])
    boxes, owner = choose_regions(proposals, truth, 1000)
    overlap = box_iou(boxes, truth)
    assert overlap.amax(1).ge(0.5).all()
    assert torch.equal(overlap.argmax(1), owner)
    expected = torch.cat([proposals, truth])
    assert len(boxes) == box_iou(expected, truth).amax(1).ge(0.5).sum()
    assert all(any(torch.equal(box, true) for box in boxes) for true in truth)


def test_regions_are_limited_by_lot() -> None:
    truth = torch.tensor([[0.0, 0, 20, 20]]).repeat(50, 1) + torch.arange(50)[:, None] * 30
    draws = [set(choose_regions(truth[:0], truth, 10)[1].tolist()) for _ in range(5)]
    assert all(len(draw) == 10 for draw in draws)
    assert len(set.union(*draws)) > 20


def test_matching_in_parts_is_matching_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    truth = torch.rand(40, 2).repeat(1, 2) * 200 + torch.tensor([0.0, 0, 20, 20])
    proposals = torch.rand(300, 2).repeat(1, 2) * 200 + torch.tensor([0.0, 0, 20, 20])
    at_once = choose_regions(proposals, truth, 1000)
    monkeypatch.setattr(mask_heads, "CHUNK", 7)
    in_parts = choose_regions(proposals, truth, 1000)
    assert sorted(map(tuple, at_once[0].tolist())) == sorted(map(tuple, in_parts[0].tolist()))


def test_without_cells_no_region_is_chosen() -> None:
    boxes, owner = choose_regions(torch.tensor([[0.0, 0, 20, 20]]), torch.zeros(0, 4), 10)
    assert (len(boxes), len(owner)) == (0, 0)


# ---- heads ---------------------------------------------------------------------------------------


def test_attention_weighs_each_place_by_mean_and_maximum_over_channels() -> None:
    attention, x = SpatialAttention(), torch.randn(2, 6, 14, 14)
    assert attention.conv.bias is None
    told = torch.stack([x.mean(1), x.max(1).values], 1)
    expected = x * torch.sigmoid(functional.conv2d(told, attention.conv.weight, padding=1))
    torch.testing.assert_close(attention(x), expected)


@pytest.mark.parametrize(("channels", "convs", "inputs"), [(256, 4, 12544), (128, 2, 6272)])
def test_heads_have_the_official_sizes(channels: int, convs: int, inputs: int) -> None:
    with torch.device("meta"):
        shapes = {name: tuple(p.shape) for name, p in IouHead(channels, convs).named_parameters()}
        regions = torch.empty(3, channels, 14, 14)
        assert MaskHead(channels, convs)(regions).shape == (3, 28, 28)
        assert IouHead(channels, convs)(regions, torch.empty(3, 28, 28)).shape == (3,)
    assert shapes["layers.0.weight"] == (1024, inputs)
    assert shapes["convs.0.weight"] == (channels, channels + 1, 3, 3)
    assert shapes[f"convs.{convs - 1}.weight"] == (channels, channels + (convs == 1), 3, 3)


def test_the_iou_head_reads_features_first_then_the_masks_maxima() -> None:
    torch.manual_seed(0)
    head, regions, masks = IouHead(4, 1), torch.randn(2, 4, 14, 14), torch.rand(2, 28, 28)
    maxima = masks.reshape(2, 14, 2, 14, 2).amax((2, 4))
    x = torch.cat([regions, maxima[:, None]], 1)
    p = dict(head.named_parameters())
    x = functional.conv2d(x, p["convs.0.weight"], p["convs.0.bias"], stride=2, padding=1).relu().flatten(1)
    x = functional.linear(x, p["layers.0.weight"], p["layers.0.bias"]).relu()
    x = functional.linear(x, p["layers.1.weight"], p["layers.1.bias"]).relu()
    expected = functional.linear(x, p["iou.weight"], p["iou.bias"])[:, 0]
    torch.testing.assert_close(head(regions, masks), expected)


# ---- losses --------------------------------------------------------------------------------------


def test_true_iou_counts_the_cell_outside_of_its_region_too() -> None:
    true = torch.zeros(3, 28, 28, dtype=torch.bool)
    true[:, :14] = True  # 392 bins
    logits = torch.full((3, 28, 28), -1.0)
    logits[0, :14] = 1.0  # all of it
    logits[1, 7:21] = 1.0  # half of it, and as much beside it
    inside = torch.tensor([1.0, 1.0, 0.5])
    torch.testing.assert_close(true_iou(logits, true, inside), torch.tensor([1.0, 196 / 588, 0.0]))
    torch.testing.assert_close(true_iou(logits[:1], true[:1], inside[2:]), torch.tensor([0.5]))


def test_iou_loss_is_half_the_square_over_masks_that_overlap() -> None:
    pred, true = torch.tensor([0.5, 0.9, 7.0]), torch.tensor([0.7, 0.4, 0.0])
    torch.testing.assert_close(iou_loss(pred, true), torch.tensor((0.5 * 0.04 + 0.5 * 0.25) / 2))
    assert iou_loss(pred[2:], true[2:]) == 0


def test_mask_loss_is_the_mean_cross_entropy() -> None:
    logits, true = torch.randn(3, 28, 28), torch.rand(3, 28, 28) > 0.5
    p = torch.where(true, logits.sigmoid(), 1 - logits.sigmoid())
    torch.testing.assert_close(mask_loss(logits, true), -p.log().mean())
    assert mask_loss(logits[:0], true[:0]) == 0


def test_cutting_from_every_level_is_cutting_from_each_boxs_own() -> None:
    torch.manual_seed(0)
    levels = [torch.randn(1, 8, 256 // stride, 320 // stride) for stride in (8, 16, 32)]
    corner = torch.rand(40, 2) * 60
    boxes = torch.cat([corner, corner + torch.rand(40, 2) * 260], 1)
    assert set(region_level(boxes, 256.0 * 320).tolist()) == {0, 1, 2}
    theirs = pool_regions(levels, [boxes], [256.0 * 320])
    torch.testing.assert_close(pool_each(levels, boxes, torch.tensor(256.0 * 320)), theirs)
