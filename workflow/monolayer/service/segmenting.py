"""From a request's bytes to its answer: read, segment with what else waits, measure, write."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import logging
import os
import re
import threading
import time
from collections.abc import Sequence
from pathlib import Path, PurePath
from typing import Any, NamedTuple

import numpy as np
from fastapi import HTTPException, Request
from fastapi.responses import Response
from numpy.typing import NDArray
from starlette.datastructures import UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser

from monolayer.data.images import eight_bit
from monolayer.data.plane import ImagePlane, NotAnImageError, TooLargeError
from monolayer.files import write_bytes
from monolayer.models.predictor import check_size
from monolayer.service import answers
from monolayer.service.batcher import UnwantedError
from monolayer.service.interface import IMAGE_TYPES, OLD_TYPES, Asked
from monolayer.service.size import announced_pixels
from monolayer.service.state import ServedModel, State
from monolayer.service.tracks import tracks
from monolayer.service.uploads import CURE, Limits, frames

logger = logging.getLogger("monolayer.service")
EXAMPLES = {"image": "cells.png", "labels": "labels.json"}


class InMemory(MultiPartParser):
    """Parts stay in memory, whatever their size: nothing of an upload touches a disk."""

    spool_max_size = 1 << 62


class Asking(NamedTuple):
    """A request with its whole upload."""

    state: State
    asked: Asked
    model: ServedModel
    media: str
    data: bytes
    name: str
    request_id: str


async def segmented(given: Asking, unwanted: threading.Event) -> tuple[Response, dict[str, Any]]:
    """The answer and what the log says of it; work stops once the event is set."""
    state, asked, model, started = given.state, given.asked, given.model, time.perf_counter()
    limits, door = state.settings.limits, state.door
    pixels = await door.small.run(announced_pixels, given.data, limits.frames)
    if model.enlarged > 1 and (seen := round(pixels * model.enlarged)) > limits.pixels:
        text = f"{given.name} has {seen:,} pixels at the scale of {model.name}; {CURE.format(limit=limits.pixels)}"
        raise TooLargeError(text)
    async with door.turn(model.name, given.name, pixels) as lane:
        read = await lane.run(_read, given, limits)
        line = asked.cell_line if asked.cell_line in model.lines else None
        batcher = lane.batchers[model.name]
        found = await asyncio.gather(*(asyncio.wrap_future(batcher.submit(image, line, unwanted)) for _, image in read))
        body, cells = await lane.run(_answer, given, (read, found), unwanted)
    headers = {"Server-Timing": f"total;dur={1000 * (time.perf_counter() - started):.1f}"}
    if asked.keep and state.settings.keep is not None:
        try:
            await door.small.run(_keep, state.settings.keep, given.request_id, given.data, body)
        except OSError as error:  # the answer is there all the same
            logger.error("%s can't be kept: %s", given.request_id, error)
            headers["X-Not-Kept"] = os.strerror(error.errno or 0)
    state.gauges.images.inc(len(read))
    state.gauges.cells.inc(cells)
    noted = {"images": len(read), "cells": cells, "model": model.name, "bytes": len(given.data)}
    if given.media != "application/json":
        stem = re.sub(r"[^A-Za-z0-9_.-]", "_", PurePath(given.name).stem) or "image"  # any file system takes it
        ending = answers.FORMS[given.media][1]
        headers["Content-Disposition"] = f'attachment; filename="{stem}{ending}"'
    return Response(body, media_type=given.media, headers=headers), noted


async def uploaded(request: Request) -> tuple[bytes, str]:
    """The bytes and the name of the image: a part called image, or the whole body."""
    kind = request.headers.get("content-type", "").split(";")[0].strip().lower()
    if kind == "multipart/form-data":
        [file] = await files_of_form(request, ["image"])
        return file
    if kind not in (*IMAGE_TYPES, *OLD_TYPES, ""):
        raise NotAnImageError(f"{kind} is no image; send multipart/form-data or one of {', '.join(IMAGE_TYPES)}")
    return await request.body(), "image"


async def files_of_form(request: Request, parts: Sequence[str]) -> list[tuple[bytes, str]]:
    """The bytes and the names of the files in these parts of a form."""
    try:
        form = await InMemory(request.headers, request.stream(), max_files=len(parts), max_fields=8).parse()
    except (MultiPartException, KeyError, UnicodeDecodeError, LookupError) as error:
        raise HTTPException(400, f"the multipart body is broken ({error})") from None
    found = []
    for part in parts:
        file = form.get(part)
        if not isinstance(file, UploadFile):
            raise HTTPException(422, f"the form has no file called {part}; with curl: -F {part}=@{EXAMPLES[part]}")
        found.append((await file.read(), PurePath(file.filename or part).name or part))
    return found


def _read(given: Asking, limits: Limits) -> list[tuple[NDArray[Any], NDArray[np.uint8]]]:
    """Each frame in its own grey values, and in the 8 bits that the network sees."""
    found = frames(given.data, given.name, limits, ImagePlane(given.asked.channel, given.asked.z))
    read = [(own, eight_bit(own, given.name, given.model.percentiles)) for own in found]
    for _, image in read:
        check_size(given.name, image, given.model.stride)
    return read


def _answer(given: Asking, segmented: Any, unwanted: threading.Event) -> tuple[bytes, int]:
    """The body of the answer, and the cells in it that reach the model's own score: the page asks for all below it."""
    asked, model = given.asked, given.model
    score_min = model.score_min if asked.score_min is None else asked.score_min
    least = max(score_min, model.score_min)
    about = {
        "request_id": given.request_id,
        "file_name": given.name,
        "model": model.name,
        "cell_line": asked.cell_line,
        "score_min": score_min,
        "pixel_size_um": asked.pixel_size_um,
    }
    done = []
    for index, (images, instances) in enumerate(zip(*segmented, strict=True)):
        if unwanted.is_set():
            raise UnwantedError
        found = answers.from_score(instances, score_min)
        record = answers.record_of(given.name, index, images[1], asked.cell_line)
        done.append(answers.frame(record, images, found, asked.pixel_size_um, model.neighbours))
    make = answers.FORMS[given.media][0]
    if make:
        body = make(done)
    else:
        linked = asked.tracks and len(done) > 1
        links = tracks(done, least, given.state.settings.links) if linked else ()
        body = answers.as_json(done, about, asked.masks, asked.picture, links)
    return body, sum(len(frame.found.at_least(least).masks) for frame in done)


def _keep(folder: Path, request_id: str, data: bytes, body: bytes) -> None:
    """Store image and answer under the request's id; a request whose id was used before gets .2, .3, ..."""
    for number in itertools.count(1):
        stem = folder / (request_id if number == 1 else f"{request_id}.{number}")
        image = stem.with_name(f"{stem.name}.image")
        with contextlib.suppress(FileExistsError):
            image.open("xb").close()  # ours from here on
            break
    try:
        for suffix, content in ((".image", data), (".answer", body)):
            write_bytes(stem.with_name(stem.name + suffix), content)
    except OSError:
        image.unlink()
        raise
