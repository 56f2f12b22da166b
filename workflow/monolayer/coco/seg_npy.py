"""Cellpose's `_seg.npy`: a pickled dictionary, of which only numbers are read, and nothing is run.

The file is numpy's own: an array () of one object. A pickle can name any function; here all that it names becomes
either an array of plain numbers or a thing without behaviour.
"""

from __future__ import annotations

import io
import pickle
import re
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from monolayer.files import InputError

NUMBER = re.compile(r"[biuf][1248]")  # numpy's short names of plain numbers
CURE = "save it again with Cellpose, or give its masks as TIFF or PNG"


class _Inert:
    """Whatever the pickle names and labels don't need, as a path or a torch tensor."""

    def __init__(self, *_: Any) -> None: ...

    def __setstate__(self, state: Any) -> None: ...


class _PickledDtype(_Inert):
    """The type of an array's numbers."""

    def __init__(self, name: Any, *_: Any) -> None:
        self.name, self.order = str(name), "="

    def __setstate__(self, state: Any) -> None:
        self.order = str(state[1])

    def dtype(self) -> np.dtype[Any]:
        if not NUMBER.fullmatch(self.name) or self.order not in "<>|=":
            raise ValueError(f"values of type {self.name}")
        return np.dtype(self.order + self.name)


class _PickledArray(_Inert):
    """An array as its shape, type and bytes; one of objects holds them in `content`."""

    content: Any = None
    state: Any = None

    def __setstate__(self, state: Any) -> None:
        self.state = state
        if isinstance(state[4], list):
            self.content = state[4]

    def array(self) -> NDArray[Any]:
        _, shape, kind, fortran, raw = self.state
        return np.frombuffer(raw, kind.dtype()).reshape(shape, order="F" if fortran else "C")


KNOWN = {"_reconstruct": _PickledArray, "dtype": _PickledDtype}


class _Unpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        return KNOWN.get(name, _Inert) if module.partition(".")[0] == "numpy" else _Inert

    def persistent_load(self, pid: Any) -> Any:
        return _Inert()


def read_seg_npy(path: Path) -> NDArray[np.int64]:
    """The label image (H, W) of a `_seg.npy`, or of a plain `.npy` of whole numbers."""
    try:
        with path.open("rb") as file:
            masks = _masks(file)
    except Exception as error:  # a damaged pickle raises of all kinds
        raise InputError(f"{path} is not readable as Cellpose's _seg.npy ({error}); {CURE}") from error
    masks = masks[0] if masks.ndim == 3 and len(masks) == 1 else masks
    if masks.dtype.kind not in "iub" or masks.ndim != 2:
        what = f"masks of shape {masks.shape} and type {masks.dtype}"
        raise InputError(f"{path} has {what}; a label image is one plane (height, width) of whole numbers from 0 on")
    labels = masks.astype(np.int64)
    if labels.min(initial=0) < 0:
        raise InputError(f"{path} holds the label {labels.min()}; a label image has whole numbers from 0 on")
    return labels


def _masks(file: Any) -> NDArray[Any]:
    version = np.lib.format.read_magic(file)
    header = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    _, _, dtype = header(file)
    if not dtype.hasobject:
        file.seek(0)
        return np.asarray(np.load(file, allow_pickle=False))
    [content] = _Unpickler(file).load().content
    masks = content["masks"]
    if not isinstance(masks, _PickledArray):
        raise ValueError("its masks are no array")
    return masks.array()


def seg_npy(labels: NDArray[np.int32], file_name: str) -> bytes:
    """A label image as Cellpose keeps it: its window opens the image `file_name`, beside it, with these cells."""
    from skimage.segmentation import find_boundaries

    masks = labels.astype(np.uint16 if labels.max(initial=0) < 2**16 - 1 else np.uint32)
    edges = find_boundaries(masks, mode="inner")  # type: ignore[no-untyped-call]
    content = {
        "masks": masks,
        "outlines": np.where(edges, masks, 0).astype(masks.dtype),
        "ismanual": np.zeros(int(masks.max(initial=0)), np.bool_),
        "filename": file_name,
    }
    buffer = io.BytesIO()
    np.save(buffer, content, allow_pickle=True)  # type: ignore[arg-type]  # a dictionary becomes an array of one
    return buffer.getvalue()
