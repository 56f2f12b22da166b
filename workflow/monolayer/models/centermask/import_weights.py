"""Weights of the official CenterMask2 (detectron2's checkpoints, ImageNet backbones) for networks of this pipeline.

The names stand for the modules of youngwanLEE/centermask2 at 6adabd6; no file of that project is needed or used.
"""

from __future__ import annotations

import logging
import pickle
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO, Any

import numpy as np
import torch
from torch import Tensor

from monolayer import models
from monolayer.files import InputError
from monolayer.models.centermask.network import CenterMask
from monolayer.params.families import CenterMaskTrain
from monolayer.params.steps import TrainParams

logger = logging.getLogger(__name__)

BACKBONE = "backbone.bottom_up."
PIXELS = ("pixel_mean", "pixel_std")
PER_CLASS = re.compile(r"\.(cls_logits|predictor|maskiou)\.(weight|bias)$")  # one row for each class

# Our name of a tensor, the official one. Stages count from 2 there, blocks, pyramid levels and mask layers from 1 or 3.
RULES: list[tuple[str, Any]] = [
    (r"backbone\.stem\.(\d)\.(\w+)", lambda m: f"{BACKBONE}stem.stem_{_up(m[1], 1)}/{m[2]}"),
    (
        r"backbone\.stages\.(\d)\.(\d+)\.layers\.(\d)\.(\w+)",
        lambda m: f"{_block(m)}.layers.{m[3]}.{_osa(m)}_{m[3]}/{m[4]}",
    ),
    (
        r"backbone\.stages\.(\d)\.(\d+)\.reduction\.(\w+)",
        lambda m: f"{_block(m)}.conv_reduction.{_osa(m)}_reduction_0/{m[3]}",
    ),
    (r"backbone\.stages\.(\d)\.(\d+)\.concat\.(\w+)", lambda m: f"{_block(m)}.concat.{_osa(m)}_concat/{m[3]}"),
    (r"backbone\.stages\.(\d)\.(\d+)\.attention", lambda m: f"{_block(m)}.ese"),
    (r"pyramid\.inner_blocks\.(\d)\.0", lambda m: f"backbone.fpn_lateral{_up(m[1], 3)}"),
    (r"pyramid\.layer_blocks\.(\d)\.0", lambda m: f"backbone.fpn_output{_up(m[1], 3)}"),
    (r"pyramid\.extra_blocks", "backbone.top_block"),
    (r"detector\.class_tower", "proposal_generator.fcos_head.cls_tower"),
    (r"detector\.box_tower", "proposal_generator.fcos_head.bbox_tower"),
    (r"detector\.logits", "proposal_generator.fcos_head.cls_logits"),
    (r"detector\.ltrb", "proposal_generator.fcos_head.bbox_pred"),
    (r"detector\.centreness", "proposal_generator.fcos_head.ctrness"),
    (r"detector\.scales\.(\d)", r"proposal_generator.fcos_head.scales.\1.scale"),
    (r"mask_head\.convs\.(\d)", lambda m: f"roi_heads.mask_head.mask_fcn{_up(m[1], 1)}"),
    (r"mask_head\.attention", "roi_heads.mask_head.spatialAtt"),
    (r"mask_head\.enlarge", "roi_heads.mask_head.deconv"),
    (r"mask_head\.logits", "roi_heads.mask_head.predictor"),
    (r"iou_head\.convs\.(\d)", lambda m: f"roi_heads.maskiou_head.maskiou_fcn{_up(m[1], 1)}"),
    (r"iou_head\.layers\.(\d)", lambda m: f"roi_heads.maskiou_head.maskiou_fc{_up(m[1], 1)}"),
    (r"iou_head\.iou", "roi_heads.maskiou_head.maskiou"),
]


def import_weights(
    checkpoint: Path, params: TrainParams, output: Path, category: int | None, drop: Sequence[str]
) -> None:
    """Write weights.pt with what an official checkpoint holds: the whole network, or its backbone alone.

    `category` is the class to keep of several; tensors whose names begin with one of `drop` are left out on purpose.
    A tensor that is missing, unexpected or of another shape is an error that lists all of them.
    """
    if not isinstance(params.settings, CenterMaskTrain):
        raise InputError(f"import-weights is for the family centermask, not {params.family}; give such a run's params")
    given = {key: value for key, value in read_checkpoint(checkpoint).items() if not key.startswith(tuple(drop))}
    with torch.device("meta"):
        expected = CenterMask(params.settings.network).state_dict()
    state = convert(given, expected, str(checkpoint), category)
    whole = "detector.logits.weight" in state
    for key in PIXELS:
        if whole and key not in state:  # newer detectron2 saves them no more
            state[key] = torch.full((3, 1, 1), getattr(params.settings.network, key))
            logger.info("%s has no %s: it is %g as in the settings", checkpoint, key, state[key][0])
    models.save_weights(output, params, {"all": state})
    part = "the whole network" if whole else "the backbone"
    logger.info("%s: %s, %.1f million numbers", output, part, sum(value.numel() for value in state.values()) / 1e6)


