"""The HTTP interface: what is asked, what is answered, and what is refused."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from functools import partial
from pathlib import Path
from typing import Annotated, cast

from fastapi import APIRouter, FastAPI, HTTPException, Query, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import FileResponse, JSONResponse, Response
from fastapi.staticfiles import StaticFiles
from starlette.exceptions import HTTPException as AnyHTTPException
from starlette.requests import ClientDisconnect

from monolayer.data.plane import NotAnImageError, TooLargeError
from monolayer.files import InputError
from monolayer.service import answers, corrections
from monolayer.service.door import AGAIN, CLOSED, Door
from monolayer.service.edge import Edge
from monolayer.service.gauges import Gauges
from monolayer.service.interface import (
    BINARY,
    BODY,
    CORRECTION_PROBLEMS,
    PROBLEMS,
    Asked,
    AskedCorrection,
    Health,
    ModelAnswer,
    Problem,
    SavedCorrection,
    SentCorrection,
    correction_body,
)
from monolayer.service.sample import sample
from monolayer.service.segmenting import Asking, files_of_form, segmented, uploaded
from monolayer.service.state import ServedModel, Settings, State
from monolayer.service.tracks import tracks

WEB = Path(__file__).with_name("web")
GONE = "the client is gone"
WARM_UPS = 3


def create(models: list[ServedModel], settings: Settings) -> FastAPI:
    """The application; its networks run from start-up to shut-down, which finishes what is under way."""
    if len({model.name for model in models}) < len(models):
        raise InputError(f"two models are called alike: {', '.join(model.name for model in models)}; serve one of them")
    gauges = Gauges()
    state = State(settings, {m.name: m for m in models}, gauges, Door(settings.limits, gauges.batch.observe))

    @contextlib.asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        for model in models:
            state.door.offer(model.name, model.segment, model.batch, model.enlarged)
        frames = await asyncio.to_thread(warm_up, state)  # a network that does not work stops the service here
        forms = asyncio.create_task(asyncio.to_thread(warm_up_forms, state, frames))
        yield
        state.ready = False
        await forms
        state.ended = await asyncio.to_thread(state.door.close, settings.grace_s / 20)

    app = FastAPI(
        title="monolayer",
        description="Cells in microscopy images: outlines, measurements, counts.",
        version="1",
        lifespan=lifespan,
        docs_url=None,  # their pages load scripts from elsewhere
        redoc_url=None,
    )
    app.state.service = state
    app.add_middleware(Edge, state=state)
    for kind in (AnyHTTPException, RequestValidationError, InputError, ClientDisconnect):
        app.add_exception_handler(kind, _refuse)
    app.include_router(routes)
    app.mount("/web", StaticFiles(directory=WEB))
    return app


def warm_up(state: State) -> list[answers.SegmentedFrame]:
    """Find the cells of a first image with each model: it imports and compiles what the first request would wait for,
    and tells the model's speed. From then on the service is ready."""
    frames = []
    for model in state.models.values():
        image = sample()
        line = model.lines[0] if model.line_required else None
        for _ in range(WARM_UPS):  # the first one compiles
            cells = state.door.small.batchers[model.name].submit(image, line).result()
        found = answers.from_score(cells, 0.0)
        record = answers.record_of("sample.png", 0, image, None)
        frames.append(answers.frame(record, (image, image), found, None, model.neighbours))
        answers.as_json([frames[-1]], {}, "polygons", True)
    state.ready = state.served = True
    return frames


def warm_up_forms(state: State, frames: list[answers.SegmentedFrame]) -> None:
    """Answer in every other form, beside the first requests: tracks alone import a second's worth of libraries."""
    for frame in frames:
        for make, _ in answers.FORMS.values():
            if make:
                make([frame])
        answers.as_json([frame] * 2, {}, "polygons", True, tracks([frame] * 2, 0.0, state.settings.links))


async def _refuse(request: Request, error: Exception) -> Response:
    status, detail, headers = 422, str(error), None
    if isinstance(error, AnyHTTPException):
        status, detail, headers = error.status_code, str(error.detail), dict(error.headers or {})
    elif isinstance(error, RequestValidationError):
        detail = "; ".join(f"{'.'.join(map(str, fault['loc'][1:]))}: {fault['msg']}" for fault in error.errors())
    elif isinstance(error, ClientDisconnect):
        status, detail = 499, GONE
    elif isinstance(error, TooLargeError | NotAnImageError):
        status = 413 if isinstance(error, TooLargeError) else 415
    body = Problem(detail=detail, request_id=request.scope["request_id"])
    return JSONResponse(body.model_dump(), status, headers)


def _state(request: Request) -> State:
    state: State = request.app.state.service
    return state


routes = APIRouter()
FORMS = {media: BINARY for media in answers.FORMS if media != "application/json"}


@routes.get("/health")
async def health() -> Health:
    """Whether the process answers."""
    return Health(status="ok")


@routes.get("/ready", responses={503: PROBLEMS[503]})
async def ready(request: Request) -> Health:
    """Whether images will be segmented at once."""
    if not _state(request).ready:
        raise HTTPException(503, CLOSED, AGAIN)
    return Health(status="ready")


