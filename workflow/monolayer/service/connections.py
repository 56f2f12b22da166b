"""Connections that can't be held for ever: idle ones, half a header, and answers that nobody fetches are closed."""

from __future__ import annotations

import asyncio
import logging
import os
import resource
import time
from typing import Any

import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from monolayer.service.state import State

FIRST_S, KEEP_S = 10, 60  # until a whole header has come, on a new connection and on one that had its answer
BACKLOG = 32, 256  # connections that asyncio takes at once, before any is counted: with few files to open, with many
REPEAT_S = 60.0


class Connection(H11Protocol):
    """One client: what it does is looked at every second."""

    most = 1000

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self.since, self.patience = time.monotonic(), FIRST_S  # of idleness
        self.writing: float | None = None  # since when an answer waits to be fetched
        if len(self.connections) > self.most:
            idle = [one for one in self.connections if isinstance(one, Connection) and one.idle]
            min(idle, key=lambda one: one.since, default=self).transport.abort()

    @property
    def idle(self) -> bool:
        return self.cycle is None or self.cycle.response_complete

    def on_response_complete(self) -> None:
        self.since, self.patience = time.monotonic(), KEEP_S
        super().on_response_complete()

    def look(self, now: float, seconds: float) -> None:
        """Close what is idle, and what takes longer than `seconds` to say what it asks or to fetch its answer."""
        waits = self.transport.get_write_buffer_size() > 0
        self.writing = (self.writing or now) if waits else None
        late = waits and now - (self.writing or now) > seconds
        if late or (self.idle and not waits and now - self.since > min(self.patience, seconds)):
            self.transport.abort()


class Server(uvicorn.Server):
    """Looks at its connections, and tells requests in time that the service ends."""

    def __init__(self, config: uvicorn.Config, state: State) -> None:
        super().__init__(config)
        self.state = state

    async def on_tick(self, counter: int) -> bool:
        if counter % 10 == 0:
            now, seconds = time.monotonic(), self.state.settings.limits.seconds
            for connection in list(self.server_state.connections):
                if isinstance(connection, Connection):
                    connection.look(now, seconds)
        return await super().on_tick(counter)

    async def shutdown(self, sockets: Any = None) -> None:
        self.state.ready = False
        asyncio.get_running_loop().call_later(0.8 * self.state.settings.grace_s, self.state.door.closing.set)
        await super().shutdown(sockets)


class OnceAMinute(logging.Filter):
    """Lets the same message pass once a minute."""

    def __init__(self) -> None:
        super().__init__()
        self.last: dict[str, float] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        now, key = time.monotonic(), str(record.msg)[:200]
        if now - self.last.get(key, -REPEAT_S) < REPEAT_S:
            return False
        self.last = {k: at for k, at in self.last.items() if now - at < REPEAT_S} | {key: now}
        return True


def server(app: Any, state: State, host: str, port: int) -> Server:
    """An HTTP server for the application, not started."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    free = soft - len(os.listdir("/proc/self/fd")) if os.path.isdir("/proc/self/fd") else soft
    backlog = min(max(BACKLOG[0], free // 16), BACKLOG[1])  # a crowd beyond it has its connections reset
    Connection.most = max(
        16, min(1000, free - 4 * backlog - 32)
    )  # the rest for other files and what is not counted yet
    for name in ("asyncio", "uvicorn.error"):
        log = logging.getLogger(name)
        if not any(isinstance(one, OnceAMinute) for one in log.filters):
            log.addFilter(OnceAMinute())
    config = uvicorn.Config(
        app,
        host=host,
        port=port,
        http=Connection,
        ws="none",
        backlog=backlog,
        timeout_keep_alive=KEEP_S,
        log_config=None,
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=int(0.9 * state.settings.grace_s) + 1,
    )
    return Server(config, state)
