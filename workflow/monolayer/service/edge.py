"""Around every request: its id, its log line, its counters, the limit of its bytes and the headers of its answer."""

from __future__ import annotations

import asyncio
import json
import logging
import re
import time
import uuid
from collections.abc import Mapping
from typing import Any

from fastapi import HTTPException
from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from monolayer.service import gate
from monolayer.service.door import AGAIN, CLOSED
from monolayer.service.state import State
from monolayer.service.uploads import Limits

logger = logging.getLogger("monolayer.service")
REQUEST_ID = re.compile(r"[A-Za-z0-9_-]{8,64}")  # becomes a file name where images are kept
PATH = 200  # characters of a path that a line of the log has
HELD = 4  # bodies of the largest size that are in memory at a time, or many smaller ones
HEADERS = {
    "Content-Security-Policy": "default-src 'self'; img-src 'self' blob: data:; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
}


class Edge:
    """ASGI middleware; an HTTPException rises out of `receive` where a body is too much, too slow or too late."""

    def __init__(self, app: ASGIApp, state: State) -> None:
        self.app, self.state = app, state
        self.held = 0  # bytes of bodies in memory

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        given = headers.get("x-request-id", "")
        scope["request_id"] = given if REQUEST_ID.fullmatch(given) else uuid.uuid4().hex
        scope["noted"] = {}
        started, status, begun = time.perf_counter(), 500, False
        body = Body(self, receive, headers.get("content-length", "0"))

        async def marked(message: Message) -> None:
            nonlocal status, begun
            if message["type"] == "http.response.start":
                status, begun = message["status"], True
                answered = MutableHeaders(scope=message)
                answered["X-Request-ID"] = scope["request_id"]
                for name, value in HEADERS.items():
                    answered.setdefault(name, value)
            await send(message)

        async def refuse(code: int, detail: str, more: Mapping[str, str] | None = None) -> None:
            answer = {"detail": detail, "request_id": scope["request_id"]}
            await JSONResponse(answer, code, more)(scope, receive, marked)

        try:
            gate.check(scope, self.state.settings)
            await self.app(scope, body.receive, marked)
        except HTTPException as error:  # of the gate: those behind it are answered by the application
            await refuse(error.status_code, error.detail, error.headers)
        except Exception:
            logger.exception(json.dumps({"request_id": scope["request_id"], "path": scope["path"][:PATH]}))
            if begun:
                raise
            await refuse(500, "this is a bug of the service; tell its operator the request id")
        finally:
            self.held -= body.received
            self._note(scope, status, time.perf_counter() - started)

    def _note(self, scope: Scope, status: int, seconds: float) -> None:
        route = getattr(scope.get("route"), "path", None) or "other"  # not the path: strangers could invent millions
        self.state.gauges.requests.labels(route, str(status)).inc()
        self.state.gauges.seconds.labels(route).observe(seconds)
        noted: dict[str, Any] = {
            "request_id": scope["request_id"],
            "method": scope["method"],
            "path": scope["path"][:PATH],
            "status": status,
            "seconds": round(seconds, 4),
            **scope["noted"],
        }
        logger.info(json.dumps(noted))


class Body:
    """The body of one request, as it comes: within the limits of bytes and time, and of what all bodies may hold."""

    def __init__(self, edge: Edge, receive: Receive, announced: str) -> None:
        self.edge, self._receive = edge, receive
        self.received, self.whole = 0, False
        self.announced = int(announced) if announced.isdigit() else 0
        self.end = time.monotonic() + edge.state.settings.limits.seconds

    async def receive(self) -> Message:
        if self.whole:  # what comes now is that the client goes
            return await self._receive()
        limits = self.edge.state.settings.limits
        self._check(self.announced, limits)
        message = await self._in_time(limits)
        count = len(message.get("body", b""))
        self.received += count
        self.edge.held += count
        self._check(self.received, limits)
        if self.edge.held > HELD * limits.bytes:
            raise HTTPException(503, "other requests fill the memory; come back later", AGAIN)
        self.whole = not message.get("more_body", False)
        return message

    async def _in_time(self, limits: Limits) -> Message:
        coming = asyncio.ensure_future(self._receive())
        closing = asyncio.ensure_future(self.edge.state.door.closing.wait())
        try:
            left = self.end - time.monotonic()
            await asyncio.wait({coming, closing}, timeout=left, return_when=asyncio.FIRST_COMPLETED)
            if coming.done():
                return coming.result()
            if closing.done():
                raise HTTPException(503, CLOSED, AGAIN)
            raise HTTPException(408, f"the request took more than {limits.seconds:g} s to arrive; send less at once")
        finally:
            coming.cancel()
            closing.cancel()

    def _check(self, count: int, limits: Limits) -> None:
        if count > limits.bytes:
            said = f"the request has more than {limits.bytes:,} bytes, which is what this service takes"
            raise HTTPException(413, f"{said}; send less at once")
