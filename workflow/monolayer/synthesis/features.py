"""What an image looks like in 21 numbers: intensity, texture, density, size and shape of its cells."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from scipy.spatial import cKDTree

from monolayer.coco.moments import ellipses

Labels = NDArray[np.int32]

FEATURES = {
    "mean": "mean grey value",
    "std": "standard deviation of the grey values",
    "skewness": "skewness of the grey values",
    "p01": "1st percentile of the grey values",
    "p99": "99th percentile of the grey values",
    "texture_1": "std of what a Gaussian of 1 px removes: noise and the finest structure",
    "texture_2": "std between Gaussians of 1 and 2 px",
    "texture_4": "std between Gaussians of 2 and 4 px",
    "texture_8": "std between Gaussians of 4 and 8 px",
    "contrast": "mean grey value of cells less that of the background",
    "cell_std": "std of the grey values of cells",
    "background_std": "std of the grey values of the background",
    "density": "cells per 10^6 px²",
    "confluence": "share of the image that cells cover",
    "neighbour": "median distance of a cell's centroid to the nearest other, px",
    "clark_evans": "mean distance to the nearest neighbour over that of cells strewn at random; below 1 is clustered",
    "contact": "share of the cells' outlines that touches another cell",
    "area": "median area, px²",
    "area_spread": "std of the log of the area",
    "elongation": "median of longer over shorter axis of the ellipse with the same moments",
    "roughness": "median of outline² / (4 π area)",
}


def features(pixels: NDArray[np.uint8], labels: Labels, annotated: NDArray[np.bool_] | None = None) -> dict[str, float]:
    """The FEATURES of a uint8 (H, W) image whose cells are > 0 in `labels`; NaN for what too few cells define.

    What is not annotated, if anything, is neither cells nor background.
    """
    known = np.ones(labels.shape, np.bool_) if annotated is None else annotated
    background = pixels[known & (labels == 0)]
    return {
        **intensity(pixels),
        **texture(pixels),
        **against_background(pixels[labels > 0], background),
        **crowd(labels, int(known.sum())),
    }


def intensity(pixels: NDArray[np.uint8]) -> dict[str, float]:
    counts = np.bincount(pixels.ravel(), minlength=256) / pixels.size
    values = np.arange(256)
    mean = counts @ values
    std = np.sqrt(counts @ (values - mean) ** 2)
    low, high = np.searchsorted(np.cumsum(counts), (0.01, 0.99))
    skewness = counts @ (values - mean) ** 3 / std**3 if std else 0.0
    return {"mean": float(mean), "std": float(std), "skewness": float(skewness), "p01": float(low), "p99": float(high)}


def texture(pixels: NDArray[np.uint8]) -> dict[str, float]:
    finer, bands = pixels.astype(np.float32), {}
    for sigma in (1, 2, 4, 8):
        # what is left after sigma - 1 is widened to sigma: variances of Gaussians add
        step = np.sqrt(sigma**2 - (sigma // 2) ** 2)
        coarser = ndimage.gaussian_filter(finer, step, truncate=3, mode="nearest")
        bands[f"texture_{sigma}"] = float((finer - coarser).std(dtype=np.float64))
        finer = coarser
    return bands


def against_background(cells: NDArray[np.uint8], background: NDArray[np.uint8]) -> dict[str, float]:
    return {
        "contrast": float(cells.mean() - background.mean()) if cells.size and background.size else math.nan,
        "cell_std": float(cells.std()) if cells.size else math.nan,
        "background_std": float(background.std()) if background.size else math.nan,
    }


def crowd(labels: Labels, room: int) -> dict[str, float]:
    """Density, clustering, size and shape of the cells; `room` is the px² that they could be in."""
    room = max(room, 1)
    y, x = np.nonzero(labels)
    cells = ellipses(np.unique(labels[y, x], return_inverse=True)[1], x, y)
    area = cells.area
    outline, touching = outlines(labels)
    found = {"density": 1e6 * len(area) / room, "confluence": float(area.sum()) / room}
    if not len(area):
        names = ("neighbour", "clark_evans", "contact", "area", "area_spread", "elongation", "roughness")
        return {**found, **dict.fromkeys(names, math.nan)}
    centres = np.stack([cells.y, cells.x], 1)
    major, minor = (np.maximum(variance, 1 / 12) for variance in (cells.major, cells.minor))  # a pixel's at least
    nearest = cKDTree(centres).query(centres, 2)[0][:, 1] if len(area) > 1 else np.array([math.nan])
    return {
        **found,
        "neighbour": float(np.median(nearest)),
        "clark_evans": float(nearest.mean() * 2 * np.sqrt(len(area) / room)),
        "contact": float(touching.sum() / max(outline.sum(), 1)),
        "area": float(np.median(area)),
        "area_spread": float(np.log(area).std()),
        "elongation": float(np.median(np.sqrt(major / minor))),
        "roughness": float(np.median(outline**2 / (4 * np.pi * area))),
    }


def outlines(labels: Labels) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Length of each cell's outline (N,), and of the part that touches another cell, in pixel edges times π/4.

    π/4 makes the mean over directions right (Crofton). The image's edge is no outline.
    """
    ends = [(labels[1:], labels[:-1]), (labels[:, 1:], labels[:, :-1])]
    one = np.concatenate([np.concatenate([a[a != b], b[a != b]]) for a, b in ends])
    other = np.concatenate([np.concatenate([b[a != b], a[a != b]]) for a, b in ends])
    size = int(labels.max()) + 1
    present = np.flatnonzero(np.bincount(labels.ravel(), minlength=size)[1:]) + 1
    outline = np.bincount(one, minlength=size)[present].astype(np.float64)
    touching = np.bincount(one[other > 0], minlength=size)[present].astype(np.float64)
    return outline * (np.pi / 4), touching * (np.pi / 4)
