#!/usr/bin/env bash
# Random crops of the same image in a torch DataLoader, two epochs of 16, without worker processes and with two; nothing is
# seeded. Which of the 32 crops differ?
#
# Guess before running: all but for chance, whatever the workers: libraries for training draw anew in each.
# Seen (torch 2.15.0): with torchvision they do. With two workers albumentations 2.0.8 and MONAI 1.6.1 make 8 crops, each four
# times: a transform has a generator of its own, of which each forked worker gets the same copy, in each epoch anew. All 32
# differ without workers. MONAI's own DataLoader seeds its workers, and all differ, too.
set -euo pipefail
command -v uv >/dev/null || pip install -q uv
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cat >"$work/probe.py" <<'PY'
import os
import warnings
from importlib.metadata import version

os.environ["NO_ALBUMENTATIONS_UPDATE"] = "1"
warnings.simplefilter("ignore")
import albumentations
import numpy as np
import torch
from monai.data import DataLoader as MonaiDataLoader
from monai.transforms import RandSpatialCrop
from torch.utils.data import DataLoader, Dataset
from torchvision.transforms import v2

print({name: version(name) for name in ("albumentations", "monai", "torchvision", "torch")})
image = np.arange(512 * 512, dtype=np.float32).reshape(1, 512, 512)  # each pixel has a number of its own


class Crops(Dataset):
    """The same image 16 times, each time cropped to a pixel."""

    def __init__(self, crop):
        self.crop = crop

    def __len__(self) -> int:
        return 16

    def __getitem__(self, index: int) -> float:
        return float(np.ravel(self.crop(image))[0])


def different(crop, loader: type[DataLoader], workers: int) -> int:
    """How many of the 32 crops of two epochs differ."""
    batches = loader(Crops(crop), batch_size=4, num_workers=workers, multiprocessing_context="fork" if workers else None)
    return len({place for _ in range(2) for batch in batches for place in batch.tolist()})


composed, tensors = albumentations.Compose([albumentations.RandomCrop(1, 1)]), v2.RandomCrop(1)
crops = {
    "albumentations": (lambda image: composed(image=image[0])["image"], DataLoader),
    "MONAI": (RandSpatialCrop((1, 1), random_size=False), DataLoader),
    "MONAI in its own DataLoader": (RandSpatialCrop((1, 1), random_size=False), MonaiDataLoader),
    "torchvision": (lambda image: tensors(torch.from_numpy(image)), DataLoader),
}
seen = {}
for name, given in crops.items():
    seen[name] = [different(*given, workers) for workers in (0, 2)]
    print(f"{name}: of 32 crops in two epochs {seen[name]} differ without workers and with two")
repeated, fresh = list(seen.values())[:2], list(seen.values())[2:]
assert all(two == 8 for _, two in repeated), "workers draw anew: the finding is out of date"
assert min(*(none for none, _ in repeated), *fresh[0], *fresh[1]) >= 30  # of 262,144 places two may be one by chance
PY
uv run --quiet --isolated --no-project --python 3.11 --with albumentations==2.0.8 --with monai==1.6.1 --with torch==2.15.0 \
    --with torchvision==0.29.2 --with opencv-python-headless==5.0.0.93 --with numpy==2.4.6 python "$work/probe.py"
