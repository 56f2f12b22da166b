"""FCOS: assignment against a table of all locations and boxes, losses and decoding against written-out loops."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from monolayer.models.centermask.fcos import (
    SIZES,
    Head,
    Maps,
    assign,
    centreness_of,
    decode,
    giou_loss,
    locations,
    losses,
)
from monolayer.models.centermask.pipeline import STRIDES
from monolayer.params.families import DetectionLimits
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torchvision.ops import generalized_box_iou_loss

LIMITS = DetectionLimits(score_min=0.05, per_level=1000, nms_iou=0.6, max_det=100)


def shapes_of(height: int, width: int) -> list[tuple[int, int]]:
    return [(-(-height // stride), -(-width // stride)) for stride in STRIDES]


def random_boxes(count: int, height: int, width: int, seed: int = 0) -> Tensor:
    """Boxes from 4 px up to the whole image, some of them beyond its edge."""
    rng = torch.Generator().manual_seed(seed)
    size = 4 * torch.exp(torch.rand(count, 2, generator=rng) * math.log(max(height, width) / 4))
    corner = torch.rand(count, 2, generator=rng) * torch.tensor([width, height]) - size / 2
    return torch.cat([corner, corner + size], 1)


def assign_by_table(boxes: Tensor, shapes: list[tuple[int, int]]) -> Tensor:
    """Every location against every box, as the paper and the official code put it."""
    owners = []
    for (height, width), stride, (low, high) in zip(shapes, STRIDES, SIZES, strict=True):
        for row in range(height):
            for column in range(width):
                x, y = column * stride + stride // 2, row * stride + stride // 2
                best, smallest = -1, math.inf
                for index, (x0, y0, x1, y1) in enumerate(boxes.tolist()):
                    cx, cy, r = (x0 + x1) / 2, (y0 + y1) / 2, 1.5 * stride
                    central = max(cx - r, x0) < x < min(cx + r, x1) and max(cy - r, y0) < y < min(cy + r, y1)
                    reach = max(x - x0, y - y0, x1 - x, y1 - y)
                    area = (x1 - x0) * (y1 - y0)
                    if central and low <= reach <= high and area < smallest:
                        best, smallest = index, area
                owners.append(best)
    return torch.tensor(owners)


# ---- truth ---------------------------------------------------------------------------------------


def test_locations_lie_half_a_stride_inside() -> None:
    points, strides = locations([(2, 3), (1, 2), (1, 1), (1, 1), (1, 1)])
    assert points[:6].tolist() == [[4, 4], [12, 4], [20, 4], [4, 12], [12, 12], [20, 12]]
    assert points[6:8].tolist() == [[8, 8], [24, 8]]
    assert points[-1].tolist() == [64, 64]
    assert strides.tolist() == [8] * 6 + [16] * 2 + [32, 64, 128]


@pytest.mark.parametrize("seed", range(5))
def test_assignment_is_that_of_a_table_of_all_against_all(seed: int) -> None:
    shapes = shapes_of(250, 330)
    boxes = random_boxes(60, 250, 330, seed)
    owners = assign(boxes, shapes)
    assert torch.equal(owners, assign_by_table(boxes, shapes))
    assert len(set(owners.tolist())) > 20


def test_of_nested_cells_a_location_answers_for_the_smallest() -> None:
    boxes = torch.tensor([[0.0, 0, 60, 60], [24, 24, 36, 36], [0, 0, 60, 60]])
    owners = assign(boxes, shapes_of(64, 64))[:64].reshape(8, 8)
    assert owners.eq(1).nonzero().tolist() == [[3, 3]]  # (28, 28) alone lies inside of the small one
    assert set(owners.flatten().tolist()) == {-1, 0, 1}  # of equals the first


def test_no_cells_leave_every_location_free() -> None:
    assert assign(torch.zeros(0, 4), shapes_of(64, 64)).eq(-1).all()


class Allocated(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Counts the bytes of everything that any operation returns, whether or not it is freed."""

    total = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        for tensor in out if isinstance(out, tuple | list) else (out,):
            if isinstance(tensor, Tensor):
                self.total += tensor.nbytes
        return out


