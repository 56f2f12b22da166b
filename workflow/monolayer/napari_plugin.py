"""napari's side of it (napari.yaml): folders of measured cells open with their tables, and a widget finds cells.

Nothing here imports napari: its types stand in annotations.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from monolayer.data.reading import one_plane
from monolayer.files import InputError
from monolayer.measurement.formats import FORMATS
from monolayer.measurement.measure import unique_stems

if TYPE_CHECKING:
    import napari.layers
    import napari.types

PLACE = ("scale", "translate", "rotate", "shear", "affine", "units", "axis_labels")  # of a layer in the world
LayerData = tuple[Any, dict[str, Any], str]


def reader(path: str | list[str]) -> Callable[[Any], list[LayerData]] | None:
    """What opens a folder that `monolayer measure` wrote; None for anything else."""
    folder = Path(path) if isinstance(path, str) else None
    if folder is None or not (folder / "cells.parquet").is_file() or not (folder / "masks").is_dir():
        return None
    return lambda _: measured(folder)


def measured(folder: Path) -> list[LayerData]:
    """Label images of one size as a stack in which each cell has a number of its own, with its row of the table.

    Where the images lie as the workflow puts them, they are shown beneath.
    """
    import pandas as pd
    import tifffile

    cells = pd.read_parquet(folder / "cells.parquet")
    listed = pd.read_parquet(folder / "images.parquet", columns=["image_id", "file_name"])
    names = listed["file_name"].tolist()
    records: Any = listed.rename(columns={"image_id": "id"}).to_dict("records")
    paths = [folder / "masks" / f"{stem}{FORMATS['labels'].suffix}" for stem in unique_stems(records).values()]
    if missing := [path for path in paths if not path.is_file()]:
        raise InputError(f"{missing[0]} is missing; measure with `labels` among measure.files")
    labels = [tifffile.imread(path).astype(np.int32) for path in paths]
    if len(sizes := {one.shape for one in labels}) > 1:
        raise InputError(f"{folder} has label images of {len(sizes)} sizes, which are no stack; open one of its masks")
    counts = cells.groupby("file_name").size().reindex(names, fill_value=0)
    first = dict(zip(names, np.cumsum([0, *counts])[:-1].tolist(), strict=True))
    stack = np.stack([np.where(one > 0, one + first[name], 0) for name, one in zip(names, labels, strict=True)])
    cells.insert(0, "index", cells["file_name"].map(first) + cells["cell"])
    layers: list[LayerData] = [(stack, {"name": f"cells of {folder.name}", "features": cells}, "labels")]
    images = [folder.parents[1] / "data/images" / name for name in names]
    if all(path.is_file() for path in images):
        from PIL import Image

        shown = np.stack([np.asarray(Image.open(path)) for path in images])
        layers.insert(0, (shown, {"name": folder.parents[1].name}, "image"))
    return layers


def segment(
    image: napari.layers.Image,
    exported: Path = Path(),
    score_min: float = 0.0,
    diameter: float = 0.0,
    pixel_size_um: float = 0.0,
) -> napari.types.LayerDataTuple:
    """The cells of a layer, of each frame where it has several; what is 0 or empty is the model's own."""
    from monolayer import api

    model = api.load(exported if exported != Path() else None, diameter=diameter or None)
    frames = np.asarray(image.data)
    if getattr(image, "rgb", False):  # as files with colours are read
        frames = np.stack([one_plane(frame) for frame in frames.reshape(-1, *frames.shape[-3:])[..., :3]]).reshape(
            frames.shape[:-1]
        )
    if frames.ndim not in (2, 3):
        raise InputError(f"layer {image.name} has the shape {frames.shape}; choose one of (height, width) or of frames")
    found = model.segment(list(frames.reshape(-1, *frames.shape[-2:])), score_min or None)
    tables, stack, last = [], [], 0
    for time, cells in enumerate(found):
        table = cells.table(pixel_size_um or None)
        table.insert(0, "index", table["cell"] + last)
        tables.append(table.assign(frame=float(time)))
        stack.append(np.where(cells.labels > 0, cells.labels + last, 0))
        last += len(cells)
    import pandas as pd

    about = {"name": f"{image.name}: {model.name}", "features": pd.concat(tables, ignore_index=True)}
    about |= {name: getattr(image, name) for name in PLACE if hasattr(image, name)}
    return np.stack(stack).reshape(frames.shape), about, "labels"
