"""Training patches of images larger than the patch: where they are cut, what is to be learned, how they are varied."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import find_objects

from monolayer.data.dataset import Sample, TrueCells
from monolayer.models.dihedral import Number, turn
from monolayer.models.rescaled import image_at, labels_at
from monolayer.models.unet.tiling import Float
from monolayer.params.families import AugmentParams, Target, UnetTrain

GAP = 2.0  # px, σ of gaps


def background(image: NDArray[np.uint8]) -> int:
    """The median grey level."""
    return int(np.searchsorted(np.cumsum(np.bincount(image.ravel(), minlength=256)), image.size / 2))


def contrast(images: Sequence[NDArray[np.uint8]]) -> float:
    """Root mean square distance from each image's background, in grey levels, at least 1."""
    squares = [float(np.square(image - np.float32(background(image))).mean()) for image in images]
    return max(1.0, float(np.sqrt(np.mean(squares))))


def standardise(image: NDArray[np.uint8], spread: float) -> Float:
    """Background at 0 and the training images' contrast at 1.

    Dividing by an image's own contrast instead would turn the noise of an empty one into cells.
    """
    return (image - np.float32(background(image))) / np.float32(spread)


def targets(labels: NDArray[np.int32], target: Target) -> NDArray[np.uint8]:
    """What `target` asks for, (1 or 2, H, W), 255 is 1: foreground; foreground cut where cells touch, and how narrow
    the gap is; or foreground and distance to the cell's edge over the cell's largest.

    Of overlapping cells the smaller one is seen (label_image), and what the border cuts is a cell of its own.
    Dividing by each cell's own largest distance gives thin neurites and fat bodies the same height, so that one
    threshold finds a marker in each.
    """
    foreground = (labels > 0).astype(np.uint8)
    if target == "foreground":
        return foreground[None] * np.uint8(255)
    apart = cut_apart(labels)
    if target == "separated":
        return np.stack([apart * np.uint8(255), gaps(labels * apart)])
    distance_map = distances(np.pad(apart, 1))[1:-1, 1:-1]  # the border is an edge
    largest = np.zeros(int(labels.max(initial=0)) + 1, np.float32)
    np.maximum.at(largest, labels.ravel(), distance_map.ravel())
    height = distance_map / np.maximum(largest, 1)[labels]
    return np.stack([foreground * np.uint8(255), (height * 255).round().astype(np.uint8)])


