"""The files that are written for one image, by the names that params.yaml and `predict --format` give them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from monolayer.coco.instances import Instances
from monolayer.coco.labels import label_tiff
from monolayer.coco.seg_npy import seg_npy
from monolayer.data.plane import ImagePlane, ReadLimits
from monolayer.data.reading import read_frame
from monolayer.files import InputError
from monolayer.measurement.files import roi_zip
from monolayer.measurement.geojson import MeasuredFrame, geojson
from monolayer.measurement.ome import ome_tiff
from monolayer.params.steps import NeighbourParams


class FoundCells(NamedTuple):
    """The cells of an image (masks cut to their boxes), their label image, and what of the image a file tells."""

    frame: MeasuredFrame
    labels: NDArray[np.int32]
    pixel_size_um: float | None
    file_name: str
    cell_line: str = ""


class FileFormat(NamedTuple):
    """`suffix` takes the place of the image's."""

    suffix: str
    make: Callable[[FoundCells], bytes]


FORMATS = {
    "labels": FileFormat(".tif", lambda cells: label_tiff([cells.labels], cells.pixel_size_um)),
    "rois": FileFormat(".zip", lambda cells: roi_zip([cells.frame.found])),
    "ome-tiff": FileFormat(
        ".ome.tif", lambda cells: ome_tiff([cells.labels], cells.pixel_size_um, Path(cells.file_name).name)
    ),
    "geojson": FileFormat(".geojson", lambda cells: geojson([cells.frame], cells.file_name, cells.cell_line)),
    "seg-npy": FileFormat("_seg.npy", lambda cells: seg_npy(cells.labels, Path(cells.file_name).name)),
}


@dataclass(frozen=True)
class FileMaker:
    """Makes files of cells that were found in image files, which it reads again where cells are to be measured."""

    which: ImagePlane
    limits: ReadLimits
    neighbours: NeighbourParams | None
    pixel_size_um: float | None

    def __call__(self, form: str, name: str, path: Path, found: Instances) -> bytes:
        from monolayer.measurement.measure import cell_columns, trimmed, with_um  # which imports this module

        found = trimmed(found)
        labels = found.label_image()
        frame = MeasuredFrame(found, {})
        if form == "geojson":
            if self.neighbours is None:
                raise InputError(
                    "geojson has measurements, and a weights.pt does not say how neighbours are counted; "
                    "export the run and give its folder"
                )
            pixels = read_frame(path.read_bytes(), str(path), self.which, self.limits)
            columns = with_um(cell_columns(found, labels, pixels, self.neighbours), self.pixel_size_um)
            frame = MeasuredFrame(found, columns)
        return FORMATS[form].make(FoundCells(frame, labels, self.pixel_size_um, name))
