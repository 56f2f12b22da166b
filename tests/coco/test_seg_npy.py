"""Cellpose's `_seg.npy` gives its labels and runs nothing; what is written numpy reads without this package."""

from __future__ import annotations

import io
import os
import pickle
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from monolayer.coco.seg_npy import read_seg_npy, seg_npy
from monolayer.files import InputError

LABELS = np.zeros((7, 9), np.int32)
LABELS[1:4, 1:5], LABELS[4:6, 2:4], LABELS[0, 8] = 1, 2, 3


class Hostile:
    """What a pickle can be."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return os.mkdir, (str(self.path),)


@pytest.mark.parametrize(
    "masks",
    [LABELS.astype(np.uint16), LABELS.astype(">u4"), np.asfortranarray(LABELS), LABELS.astype(np.uint8)[None]],
    ids=["uint16", "big-endian", "Fortran order", "a stack of one"],
)
def test_labels_among_all_that_cellpose_keeps(tmp_path: Path, masks: Any) -> None:
    flows = [np.zeros((1, 7, 9, 3), np.uint8), np.zeros((7, 9), np.float32), [], np.array(["text"])]
    others = {"flows": flows, "filename": Path("a.tif"), "est_diam": np.float64(30), "zdraw": [None], "img": {1, 2}}
    np.save(tmp_path / "a_seg.npy", {"outlines": masks * 0, "masks": masks, **others})  # type: ignore[arg-type]
    labels = read_seg_npy(tmp_path / "a_seg.npy")
    assert np.array_equal(labels, LABELS)


def test_nothing_in_it_is_run(tmp_path: Path) -> None:
    trap = tmp_path / "trap"
    content = {"masks": LABELS, "model": Hostile(trap)}
    np.save(tmp_path / "a_seg.npy", content)  # type: ignore[arg-type]
    assert np.array_equal(read_seg_npy(tmp_path / "a_seg.npy"), LABELS)
    assert not trap.exists()
    np.load(tmp_path / "a_seg.npy", allow_pickle=True)
    assert trap.exists()  # it would have been


def saved(masks: Any) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, {"masks": masks})  # type: ignore[arg-type]
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (saved(LABELS)[:300], "is not readable as Cellpose's _seg.npy"),
        (saved(LABELS)[:-200], "is not readable as Cellpose's _seg.npy"),
        (b"", "is not readable as Cellpose's _seg.npy"),
        (pickle.dumps({"masks": LABELS}), "save it again with Cellpose, or give its masks as TIFF or PNG"),
        (saved([1, 2]), "its masks are no array"),
        (saved(LABELS.astype(object)), "is not readable as Cellpose's _seg.npy"),
        (saved(LABELS / 2), "type float64; a label image is one plane"),
        (saved(np.stack([LABELS, LABELS])), "masks of shape (2, 7, 9)"),
        (saved(LABELS - 1), "holds the label -1"),
    ],
)
def test_what_can_not_be_used(tmp_path: Path, content: bytes, message: str) -> None:
    (tmp_path / "a_seg.npy").write_bytes(content)
    with pytest.raises(InputError, match=re.escape(message)):
        read_seg_npy(tmp_path / "a_seg.npy")


def test_a_plain_array(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", LABELS)
    assert np.array_equal(read_seg_npy(tmp_path / "a.npy"), LABELS)


def test_numpy_reads_what_is_written(tmp_path: Path) -> None:
    """Without this package, and the outline of a cell is its own pixels at its edge, as in Cellpose."""
    path = tmp_path / "a_seg.npy"
    path.write_bytes(seg_npy(LABELS, "a.tif"))
    content = np.load(path, allow_pickle=True).item()
    assert np.array_equal(content["masks"], LABELS)
    assert content["masks"].dtype == np.uint16
    assert content["filename"] == "a.tif"
    assert not content["ismanual"].any()
    assert len(content["ismanual"]) == 3
    inside = np.zeros_like(LABELS, bool)
    inside[2, 2:4] = True
    assert np.array_equal(content["outlines"], np.where(inside, 0, LABELS))
    assert np.array_equal(read_seg_npy(path), LABELS)
    assert seg_npy(LABELS.copy(), "a.tif") == path.read_bytes()
    many = np.arange(70_000, dtype=np.int32).reshape(200, 350)
    path.write_bytes(seg_npy(many, "a.tif"))
    assert np.array_equal(read_seg_npy(path), many)
