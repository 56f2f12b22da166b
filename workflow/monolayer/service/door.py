"""Who is let in: what its model can do in time, in turn, and no more at once than the memory holds."""

from __future__ import annotations

import asyncio
import contextlib
import math
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from fastapi import HTTPException, Request

from monolayer.data.plane import TooLargeError
from monolayer.service.batcher import Batcher, Segment, UnwantedError
from monolayer.service.uploads import Limits

SMALL = 4 << 20  # pixels of a request that passes large ones, which come one at a time; and of a batch of images
RETRY_S = 2
AGAIN = {"Retry-After": str(RETRY_S)}
CLOSED = "starting or shutting down; ask again in a moment"


class Lane:
    """Requests of one kind: so many at a time, on threads that the other kind can't take."""

    def __init__(self, at_once: int, threads: int) -> None:
        self.turns, self.threads = asyncio.Semaphore(at_once), threads
        self.pool = ThreadPoolExecutor(threads, "work")
        self.batchers: dict[str, Batcher] = {}
        self.seconds = 0.0  # of the network, that what waits and runs is estimated at

    async def run(self, work: Callable[..., Any], *given: Any) -> Any:
        return await asyncio.get_running_loop().run_in_executor(self.pool, work, *given)


class Door:
    """Counts what is inside. A model's speed is the best that it has shown: what may be done in time is tried."""

    def __init__(self, limits: Limits, batch_seen: Callable[[int], None]) -> None:
        self.limits, self._batch_seen = limits, batch_seen
        self.small, self.large = Lane(16, 2), Lane(1, 1)
        self.speeds: dict[str, float] = {}  # pixels a second
        self.enlarged: dict[str, float] = {}  # pixels that a model sees for each
        self.inside = 0  # requests whose upload is complete
        self.closing = asyncio.Event()  # what is not done now will not be

    def offer(self, name: str, segment: Segment, batch: int, enlarged: float = 1.0) -> None:
        """Start the threads of a model, which sees so many pixels for each of an image."""
        self.enlarged[name] = enlarged

        def seen(images: int, pixels: int, seconds: float) -> None:
            self._batch_seen(images)
            self.speeds[name] = max(self.speeds.get(name, 0.0), pixels / max(seconds, 1e-9))

        for lane in (self.small, self.large):
            lane.batchers[name] = Batcher(segment, batch, int(SMALL / enlarged), lane.threads, seen)

    def close(self, seconds: float) -> bool:
        """End all threads; whether none works on after so many seconds."""
        ended = True
        for lane in (self.small, self.large):
            lane.pool.shutdown(wait=False, cancel_futures=True)
            for batcher in lane.batchers.values():
                ended &= batcher.close(seconds)
        return ended

    def check_room(self) -> None:
        if self.inside >= self.limits.waiting:
            raise HTTPException(429, "too many requests wait; come back later", AGAIN)

    @contextlib.contextmanager
    def entered(self) -> Iterator[None]:
        self.check_room()
        self.inside += 1
        try:
            yield
        finally:
            self.inside -= 1

    @contextlib.asynccontextmanager
    async def turn(self, model: str, name: str, pixels: int) -> AsyncIterator[Lane]:
        """A request's lane once its turn has come; refused at once where it can't be answered in time."""
        lane = self.small if pixels * self.enlarged[model] <= SMALL else self.large
        limit, speed = self.limits.seconds, self.speeds[model]
        own = pixels / speed
        if own > limit:
            raise TooLargeError(
                f"{name} has {pixels:,} pixels; at the {speed:,.0f} pixels a second of {model} they take {own:.0f} s, "
                f"and a request may take {limit:g}: cut it into tiles, send fewer pages, or have --max-seconds raised"
            )
        if (wait := lane.seconds / lane.threads) + own > limit:
            busy = f"what came before takes another {wait:.0f} s, {name} {own:.0f} s, and a request may take {limit:g}"
            raise HTTPException(429, f"{busy}; come back later", {"Retry-After": str(math.ceil(wait + own - limit))})
        lane.seconds += own
        try:
            async with lane.turns:
                yield lane
        finally:
            lane.seconds -= own

    async def wanted(self, request: Request, work: Callable[[threading.Event], Any]) -> Any:
        """What `work` gives, unless its client goes, its time is over or the service ends: then all of it stops."""
        unwanted = threading.Event()
        done = asyncio.ensure_future(work(unwanted))
        gone, closing = asyncio.ensure_future(_gone(request)), asyncio.ensure_future(self.closing.wait())
        waited = {done, gone, closing}
        try:
            await asyncio.wait(waited, timeout=self.limits.seconds, return_when=asyncio.FIRST_COMPLETED)
            if done.done() and not isinstance(done.exception(), UnwantedError):
                return done.result()
            if gone.done():
                raise HTTPException(499, "the client is gone")
            if done.done() or closing.done():
                raise HTTPException(503, CLOSED, AGAIN)
            raise HTTPException(504, f"it took longer than {self.limits.seconds:g} s; send less at once")
        finally:
            unwanted.set()
            for task in waited:
                task.cancel()


async def _gone(request: Request) -> None:
    """Return once the connection is closed; all of the body has come before."""
    while (await request.receive())["type"] != "http.disconnect":
        pass
