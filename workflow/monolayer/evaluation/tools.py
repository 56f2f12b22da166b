"""Other tools: their command turns a folder of images into label images, or their results lie in files."""

from __future__ import annotations

import logging
import os
import shlex
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from monolayer.coco.io import write_results
from monolayer.coco.records import Result
from monolayer.coco.table import CellTable, Images, read_results, read_truth
from monolayer.files import InputError, write_json
from monolayer.machine import hardware
from monolayer.params.tools import CommandTool, OtherTool

logger = logging.getLogger(__name__)
SHOWN = 2000  # characters of a failed command's output
OURS = ("PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV")  # of this environment; the tool has its own


def import_results(tool: OtherTool, images: Path, truth: Path, split: Literal["val", "test"], output: Path) -> None:
    """Write what a tool finds in the images of `truth` as COCO results to `output`, and beside it what is known of it.

    The time of a command is from its start to its end, with all that it does once.
    """
    listed, _ = read_truth(truth)
    record: dict[str, Any] = tool.model_dump() | {"images": len(listed)}
    if isinstance(tool, CommandTool):
        found, seconds = _segmented(tool, images, listed)
        today = datetime.now(UTC).date().isoformat()
        record |= {"seconds": round(seconds, 3), "device": hardware(), "measured": today}
    else:
        found = read_results(Path(getattr(tool.results, split)), listed)
    count = write_results(output, _results(found, listed))
    write_json(output.with_name(f"{split}.tool.json"), record | {"cells": count}, indent=1)
    logger.info("%d cells of %s in %d images", count, tool.tool, len(listed))


def _segmented(tool: CommandTool, images: Path, listed: Images) -> tuple[CellTable, float]:
    """What the command finds in copies of the images, and how many seconds it takes.

    The copies lie in one folder and are numbered: many tools look into no folder below, nor tell a/1.png from b/1.png.
    """
    with tempfile.TemporaryDirectory() as name:
        given, labels = Path(name, "images"), Path(name, "labels")
        given.mkdir()
        labels.mkdir()
        numbered = replace(listed, names=[f"{n:06d}{Path(own).suffix}" for n, own in enumerate(listed.names, start=1)])
        for own, number in zip(listed.names, numbered.names, strict=True):
            shutil.copyfile(images / own, given / number)
        folders = {"{images}": given, "{labels}": labels}
        command = tool.command
        for word, folder in folders.items():
            command = command.replace(word, shlex.quote(str(folder)))
        environment = {key: value for key, value in os.environ.items() if key not in OURS}
        started = time.monotonic()
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", command], env=environment, capture_output=True, text=True, check=False
        )
        seconds = time.monotonic() - started
        if done.returncode:
            said = (done.stderr.strip() or done.stdout.strip())[-SHOWN:] or "it said nothing"
            raise InputError(f"the command of {tool.tool} failed with exit code {done.returncode}: {command}\n{said}")
        logger.info("%s", command)
        try:
            return read_results(labels, numbered), seconds
        except InputError as error:
            raise InputError(f"{tool.tool} was given images numbered by rising id, and {error}") from error


def _results(found: CellTable, listed: Images) -> Iterator[Result]:
    for row in range(len(found)):
        image = found.image[row]
        yield Result(
            image_id=listed.ids[image],
            category_id=int(found.category[row]),
            segmentation=found.rle(row, listed.sizes[image]),
            bbox=found.boxes_xywh[row].tolist(),
            score=float(found.score[row]),
            mask_score=float(found.mask_score[row]),
        )
