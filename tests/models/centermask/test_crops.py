"""What a detector sees of an image: pixels and cells turn, cut and zoom together; how much a cell covers of a box."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from monolayer.coco.records import Annotation
from monolayer.coco.rle import Mask, box_xywh, rle_area, rle_from_mask
from monolayer.models.centermask.crops import Crop, cells_in, covered, cropped, part_inside, whole

RNG = np.random.default_rng(0)


def disks(height: int, width: int, count: int) -> list[Mask]:
    """Disks that may overlap and be cut by the edge."""
    y, x = np.mgrid[:height, :width]
    found: list[Mask] = []
    while len(found) < count:
        cy, cx, r = RNG.uniform(0, height), RNG.uniform(0, width), RNG.uniform(3, 9)
        found.append((y - cy) ** 2 + (x - cx) ** 2 < r**2)
    return found


def cells_of(masks: list[Mask]) -> list[Annotation]:
    rles = [rle_from_mask(mask) for mask in masks]
    return [
        Annotation(
            id=i, image_id=1, category_id=1, segmentation=rle, bbox=box_xywh(rle), area=float(rle_area(rle)), iscrowd=0
        )
        for i, rle in enumerate(rles)
    ]


MASKS = disks(50, 70, 12)


@pytest.mark.parametrize("way", range(8))
@pytest.mark.parametrize("window", [(0, 0, 70, 50), (20, 10, 30, 25)])
def test_cells_lie_where_their_pixels_are_seen(window: tuple[int, int, int, int], way: int) -> None:
    crop = Crop(window, way, 1.0, 50 * 70)
    cells = cells_in(cells_of(MASKS), crop)
    pictures = [cropped(mask.astype(np.uint8), crop) for mask in MASKS]
    pictures = [picture for picture in pictures if picture.any()]
    assert len(cells.boxes) == len(pictures)
    height, width = crop.shape
    frame = torch.tensor([[0.0, 0, 40, 40]])  # whole pixels: each bin is one
    for index, picture in enumerate(pictures):
        rows, columns = torch.nonzero(picture.any(1))[:, 0], torch.nonzero(picture.any(0))[:, 0]
        assert cells.boxes[index].tolist() == [columns[0], rows[0], columns[-1] + 1, rows[-1] + 1]
        found = covered(cells, torch.tensor([index]), frame, 40)[0]
        expected = torch.zeros(40, 40)
        expected[: min(40, height), : min(40, width)] = picture[:40, :40]
        torch.testing.assert_close(found, expected)


def test_coverage_is_the_exact_part_of_every_bin_at_any_zoom() -> None:
    zoom = 1.5
    crop = whole(50, 70, zoom)
    cells = cells_in(cells_of(MASKS), crop)
    index = torch.arange(12)
    boxes = cells.boxes + torch.randn(12, 4, generator=torch.Generator().manual_seed(0)) * 3
    boxes[:, 2:] = boxes[:, 2:].maximum(boxes[:, :2] + 2)
    found = covered(cells, index, boxes, 7)
    fine = 40  # points along each bin
    for i, (x0, y0, x1, y1) in enumerate(boxes.tolist()):
        xs, ys = (low + (np.arange(7 * fine) + 0.5) / (7 * fine) * (high - low) for low, high in ((x0, x1), (y0, y1)))
        columns, rows = np.floor(xs / zoom).astype(int), np.floor(ys / zoom).astype(int)
        padded = np.pad(MASKS[i], 40)
        points = padded[np.ix_(rows + 40, columns + 40)].astype(float)
        means = points.reshape(7, fine, 7, fine).mean((1, 3))
        np.testing.assert_allclose(found[i].numpy(), means, atol=0.03)
        share = means.mean() * (x1 - x0) * (y1 - y0) / zoom**2 / MASKS[i].sum()
        assert part_inside(cells, index[i : i + 1], boxes[i : i + 1]).item() == pytest.approx(share, abs=0.02)


def test_a_box_around_a_cell_holds_all_of_it_and_half_a_box_half() -> None:
    square = np.zeros((40, 40), np.bool_)
    square[10:20, 10:30] = True
    cells = cells_in(cells_of([square]), whole(40, 40, 2.0))
    boxes = torch.tensor([[10.0, 10, 70, 70], [20, 20, 40, 40], [20, 30, 60, 60], [0, 0, 10, 10]])
    parts = part_inside(cells, torch.zeros(4, dtype=torch.long), boxes)
    torch.testing.assert_close(parts, torch.tensor([1.0, 0.5, 0.5, 0.0]))


def test_zoom_scales_boxes_by_the_sides_as_rounded() -> None:
    crop = whole(50, 70, 1.33)
    assert crop.shape == (66, 93)
    assert cropped(np.zeros((50, 70), np.uint8), crop).shape == (66, 93)
    cells = cells_in(cells_of(MASKS), crop)
    plain = cells_in(cells_of(MASKS), whole(50, 70, 1.0))
    torch.testing.assert_close(cells.boxes, plain.boxes * torch.tensor([93 / 70, 66 / 50, 93 / 70, 66 / 50]))


def test_an_image_without_cells_has_empty_columns() -> None:
    cells = cells_in([], whole(50, 70, 1.0))
    assert cells.boxes.shape == (0, 4)
    assert covered(cells, torch.zeros(0, dtype=torch.long), cells.boxes, 28).shape == (0, 28, 28)
