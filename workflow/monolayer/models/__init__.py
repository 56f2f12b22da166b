"""The families of models: one module each, the same few functions, and the neutral form of what they find."""

from __future__ import annotations

import importlib
import pickle
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Protocol, cast

import numpy as np
from numpy.typing import NDArray

from monolayer.coco.rle import InputError, Mask, Result, Rle, whole_file
from monolayer.data.dataset import Sample
from monolayer.params.steps import TrainParams

MODELS = {
    "yolo": "monolayer.models.yolo.family",
    "unet": "monolayer.models.unet.family",
    "centermask": "monolayer.models.centermask.family",
}


@dataclass(frozen=True)
class Instances:
    """The cells found in one image, best first.

    masks[i] is bool (h, w), its upper left pixel at offsets_xy[i] of the image: memory goes with the cells' area,
    never with cells x image. boxes_xyxy is the detector's box, float32 (N, 4) in px. scores is float32 (N,) in [0, 1];
    mask_scores, where a family rates its masks, is what mask AP ranks by.
    """

    height: int
    width: int
    masks: list[Mask]
    offsets_xy: NDArray[np.int32]
    boxes_xyxy: NDArray[np.float32]
    scores: NDArray[np.float32]
    mask_scores: NDArray[np.float32] | None = None

    def at_least(self, score: float) -> Instances:
        """Those that score so much or more, by their masks' scores where they have any."""
        scores = self.scores if self.mask_scores is None else self.mask_scores
        kept = np.flatnonzero(scores >= score)
        return replace(
            self,
            masks=[self.masks[index] for index in kept],
            offsets_xy=self.offsets_xy[kept],
            boxes_xyxy=self.boxes_xyxy[kept],
            scores=self.scores[kept],
            mask_scores=None if self.mask_scores is None else self.mask_scores[kept],
        )

    def results(self, image_id: int) -> Iterator[Result]:
        """COCO results at native image size; a cell without a pixel is not a cell."""
        for index, counts in enumerate(self._counts()):
            if counts is None:
                continue
            x0, y0, x1, y1 = (round(float(v), 2) for v in self.boxes_xyxy[index])
            result = Result(
                image_id=image_id,
                category_id=1,
                segmentation=Rle(size=[self.height, self.width], counts=counts),
                bbox=[x0, y0, round(x1 - x0, 2), round(y1 - y0, 2)],
                score=round(float(self.scores[index]), 5),
            )
            if self.mask_scores is not None:
                result["mask_score"] = round(float(self.mask_scores[index]), 5)
            yield result

    def _counts(self) -> list[str | None]:
        """COCO's compressed counts of each mask, all in one go; None for one without a pixel."""
        from monolayer.evaluation.pairs import encode_crops

        if not self.masks:
            return []
        sizes = np.array([mask.shape[::-1] for mask in self.masks], np.int32)
        boxes = np.concatenate([self.offsets_xy, sizes], axis=1)
        if (boxes[:, :2] < 0).any() or (boxes[:, :2] + sizes > [self.width, self.height]).any():
            raise InputError(f"a mask leaves its image of {self.width}x{self.height} px")
        pixels = np.concatenate([mask.ravel() for mask in self.masks])
        text, ends, empty = encode_crops(pixels, boxes, self.height, self.width)
        every, bounds = text.tobytes().decode(), [0, *ends.tolist()]
        pairs = zip(bounds, bounds[1:], empty.tolist(), strict=False)
        return [None if nothing else every[start:end] for start, end, nothing in pairs]


@dataclass(frozen=True)
class Trained:
    """What training leaves: tensors by name, one row per epoch, where the first weights came from, other facts."""

    state: dict[str, Any]
    history: list[dict[str, float]]
    initial: str
    facts: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Graph:
    """A part of a network that every backend runs as one: what goes in and comes out are tensors."""

    module: Any  # nn.Module
    example: tuple[Any, ...]  # of each input
    axes: dict[str, dict[int, str]]  # of each input, by its name: the axes whose lengths vary, and their names
    outputs: tuple[str, ...]
    multiple: int = 1  # of which height and width must be multiples


class Family(Protocol):
    """The functions of a family's module."""

    def train(self, train: Sequence[Sample], val: Sequence[Sample], settings: Any, seed: int, workdir: Path) -> Trained:
        """Train one network; `workdir` holds the resumable checkpoint and is kept when the job is killed."""

    def build(self, settings: Any, state: dict[str, Any], device: str) -> Any:
        """The network of these training settings with these weights; any key that differs is an error."""

    def graphs(self, network: Any) -> dict[str, Graph]:
        """The network's graphs, by the names that the family's finder calls them by."""

    def constants(self, network: Any) -> dict[str, Any]:
        """What the family's finder has to know of the network; plain numbers and lists."""

    def predict(self, network: Any, images: Sequence[NDArray[np.uint8]], settings: Any) -> list[Instances]:
        """The cells of each uint8 (H, W) image, at its native size."""


def family(name: str) -> Family:
    """The module of a family; importing it may import torch."""
    return cast(Family, importlib.import_module(MODELS[name]))


def save_weights(path: Path, params: TrainParams, networks: dict[str, dict[str, Any]]) -> None:
    """Write the networks of a run, by name, with what is needed to build them; the same bytes every time."""
    import torch

    # through a file object: given a path, torch writes the file's name into the archive
    with whole_file(path) as partial, partial.open("wb") as file:
        torch.save({"params": params.model_dump_json(), "networks": networks}, file)


def load_weights(path: Path, device: str) -> tuple[TrainParams, dict[str, Any]]:
    """The parameters of a run and its networks, by name, ready for predict."""
    import torch

    try:
        content = torch.load(path, map_location=device, weights_only=True)
        params = TrainParams.model_validate_json(content["params"])
        states = content["networks"]
    except (OSError, EOFError, RuntimeError, KeyError, TypeError, ValueError, pickle.UnpicklingError) as error:
        raise InputError(f"{path} is not a weights.pt of this pipeline ({error}); train the run again") from error
    build = family(params.family).build
    return params, {name: build(params.settings, state, device) for name, state in states.items()}


def load_state(network: Any, state: dict[str, Any], source: str) -> None:
    """Put weights into a network (nn.Module) in place; every key that differs is named in the error."""
    faults = state_faults(network.state_dict(), state)
    if faults:
        raise InputError(f"{source} does not fit a network of these settings:\n" + "\n".join(faults))
    network.load_state_dict(state, assign=True)  # also of a network without memory, on the device meta


def state_faults(expected: Mapping[str, Any], given: Mapping[str, Any]) -> list[str]:
    """A line for every missing, unexpected and mis-shaped key of `given`."""
    missing = [f"  missing: {key} {tuple(expected[key].shape)}" for key in expected if key not in given]
    unexpected = [f"  unexpected: {key} {tuple(given[key].shape)}" for key in given if key not in expected]
    misshaped = [
        f"  mis-shaped: {key} is {tuple(given[key].shape)}, not {tuple(value.shape)}"
        for key, value in expected.items()
        if key in given and given[key].shape != value.shape
    ]
    return missing + unexpected + misshaped