@routes.get("/models", responses={401: PROBLEMS[401]})
async def models(request: Request) -> list[ModelAnswer]:
    """The models that /segment takes, the default first."""
    fields = ModelAnswer.model_fields
    return [ModelAnswer(**{name: getattr(model, name) for name in fields}) for model in _state(request).models.values()]


@routes.get("/metrics", response_class=Response, responses={200: {"content": {"text/plain": {}}}, 401: PROBLEMS[401]})
async def metrics(request: Request) -> Response:
    """Counters and times for Prometheus."""
    state = _state(request)
    state.gauges.waiting.set(state.door.inside)
    return Response(state.gauges.text(), media_type="text/plain; version=0.0.4")


@routes.get("/", include_in_schema=False)
async def page() -> FileResponse:
    return FileResponse(WEB / "index.html")


@routes.get("/sample", include_in_schema=False)
async def sample_file(request: Request) -> Response:
    """An image to try the page with: the operator's, or a drawn one."""
    path = _state(request).settings.sample
    if path is not None:
        return FileResponse(path, filename=path.name)
    headers = {"Content-Disposition": 'filename="sample.png"'}
    return Response(answers.png(sample()), media_type="image/png", headers=headers)


@routes.post(
    "/segment",
    responses={200: {"model": answers.Answer, "content": FORMS}, **PROBLEMS},
    openapi_extra={"requestBody": BODY},
)
async def segment(request: Request, asked: Annotated[Asked, Query()]) -> Response:
    """Find and measure the cells of an image (or of each page of a TIFF); Accept says in which form they come."""
    state = _state(request)
    media = answers.preferred(request.headers.get("accept", ""))
    if media is None:
        raise HTTPException(406, f"this service offers {', '.join(answers.FORMS)}")
    model = _model(state, asked)
    state.door.check_room()  # before the upload, which takes none
    data, name = await uploaded(request)
    given = Asking(state, asked, model, media, data, name, request.scope["request_id"])
    with state.door.entered():
        response, noted = await state.door.wanted(request, partial(segmented, given))
    request.scope["noted"] = noted
    return cast(Response, response)


@routes.get("/corrections", responses={status: CORRECTION_PROBLEMS[status] for status in (401, 404)})
async def list_corrections(request: Request) -> list[SavedCorrection]:
    """The images of which a correction is saved, each with its newest version."""
    state = _state(request)
    found = await state.door.small.run(corrections.saved, _folder(state))
    return [SavedCorrection(name=name, version=version) for name, version in found.items()]


@routes.post(
    "/corrections/newest",
    responses=CORRECTION_PROBLEMS,
    openapi_extra={"requestBody": correction_body(labels=False)},
)
async def newest_correction(request: Request, asked: Annotated[AskedCorrection, Query()]) -> SavedCorrection:
    """The newest correction of the image that is sent."""
    state = _state(request)
    folder = _folder(state)

    def work(image: tuple[bytes, str]) -> SavedCorrection:
        own = corrections.corrected_image(*image, asked.frame, state.settings.limits)
        version, labels = corrections.newest(folder, own)
        runs = None if labels is None else corrections.runs_of(labels)
        return SavedCorrection(name=own.key, version=version, labels=runs)

    return await _corrected(request, state, ["image"], work)


@routes.post(
    "/corrections",
    responses=CORRECTION_PROBLEMS,
    openapi_extra={"requestBody": correction_body(labels=True)},
)
async def save_correction(request: Request, asked: Annotated[SentCorrection, Query()]) -> SavedCorrection:
    """Save an image and its corrected labels as the next version; the answer has its number, and no labels."""
    state = _state(request)
    folder = _folder(state)

    def work(image: tuple[bytes, str], labels: tuple[bytes, str]) -> SavedCorrection:
        own = corrections.corrected_image(*image, asked.frame, state.settings.limits)
        cells = corrections.labels_of(labels[0], own.pixels.shape)
        return SavedCorrection(name=own.key, version=corrections.save(folder, own, cells, asked.version))

    return await _corrected(request, state, ["image", "labels"], work)


def _folder(state: State) -> Path:
    if state.settings.corrections is None:
        raise HTTPException(404, "this service keeps no corrections; start it with --corrections FOLDER")
    return state.settings.corrections


async def _corrected(
    request: Request, state: State, parts: list[str], work: Callable[..., SavedCorrection]
) -> SavedCorrection:
    """What `work` makes of the files of a form, let in as images to segment are."""
    state.door.check_room()
    sent = await files_of_form(request, parts)
    with state.door.entered():
        made = await state.door.wanted(request, lambda _: state.door.small.run(work, *sent))
    request.scope["noted"] = {"correction": made.name, "version": made.version}
    return cast(SavedCorrection, made)


def _model(state: State, asked: Asked) -> ServedModel:
    if not state.ready:
        raise HTTPException(503, CLOSED, AGAIN)
    name = asked.model or next(iter(state.models))
    if name not in state.models:
        raise HTTPException(422, f"model {name} is not offered; there are {', '.join(state.models)}")
    model = state.models[name]
    if model.line_required and asked.cell_line not in model.lines:
        raise HTTPException(422, f"say which cell_line the image is of; {name} knows {', '.join(model.lines)}")
    if asked.keep and state.settings.keep is None:
        raise HTTPException(422, "this service stores nothing; leave out keep")
    return model
