#!/usr/bin/env bash
# Three channels of 16 bits as a colour TIFF that keeps plane after plane (PlanarConfiguration 2), which is how tifffile
# writes an array of (3, height, width) with photometric "rgb"; and the same of 8 bits, and pixel after pixel.
#
# Guess before running: Pillow has no colours of 16 bits, so it refuses or gives the upper 8 bits.
# Seen: pixel after pixel it gives the upper 8 bits. Plane after plane it takes each byte for a pixel: a row becomes two,
# of upper and lower bytes in turn, and the lower half of the image is gone, in an array of the right shape; nothing is
# said. A cell down there isn't found. 8 bits are right; tifffile and libvips have all.
set -euo pipefail
command -v uv >/dev/null || pip install -q uv
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cat >"$work/probe.py" <<'PY'
import numpy as np
import PIL
import pyvips
import tifffile
from PIL import Image

print(f"Pillow {PIL.__version__}, tifffile {tifffile.__version__}, libvips {pyvips.version(0)}.{pyvips.version(1)}")


def read(dtype: type, *levels: int, order: str) -> np.ndarray:
    """What Pillow has of flat channels with a cell in the lower half, after the others have read the same."""
    planes = np.stack([np.full((48, 64), level, dtype) for level in levels])
    planes[:, 30:40, 50:60] *= 2
    pixels, path = np.moveaxis(planes, 0, -1), f"{np.dtype(dtype)}_{order}.tif"
    tifffile.imwrite(path, planes if order == "separate" else pixels, photometric="rgb", planarconfig=order)
    with tifffile.TiffFile(path) as tiff:
        assert tiff.pages[0].planarconfig.name == order.upper()
    assert np.array_equal(pyvips.Image.new_from_file(path).numpy(), pixels)
    found = np.asarray(Image.open(path))
    assert found.shape == pixels.shape
    if dtype == np.uint16 and order == "separate":
        upper = planes.astype("<u2").view(np.uint8).reshape(3, 96, 64)[:, :48]
        assert np.array_equal(found, np.moveaxis(upper, 0, -1)), "the finding is out of date"
    return found


def colours(pixels: np.ndarray) -> list[list[int]]:
    return np.unique(pixels.reshape(-1, 3), axis=0).tolist()


seen = {
    "8 bits": colours(read(np.uint8, 50, 100, 120, order="separate")),
    "16 bits, contiguous": colours(read(np.uint16, 1000, 2000, 3000, order="contig")),
    "16 bits, planar": colours(read(np.uint16, 1000, 2000, 3000, order="separate")),
}
for name, found in seen.items():
    print(f"{name}: {found}")
assert seen["8 bits"] == [[50, 100, 120], [100, 200, 240]]
assert seen["16 bits, contiguous"] == [[3, 7, 11], [7, 15, 23]], "the finding is out of date"
assert seen["16 bits, planar"] == [[3, 7, 11], [232, 208, 184]], "the finding is out of date"
PY
cd "$work"
uv run --quiet --isolated --no-project --python 3.11 --with pillow==13.0.0 --with tifffile==2026.3.3 --with pyvips==3.2.0 \
    --with pyvips-binary==8.18.7 --with numpy==2.4.6 python probe.py
