"""The HTTP interface: what is asked, what is answered, and what is refused."""

from __future__ import annotations

import asyncio
import contextlib
import secrets
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Annotated

from fastapi import APIRouter, Depends, FastAPI, HTTPException, Query, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import FileResponse, JSONResponse, Response
from fastapi.staticfiles import StaticFiles
from starlette.exceptions import HTTPException as AnyHTTPException

from monolayer.files import InputError
from monolayer.service import answers
from monolayer.service.batcher import Batcher
from monolayer.service.edge import Edge, Gauges
from monolayer.service.interface import BINARY, BODY, PROBLEMS, Asked, Health, ModelAnswer, Problem
from monolayer.service.sample import sample
from monolayer.service.segmenting import segmented
from monolayer.service.state import ServedModel, Settings, State
from monolayer.service.uploads import NotAnImageError, TooLargeError

WEB = Path(__file__).with_name("web")
RETRY_S = 2


def create(models: list[ServedModel], settings: Settings) -> FastAPI:
    """The application; its networks run from start-up to shut-down, which finishes what is under way."""
    state = State(settings, {model.name: model for model in models}, Gauges(), ThreadPoolExecutor(2, "work"))

    @contextlib.asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        for model in models:
            state.batchers[model.name] = Batcher(model.segment, model.batch, seen=state.gauges.batch.observe)
        await asyncio.to_thread(warm_up, state)  # a network that does not work stops the service here
        yield
        state.ready = False
        for batcher in state.batchers.values():
            await asyncio.to_thread(batcher.close)
        state.pool.shutdown()

    app = FastAPI(
        title="monolayer",
        description="Cells in microscopy images: outlines, measurements, counts.",
        version="1",
        lifespan=lifespan,
        docs_url=None,  # their pages load scripts from elsewhere
        redoc_url=None,
    )
    app.state.service = state
    app.add_middleware(Edge, limit=settings.limits.bytes, gauges=state.gauges)
    app.add_exception_handler(AnyHTTPException, _refuse)
    app.add_exception_handler(RequestValidationError, _refuse_query)
    app.add_exception_handler(InputError, _refuse_image)
    app.include_router(routes)
    app.mount("/web", StaticFiles(directory=WEB))
    return app


def warm_up(state: State) -> None:
    """Answer for a first image in every form: it imports and compiles what the first request would wait for."""
    for model in state.models.values():
        image = sample()
        line = model.lines[0] if model.lines else None
        found = answers.from_score(state.batchers[model.name].submit(image, line).result(), 0.0)
        record = answers.record_of("sample.png", 0, image, None)
        frame = answers.frame(record, (image, image), found, None, model.neighbours)
        answers.as_json([frame], {}, "polygons", True)
        for make, _ in answers.FORMS.values():
            if make:
                make([frame])
    state.ready = True


# ---- problems ------------------------------------------------------------------------------------


def _problem(request: Request, status: int, detail: str, headers: dict[str, str] | None = None) -> JSONResponse:
    body = Problem(detail=detail, request_id=request.scope["request_id"])
    return JSONResponse(body.model_dump(), status, headers)


async def _refuse(request: Request, error: Exception) -> Response:
    assert isinstance(error, AnyHTTPException)
    return _problem(request, error.status_code, str(error.detail), dict(error.headers or {}))


async def _refuse_query(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    faults = [f"{'.'.join(map(str, fault['loc'][1:]))}: {fault['msg']}" for fault in error.errors()]
    return _problem(request, 422, "; ".join(faults))


async def _refuse_image(request: Request, error: Exception) -> Response:
    status = 413 if isinstance(error, TooLargeError) else 415 if isinstance(error, NotAnImageError) else 422
    return _problem(request, status, str(error))


# ---- routes --------------------------------------------------------------------------------------


def _state(request: Request) -> State:
    state: State = request.app.state.service
    return state


def _authorised(request: Request) -> None:
    """Compare the key of X-API-Key or Authorization: Bearer in a time that does not depend on it."""
    key = _state(request).settings.key
    if key is None:
        return
    given = request.headers.get("x-api-key") or request.headers.get("authorization", "").removeprefix("Bearer ")
    if not secrets.compare_digest(given.encode("latin-1"), key.encode()):  # as headers come
        raise HTTPException(401, "give the API key as X-API-Key", {"WWW-Authenticate": "Bearer"})


routes = APIRouter()
GUARDED = [Depends(_authorised)]
FORMS = {media: BINARY for media in answers.FORMS if media != "application/json"}


@routes.get("/health")
async def health() -> Health:
    """Whether the process answers."""
    return Health(status="ok")


@routes.get("/ready", responses={503: PROBLEMS[503]})
async def ready(request: Request) -> Health:
    """Whether images will be segmented at once."""
    if not _state(request).ready:
        raise HTTPException(503, "starting or shutting down; ask again in a moment")
    return Health(status="ready")


@routes.get("/models", dependencies=GUARDED, responses={401: PROBLEMS[401]})
async def models(request: Request) -> list[ModelAnswer]:
    """The models that /segment takes, the default first."""
    fields = ModelAnswer.model_fields
    return [ModelAnswer(**{name: getattr(model, name) for name in fields}) for model in _state(request).models.values()]


@routes.get("/metrics", response_class=Response, responses={200: {"content": {"text/plain": {}}}})
async def metrics(request: Request) -> Response:
    """Counters and times for Prometheus."""
    state = _state(request)
    state.gauges.waiting.set(state.waiting)
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
    return Response(
        answers.png(sample()), media_type="image/png", headers={"Content-Disposition": 'filename="sample.png"'}
    )


@routes.post(
    "/segment",
    dependencies=GUARDED,
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
    if state.waiting >= state.settings.limits.waiting:
        raise HTTPException(429, "too many requests wait; come back later", {"Retry-After": str(RETRY_S)})
    state.waiting += 1
    try:
        async with asyncio.timeout(state.settings.limits.seconds):
            return await segmented(request, asked, model, media)
    except TimeoutError:
        raise HTTPException(
            504, f"it took longer than {state.settings.limits.seconds:g} s; send less at once"
        ) from None
    finally:
        state.waiting -= 1


def _model(state: State, asked: Asked) -> ServedModel:
    if not state.ready:
        raise HTTPException(503, "starting or shutting down; ask again in a moment", {"Retry-After": str(RETRY_S)})
    name = asked.model or next(iter(state.models))
    if name not in state.models:
        raise HTTPException(422, f"model {name} is not offered; there are {', '.join(state.models)}")
    model = state.models[name]
    if model.lines and asked.cell_line not in model.lines:
        raise HTTPException(422, f"say which cell_line the image is of; {name} knows {', '.join(model.lines)}")
    if asked.keep and state.settings.keep is None:
        raise HTTPException(422, "this service stores nothing; leave out keep")
    return model
