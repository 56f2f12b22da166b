"""A few cells of every kind, and the cells of label images."""

from __future__ import annotations

import numpy as np
from monolayer.coco.instances import Instances
from monolayer.coco.rle import rle_from_mask
from monolayer.measurement.measure import instances
from numpy.typing import NDArray


def four_cells() -> NDArray[np.int32]:
    """A label image: a disk, a ring, a cell in two parts, one at the corner."""
    rows, columns = np.mgrid[:60, :80]
    far = np.hypot(rows - 40, columns - 55)
    labels = (np.hypot(rows - 15, columns - 20) <= 9).astype(np.int32)
    labels[(far <= 12) & (far > 5)] = 2
    labels[5:9, 50:60] = labels[12:15, 52:58] = 3
    labels[:3, :4] = 4
    return np.asarray(labels, np.int32)


def cells_of(labels: NDArray[np.int32]) -> Instances:
    """The cells 1, 2, ... of a label image."""
    masks = [labels == number for number in range(1, labels.max(initial=0) + 1)]
    return instances([(1.0, rle_from_mask(mask)) for mask in masks], *labels.shape)
