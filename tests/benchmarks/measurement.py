"""Measuring 1,000 cells on one core, beside scikit-image's regionprops_table; and the parts of it.

    python tests/benchmarks/measurement.py [--cells 1000] [--repeats 5]

CPU seconds, the best of the repeats, so that other work on the machine does not count.
"""

from __future__ import annotations

import argparse
import math
import time
from collections.abc import Callable
from typing import Any

import numpy as np
from monolayer.coco.labels import label_tiff, rles_from_labels
from monolayer.measurement import files
from monolayer.measurement.measure import cell_columns, instances
from monolayer.params.steps import NeighbourParams
from numpy.typing import NDArray
from skimage.measure import regionprops_table

PROPERTIES = (
    "area",
    "perimeter_crofton",
    "feret_diameter_max",
    "solidity",
    "eccentricity",
    "orientation",
    "centroid",
    "intensity_mean",
    "intensity_min",
    "intensity_max",
    "intensity_std",
    "intensity_median",
)


def culture(count: int) -> tuple[NDArray[np.int32], NDArray[np.uint8]]:
    """Label image and pixels of `count` ellipses of 12 to 30 px."""
    rng, side = np.random.default_rng(0), math.ceil(math.sqrt(count))
    labels, (y, x) = np.zeros((33 * side, 33 * side), np.int32), np.mgrid[-16:17, -16:17]
    for number in range(count):
        a, b, turn = rng.uniform(9, 15), rng.uniform(6, 9), rng.uniform(0, math.pi)
        u, v = y * math.cos(turn) + x * math.sin(turn), x * math.cos(turn) - y * math.sin(turn)
        row, column = 33 * (number // side), 33 * (number % side)
        labels[row : row + 33, column : column + 33][(u / a) ** 2 + (v / b) ** 2 <= 1] = number + 1
    return labels, rng.integers(0, 256, labels.shape).astype(np.uint8)


def seconds(work: Callable[[], Any], repeats: int) -> float:
    work()  # compiles
    times = []
    for _ in range(repeats):
        started = time.process_time()
        work()
        times.append(time.process_time() - started)
    return min(times)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cells", type=int, default=1000)
    parser.add_argument("--repeats", type=int, default=5)
    args = parser.parse_args()
    labels, pixels = culture(args.cells)
    cells = [(1.0, rle) for rle in rles_from_labels(labels)]
    found, neighbours = instances(cells, *labels.shape), NeighbourParams(gap=1, radius=100)
    columns = cell_columns(found, labels, pixels, neighbours)
    parts: dict[str, Callable[[], Any]] = {
        "measure: from RLE to all columns": lambda: cell_columns(
            instances(cells, *labels.shape), labels, pixels, neighbours
        ),
        "label image": found.label_image,
        "label TIFF": lambda: label_tiff([labels], None),
        "ROI zip": lambda: files.roi_zip([found]),
        "scikit-image, 12 of the columns": lambda: regionprops_table(labels, pixels, properties=PROPERTIES),  # type: ignore[no-untyped-call]
    }
    print(f"{args.cells} cells, {len(columns)} columns, CPU seconds")
    taken = {name: seconds(work, args.repeats) for name, work in parts.items()}
    for name, value in taken.items():
        print(f"  {name}: {value:.3f}")
    ours, *_, theirs = taken.values()
    print(f"scikit-image takes {theirs / ours:.1f} times as long; 1,000 cells in {1000 * ours / args.cells:.3f} s")


if __name__ == "__main__":
    main()
