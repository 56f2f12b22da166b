"""Pictures of an extension: where its images lie among the originals, and what they look like beside them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray
from PIL import Image as PillowImage
from PIL import ImageDraw
from skimage.segmentation import find_boundaries

from monolayer.coco.labels import label_image
from monolayer.data.dataset import Sample, read_image
from monolayer.files import atomic_write
from monolayer.synthesis.comparison import KINDS, Cloud, Comparison, quantities

COLOURS = {"original": "#666666", "synthetic": "#d1495b"}
STYLE: Any = {"svg.hashsalt": "monolayer", "svg.fonttype": "none", "text.parse_math": False, "font.size": 8}
AXES = {"count": "cells in an image", "confluence": "confluence", "area": "area of a cell, px²"}
POINTS = 400  # images of one kind and line in a scatter plot
WINDOW = 320  # px: sides of the windows that samples are shown through
CAPTION = 16  # px: height of the line of text above them
RED = (255, 64, 64)


def draw_shift(path: Path, compared: Mapping[str, Comparison]) -> None:
    """One row for each line: both clouds on the first two components, and the distributions of what is counted."""
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(10, 2.2 * len(compared)), layout="constrained")
        for (line, one), axes in zip(compared.items(), figure.subplots(len(compared), 4, squeeze=False), strict=True):
            for kind, cloud, scores in reversed(list(zip(KINDS, one.clouds, one.scores, strict=True))):
                places = np.pad(scores, ((0, 0), (0, 2)))[:: -(-len(scores) // POINTS) or 1]
                axes[0].plot(places[:, 0], places[:, 1], ".", ms=3, color=COLOURS[kind], label=kind, alpha=0.6)
                for axis, (name, values) in zip(axes[1:], quantities(cloud).items(), strict=True):
                    both = np.concatenate([quantities(cloud)[name] for cloud in one.clouds])
                    top = float(np.quantile(both, 0.995)) if len(both) else 1.0
                    edges = np.linspace(0, max(top, 1e-6), 21)
                    weights = np.full(len(values), 1 / max(len(values), 1))
                    axis.hist(values.clip(0, top), edges, weights=weights, histtype="step", color=COLOURS[kind])
                    axis.set_xlabel(AXES[name])
            axes[0].set_title(f"{line}: energy distance {one.row['energy_distance']:.2f}, p {one.row['p_value']:.3f}")
            axes[0].set_xlabel("component 1")
            axes[0].set_ylabel("component 2")
        figure.axes[0].legend(loc="best", fontsize=7)
        with atomic_write(path) as partial:
            figure.savefig(partial, format="svg", metadata={"Date": None})


def draw_samples(path: Path, compared: Mapping[str, Comparison], count: int) -> None:
    """One row for each line: `count` times an original, a synthetic image as confluent, and that with its truth."""
    rows = [sample_row(line, one.clouds, count) for line, one in compared.items()]
    with atomic_write(path) as partial:
        PillowImage.fromarray(np.concatenate(rows)).save(partial, "png")


def sample_row(line: str, clouds: tuple[Cloud, Cloud], count: int) -> NDArray[np.uint8]:
    """uint8 (H, 3 count WINDOW, 3), sparse to dense; H is CAPTION and what the line's images are high, or WINDOW."""
    tiles, height = list[tuple[str, NDArray[np.uint8]]](), 0
    for quantile in (np.arange(count) + 0.5) / count:
        original, other = (at_confluence(cloud, quantile) for cloud in clouds)
        tiles.append((f"{line}: {original.image['file_name']}", window(read_image(original.path))))
        tiles.append((f"{line}: synthetic {other.image['file_name']}", window(read_image(other.path))))
        tiles.append(("its truth", window(outlined(other))))
        height = max(height, min(WINDOW, max(original.image["height"], other.image["height"])))
    return np.concatenate([captioned(tile[:height], text) for text, tile in tiles], 1)


def at_confluence(cloud: Cloud, quantile: float) -> Sample:
    """The sample at that quantile of confluence."""
    order = np.argsort(quantities(cloud)["confluence"], kind="stable")
    return cloud.samples[int(order[int(quantile * len(order))])]


def outlined(sample: Sample) -> NDArray[np.uint8]:
    """The image as uint8 (H, W, 3) with its true cells' own pixels at their edges in red."""
    pixels = read_image(sample.path)
    labels = label_image([cell["segmentation"] for cell in sample.annotations], *pixels.shape)
    coloured = np.repeat(pixels[..., None], 3, axis=2)
    coloured[find_boundaries(labels, mode="inner")] = RED  # type: ignore[no-untyped-call]
    return coloured


def window(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The middle of an image, grey or coloured, as uint8 (WINDOW, WINDOW, 3); white where the image is smaller."""
    if pixels.ndim == 2:
        pixels = np.repeat(pixels[..., None], 3, axis=2)
    top, left = (max(side - WINDOW, 0) // 2 for side in pixels.shape[:2])
    part = pixels[top : top + WINDOW, left : left + WINDOW]
    out = np.full((WINDOW, WINDOW, 3), 255, np.uint8)
    out[: part.shape[0], : part.shape[1]] = part
    return out


def captioned(pixels: NDArray[np.uint8], text: str) -> NDArray[np.uint8]:
    """The image below a line of text."""
    strip = PillowImage.new("RGB", (pixels.shape[1], CAPTION), "white")
    ImageDraw.Draw(strip).text((2, 2), text, fill="black")
    return np.concatenate([np.asarray(strip), pixels])
