"""What `download` makes of a source."""

from __future__ import annotations

from pathlib import Path

from monolayer.coco.io import read_truth
from monolayer.coco.records import Truth
from monolayer.data import download
from monolayer.params.data import Dataset


def fetched(params: Dataset, folder: Path) -> Truth:
    download.download(params, folder / "images", folder / "annotations.json")
    return read_truth(folder / "annotations.json")


def kinds(truth: Truth) -> dict[str, int]:
    """How often it has found what."""
    return {finding["kind"]: finding["count"] for finding in truth["findings"]}
