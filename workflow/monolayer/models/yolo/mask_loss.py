"""The library's mask loss within the boxes alone: it makes every mask of an image at full size, then cuts them off."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional


def with_fast_masks(criterion: Any) -> Any:
    """The library's criterion, of one head or two, with `mask_loss` in place of its own."""
    heads = [getattr(criterion, name) for name in ("one2many", "one2one") if hasattr(criterion, name)]
    for head in heads or [criterion]:
        head.calculate_segmentation_loss = mask_loss
    return criterion


def mask_loss(  # noqa: PLR0917 (called by the library)
    positive: Tensor,
    planes: Tensor,
    cell: Tensor,
    boxes: Tensor,
    batch_index: Tensor,
    protos: Tensor,
    coefficients: Tensor,
    size: Tensor,
) -> Tensor:
    """Cross entropy of each positive anchor's mask: the mean over its true box, the mean over anchors.

    positive bool (B, A); planes (B, H, W) of labels 1 to N; cell (B, A) each anchor's label, less one; boxes (B, A, 4)
    xyxy in px of the input, `size` (2,) its height and width; protos (B, C, H, W); coefficients (B, A, C). batch_index
    is the library's, of masks that are no planes.
    """
    height, width = planes.shape[-2:]
    scaled = boxes / size[[1, 0, 1, 0]] * boxes.new_tensor([width, height, width, height])
    shares = (scaled[..., 2] - scaled[..., 0]) * (scaled[..., 3] - scaled[..., 1])
    # a pixel is within if its centre is, or lies on the edge; by corners, as in the library, first rows and columns of
    # cells are left out
    edges = torch.cat([(scaled[..., :2] - 0.5).ceil(), (scaled[..., 2:] + 0.5).floor()], dim=2).clamp(min=0)
    corners = torch.minimum(edges, scaled.new_tensor([width, height, width, height])).long()
    total = (protos * 0).sum() + (coefficients * 0).sum()  # without a positive, these have a gradient too
    for image in range(len(positive)):
        chosen = positive[image].nonzero()[:, 0]
        x0, y0, x1, y1 = corners[image, chosen].T
        columns, areas = x1 - x0, (x1 - x0) * (y1 - y0)
        anchor = torch.repeat_interleave(torch.arange(len(chosen), device=areas.device), areas)
        place = torch.arange(len(anchor), device=areas.device) - (areas.cumsum(0) - areas)[anchor]
        pixel = (y0[anchor] + place // columns[anchor]) * width + x0[anchor] + place % columns[anchor]
        # (P, C) each: products of two rows are the logits of the pixels, without those out of the boxes
        rows = protos[image].flatten(1).T.contiguous().index_select(0, pixel)
        logits = (rows * coefficients[image, chosen].index_select(0, anchor)).sum(1)
        inside = (planes[image].flatten()[pixel] == (cell[image, chosen] + 1)[anchor]).float()
        cross = functional.binary_cross_entropy_with_logits(logits, inside, reduction="none")
        total = total + (cross / shares[image, chosen][anchor]).sum()
    return total / positive.sum()
