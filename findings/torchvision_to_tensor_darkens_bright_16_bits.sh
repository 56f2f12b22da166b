#!/usr/bin/env bash
# A camera's image of 16 bits, opened with Pillow and made a tensor by torchvision's ToTensor, as many data sets do.
#
# Guess before running: 0 to 1, as for 8 bits; or, where that isn't meant for 16 bits, the pixels' own numbers.
# Seen (torchvision 0.29.2): the bytes are taken for signed numbers (int16) and not scaled: 40,000 is -25,536 and 65,535 is
# -1, so that the brightest cells are darker than the ground; up to 32,767 all looks right. Nothing is said. v2.ToImage with
# v2.ToDtype(torch.float32, scale=True) gives 0 to 1.
set -euo pipefail
command -v uv >/dev/null || pip install -q uv
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cat >"$work/probe.py" <<'PY'
from importlib.metadata import version

import numpy as np
import torch
from PIL import Image
from torchvision.transforms import ToTensor, v2

print({name: version(name) for name in ("torchvision", "pillow")})
pixels = np.array([[0, 1_000, 32_767, 32_768, 40_000, 65_535]], np.uint16)
image = Image.fromarray(pixels)
classic = ToTensor()(image)
new = v2.Compose([v2.ToImage(), v2.ToDtype(torch.float32, scale=True)])(image)
eight = ToTensor()(Image.fromarray(np.uint8([[0, 255]])))
print(f"pixels {pixels.tolist()}, mode {image.mode}")
print("ToTensor:", classic.dtype, classic.tolist())
print("v2.ToImage, v2.ToDtype(float32, scale=True):", new.dtype, new.double().numpy().round(4).tolist())
print("ToTensor of 8 bits, 0 and 255:", eight.tolist())
assert eight.tolist() == [[[0.0, 1.0]]]
assert classic.tolist() == [[[0, 1_000, 32_767, -32_768, -25_536, -1]]], "bright pixels are bright: the finding is out of date"
assert np.allclose(new, pixels / 65_535)
PY
uv run --quiet --isolated --no-project --python 3.11 --with torch==2.15.0 --with torchvision==0.29.2 --with pillow==13.0.0 \
    --with numpy==2.4.6 python "$work/probe.py"
