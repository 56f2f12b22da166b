"""The files of the model that finds a plate's cells: where they lie, and their sums."""

from __future__ import annotations

import hashlib
from pathlib import Path

from monolayer.backends.manifest import pretrained
from monolayer.params.plates import PlateFinding

EXPECTED = "expected_f1.json"  # of a model's folder


def model_folder(settings: PlateFinding) -> Path:
    return pretrained() if settings.model == "pretrained" else Path(settings.model)


def network_sums(folder: Path) -> dict[str, str]:
    """The files that decide which cells are found: not what is expected of them."""
    return {name: value for name, value in sums(folder).items() if name != EXPECTED}


def sums(folder: Path) -> dict[str, str]:
    """The files of a model by their sums."""
    files = [path for path in sorted(folder.rglob("*")) if path.suffix in (".json", ".onnx")]
    return {path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}
