"""The true cells of an image as a detector learns from them: cut, turned, zoomed, and how much of a box they cover."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import interpolate

from monolayer.coco.records import Annotation
from monolayer.coco.rle import Mask, crop_from_rle
from monolayer.models.dihedral import turn, turn_box


class TargetCells(NamedTuple):
    """The true cells of one image, in px of the network's input; masks stay in the image's own pixels.

    A mask (h, w) is kept as its integral image (h + 1, w + 1), rows after rows from `starts` in `integrals`: the part
    of any rectangle that a cell covers is four look-ups, at any zoom.
    """

    boxes: Tensor  # (M, 4) xyxy
    corners: Tensor  # (M, 2) xy of the mask's upper left corner
    zoom: Tensor  # (2,) xy, px of the network's input per px of a mask
    sizes: Tensor  # (M, 2) int64, width and height of the mask
    starts: Tensor  # (M,) int64
    integrals: Tensor  # int32
    image_area: Tensor  # () px² of the network's input, of the whole image


def _integral_at(cells: TargetCells, index: Tensor, x: Tensor, y: Tensor) -> Tensor:
    """Pixels of masks `index` (R,) left of and above the corners x (R, X) and y (R, Y) in mask px: (R, Y, X)."""
    width, height = cells.sizes[index].unbind(1)
    x = x.clamp(min=0).minimum(width[:, None])
    y = y.clamp(min=0).minimum(height[:, None])
    left, upper = x.floor().long().minimum(width[:, None] - 1), y.floor().long().minimum(height[:, None] - 1)
    row = cells.starts[index, None] + upper * (width[:, None] + 1)
    corner = row[:, :, None] + left[:, None, :]  # (R, Y, X)
    step = (width + 1)[:, None, None]
    right, down = (x - left)[:, None, :], (y - upper)[:, :, None]
    take = cells.integrals
    above = take[corner] * (1 - right) + take[corner + 1] * right
    below = take[corner + step] * (1 - right) + take[corner + step + 1] * right
    return above * (1 - down) + below * down


def covered(cells: TargetCells, index: Tensor, boxes: Tensor, bins: int) -> Tensor:
    """The part, in [0, 1], that cell index[r] covers of each of bins x bins parts of boxes[r]: (R, bins, bins)."""
    low = (boxes[:, :2] - cells.corners[index]).double() / cells.zoom  # in mask px; differences need the digits
    high = (boxes[:, 2:] - cells.corners[index]).double() / cells.zoom
    along = torch.linspace(0, 1, bins + 1, dtype=torch.double, device=boxes.device)
    edges = low[:, None] + (high - low)[:, None] * along[:, None]  # (R, bins + 1, 2)
    counts = _integral_at(cells, index, edges[..., 0], edges[..., 1]).diff(dim=1).diff(dim=2)
    part = (high - low).prod(1) / bins**2
    return (counts / part[:, None, None]).float()


def part_inside(cells: TargetCells, index: Tensor, boxes: Tensor) -> Tensor:
    """The part (R,) of cell index[r] that lies in boxes[r]."""
    width, height = cells.sizes[index].unbind(1)
    total = cells.integrals[cells.starts[index] + (width + 1) * (height + 1) - 1]
    native = (boxes[:, 2:] - boxes[:, :2]).div(cells.zoom).prod(1)
    return covered(cells, index, boxes, 1)[:, 0, 0] * native / total


@dataclass(frozen=True)
class Crop:
    """What the network sees of an image: a window (x, y, width, height) in px, one way to turn it, a zoom."""

    window: tuple[int, int, int, int]
    way: int  # of dihedral.py
    zoom: float
    image_area: int  # px² of the whole image

    @property
    def native(self) -> tuple[int, int]:
        """Rows and columns before the zoom."""
        _, _, width, height = self.window
        return (width, height) if self.way % 2 else (height, width)

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns of what is seen."""
        rows, columns = (max(1, round(side * self.zoom)) for side in self.native)
        return rows, columns


def whole(height: int, width: int, zoom: float) -> Crop:
    """All of an image, as it stands."""
    return Crop((0, 0, width, height), 0, zoom, height * width)


def cropped(image: NDArray[np.uint8], crop: Crop) -> Tensor:
    """The image (H, W) as float (h, w) grey values, 0 to 255; shrinking takes means over what falls together."""
    x, y, width, height = crop.window
    pixels = turn(image[y : y + height, x : x + width], crop.way).astype(np.float32)
    given = torch.from_numpy(pixels)[None, None]
    if crop.shape != crop.native:
        given = interpolate(given, crop.shape, mode="bilinear", antialias=True, align_corners=False)
    return given[0, 0]


def cells_in(annotations: Sequence[Annotation], crop: Crop) -> TargetCells:
    """The true cells in a crop; cut at the window's edge, those outside of it left out."""
    pieces = [piece for a in annotations if (piece := _cut(*crop_from_rle(a["segmentation"]), crop))]
    masks, corners = zip(*pieces, strict=True) if pieces else ((), ())
    zoom = torch.tensor([crop.shape[side] / crop.native[side] for side in (1, 0)])
    sizes = torch.tensor([mask.shape[::-1] for mask in masks], dtype=torch.long).reshape(-1, 2)
    lengths = (sizes + 1).prod(1)
    low = torch.tensor(corners, dtype=torch.float32).reshape(-1, 2)
    return TargetCells(
        boxes=torch.cat([low * zoom, (low + sizes) * zoom], 1),
        corners=low * zoom,
        zoom=zoom,
        sizes=sizes,
        starts=lengths.cumsum(0) - lengths,
        integrals=torch.from_numpy(np.concatenate([np.zeros(0, np.int32), *(_integral(mask) for mask in masks)])),
        image_area=crop.image_area * zoom.prod(),
    )


def _cut(mask: Mask, x: int, y: int, crop: Crop) -> tuple[Mask, tuple[int, int]] | None:
    """The mask within the window and its corner there, turned as the crop is; None where nothing of it is."""
    left, upper, width, height = crop.window
    x, y = x - left, y - upper
    mask = mask[max(0, -y) : max(0, height - y), max(0, -x) : max(0, width - x)]
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    if not len(rows):
        return None
    mask = mask[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    x, y = max(x, 0) + int(columns[0]), max(y, 0) + int(rows[0])
    x, y, _, _ = turn_box((x, y, mask.shape[1], mask.shape[0]), (height, width), crop.way)
    return turn(mask, crop.way), (x, y)


def _integral(mask: Mask) -> NDArray[np.int32]:
    """The integral image of a mask, flat: its value at (y, x) counts the pixels above and left of that corner."""
    integral = np.zeros((mask.shape[0] + 1, mask.shape[1] + 1), np.int32)
    integral[1:, 1:] = mask.cumsum(0, dtype=np.int32).cumsum(1)
    return integral.ravel()
