"""Around every request: its id, its log line, its counters, the limit of its bytes and the headers of its answer."""

from __future__ import annotations

import json
import logging
import re
import time
import uuid
from typing import Any

from fastapi import HTTPException
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

logger = logging.getLogger("monolayer.service")
REQUEST_ID = re.compile(r"[A-Za-z0-9_-]{8,64}")  # becomes a file name where images are kept
SECONDS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120)
HEADERS = {
    "Content-Security-Policy": "default-src 'self'; img-src 'self' blob: data:; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
}


class Gauges:
    """What /metrics shows of one application."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.requests = Counter("monolayer_requests", "Requests answered.", ["route", "status"], registry=self.registry)
        self.seconds = Histogram(
            "monolayer_request_seconds", "Time of a request.", ["route"], registry=self.registry, buckets=SECONDS
        )
        self.images = Counter("monolayer_images", "Frames segmented.", registry=self.registry)
        self.cells = Counter("monolayer_cells", "Cells found.", registry=self.registry)
        self.batch = Histogram(
            "monolayer_batch_images", "Images of a batch.", registry=self.registry, buckets=(1, 2, 4, 8, 16, 32)
        )
        self.waiting = Gauge("monolayer_waiting_requests", "Requests under way.", registry=self.registry)

    def text(self) -> bytes:
        return generate_latest(self.registry)


class Edge:
    """ASGI middleware; HTTPException 413 rises out of `receive` where a body goes on beyond the limit."""

    def __init__(self, app: ASGIApp, limit: int, gauges: Gauges) -> None:
        self.app, self.limit, self.gauges = app, limit, gauges

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        given = headers.get("x-request-id", "")
        scope["request_id"] = given if REQUEST_ID.fullmatch(given) else uuid.uuid4().hex
        scope["noted"] = {}
        started, status, received, begun = time.perf_counter(), 500, 0, False

        async def limited() -> Message:
            nonlocal received
            length = headers.get("content-length", "0")
            if length.isdigit() and int(length) > self.limit:
                raise HTTPException(413, self._too_many())
            message = await receive()
            received += len(message.get("body", b""))
            if received > self.limit:
                raise HTTPException(413, self._too_many())
            return message

        async def marked(message: Message) -> None:
            nonlocal status, begun
            if message["type"] == "http.response.start":
                status, begun = message["status"], True
                answered = MutableHeaders(scope=message)
                answered["X-Request-ID"] = scope["request_id"]
                for name, value in HEADERS.items():
                    answered.setdefault(name, value)
            await send(message)

        try:
            await self.app(scope, limited, marked)
        except Exception:
            logger.exception(json.dumps({"request_id": scope["request_id"], "path": scope["path"]}))
            if begun:
                raise
            detail = "this is a bug of the service; tell its operator the request id"
            await JSONResponse({"detail": detail, "request_id": scope["request_id"]}, 500)(scope, receive, marked)
        finally:
            self._note(scope, status, time.perf_counter() - started)

    def _too_many(self) -> str:
        return f"the request has more than {self.limit:,} bytes, which is what this service takes; send less at once"

    def _note(self, scope: Scope, status: int, seconds: float) -> None:
        route = getattr(scope.get("route"), "path", None) or "other"  # not the path: strangers could invent millions
        self.gauges.requests.labels(route, str(status)).inc()
        self.gauges.seconds.labels(route).observe(seconds)
        noted: dict[str, Any] = {
            "request_id": scope["request_id"],
            "method": scope["method"],
            "path": scope["path"],
            "status": status,
            "seconds": round(seconds, 4),
            **scope["noted"],
        }
        logger.info(json.dumps(noted))
