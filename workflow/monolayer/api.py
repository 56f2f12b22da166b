"""The Python API: a model from a folder, images as arrays in, cells as arrays and tables out.

>>> import monolayer
>>> from monolayer.service.sample import sample  # a drawn image; any grey numpy array (height, width) will do
>>> model = monolayer.load()  # the pretrained model; or load("results/own/export/unet_distance")
>>> model.name, model.score_threshold
('self_trained', 0.71802)
>>> cells = model.segment(sample())
>>> cells.labels.shape, cells.labels.dtype, int(cells.labels.max()) == len(cells)
((320, 448), dtype('int32'), True)
>>> table = cells.table(pixel_size_um=0.65)  # a row for each cell, best score first
>>> list(table.columns[8:12]), len(table) == len(cells)
(['cell', 'score', 'touches_border', 'box_x_px'], True)
>>> sorted(cells.coco()[0])
['bbox', 'category_id', 'image_id', 'score', 'segmentation']
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, overload

import numpy as np
from numpy.typing import NDArray

from monolayer.backends.manifest import Manifest, pretrained, read_manifest
from monolayer.coco.instances import Instances
from monolayer.coco.records import Image, Result
from monolayer.data.images import Pixels, eight_bit
from monolayer.files import InputError
from monolayer.measurement import files
from monolayer.models import predictor
from monolayer.models.predictor import Predictor
from monolayer.models.unet.watershed import Thresholds, instances, separate
from monolayer.params.data import Percentiles
from monolayer.params.pixel_size import pixel_size
from monolayer.params.steps import Dtype, NeighbourParams
from monolayer.service import answers

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["Cells", "InputError", "Model", "decode", "grey_levels", "load"]


def load(
    path: str | os.PathLike[str] | None = None,
    *,
    dtype: Dtype = "fp32",
    threads: int | None = None,
    tta: int | None = None,
    diameter: float | None = None,
) -> Model:
    """The model in the folder of an exported run; without a path the pretrained one, for phase contrast.

    `threads` of the network are all cores of the machine unless given; `tta` is of U-Nets, the turned views (1, 2, 4
    or 8) whose mean it takes in place of the run's own number. `diameter` is the usual one of the cells in the images,
    in px: they are brought to the scale that the model learned at.
    """
    if threads is not None and (not isinstance(threads, int) or threads < 1):
        raise InputError(f"threads is {threads!r}; give a whole number from 1 on, or leave it out for all cores")
    folder, manifest = read_manifest(pretrained() if path is None else Path(path))
    threads = threads or os.cpu_count() or 1
    return Model(manifest, predictor.load(folder, dtype=dtype, threads=threads, tta=tta, diameter=diameter))


def decode(
    maps: NDArray[np.floating[Any]],
    *,
    foreground: float,
    marker: float,
    area: float,
    saddle_ratio: float,
    score_min: float,
) -> NDArray[np.int32]:
    """The label image (height, width) of a U-Net's maps (1 or 2, height, width), the best cell first.

    The arguments stand in rdf.yaml of a package of bioimage.io, whose README.md explains them.
    """
    if maps.ndim != 3 or len(maps) not in (1, 2) or maps.dtype.kind != "f":
        raise InputError(f"maps are {maps.dtype} {maps.shape}; give floats (1 or 2, height, width), of one image")
    maps = maps.astype(np.float32, copy=False)
    found = instances(maps, separate(maps, Thresholds(foreground, marker, area), saddle_ratio))
    return answers.from_score(found, score_min).label_image()


def grey_levels(image: NDArray[Any], *, low: float, high: float) -> NDArray[np.uint8]:
    """Of a grey image (height, width) of any depth the 8 bits that networks see, as every way into this package has it.

    An image of 8 bits in a deeper file is that image. Of others the percentiles `low` and `high` become 0 and 255,
    within bounds that keep noise noise: one grey value never becomes several, and where the contrast between them is
    small beside the median, as of light that comes through cells, the median becomes 128 and 0 becomes 0.
    """
    try:
        percentiles = Percentiles(low=low, high=high)
    except ValueError:
        raise InputError(f"low and high are {low} and {high}; give percentiles, 0 <= low < high <= 100") from None
    return _grey_levels(image, "the image", percentiles)


def _grey_levels(image: Any, name: str, percentiles: Percentiles) -> Pixels:
    if not isinstance(image, np.ndarray) or image.ndim != 2 or image.dtype.kind not in "uif" or not image.size:
        given = f"{image.dtype} {image.shape}" if isinstance(image, np.ndarray) else type(image).__name__
        raise InputError(f"{name} is {given}; give a grey numpy array (height, width) of uint8, uint16 or float")
    return np.ascontiguousarray(eight_bit(image, name, percentiles))


@dataclass(frozen=True, eq=False, repr=False)
class Model:
    """A loaded model. `manifest` is all that its folder's model.json says."""

    manifest: Manifest
    _predictor: Predictor

    @property
    def name(self) -> str:
        return self.manifest.run

    @property
    def score_threshold(self) -> float:
        """The score from which up cells count: the best one on validation images."""
        return self.manifest.score_threshold

    @overload
    def segment(self, image: NDArray[Any], score_min: float | None = None, cell_line: str | None = None) -> Cells: ...
    @overload
    def segment(
        self, image: Sequence[NDArray[Any]], score_min: float | None = None, cell_line: str | None = None
    ) -> list[Cells]: ...
    def segment(
        self,
        image: NDArray[Any] | Sequence[NDArray[Any]],
        score_min: float | None = None,
        cell_line: str | None = None,
    ) -> Cells | list[Cells]:
        """The cells of a grey image (height, width), or of each of a list, from `score_min` up (score_threshold).

        uint8 is taken as it is; deeper images go through `grey_levels` with the manifest's percentiles, one by one.
        `cell_line` chooses the network of a model that has one for each line.
        """
        if not isinstance(image, Sequence):
            return self.segment([image], score_min, cell_line)[0]
        grey = [self._grey(f"image {place}", one) for place, one in enumerate(image)]
        if score_min is not None and not 0 <= score_min <= 1:
            raise InputError(f"score_min is {score_min}; give a score from 0 to 1")
        least, near = self.score_threshold if score_min is None else score_min, self.manifest.neighbours
        found = [answers.from_score(cells, least) for cells in self._predictor.segment(grey, cell_line)]
        records = [answers.record_of(f"image {n}", n, pixels, cell_line) for n, pixels in enumerate(grey)]
        return [Cells(*parts, near) for parts in zip(records, image, grey, found, strict=True)]

    def _grey(self, name: str, image: NDArray[Any]) -> Pixels:
        """The 8 bits that the network sees, made as of a file."""
        return _grey_levels(image, name, self.manifest.percentiles)


