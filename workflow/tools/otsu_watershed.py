# /// script
# requires-python = ">=3.11,<3.14"
# dependencies = ["scikit-image==0.26.0", "tifffile==2026.3.3"]
# ///
"""The textbook's segmentation as a tool of its own: Otsu's threshold, distance map, watershed.

uv run --script workflow/tools/otsu_watershed.py IMAGES LABELS
"""

import sys
from pathlib import Path

import numpy as np
import tifffile
from scipy import ndimage
from skimage import feature, filters, io, morphology, segmentation

images, labels = Path(sys.argv[1]), Path(sys.argv[2])
for path in sorted(images.iterdir()):
    smooth = filters.gaussian(io.imread(path, as_gray=True), 1.5)
    cells = smooth > filters.threshold_otsu(smooth)
    cells = cells if cells.mean() <= 0.5 else ~cells  # they cover less than the background, bright or dark
    cells = ndimage.binary_fill_holes(morphology.opening(cells, morphology.disk(2)))
    distance = filters.gaussian(ndimage.distance_transform_edt(cells), 1)
    seeds = feature.peak_local_max(distance, min_distance=6, labels=ndimage.label(cells)[0])
    markers = np.zeros(cells.shape, np.int32)
    markers[tuple(seeds.T)] = np.arange(1, len(seeds) + 1)
    found = segmentation.watershed(-distance, markers, mask=cells)
    tifffile.imwrite(labels / f"{path.stem}.tif", found.astype(np.uint16), photometric="minisblack")
