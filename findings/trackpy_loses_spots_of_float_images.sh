#!/usr/bin/env bash
# 49 equal spots on a dim ground, one bright speck beside them, found with trackpy.locate: the image as the camera's whole
# numbers, the same as float32, and divided by 65,535.
#
# Guess before running: the numbers are the same, so the spots are; scaled, too, with minmass=0.
# Seen (trackpy 0.7): all 49 in uint16 whatever the speck. Of floats 8 bits are kept, 255 steps up to the brightest: in float32
# all are found beside a speck of 30,000, 6 beside 40,000 and none beside 60,000, without a word. In 0 to 1 none is found
# even without a speck, as all below 1 / 255 is taken away (threshold), 257 of the camera's grey levels.
set -euo pipefail
command -v uv >/dev/null || pip install -q uv
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cat >"$work/probe.py" <<'PY'
import warnings
from importlib.metadata import version

warnings.simplefilter("ignore")
import numpy as np
import trackpy

trackpy.quiet()
print("trackpy", version("trackpy"))
rng, (rows, columns) = np.random.default_rng(0), np.mgrid[:256, :256]
light = np.full((256, 256), 100.0)
for row in range(32, 240, 32):
    for column in range(32, 240, 32):
        light += 400 * np.exp(-((rows - row) ** 2 + (columns - column) ** 2) / (2 * 2**2))  # 49 spots


def found(image: np.ndarray) -> int:
    """How many of the 49 spots have one found within a pixel."""
    spots = trackpy.locate(image, 9, minmass=0)[["y", "x"]].to_numpy(float)
    near = np.abs(spots - 32 * np.round(spots / 32)).max(1) < 1
    return len(np.unique(np.round(spots[near] / 32), axis=0))


seen = {}
for speck in (0, 30_000, 40_000, 60_000):
    image = rng.poisson(light).astype(np.uint16)
    image[16:19, 16:19] += np.uint16(speck)
    seen[speck] = [found(given) for given in (image, image.astype(np.float32), image / 65_535)]
    print(f"a speck of {speck}: found {seen[speck][0]} of 49 in uint16, {seen[speck][1]} in float32, {seen[speck][2]} in 0 to 1")
assert [counts[0] for counts in seen.values()] == [49] * 4 and [counts[1] for counts in seen.values()][:2] == [49] * 2
assert seen[40_000][1] < 20 and seen[60_000][1] == 0, "floats keep more than 8 bits: the finding is out of date"
assert [counts[2] for counts in seen.values()] == [0] * 4
PY
uv run --quiet --isolated --no-project --python 3.11 --with trackpy==0.7 --with pandas==3.1.1 --with scipy==1.17.1 \
    --with numpy==2.4.6 python "$work/probe.py"
