"""From a request's bytes to its answer: read, segment with what else waits, measure, write."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from pathlib import Path, PurePath
from typing import Any

import numpy as np
from fastapi import HTTPException, Request
from fastapi.responses import Response
from numpy.typing import NDArray
from starlette.datastructures import UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser

from monolayer.data.images import eight_bit
from monolayer.files import write_bytes
from monolayer.params.data import Percentiles
from monolayer.params.steps import NeighbourParams
from monolayer.service import answers
from monolayer.service.interface import IMAGE_TYPES, Asked
from monolayer.service.state import ServedModel, State
from monolayer.service.uploads import Limits, NotAnImageError, frames


class InMemory(MultiPartParser):
    """Parts stay in memory, whatever their size: nothing of an upload touches a disk."""

    spool_max_size = 1 << 62


async def segmented(request: Request, asked: Asked, model: ServedModel, media: str) -> Response:
    state: State = request.app.state.service
    started = time.perf_counter()
    data, name = await _upload(request)
    score_min = model.score_min if asked.score_min is None else asked.score_min

    async def apart(work: Callable[..., Any], *given: Any) -> Any:
        return await asyncio.get_running_loop().run_in_executor(state.pool, work, *given)

    read = await apart(_read, data, name, state.settings.limits, model.percentiles)
    line = asked.cell_line if model.lines else None
    jobs = [asyncio.wrap_future(state.batchers[model.name].submit(image, line)) for _, image in read]
    found = await asyncio.gather(*jobs)
    about = {
        "request_id": request.scope["request_id"],
        "file_name": name,
        "model": model.name,
        "cell_line": asked.cell_line,
        "score_min": score_min,
        "pixel_size_um": asked.pixel_size_um,
    }
    body, cells = await apart(_answer, model.neighbours, asked, media, about, (read, found))
    if asked.keep and state.settings.keep is not None:
        await apart(_keep, state.settings.keep / request.scope["request_id"], data, body)
    state.gauges.images.inc(len(read))
    state.gauges.cells.inc(cells)
    request.scope["noted"] = {"images": len(read), "cells": cells, "model": model.name, "bytes": len(data)}
    headers = {"Server-Timing": f"total;dur={1000 * (time.perf_counter() - started):.1f}"}
    if media != "application/json":
        headers["Content-Disposition"] = f'attachment; filename="{_stem(name)}{answers.FORMS[media][1]}"'
    return Response(body, media_type=media, headers=headers)


async def _upload(request: Request) -> tuple[bytes, str]:
    """The bytes and the name of the image: a part called image, or the whole body."""
    kind = request.headers.get("content-type", "").split(";")[0].strip().lower()
    if kind == "multipart/form-data":
        try:
            form = await InMemory(request.headers, request.stream(), max_files=1, max_fields=8).parse()
        except (MultiPartException, KeyError, UnicodeDecodeError, LookupError) as error:
            raise HTTPException(400, f"the multipart body is broken ({error})") from None
        file = form.get("image")
        if not isinstance(file, UploadFile):
            raise HTTPException(422, "the form has no file called image; with curl: -F image=@cells.png")
        return await file.read(), PurePath(file.filename or "image").name or "image"
    if kind not in (*IMAGE_TYPES, ""):
        raise NotAnImageError(f"{kind} is no image; send multipart/form-data or one of {', '.join(IMAGE_TYPES)}")
    return await request.body(), "image"


def _read(
    data: bytes, name: str, limits: Limits, percentiles: Percentiles
) -> list[tuple[NDArray[Any], NDArray[np.uint8]]]:
    """Each frame in its own grey values, and in the 8 bits that the network sees."""
    return [(own, eight_bit(own, name, percentiles)) for own in frames(data, name, limits)]


def _answer(
    neighbours: NeighbourParams, asked: Asked, media: str, about: dict[str, Any], segmented: Any
) -> tuple[bytes, int]:
    """The body of the answer and the number of cells in it."""
    done = []
    for index, (images, instances) in enumerate(zip(*segmented, strict=True)):
        found = answers.from_score(instances, about["score_min"])
        record = answers.record_of(about["file_name"], index, images[1], asked.cell_line)
        done.append(answers.frame(record, images, found, asked.pixel_size_um, neighbours))
    make = answers.FORMS[media][0]
    body = make(done) if make else answers.as_json(done, about, asked.masks, asked.picture)
    return body, sum(len(frame.found.masks) for frame in done)


def _keep(path: Path, data: bytes, body: bytes) -> None:
    for suffix, content in ((".image", data), (".answer", body)):
        write_bytes(path.with_suffix(suffix), content)


def _stem(name: str) -> str:
    """A file name that any header and file system takes."""
    kept = "".join(
        char if char.isascii() and (char.isalnum() or char in "-_.") else "_" for char in PurePath(name).stem
    )
    return kept or "image"