def distances(inside: NDArray[np.uint8]) -> Float:
    """px from each pixel's centre to that of the nearest one that is 0 (H, W), whatever the number of threads."""
    rough = cv2.distanceTransform(inside, cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    # the last digit of its root hangs on how many threads took the rows; squares of distances are whole numbers
    return np.asarray(np.sqrt(np.rint(np.square(rough))), np.float32)


def cut_apart(labels: NDArray[np.int32]) -> NDArray[np.uint8]:
    """1 within cells (H, W), 0 outside and where two of them touch: a pixel of each by their pixels' sides."""
    apart = (labels > 0).astype(np.uint8)
    for one, other, before, behind in (
        (labels[1:], labels[:-1], apart[1:], apart[:-1]),
        (labels[:, 1:], labels[:, :-1], apart[:, 1:], apart[:, :-1]),
    ):
        touching = (one != other) & (one > 0) & (other > 0)
        before[touching] = behind[touching] = 0
    return apart


def gaps(labels: NDArray[np.int32]) -> NDArray[np.uint8]:
    """How narrow the gap between cells is around each pixel of the ground (H, W), 255 is 1: exp(-(a + b)² / 2σ²), where
    a and b px are the ways to the nearest two cells (Ronneberger et al., MICCAI 2015, whose σ is 5 px for larger cells)
    """
    height, width = labels.shape
    nearest, second = np.full((2, height, width), np.inf, np.float32)
    reach = round(4 * GAP)  # beyond, less than 1/255 is left
    for cell, place in enumerate(find_objects(labels), start=1):
        if place is None:
            continue
        around = tuple(slice(max(0, side.start - reach), side.stop + reach) for side in place)
        way = distances((labels[around] != cell).astype(np.uint8))
        second[around] = np.minimum(second[around], np.maximum(nearest[around], way))
        nearest[around] = np.minimum(nearest[around], way)
    narrow = np.exp(-np.square(nearest + second) / (2 * GAP**2)) * (labels == 0)
    return np.asarray(np.rint(255 * narrow), np.uint8)


class Patches:
    """Patches of `patch` px, of each line as many as `sampling_exponent` and `line_shares` say; `foreground_fraction`
    have a cell in the middle.

    What is drawn follows from index and rng alone.
    """

    def __init__(self, cells: TrueCells, settings: UnetTrain, spread: float) -> None:
        lines = [sample.image["cell_line"] for sample in cells.samples]
        names = sorted(set(lines))
        self._by_line = [[i for i, line in enumerate(lines) if line == one] for one in names]
        sizes = [sum(1 + len(cells.samples[i].annotations) for i in line) for line in self._by_line]
        shares = [settings.line_shares.get(one, 1.0) for one in names]
        self._ends = np.cumsum(np.power(sizes, settings.sampling_exponent) * shares)  # of each line's share of draws
        self._cells, self._settings, self._spread = cells, settings, spread

    def draw(self, index: int, rng: np.random.Generator) -> tuple[str, tuple[Float, NDArray[np.uint8]]]:
        """The image's file name, its pixels (1, size, size) and its target uint8 (C, size, size)."""
        share = (index + 0.5) / self._settings.patches * self._ends[-1]
        line = self._by_line[int(np.searchsorted(self._ends, share))]
        chosen = line[rng.integers(len(line))]
        sample, settings = self._cells.samples[chosen], self._settings
        side = settings.patch
        if settings.augment.zoom:
            side = round(side * 2.0 ** rng.uniform(-settings.augment.zoom, settings.augment.zoom))
        window, way = self._window(sample, side, rng), int(rng.integers(8))
        pixels = cut(standardise(self._cells.image(chosen), self._spread), window, side)
        labels = cut(self._cells.labels(chosen), window, side)
        if side != settings.patch:
            size = settings.patch, settings.patch
            pixels, labels = image_at(pixels, *size), labels_at(labels, *size)
        image, target = turn(pixels, way), targets(turn(labels, way), settings.target)
        return sample.image["file_name"], (vary(image, settings.augment, rng)[None], target)

    def _window(self, sample: Sample, size: int, rng: np.random.Generator) -> tuple[int, int]:
        """Upper left pixel (y, x); the patch lies within the image where that is large enough."""
        cells = sample.annotations
        height, width = sample.image["height"], sample.image["width"]
        y, x = rng.uniform(0, height), rng.uniform(0, width)
        if cells and rng.random() < self._settings.foreground_fraction:
            left, top, w, h = cells[rng.integers(len(cells))]["bbox"]
            y, x = top + h / 2, left + w / 2
        return int(np.clip(y - size / 2, 0, max(0, height - size))), int(np.clip(x - size / 2, 0, max(0, width - size)))


def cut(plane: NDArray[Number], window: tuple[int, int], size: int) -> NDArray[Number]:
    """(size, size) of (H, W), filled up with background (0) where the image is too small."""
    y, x = window
    part = plane[y : y + size, x : x + size]
    return np.pad(part, ((0, size - part.shape[0]), (0, size - part.shape[1])))


def vary(image: Float, amount: AugmentParams, rng: np.random.Generator) -> Float:
    """Another exposure of the same cells: gamma, contrast, brightness, focus and noise of a standardised (H, W).

    Signs stay: inverting phase contrast would turn halos into cells.
    """
    low, high = float(image.min()), float(image.max()) + 1e-6
    gamma = np.float32(2.0 ** rng.uniform(-amount.gamma, amount.gamma))
    image = low + (high - low) * ((image - low) / (high - low)) ** gamma
    image = image * np.float32(2.0 ** rng.uniform(-amount.contrast, amount.contrast))
    image = image + np.float32(rng.normal(0, amount.brightness))
    if (sigma := rng.uniform(-amount.blur, amount.blur)) > 0.3:  # less is no blur; half of the patches stay sharp
        image = np.asarray(cv2.GaussianBlur(image, (0, 0), sigma), np.float32)
    noise = np.float32(max(0.0, rng.uniform(-amount.noise, amount.noise)))
    return (image + noise * rng.standard_normal(image.shape, np.float32)).astype(np.float32)
