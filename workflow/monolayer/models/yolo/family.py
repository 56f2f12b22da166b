"""YOLO-seg: ultralytics' networks and losses in this pipeline's training loop; pipeline.py makes masks of them.

The library's own trainer reads one polygon a cell from text files (holes and parts are lost) and resumes from rounded
averages; here truth stays a label image, and training resumes exactly (models/fit.py).
"""

from __future__ import annotations

from collections.abc import Sequence
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from monolayer.backends.eager import eager
from monolayer.backends.graph import Graph
from monolayer.coco.instances import Instances
from monolayer.data.dataset import Sample, TrueCells, evenly, lines_in_turn
from monolayer.files import InputError
from monolayer.models import Trained
from monolayer.models.beginnings import SCRATCH, Beginning, GivenWeights, adopt, is_ours, named, read_weights
from monolayer.models.dihedral import turn
from monolayer.models.fit import fit
from monolayer.models.pipeline import find
from monolayer.models.validation import validation_scores
from monolayer.models.yolo.crops import boxes_xywh, placed, reduced, relit, renumbered
from monolayer.models.yolo.library import DEFAULT_CFG, DFL, SegmentationModel, attempt_download_asset, load_checkpoint
from monolayer.models.yolo.mask_loss import with_fast_masks
from monolayer.models.yolo.pipeline import STRIDE, Pipeline
from monolayer.params.families import YoloPredict, YoloTrain


def train(train: Sequence[Sample], val: Sequence[Sample], settings: YoloTrain, seed: int, workdir: Path) -> Trained:
    """Train one network on images of any size, scaled so that the longer side is about imgsz px."""
    torch.manual_seed(seed)
    network, begun = _initial(settings)
    task = _Task(TrueCells(train), evenly(val, settings.val_images), settings)
    checkpoint = workdir / ("last.pt" if begun is SCRATCH else f"last-{begun.key}.pt")
    return fit(network, task, settings.fit, seed, checkpoint, given=begun.whole).trained(begun)


def build(settings: YoloTrain, state: dict[str, Any], device: str) -> nn.Module:
    """The network of these settings with these weights, in eval; any key that differs is an error."""
    network = _network(settings)
    network.load_state_dict(state)
    return network.to(device).eval()


class CellGraph(nn.Module):
    """Grey images uint8 (B, H, W) to boxes xyxy (B, A, 4) in px, scores (B, A), mask coefficients (B, A, 32) and
    prototypes (B, 32, H / 4, W / 4)."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network
        cast(Any, network).model[-1].dynamic = True  # anchors follow the input's shape in an exported graph too

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        (outputs, protos), _ = self.network(_normalised(images))
        centre, size, scores, coefficients = outputs.float().transpose(1, 2).split([2, 2, 1, protos.shape[1]], dim=2)
        return torch.cat([centre - size / 2, centre + size / 2], dim=2), scores[..., 0], coefficients, protos


def graphs(network: nn.Module) -> dict[str, Graph]:
    example = torch.zeros(2, 2 * STRIDE, 3 * STRIDE, dtype=torch.uint8)
    axes = {"images": {0: "batch", 1: "height", 2: "width"}}
    return {"cells": Graph(CellGraph(network), (example,), axes, ("boxes", "scores", "coefficients", "protos"), STRIDE)}


def constants(network: nn.Module) -> dict[str, Any]:
    return {}


def predict(network: nn.Module, images: Sequence[NDArray[np.uint8]], settings: YoloPredict) -> list[Instances]:
    """The cells of each image, at native size; images of one input shape go through the network together."""
    return find(Pipeline.of(settings, constants(network)), eager(graphs(network)), images)


# ---- network and first weights -------------------------------------------------------------------


def _network(settings: YoloTrain) -> nn.Module:
    """One class, three input channels (the grey image three times, so that pretrained weights fit)."""
    try:
        network: Any = SegmentationModel(f"{settings.architecture}.yaml", ch=3, nc=1, verbose=False)  # type: ignore[no-untyped-call]
    except FileNotFoundError as error:
        known = "ultralytics' (such as yolo11n-seg, yolov9c-seg)"
        raise InputError(f"architecture {settings.architecture} is not one of {known}") from error
    network.args = deepcopy(DEFAULT_CFG)  # the gains of the losses
    network.args.overlap_mask = True  # truth comes as one plane of labels an image
    # YOLO26 has a second head whose boxes don't overlap, of which it gives the best 300 of an image; both are trained
    network.end2end = False
    head = network.model[-1]
    head.dfl = _Expected(head.dfl.c1) if isinstance(head.dfl, DFL) else _Given()
    return cast(nn.Module, network)


class _Expected(DFL):
    """Distances (B, 4, A) of a box's edges from its anchor, in float32 whatever the products' precision.

    Half precision has no digits for an edge's place: at 1024 px float16 would round it to half a pixel.
    """

    def forward(self, x: Tensor) -> Tensor:
        if not torch.is_autocast_enabled(x.device.type):
            return super().forward(x)
        with torch.autocast(x.device.type, enabled=False):
            return super().forward(x.float())


class _Given(nn.Identity):
    """Likewise, where the network gives the distances themselves, as YOLO26 does."""

    def forward(self, x: Tensor) -> Tensor:
        return x.float()


def _initial(settings: YoloTrain) -> tuple[nn.Module, Beginning]:
    """The untrained network and where its weights come from; weights that can't be had are an error."""
    network = _network(settings)
    if settings.weights == "none":
        return network, SCRATCH
    source = _pretrained_file(settings) if settings.weights == "pretrained" else Path(settings.weights)
    if is_ours(source):
        return network, adopt(network, read_weights(source))
    try:
        other, _ = load_checkpoint(str(source))  # type: ignore[no-untyped-call]
    except Exception as error:  # whatever the library makes of a bad file
        raise InputError(
            f"weights {source} can't be read ({error}); name a YOLO-seg .pt, a run's weights.pt, `pretrained` or `none`"
        ) from error
    head = f"model.{len(cast(Any, network).model) - 1}"
    # what depends on the number of classes; all else has to fit, or masks, say, would be learned anew without a word
    classes = [f"{head}.{part}." for part in ("cv3", "one2one_cv3", "proto.semseg")]
    given = GivenWeights(other.float().state_dict(), named(source.name, source.read_bytes()))
    return network, adopt(network, given, classes)