@dataclass(frozen=True, eq=False, repr=False)
class Cells:
    """The cells of one image, best score first."""

    _image: Image
    _pixels: NDArray[Any]
    _grey: Pixels
    _found: Instances
    _neighbours: NeighbourParams

    def __repr__(self) -> str:
        return f"<{len(self)} cells in {self._found.width}x{self._found.height} px>"

    def __len__(self) -> int:
        return len(self._found.masks)

    @property
    def scores(self) -> NDArray[np.float32]:
        """How sure the model is of each, 0 to 1."""
        return self._found.scores if self._found.mask_scores is None else self._found.mask_scores

    @cached_property
    def labels(self) -> NDArray[np.int32]:
        """(height, width): 0 is background, n the n-th cell; where cells overlap the smaller one is seen."""
        return self._found.label_image()

    def table(self, pixel_size_um: float | None = None) -> pd.DataFrame:
        """A row for each cell, with the columns of `monolayer measure`; those in µm are empty without a pixel size."""
        try:
            um = None if pixel_size_um is None else pixel_size(pixel_size_um)
        except ValueError as error:
            raise InputError(f"pixel_size_um: {error}") from None
        pixels = self._pixels, self._grey
        frame = answers.frame(self._image, pixels, self._found, um, self._neighbours)
        table: pd.DataFrame = files.arrow("cells", answers.cell_table([frame])).to_pandas()
        return table

    def coco(self) -> list[Result]:
        """COCO results with compressed run lengths; image_id is the image's place in the list, from 1."""
        return list(self._found.results(self._image["id"]))
