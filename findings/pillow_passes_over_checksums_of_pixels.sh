#!/usr/bin/env bash
# A PNG in which one bit of the compressed pixels has flipped, as a bad disk or copy leaves it, opened by two readers.
#
# Guess before running: each chunk of a PNG has a CRC and its zlib stream another checksum; a reader that meets a wrong
# one says so, as Pillow does for the header's.
# Seen: Pillow checks the CRC of every chunk but IDAT, and often has all pixels before it comes to the stream's own
# checksum: for a sixth of the flipped bits here it gives other pixels without a word. imagecodecs (libpng) raises.
set -euo pipefail
command -v uv >/dev/null || pip install -q uv
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cat >"$work/probe.py" <<'PY'
import io

import imagecodecs
import numpy as np
import PIL
from PIL import Image

image = np.zeros((120, 160), np.uint8)
for x in range(12):  # bright cells
    image[1:6, 8 * x + 1 : 8 * x + 6] = 255 - 10 * x
buffer = io.BytesIO()
Image.fromarray(image).save(buffer, "png")
whole = buffer.getvalue()
start = whole.index(b"IDAT") + 4
end = start + int.from_bytes(whole[start - 8 : start - 4], "big")


def outcomes(read):
    told = wrong = 0
    for place in range(start, end):
        changed = bytearray(whole)
        changed[place] ^= 1
        try:
            wrong += not np.array_equal(read(bytes(changed)), image)
        except Exception:
            told += 1
    return told, wrong


pillow = outcomes(lambda data: np.asarray(Image.open(io.BytesIO(data))))
libpng = outcomes(imagecodecs.png_decode)
count = end - start
print(f"Pillow {PIL.__version__}: of {count} flipped bits {pillow[0]} are told, {pillow[1]} give other pixels")
print(f"imagecodecs {imagecodecs.__version__}: {libpng[0]} are told, {libpng[1]} give other pixels")
assert pillow[1] > count / 10, "the finding is out of date"
assert libpng == (count, 0), "the finding is out of date"
PY
uv run --quiet --isolated --no-project --python 3.11 --with pillow==13.0.0 --with imagecodecs==2026.3.6 \
    --with numpy==2.4.6 python "$work/probe.py"
