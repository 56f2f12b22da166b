"""The section `measure` as people write it: its pixel sizes are in µm."""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator

from monolayer.params.pixel_size import pixel_size
from monolayer.params.steps import MeasureParams


def _in_um(params: MeasureParams) -> MeasureParams:
    for line, um in params.pixel_size_um.items():
        try:
            pixel_size(um)
        except ValueError as error:
            raise ValueError(f"pixel_size_um.{line}: {error}") from None
    return params


MeasureSettings = Annotated[MeasureParams, AfterValidator(_in_um)]
