"""The family of CenterMask: how its networks are trained, built again, and find cells."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from monolayer.backends.eager import eager
from monolayer.backends.graph import Graph
from monolayer.coco.instances import Instances
from monolayer.data.dataset import Sample, evenly, lines_in_turn
from monolayer.files import InputError
from monolayer.models import Trained, load_state
from monolayer.models.beginnings import SCRATCH, Beginning, read_weights
from monolayer.models.centermask.crops import Crop, TargetCells, cells_in, cropped
from monolayer.models.centermask.network import CenterMask, Dense, MaskGraph
from monolayer.models.centermask.pipeline import DIVISOR, Pipeline
from monolayer.models.fit import fit
from monolayer.models.pipeline import find
from monolayer.models.validation import validation_scores
from monolayer.params.families import CenterMaskPredict, CenterMaskTrain


def train(
    train: Sequence[Sample], val: Sequence[Sample], settings: CenterMaskTrain, seed: int, workdir: Path
) -> Trained:
    """Train one network; `learning_rate` is for `nominal_batch` images and scaled with the batch (arXiv 1706.02677)."""
    torch.manual_seed(seed)
    network = CenterMask(settings.network)
    begun = SCRATCH if settings.weights == "none" else start_from(network, Path(settings.weights))
    rate = settings.fit.learning_rate * settings.fit.batch * settings.fit.grad_accumulation / settings.nominal_batch
    fitted = fit(
        network,
        CenterMaskTask(train, evenly(val, settings.val_images), settings),
        settings.fit.model_copy(update={"learning_rate": rate}),
        seed,
        workdir / f"last-{begun.key}.pt",
        given=begun.whole,
    )
    return fitted.trained(begun, parameters=sum(p.numel() for p in network.parameters()))


def start_from(network: CenterMask, path: Path) -> Beginning:
    """Put weights, of the whole network or its backbone alone, into it."""
    if path == Path("pretrained"):
        raise InputError("CenterMask has no weights to fetch; convert official ones with `monolayer import-weights`")
    state, source, seen = read_weights(path)
    backbone = {key.removeprefix("backbone."): value for key, value in state.items() if key.startswith("backbone.")}
    whole = len(backbone) < len(state)
    load_state(network if whole else network.backbone, state if whole else backbone, str(path))
    return Beginning(f"{'whole network' if whole else 'backbone'} of {source}", whole, seen)


def build(settings: CenterMaskTrain, state: dict[str, Any], device: str) -> CenterMask:
    """The network of these training settings with these weights, in eval."""
    with torch.device("meta"):  # no first weights that would be overwritten
        network = CenterMask(settings.network)
    load_state(network, state, "weights.pt")
    return network.to(device).eval()


def graphs(network: CenterMask) -> dict[str, Graph]:
    channels = network.pyramid.layer_blocks[0][0].out_channels
    height, width = 9 * DIVISOR, 12 * DIVISOR  # P7 has more than one row and column: a single one would be fixed
    image = torch.zeros(2, 3, height, width)
    levels = tuple(torch.zeros(1, channels, height // stride, width // stride) for stride in (8, 16, 32))
    boxes = torch.tensor([[0.0, 0.0, 40.0, 30.0], [4.0, 8.0, 20.0, 24.0]])
    sides = {f"p{i}": {2: f"height{i}", 3: f"width{i}"} for i in (3, 4, 5)}
    return {
        "dense": Graph(
            Dense(network),
            (image,),
            {"images": {0: "batch", 2: "height", 3: "width"}},
            ("p3", "p4", "p5", "class_prob", "centreness", "ltrb"),
            DIVISOR,
        ),
        "masks": Graph(
            MaskGraph(network),
            (*levels, boxes, torch.tensor([float(height), float(width)])),
            {**sides, "boxes": {0: "regions"}, "size": {}},
            ("masks", "ious"),
        ),
    }


def constants(network: CenterMask) -> dict[str, Any]:
    return {"mean": network.pixel_mean.flatten().tolist(), "std": network.pixel_std.flatten().tolist()}


def predict(network: CenterMask, images: Sequence[NDArray[np.uint8]], settings: CenterMaskPredict) -> list[Instances]:
    """The cells of each uint8 (H, W) image; one at a time, so that no image's cells depend on the others'."""
    return find(Pipeline.of(settings, constants(network)), eager(graphs(network), settings.amp), images)


class CenterMaskTask:
    """Draws of the training images, the network's losses on them, and mask AP on some validation images."""

    reduction: Final = "mean"

    def __init__(self, train: Sequence[Sample], val: Sequence[Sample], settings: CenterMaskTrain) -> None:
        self.train, self.val, self.settings = train, val, settings
        self.epoch = lines_in_turn(train) if settings.balance else range(len(train))

    def __len__(self) -> int:
        return len(self.epoch)

    def draw(self, index: int, rng: np.random.Generator) -> tuple[str, tuple[Tensor, TargetCells]]:
        sample = self.train[self.epoch[index]]
        image = sample.pixels()
        crop = self._crop(image.shape, rng)
        return sample.image["file_name"], (cropped(image, crop), cells_in(sample.annotations, crop))

    def _crop(self, shape: tuple[int, ...], rng: np.random.Generator) -> Crop:
        height, width = shape
        rows, columns = (min(side, self.settings.window or side) for side in shape)
        y, x = int(rng.integers(height - rows + 1)), int(rng.integers(width - columns + 1))
        mirrored, upturned, transposed = (int(rng.integers(2)) for _ in range(3))
        # as predict sees the whole image, whatever the window
        zoom = min(float(rng.choice(self.settings.zoom)), self.settings.max_side / max(shape))
        way = 4 * mirrored
        if self.settings.symmetry == "all":  # flipped left to right, then upside down, then along the diagonal
            way = 4 * ((mirrored + upturned + transposed) % 2) + 2 * upturned + transposed
        return Crop((x, y, columns, rows), way, zoom, height * width)

    def collate(self, samples: list[tuple[Tensor, TargetCells]]) -> tuple[list[Tensor], list[TargetCells]]:
        return [image for image, _ in samples], [cells for _, cells in samples]

    def losses(self, network: nn.Module, batch: tuple[list[Tensor], list[TargetCells]]) -> dict[str, Tensor]:
        assert isinstance(network, CenterMask)
        device = network.pixel_mean.device
        images = [image.to(device, non_blocking=True) for image in batch[0]]
        cells = [TargetCells(*(part.to(device, non_blocking=True) for part in of)) for of in batch[1]]
        return network.losses(images, cells, self.settings.proposals, self.settings.roi_batch)

    def validate(self, network: nn.Module) -> dict[str, float]:
        settings = self.settings.val_predict
        scores = validation_scores(self.val, lambda images: predict(cast(CenterMask, network), images, settings), 1)
        return scores | {"score": scores["val_mask_ap"]}