def test_assigning_3000_cells_stays_far_below_a_table() -> None:
    boxes, shapes = random_boxes(3000, 800, 1083), shapes_of(800, 1083)
    table = sum(height * width for height, width in shapes) * 3000 * 4 * 4  # of distances, float32
    with Allocated() as allocated:  # type: ignore[no-untyped-call]
        assign(boxes, shapes)
    assert table > 850e6
    assert allocated.total < 24e6  # all that is ever allocated, so the peak too


# ---- losses --------------------------------------------------------------------------------------


def random_maps(shapes: list[tuple[int, int]], batch: int = 2) -> Maps:
    rng = torch.Generator().manual_seed(3)
    total = sum(height * width for height, width in shapes)
    return Maps(
        logits=torch.randn(batch, total, generator=rng),
        ltrb=torch.rand(batch, total, 4, generator=rng) * 4,
        centreness=torch.randn(batch, total, generator=rng),
        shapes=shapes,
    )


def test_losses_are_those_of_a_loop_over_locations() -> None:
    shapes = shapes_of(64, 96)
    maps = random_maps(shapes)
    truths = [random_boxes(7, 64, 96, seed=1), torch.zeros(0, 4)]
    points, strides = locations(shapes)
    focal = box = centre = weights = 0.0
    count = 0
    for i, boxes in enumerate(truths):
        for place, owner in enumerate(assign_by_table(boxes, shapes).tolist()):
            p = torch.sigmoid(maps.logits[i, place]).item()
            if owner < 0:
                focal += 0.75 * p**2 * -math.log(1 - p)
                continue
            focal += 0.25 * (1 - p) ** 2 * -math.log(p)
            (x, y), (x0, y0, x1, y1), stride = points[place].tolist(), boxes[owner].tolist(), strides[place].item()
            left, top, right, bottom = (d / stride for d in (x - x0, y - y0, x1 - x, y1 - y))
            weight = math.sqrt(min(left, right) / max(left, right) * min(top, bottom) / max(top, bottom))
            box += weight * giou_of(maps.ltrb[i, place].tolist(), [left, top, right, bottom])
            q = torch.sigmoid(maps.centreness[i, place]).item()
            centre += -weight * math.log(q) - (1 - weight) * math.log(1 - q)
            weights += weight
            count += 1
    assert count > 10
    found = losses(maps, truths)
    assert found["class_loss"].item() == pytest.approx(focal / count, rel=1e-4)
    assert found["box_loss"].item() == pytest.approx(box / weights, rel=1e-4)
    assert found["centreness_loss"].item() == pytest.approx(centre / count, rel=1e-4)


def giou_of(pred: list[float], true: list[float]) -> float:
    """1 - GIoU of boxes around one location, the IoU smoothed by 1."""
    (l1, t1, r1, b1), (l2, t2, r2, b2) = pred, true
    shared = (min(l1, l2) + min(r1, r2)) * (min(t1, t2) + min(b1, b2))
    union = (l1 + r1) * (t1 + b1) + (l2 + r2) * (t2 + b2) - shared
    hull = (max(l1, l2) + max(r1, r2)) * (max(t1, t2) + max(b1, b2))
    return 1 - ((shared + 1) / (union + 1) - (hull - union) / hull)


def test_giou_nears_torchvisions_where_smoothing_is_small() -> None:
    pred, true = torch.rand(50, 4) * 1000 + 100, torch.rand(50, 4) * 1000 + 100
    signs = torch.tensor([-1.0, -1, 1, 1])
    torch.testing.assert_close(
        giou_loss(pred, true), generalized_box_iou_loss(pred * signs, true * signs), atol=1e-4, rtol=0
    )


def test_centreness_is_1_in_the_middle_and_0_on_the_edge() -> None:
    ltrb = torch.tensor([[5.0, 3, 5, 3], [0, 3, 10, 3], [2, 3, 8, 3]])
    torch.testing.assert_close(centreness_of(ltrb), torch.tensor([1.0, 0.0, 0.5]))


def test_images_without_cells_have_finite_losses_and_gradients() -> None:
    shapes = shapes_of(64, 64)
    maps = random_maps(shapes)
    maps.logits.requires_grad_()
    found = losses(maps, [torch.zeros(0, 4)] * 2)
    assert found["box_loss"] == found["centreness_loss"] == 0
    torch.stack(list(found.values())).sum().backward()  # type: ignore[no-untyped-call]
    assert maps.logits.grad is not None
    assert maps.logits.grad.isfinite().all()


