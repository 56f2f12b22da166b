"""How far synthetic images lie from the originals, line by line: in a space of image features, and in what they count.

The poster's analysis, with numbers: principal components of the originals' features, synthetic images projected on
them, the energy distance between the two clouds (Székely and Rizzo 2013) and a permutation test. The test takes images
as independent; synthetic ones share cells and backgrounds with the originals, so that its p-value is a lower bound.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from monolayer.coco.io import read_truth
from monolayer.coco.labels import label_image
from monolayer.data.dataset import Sample, samples
from monolayer.files import write_csv
from monolayer.parallel import each
from monolayer.params.extensions import DomainShiftParams
from monolayer.progress import track
from monolayer.synthesis.comparison import KINDS, Comparison, Row, compare, of_line, quantities
from monolayer.synthesis.features import FEATURES, features

logger = logging.getLogger(__name__)


def domain_shift(
    images: Path, truth: Path, extension: Path, params: DomainShiftParams, output: Path, *, workers: int
) -> None:
    """Compare an extension with the training images that it was made from; write tables and figures into `output`."""
    from monolayer.synthesis import figures

    synthetic = samples(read_truth(extension / "annotations.json"), extension / "images")
    every = [*samples(read_truth(truth), images), *synthetic]
    values = np.array(list(track(each(measure, every, workers), len(every), f"domain shift of {extension.name}")))
    split = len(every) - len(synthetic)
    lines = sorted({sample.image["cell_line"] for sample in every})
    compared = {
        line: compare((of_line(every[:split], values[:split], line), of_line(synthetic, values[split:], line)), params)
        for line in lines
    }
    for line in (line for line in lines if not compared[line].row["components"]):
        said = "cell line %s: no domain shift can be told by %d original images, which differ in no feature"
        logger.warning(said, line, len(compared[line].scores[0]))
    tables: dict[str, list[Row]] = {
        "features": [row for line in lines for row in feature_rows(line, compared[line])],
        "shift": [{"cell_line": line, **compared[line].row} for line in lines],
        "distributions": [row for line in lines for row in histograms(line, compared[line], params.bins)],
    }
    for name, rows in tables.items():
        write_csv(output / f"{name}.csv", [written(row) for row in rows])
    figures.draw_shift(output / "shift.svg", compared)
    figures.draw_samples(output / "samples.png", compared, params.samples)


def measure(sample: Sample) -> list[float]:
    """The FEATURES of one sample, in their order; its crowds are covered, for they are neither cells nor background."""
    pixels = sample.pixels()
    labels, crowds = (
        label_image((one["segmentation"] for one in part), *pixels.shape)
        for part in (sample.annotations, sample.crowds)
    )
    found = features(pixels, labels, (labels > 0) | (crowds == 0))
    return [found[name] for name in FEATURES]


def written(row: Row) -> dict[str, str | int]:
    """Numbers to six digits, which is what of them is the same on any machine."""
    return {name: f"{value:.6g}" if isinstance(value, float) else value for name, value in row.items()}


def histograms(line: str, compared: Comparison, bins: int) -> Iterable[Row]:
    """The share of a line's images (of its cells, for the area) in each of `bins` steps, for both kinds."""
    for name, one in quantities(compared.clouds[0]).items():
        other = quantities(compared.clouds[1])[name]
        both = np.concatenate([one, other])
        low, high = np.quantile(both, [0, 0.995]) if len(both) else (0.0, 1.0)  # the rest is in the last step
        edges = np.linspace(low, max(high, low + 1e-6), bins + 1)
        for kind, values in zip(KINDS, (one, other), strict=True):
            counts = np.histogram(values.clip(edges[0], edges[-1]), edges)[0] / max(len(values), 1)
            for index, share in enumerate(counts.tolist()):
                step: Row = {"cell_line": line, "quantity": name, "kind": kind}
                yield {**step, "low": float(edges[index]), "high": float(edges[index + 1]), "share": share}


def feature_rows(line: str, compared: Comparison) -> Iterable[Row]:
    """Each image with its place on the first two components, if there are so many, and its features."""
    for kind, cloud, scores in zip(KINDS, compared.clouds, compared.scores, strict=True):
        places = np.pad(scores, ((0, 0), (0, 2)), constant_values=math.nan)[:, :2].tolist()
        for sample, (pc1, pc2), values in zip(cloud.samples, places, cloud.values.tolist(), strict=True):
            row: Row = {"cell_line": line, "kind": kind, "file_name": sample.image["file_name"]}
            yield {**row, "pc1": pc1, "pc2": pc2, **dict(zip(FEATURES, values, strict=True))}
