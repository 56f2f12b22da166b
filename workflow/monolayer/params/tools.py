"""Sections on other tools, whose cells are scored, compared and timed beside those of our networks."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from monolayer.params.section import LocalPath, Section

Text = Annotated[str, Field(min_length=1)]


class Tool(Section):
    tool: Text
    """Its name and version, as people cite it."""
    licence: Text
    """Of its code and of its weights."""


class CommandTool(Tool):
    family: Literal["command"]
    """A command line that turns a folder of images into a folder of label images."""
    command: Text
    """For bash; {images} is a folder of 8-bit PNGs, {labels} where it writes a TIFF, PNG or _seg.npy for each, under
    its name."""

    @model_validator(mode="after")
    def _names_both_folders(self) -> CommandTool:
        for folder in ("{images}", "{labels}"):
            if folder not in self.command:
                raise ValueError(f"command does not say {folder}, where the tool is to find it")
        return self


class SplitPaths(Section):
    val: Annotated[LocalPath, Field(min_length=1)]
    """Of the images of val, on which the score threshold is chosen."""
    test: Annotated[LocalPath, Field(min_length=1)]
    """Of the images of test."""


class ResultsTool(Tool):
    family: Literal["results"]
    """What a tool has found already."""
    results: SplitPaths
    """COCO results (.json, .json.gz), or a folder with a label image (TIFF, PNG, _seg.npy) for each image."""


OtherTool = Annotated[CommandTool | ResultsTool, Field(discriminator="family")]