# ---- detections ----------------------------------------------------------------------------------


def nothing(shapes: list[tuple[int, int]]) -> Maps:
    total = sum(height * width for height, width in shapes)
    return Maps(torch.full((1, total), -20.0), torch.ones(1, total, 4), torch.full((1, total), 20.0), shapes)


def test_a_location_becomes_its_box_with_the_root_of_class_and_centreness() -> None:
    maps = nothing(shapes_of(64, 96))
    place = 2 * 12 + 5  # (44, 20) of stride 8
    maps.logits[0, place], maps.centreness[0, place] = 0.0, math.log(0.36 / 0.64)
    maps.ltrb[0, place] = torch.tensor([1.0, 0.5, 2.0, 3.0])
    found = decode(maps, [(64, 96)], LIMITS)[0]
    torch.testing.assert_close(found.boxes, torch.tensor([[36.0, 16, 60, 44]]))
    torch.testing.assert_close(found.scores, torch.tensor([math.sqrt(0.5 * 0.36)]))


def test_the_class_score_alone_meets_the_threshold() -> None:
    maps = nothing(shapes_of(64, 96))
    maps.logits[0, :2] = torch.tensor([math.log(0.06 / 0.94), math.log(0.04 / 0.96)])
    maps.centreness[0, :2] = torch.tensor([-4.0, 20.0])  # the first falls below the threshold only afterwards
    assert len(decode(maps, [(64, 96)], LIMITS)[0].scores) == 1


def test_boxes_end_at_the_image_and_empty_ones_are_none() -> None:
    maps = nothing(shapes_of(64, 96))
    maps.logits[0, 0], maps.ltrb[0, 0] = 5.0, torch.tensor([9.0, 9, 9, 9])
    maps.logits[0, 1], maps.ltrb[0, 1] = 5.0, torch.zeros(4)
    assert decode(maps, [(50, 70)], LIMITS)[0].boxes.tolist() == [[0, 0, 70, 50]]


def test_limits_per_level_and_per_image_keep_the_best() -> None:
    shapes = shapes_of(128, 128)
    maps = nothing(shapes)
    maps.ltrb[:] = 0.3  # no two boxes overlap
    maps.logits[0, :256] = torch.linspace(0, 2, 256)
    maps.logits[0, 256 : 256 + 64] = torch.linspace(3, 4, 64)
    found = decode(maps, [(128, 128)], LIMITS.model_copy(update={"per_level": 10, "nms_iou": 1.0}))[0]
    assert len(found.scores) == 20
    few = decode(maps, [(128, 128)], LIMITS.model_copy(update={"per_level": 10, "max_det": 12, "nms_iou": 1.0}))[0]
    assert torch.equal(few.scores, found.scores[:12])
    assert few.scores.diff().le(0).all()


def test_of_two_detections_of_one_cell_the_better_stays() -> None:
    maps = nothing(shapes_of(64, 96))
    maps.logits[0, :2] = torch.tensor([1.0, 2.0])
    maps.ltrb[0, :2] = torch.tensor([[0.5, 0.5, 3.5, 3.5], [1.5, 0.5, 2.5, 3.5]])
    found = decode(maps, [(64, 96)], LIMITS)[0]
    torch.testing.assert_close(found.scores, torch.sigmoid(torch.tensor([2.0])).sqrt())


# ---- head ----------------------------------------------------------------------------------------


def test_levels_share_the_head_and_have_their_own_scale() -> None:
    torch.manual_seed(0)
    head = Head(32, 1).eval()
    same = torch.randn(1, 32, 4, 4)
    with torch.no_grad():
        nn.init.ones_(dict(head.named_parameters())["ltrb.bias"])
        head.scales[1] *= 2
        maps = head([same] * 5)
    torch.testing.assert_close(maps.ltrb[:, 16:32], 2 * maps.ltrb[:, :16])
    torch.testing.assert_close(maps.logits[:, 16:32], maps.logits[:, :16])


def test_a_new_head_calls_one_location_in_a_hundred_a_cell() -> None:
    with torch.no_grad():
        maps = Head(32, 2)([torch.zeros(1, 32, 4, 4)] * 5)
    torch.testing.assert_close(maps.logits.sigmoid(), torch.full((1, 80), 0.01))
