"""The U-Net family: foreground as the poster has it; cut where cells touch; or with the distance, from which they part.

Ronneberger et al., U-Net: Convolutional Networks for Biomedical Image Segmentation, MICCAI 2015, with padded
convolutions and batch norm; the cuts and their weights are of that paper too. `levels` 4, 5 and 6 of `width` 64 are the
poster's U-Net (64 to 512), its expanded form (1024) and the one of its ensemble (2048).
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product
from pathlib import Path
from typing import Any, Final, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from monolayer.backends.eager import eager
from monolayer.backends.graph import Graph
from monolayer.backends.manifest import pretrained
from monolayer.coco.instances import Instances
from monolayer.data.dataset import Sample, evenly
from monolayer.evaluation.matching import IOUS, match_labels
from monolayer.files import InputError
from monolayer.models import Trained
from monolayer.models.beginnings import SCRATCH, Beginning, adopt, read_weights
from monolayer.models.fit import fit
from monolayer.models.pipeline import Pipeline, find, pipeline
from monolayer.models.rescaled import ScaledCells, usual_diameter
from monolayer.models.unet.patches import Patches, contrast
from monolayer.models.unet.tiling import Float
from monolayer.models.unet.unfold import settle, unfolded
from monolayer.models.unet.watershed import Labels, Thresholds, separate
from monolayer.params.families import UnetPredict, UnetTrain

GAP_WEIGHT = 10.0  # of a pixel in the narrowest gap, beside the 1 of all (Ronneberger et al.)
SETTLED = 16  # patches, of which the norms of an unfolded network have their statistics


class Convolutions(nn.Sequential):
    """Two 3x3 convolutions, each normalised and rectified."""

    def __init__(self, inputs: int, outputs: int) -> None:
        layers: list[nn.Module] = []
        for channels in (inputs, outputs):
            layers += [nn.Conv2d(channels, outputs, 3, padding=1, bias=False), nn.BatchNorm2d(outputs), nn.ReLU(True)]
        super().__init__(*layers)


class UNet(nn.Module):
    """float (B, 1, H, W) to logits (B, outputs, H, W); H and W are multiples of `stride`.

    Blocks of `stem` x `stem` pixels enter as channels and leave as pixels (Shi et al., Real-Time Single Image and Video
    Super-Resolution Using an Efficient Sub-Pixel Convolutional Neural Network, CVPR 2016); `fine` channels of the
    image's own resolution pass beside them, from which outlines get their last pixel.
    """

    thresholds: Tensor
    contrast: Tensor
    zoom: Tensor

    def __init__(
        self,
        width: int,
        levels: int,
        outputs: int,
        stem: int = 1,
        *,
        fine: int = 0,
        zooms: bool = False,
        twofold: bool = False,
    ) -> None:
        super().__init__()
        self.twofold = twofold
        channels = [width * 2**level for level in range(levels)]
        upwards = list(zip(channels[:0:-1], channels[-2::-1], strict=True))
        self.stem, self.stride = stem, stem * 2 ** (levels - 1)
        self.down = nn.ModuleList(Convolutions(*pair) for pair in zip([stem**2, *channels], channels, strict=False))
        self.up = nn.ModuleList(nn.ConvTranspose2d(below, here, 2, stride=2) for below, here in upwards)
        self.merge = nn.ModuleList(Convolutions(2 * here, here) for _, here in upwards)
        if fine:
            self.fine, self.outline = Convolutions(1, fine), Convolutions(fine + width // stem**2, fine)
        self.head = nn.Conv2d(fine, outputs, 1) if fine else nn.Conv2d(width, outputs * stem**2, 1)
        self.register_buffer("thresholds", torch.tensor([0.5, 0.5, 0.0]))  # chosen on val once trained
        self.register_buffer("contrast", torch.tensor(1.0))  # of the training images
        if zooms:
            self.register_buffer("zoom", torch.tensor(1.0))  # px of its input per px of an image

    def forward(self, x: Tensor) -> Tensor:
        skipped, image = [], x
        if self.stem > 1:
            x = functional.pixel_unshuffle(x, self.stem)
        for level, convolve in enumerate(self.down):
            x = convolve(functional.max_pool2d(x, 2) if level else x)
            skipped.append(x)
        skipped.pop()
        for rise, convolve in zip(self.up, self.merge, strict=True):
            x = convolve(torch.cat([skipped.pop(), rise(x)], dim=1))
        if hasattr(self, "fine"):
            x = functional.pixel_shuffle(x, self.stem)
            return cast(Tensor, self.head(self.outline(torch.cat([self.fine(image), x], dim=1))))
        logits = self.head(x)
        return functional.pixel_shuffle(logits, self.stem) if self.stem > 1 else logits


def train(train: Sequence[Sample], val: Sequence[Sample], settings: UnetTrain, seed: int, workdir: Path) -> Trained:
    """Train one network; the thresholds that part cells are chosen on val and travel in its weights."""
    torch.manual_seed(seed)
    network = _network(settings)
    zoom = settings.diameter / usual_diameter(train) if settings.diameter else 1.0
    task = CellTask(train, val, settings, zoom)
    begun = _begin(network, settings, task, seed)
    if settings.diameter:
        network.zoom.fill_(zoom)
    if settings.fit.epochs:  # else all stays as given
        network.contrast.fill_(task.contrast)
    checkpoint = workdir / ("checkpoint.pt" if begun is SCRATCH else f"checkpoint-{begun.key}.pt")
    fitted = fit(network, task, settings.fit, seed, checkpoint, given=begun.whole)
    thresholds = Thresholds(*fitted.state["thresholds"].tolist())
    if settings.fit.epochs:
        thresholds = Thresholds(fitted.best["threshold_foreground"], fitted.best["threshold_marker"], task.area)
        fitted.state["thresholds"] = torch.tensor(thresholds)
    return fitted.trained(begun, thresholds=thresholds._asdict(), **({"zoom": zoom} if settings.diameter else {}))


def _begin(network: UNet, settings: UnetTrain, task: CellTask, seed: int) -> Beginning:
    """Give a network the weights that its settings name."""
    if settings.weights == "none":
        return SCRATCH
    path = pretrained() if settings.weights == "pretrained" else Path(settings.weights)
    exported = path.is_dir() or path.suffix == ".json"
    given = unfolded(network, path) if exported else read_weights(path)
    given.state.pop("zoom", None)
    if settings.diameter:  # which this one's own cells decide
        given.state["zoom"] = network.zoom
    shape = settings.width, settings.levels, settings.stem, settings.fine
    try:
        begun = adopt(network, given, ["head."])
    except InputError as error:
        has, asked = (f"width {w}, {n} levels, stem {s}, fine {f}" for w, n, s, f in (_shape(given.state), shape))
        raise InputError(f"{path} has {has}, the settings {asked}: {error}") from None
    if exported and settings.fit.epochs:
        drawn = [task.draw(i % len(task), np.random.default_rng([seed, i]))[1] for i in range(SETTLED)]
        settle(network, task.collate(drawn)[0])
    return begun


def _shape(state: dict[str, Tensor]) -> tuple[int, int, int, int]:
    """Width, levels, stem and fine channels of a network that has these tensors."""
    first = state.get("down.0.0.weight", torch.empty(0, 0))
    levels = sum(key.startswith("down.") and key.endswith(".0.weight") for key in state)
    return len(first), levels, round(first.shape[1] ** 0.5), len(state.get("fine.0.weight", ()))


def build(settings: UnetTrain, state: dict[str, Tensor], device: str) -> UNet:
    network = _network(settings)
    network.load_state_dict(state)
    return network.to(device).eval()


class MapGraph(nn.Module):
    """Tiles (B, 1, H, W) to probabilities (B, C, H, W); the one map of separated cells tells their middles too."""

    def __init__(self, network: UNet) -> None:
        super().__init__()
        self.network = network

    def forward(self, tiles: Tensor) -> tuple[Tensor]:
        logits: Tensor = self.network(tiles.contiguous(memory_format=torch.channels_last))
        maps = logits.float().sigmoid()
        return (torch.cat([maps, maps], dim=1) if self.network.twofold else maps,)


def graphs(network: UNet) -> dict[str, Graph]:
    example = torch.zeros(2, 1, 2 * network.stride, 3 * network.stride)
    axes = {"tiles": {0: "batch", 2: "height", 3: "width"}}
    return {"maps": Graph(MapGraph(network), (example,), axes, ("maps",), network.stride)}


def constants(network: UNet) -> dict[str, Any]:
    thresholds, contrast = network.thresholds.tolist(), float(network.contrast)
    zoom = {"zoom": float(network.zoom)} if hasattr(network, "zoom") else {}
    return {"thresholds": thresholds, "contrast": contrast, "stride": network.stride, **zoom}


def predict(network: UNet, images: Sequence[NDArray[np.uint8]], settings: UnetPredict) -> list[Instances]:
    return find(_pipeline(network, settings), eager(graphs(network)), images)


def probabilities(network: UNet, images: Sequence[NDArray[np.uint8]], settings: UnetPredict) -> list[Float]:
    """float32 (C, H, W) in [0, 1] for each uint8 (H, W) that has the network's scale: foreground, and if cells are to
    part what tells their middles: distance, or foreground again."""
    of = _pipeline(network, settings, zooms=False)
    return of.forward(eager(graphs(network)), [of.preprocess(image) for image in images])


def _pipeline(network: UNet, settings: UnetPredict, zooms: bool = True) -> Pipeline:
    known = constants(network)
    return pipeline("unet", settings, known if zooms else known | {"zoom": 1.0})


def _network(settings: UnetTrain) -> UNet:
    outputs = 2 if settings.target == "foreground+distance" else 1
    # channels last is half the time of a step on a CPU, and what tensor cores want
    shape = settings.width, settings.levels, outputs, settings.stem
    zooms, twofold = settings.diameter is not None, settings.target == "separated"
    network = UNet(*shape, fine=settings.fine, zooms=zooms, twofold=twofold)
    return network.to(memory_format=torch.channels_last)


class CellTask:
    """What a U-Net is trained on (fit.Task): patches of train; pixel F1 or instance F1 of some images of val."""

    reduction: Final = "mean"

    def __init__(self, train: Sequence[Sample], val: Sequence[Sample], settings: UnetTrain, zoom: float = 1.0) -> None:
        self.settings = settings
        self.contrast = contrast([sample.pixels() for sample in evenly(train, settings.contrast_images)])
        self.patches = Patches(ScaledCells(train, zoom), settings, self.contrast)
        self.val = ScaledCells(evenly(val, settings.val_images), zoom, room=0)
        self.parts = settings.target != "foreground"
        areas = [annotation["area"] for sample in train for annotation in sample.annotations]
        usual = float(np.percentile(areas, settings.min_area_percentile)) if areas else 0.0
        self.area = settings.min_area_factor * usual * zoom**2
        markers = settings.search.marker if self.parts else [0.5]
        self.candidates = [Thresholds(*pair, self.area) for pair in product(settings.search.foreground, markers)]
        self.draw = self.patches.draw

    def __len__(self) -> int:
        return self.settings.patches

    def collate(self, drawn: list[tuple[Float, NDArray[np.uint8]]]) -> tuple[Tensor, Tensor]:
        images, targets = zip(*drawn, strict=True)
        return torch.from_numpy(np.stack(images)), torch.from_numpy(np.stack(targets))

    def losses(self, network: nn.Module, batch: tuple[Tensor, Tensor]) -> dict[str, Tensor]:
        """Cross entropy and Dice of the foreground, whose narrow gaps weigh more if cells are to be separated; cross
        entropy of the distance, which is asked for in cells only."""
        device = next(network.parameters()).device
        image, target = (tensor.to(device, non_blocking=True) for tensor in batch)
        true = target.float() / 255
        logits = network(image.to(memory_format=torch.channels_last)).float()
        cross = functional.binary_cross_entropy_with_logits(logits, true[:, : logits.shape[1]], reduction="none")
        cells, probability = true[:, 0], logits[:, 0].sigmoid()
        weight = 1 + GAP_WEIGHT * true[:, 1] if self.settings.target == "separated" else 1
        losses = {
            "foreground": (cross[:, 0] * weight).mean(),
            "dice": 1 - (2 * (probability * cells).sum() + 1) / (probability.sum() + cells.sum() + 1),
        }
        if self.settings.target == "foreground+distance":
            losses["distance"] = (cross[:, 1] * cells).sum() / (cells.sum() + 1)
        return losses

    def validate(self, network: nn.Module) -> dict[str, float]:
        """Pixel F1 and instance F1 over IoU .50:.05:.95 with the thresholds of the best score.

        At IoU 0.5 alone, thresholds that shave the cells would look as good as those that outline them.
        """
        counts = np.zeros((len(self.candidates), 2, 3))  # tp, fp, fn of pixels and of cells
        for index in range(len(self.val.samples)):
            image, true = self.val.image(index), self.val.labels(index)
            [maps] = probabilities(cast(UNet, network), [image], self.settings.val_predict)
            saddle_ratio = self.settings.val_predict.saddle_ratio
            counts += [_count(true, separate(maps, thresholds, saddle_ratio)) for thresholds in self.candidates]
        tp, fp, fn = np.moveaxis(counts, -1, 0)
        f1 = 2 * tp / np.maximum(1, 2 * tp + fp + fn)
        scores = f1[:, 1 if self.parts else 0]
        best = int(scores.argmax())
        return {
            "val_pixel_f1": float(f1[best, 0]),
            "val_f1": float(f1[best, 1]),
            "threshold_foreground": self.candidates[best].foreground,
            "threshold_marker": self.candidates[best].marker,
            "score": float(scores[best]),
        }


def _count(true: Labels, pred: Labels) -> tuple[tuple[int, int, int], tuple[int, int, int]]:
    """tp, fp, fn of pixels, and of cells summed over IoU thresholds."""
    t, p = true > 0, pred > 0
    return (int((t & p).sum()), int((~t & p).sum()), int((t & ~p).sum())), match_labels(true, pred, IOUS)