def convert(
    given: Mapping[str, Tensor], expected: Mapping[str, Tensor], source: str, category: int | None
) -> dict[str, Tensor]:
    """Official tensors under our names, of the network or the backbone alone, with one class."""
    given = {key: value for key, value in given.items() if not key.endswith("num_batches_tracked")}
    whole = any(key.startswith(("proposal_generator.", "roi_heads.")) for key in given)
    if not whole:  # ImageNet backbones come with and without what they are part of
        given = {BACKBONE + key.removeprefix(BACKBONE): value for key, value in given.items()}
    names = {key: official_name(key, expected) for key in expected if whole or key.startswith("backbone.")}
    counted = {key: torch.zeros((), dtype=torch.long) for key in names if key.endswith("num_batches_tracked")}
    absent = {*counted, *(key for key in PIXELS if key not in given)}
    wanted = {name: expected[key] for key, name in names.items() if key not in absent}
    given = {key: _one_class(key, value, source, category) for key, value in given.items()}
    if faults := models.state_faults(wanted, given):
        raise InputError(f"{source} does not fit a network of these settings:\n" + "\n".join(faults))
    return {key: given[name].float() for key, name in names.items() if name in wanted} | counted


def official_name(key: str, keys: Mapping[str, Any]) -> str:
    """The official name of one of our tensors, of which `keys` holds all."""
    name = key
    for pattern, replacement in RULES:
        name, count = re.subn("^" + pattern, replacement, key)
        if count:
            break
    unit = re.sub(r"\.(conv|norm)\.\w+$", "", key)
    if f"{unit}.depthwise.weight" in keys:  # such a unit has two convolutions there and its norm another name
        name = name.replace("/conv.", "/pw_conv1x1.").replace("/norm.", "/pw_norm.")
    return name.replace("/depthwise.", "/dw_conv3x3.")


def _up(number: str, by: int) -> int:
    return int(number) + by


def _osa(match: re.Match[str]) -> str:
    return f"OSA{_up(match[1], 2)}_{_up(match[2], 1)}"


def _block(match: re.Match[str]) -> str:
    return f"{BACKBONE}stage{_up(match[1], 2)}.{_osa(match)}"


def _one_class(key: str, value: Tensor, source: str, category: int | None) -> Tensor:
    if not PER_CLASS.search(key) or len(value) == 1:
        return value
    if category is None or not 0 <= category < len(value):
        raise InputError(
            f"{source} knows {len(value)} classes, this pipeline one; keep one: --category 0 to {len(value) - 1}"
        )
    return value[category : category + 1]


def read_checkpoint(path: Path) -> dict[str, Tensor]:
    """The tensors of a torch (.pth) or a plain pickle (.pkl) checkpoint; nothing in the file is ever run."""
    try:
        with path.open("rb") as file:
            content = _NumpyOnly(file, encoding="latin1").load() if path.suffix == ".pkl" else _torch_load(file)
    except (OSError, RuntimeError, EOFError, ValueError, pickle.UnpicklingError) as error:
        raise InputError(f"{path} is not readable as a checkpoint of plain tensors: {error}") from error
    state = content.get("model", content.get("state_dict", content)) if isinstance(content, dict) else content
    if not isinstance(state, Mapping):
        raise InputError(f"{path} holds a {type(state).__name__}, not tensors by name; give a detectron2 checkpoint")
    tensors = {str(key): torch.as_tensor(v) for key, v in state.items() if isinstance(v, Tensor | np.ndarray)}
    if not tensors:
        raise InputError(f"{path} holds no tensors by name; give a detectron2 checkpoint")
    return tensors


# What numpy's arrays and numbers are made of in a pickle, old and new names.
_PLAIN = {
    (module, name): getattr(np._core.multiarray, name)  # type: ignore[attr-defined]
    for module in ("numpy.core.multiarray", "numpy._core.multiarray")
    for name in ("_reconstruct", "scalar")
} | {
    ("numpy", "ndarray"): np.ndarray,
    ("numpy", "dtype"): np.dtype,
    ("_codecs", "encode"): lambda text, _: text.encode("latin1"),  # bytes in pickles of protocol 2
    ("collections", "OrderedDict"): dict,
}


def _torch_load(file: IO[bytes]) -> Any:
    dtypes = [type(np.dtype(kind)) for kind in ("f2", "f4", "f8", "i4", "i8", "?")]
    known = [(value, f"{module}.{name}") for (module, name), value in _PLAIN.items() if module.startswith("numpy")]
    with torch.serialization.safe_globals([*dtypes, *known]):
        return torch.load(file, map_location="cpu", weights_only=True)


class _NumpyOnly(pickle.Unpickler):
    """Unpickle numpy arrays in plain containers; whatever else a pickle names is refused."""

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) in _PLAIN:
            return _PLAIN[module, name]
        raise pickle.UnpicklingError(f"it names {module}.{name}, which is no plain data; convert it where you trust it")