def _pretrained_file(settings: YoloTrain) -> Path:
    """The library's file for this architecture, fetched once into the user's cache of torch."""
    cache = Path(torch.hub.get_dir()) / "monolayer"
    cache.mkdir(parents=True, exist_ok=True)
    target = cache / f"{settings.architecture}.pt"
    try:
        attempt_download_asset(target)
        fault = None
    except Exception as error:
        fault = error
    if fault or not target.exists():
        raise InputError(
            f"pretrained weights {target.name} can't be fetched{f' ({fault})' if fault else ''}; give the path of a "
            "downloaded file as `weights`, or say `weights: none` to train from scratch"
        ) from fault
    return target


# ---- training ------------------------------------------------------------------------------------


@dataclass
class _Task:
    """What models/fit.py trains: an image a draw, at random scale and place on a square."""

    cells: TrueCells
    val: Sequence[Sample]
    settings: YoloTrain
    reduction: ClassVar[Literal["sum"]] = "sum"

    def __post_init__(self) -> None:
        every = self.cells.samples
        self.epoch = lines_in_turn(every) if self.settings.balance else list(range(len(every)))
        self.side = self.settings.crop or self.settings.imgsz

    def __len__(self) -> int:
        """Draws of an epoch."""
        return len(self.epoch)

    def draw(self, index: int, rng: np.random.Generator) -> tuple[str, tuple[NDArray[np.uint8], NDArray[np.int32]]]:
        sample = self.cells.samples[self.epoch[index]]
        way = 4 * (rng.random() < 0.5) + int(rng.integers(4))
        image, labels = turn(sample.pixels(), way), turn(self.cells.labels(self.epoch[index]), way)
        jitter = self.settings.scale_jitter
        gain = self.settings.imgsz / max(image.shape) * float(rng.uniform(1 - jitter, 1 + jitter))
        image, labels = placed(image, labels, gain, self.side, rng)
        return sample.image["file_name"], (relit(image, self.settings, rng), labels)

    def collate(self, samples: list[tuple[NDArray[np.uint8], NDArray[np.int32]]]) -> dict[str, Tensor]:
        """The library's batch: one class, boxes xywh in units of the image, and label planes of 1/mask_ratio."""
        size, step = self.side, self.settings.mask_ratio
        planes = [renumbered(labels) for _, labels in samples]
        boxes = [boxes_xywh(plane) / size for plane in planes]
        return {
            "img": torch.from_numpy(np.stack([image for image, _ in samples])),
            "masks": (masks := torch.from_numpy(np.stack([reduced(plane, step) for plane in planes]))),
            "sem_masks": torch.zeros_like(masks),  # the class of each cell's pixels, which YOLO26 learns besides
            "bboxes": torch.from_numpy(np.concatenate(boxes)),
            "cls": torch.zeros(sum(map(len, boxes)), 1),
            "batch_idx": torch.cat([torch.full((len(box),), float(k)) for k, box in enumerate(boxes)]),
        }

    def losses(self, network: nn.Module, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        """The library's losses, summed over the batch as it does: its learning rates are meant for that."""
        device = next(network.parameters()).device
        there = {name: value.to(device, non_blocking=True) for name, value in batch.items()}
        there["img"] = _normalised(there["img"])
        known: Any = network
        if getattr(known, "criterion", None) is None:
            known.criterion = with_fast_masks(known.init_criterion())
        outputs = network(there["img"])
        # half precision ends here: bfloat16 would round the edges of a box to 2 px, as it has 8 digits for its place
        with torch.autocast(device.type, enabled=False):
            total, parts = known.loss(there, _in_float32(outputs))
        return dict(zip(parts, total, strict=True))

    def validate(self, network: nn.Module) -> dict[str, float]:
        settings = self.settings.val_predict
        scores = validation_scores(self.val, lambda images: predict(network, images, settings), settings.batch)
        if self.settings.best_by == "ap":
            return scores | {"score": scores["val_mask_ap"]}
        enough = scores["val_recall"] >= self.settings.recall_floor
        # below the floor recall itself is the score, from -1 up, so that the least bad epoch is kept
        return scores | {"score": scores["val_precision"] if enough else scores["val_recall"] - 1}


def _in_float32(outputs: Any) -> Any:
    """The library's outputs, tensors in any nesting."""
    if isinstance(outputs, dict):
        return {name: _in_float32(part) for name, part in outputs.items()}
    return outputs.float() if isinstance(outputs, Tensor) else type(outputs)(map(_in_float32, outputs))


def _normalised(images: Tensor) -> Tensor:
    """uint8 (B, H, W) to float (B, 3, H, W) in [0, 1]."""
    return images.float()[:, None].expand(-1, 3, -1, -1) / 255
