#!/usr/bin/env bash
# An image, half of it 0 and half 100, and a label image with two cells, in Zarr of format 2 (OME-Zarr 0.4) and of format 3
# (0.5), written by zarr with the names of their axes, and opened with xarray.
#
# Guess before running: the whole numbers that were written, in both formats: mean 50, background 0, labels as they are.
# Seen (xarray 2026.9.0, zarr 3.1.6): so it is in format 3. In format 2 the number for chunks that aren't there, zarr's 0, is
# taken for "no value": all that is 0 is NaN, whole numbers are floats, the mean passes over dark pixels and is 100, no pixel
# equals 0, and the label 2**53 + 1 is 2**53, which the other cell has. No warning. mask_and_scale=False gives what was written.
set -euo pipefail
command -v uv >/dev/null || pip install -q uv
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cat >"$work/probe.py" <<'PY'
import warnings

import numpy as np
import xarray as xr
import zarr

warnings.simplefilter("error", UserWarning)
print("xarray", xr.__version__, "zarr", zarr.__version__)
image = np.repeat(np.array([[0], [100]], np.uint16), 4, axis=1)
labels = np.array([[0, 0, 0, 0], [0, 2**53, 2**53 + 1, 0]], np.uint64)


def opened(form: int, **options: bool) -> tuple[object, ...]:
    """Types of both, the image's mean, its pixels that are 0, and the cells' numbers."""
    group = zarr.create_group(store := f"plate_{form}.zarr", zarr_format=form, overwrite=True)
    for name, pixels in (("image", image), ("labels", labels)):
        axes = {"dimension_names": ("y", "x")} if form == 3 else {"attributes": {"_ARRAY_DIMENSIONS": ["y", "x"]}}
        group.create_array(name, data=pixels, **axes)
    data = xr.open_dataset(store, engine="zarr", consolidated=False, **options)
    cells = {int(label) for label in np.unique(data.labels.values) if label > 0}
    types = f"{data.image.dtype} {data.labels.dtype}"
    return types, float(data.image.mean()), int((data.image == 0).sum()), len(cells)


seen = {form: opened(form) for form in (2, 3)}
plain = opened(2, mask_and_scale=False)
for name, found in (("format 2", seen[2]), ("format 3", seen[3]), ("format 2, mask_and_scale=False", plain)):
    print(f"{name}: {found[0]}, mean {found[1]:g}, {found[2]} dark pixels, {found[3]} cells")
assert seen[3] == plain == ("uint16 uint64", 50.0, 4, 2)
assert seen[2][0].startswith("float") and seen[2][1:] == (100.0, 0, 1), "numbers stay as they are: the finding is out of date"
PY
cd "$work"
uv run --quiet --isolated --no-project --python 3.11 --with xarray==2026.9.0 --with zarr==3.1.6 --with numpy==2.4.6 \
    python probe.py
