#!/usr/bin/env bash
# The mean of a float32 image in a function compiled by numba, by the size of the image; its pixels are Poisson numbers
# around 100.
#
# Guess before running: np.mean and np.sum within njit are numpy's: 100.0 in all sizes.
# Seen (numba 0.68.1): numpy adds in pairs, numba pixel by pixel to one float32, which is too coarse for a pixel once it's
# large: 99.7 of 2048 x 2048 px, 112.1 of 4096 x 4096, where 128 is added for each, and 57.3 of 6144 x 6144, where nothing is
# any more. Nothing is said. A total that starts as np.float64(0) is right.
set -euo pipefail
command -v uv >/dev/null || pip install -q uv
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cat >"$work/probe.py" <<'PY'
import numba
import numpy as np

print("numba", numba.__version__)


@numba.njit
def means(image: np.ndarray) -> tuple[float, float, float]:
    total = np.float64(0)
    for pixel in image.ravel():
        total += pixel
    return np.mean(image), np.sum(image) / image.size, total / image.size


tile = np.random.default_rng(0).poisson(100, (1024, 1024)).astype(np.float32)
seen = {}
for repeat in (1, 2, 4, 6):
    image = np.tile(tile, (repeat, repeat))
    seen[len(image)] = [float(value) for value in (image.mean(), *means(image))]
    numpys, mean, total, own = seen[len(image)]
    print(f"{len(image)} px square: numpy {numpys:.1f}, numba np.mean {mean:.1f}, np.sum {total:.1f}, summed in float64 {own:.1f}")
for numpys, mean, total, own in seen.values():
    assert abs(numpys - 100) < 0.1 and abs(own - 100) < 0.1 and abs(mean - total) < 0.1
assert abs(seen[1024][1] - 100) < 0.1 and 105 < seen[4096][1] < 115 and 50 < seen[6144][1] < 65, "the finding is out of date"
PY
uv run --quiet --isolated --no-project --python 3.11 --with numba==0.68.1 --with numpy==2.4.6 python "$work/probe.py"
