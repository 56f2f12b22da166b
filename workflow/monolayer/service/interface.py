"""The words of the HTTP interface: what may be asked, and what /openapi.json says of the answers."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

from monolayer.params.pixel_size import HIGH, LOW
from monolayer.service import answers


class Asked(BaseModel):
    """The query of a request."""

    model_config = ConfigDict(extra="forbid")

    model: str | None = Field(None, description="A name of /models; without, the first.")
    cell_line: str | None = Field(
        None, description="Of the image, where the model has networks for lines; others have that of all lines."
    )
    score_min: float | None = Field(None, ge=0, le=1, description="Cells with lower scores are left out.")
    channel: int | None = Field(None, ge=1, description="Of several the one that shows the cells, counted from 1.")
    z: int | None = Field(None, ge=1, description="Of a stack the plane along z, counted from 1.")
    pixel_size_um: float | None = Field(
        None, ge=LOW, le=HIGH, description="µm along a pixel's side, for columns in µm."
    )
    masks: answers.Masks = Field("rle", description="In JSON: how the masks are written.")
    picture: bool = Field(False, description="In JSON: with the frame as the network saw it, a PNG.")
    tracks: bool = Field(
        False, description="In JSON: with the tracks of a series' cells, of those from the model's own score up."
    )
    keep: bool = Field(False, description="Store image and answer, where the service was started with a folder for it.")


class AskedCorrection(BaseModel):
    """The query of a request for a correction."""

    model_config = ConfigDict(extra="forbid")

    frame: int = Field(0, ge=0, le=1 << 20, description="Of a series the frame, counted from 0.")


class SentCorrection(AskedCorrection):
    version: int = Field(ge=0, le=1 << 31, description="The version that the correction began from; 0 for none.")


class LabelRuns(BaseModel):
    """A label image, row by row: a number for each cell, 0 for none, and how many pixels in turn have it."""

    model_config = ConfigDict(extra="forbid")

    height: int = Field(ge=1)
    width: int = Field(ge=1)
    runs: list[Annotated[int, Field(ge=0, lt=1 << 31)]] = Field(description="Number, pixels, number, pixels, ...")


class SavedCorrection(BaseModel):
    """The newest correction of an image; version 0 and no labels before the first."""

    name: str = Field(description="Of image and masks in the folder, without suffix.")
    version: int
    labels: LabelRuns | None = None


class ModelAnswer(BaseModel):
    name: str
    family: str
    lines: list[str] = Field(description="Those that have a network of their own.")
    line_required: bool = Field(description="No network is for all lines: a request must name one of these.")
    dtype: str
    score_min: float


class Health(BaseModel):
    status: str


class Problem(BaseModel):
    """Why there is no answer, and what to do about it."""

    detail: str
    request_id: str


PROBLEMS: dict[int | str, dict[str, Any]] = {
    status: {"model": Problem, "description": text}
    for status, text in {
        400: "The request is broken.",
        401: "The API key is missing or wrong.",
        403: "A page of another site asks, which the operator has not allowed.",
        406: "None of the accepted media types is offered.",
        408: "The upload took too long.",
        413: "More bytes, pixels, frames or time than the service takes.",
        415: "No PNG, JPEG or TIFF.",
        421: "The Host is no name of this service.",
        422: "The image or the query can't be used.",
        429: "Too many requests wait; come back after Retry-After seconds.",
        503: "The service is starting or shutting down.",
        504: "It took too long.",
    }.items()
}
CORRECTION_PROBLEMS: dict[int | str, dict[str, Any]] = {
    **{status: PROBLEMS[status] for status in PROBLEMS if status not in (406, 421)},
    404: {"model": Problem, "description": "This service keeps no corrections."},
    409: {"model": Problem, "description": "A newer version was saved, or another image under this name."},
    507: {"model": Problem, "description": "The disk did not take it; nothing was saved."},
}
BINARY = {"schema": {"type": "string", "format": "binary"}}
IMAGE_TYPES = ("image/png", "image/jpeg", "image/tiff", "application/octet-stream")
OLD_TYPES = ("image/x-png", "image/jpg", "image/pjpeg", "image/tif", "image/x-tiff")  # taken, not described
BODY = {
    "required": True,
    "content": {
        "multipart/form-data": {
            "schema": {"type": "object", "required": ["image"], "properties": {"image": BINARY["schema"]}}
        },
        **dict.fromkeys(IMAGE_TYPES, BINARY),
    },
}


def correction_body(labels: bool) -> dict[str, Any]:
    """An image, and its labels where they are sent: parts of a form, each a file."""
    parts = {"image": BINARY["schema"]}
    if labels:
        parts["labels"] = {"type": "string", "format": "binary", "description": "JSON of LabelRuns."}
    schema = {"type": "object", "required": list(parts), "properties": parts}
    return {"required": True, "content": {"multipart/form-data": {"schema": schema}}}
