"""Images of many requests through one network: whatever waits goes in one batch, nobody waits for a batch to fill."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from monolayer.coco.instances import Instances
from monolayer.models.pipeline import Check

Image = NDArray[np.uint8]
Segment = Callable[[Sequence[Image], str | None, Check], list[Instances]]
Seen = Callable[[int, int, float], None]  # images of a batch, their pixels, seconds that it took


class UnwantedError(Exception):
    """Nobody waits for this work any more."""


@dataclass
class QueuedImage:
    image: Image
    cell_line: str | None
    unwanted: threading.Event  # whoever waited is gone
    done: Future[Instances] = field(default_factory=Future)


class Batcher:
    """Runs `segment` on threads of its own, on up to `size` waiting images of one cell line at a time.

    While the network is busy, images gather, so that batches grow with the load and a lone image goes at once. Two
    threads: while one does the masks of its batch, the other one's network runs. A batch of several images has no more
    than so many pixels in all; it is given up between its steps once nobody waits for any of it.
    """

    def __init__(self, segment: Segment, size: int, pixels: int, threads: int, seen: Seen) -> None:
        self._segment, self._size, self._pixels, self._seen = segment, size, pixels, seen
        self._jobs: deque[QueuedImage] = deque()
        self._changed = threading.Condition()
        self._closed = False
        self._threads = [threading.Thread(target=self._work, daemon=True, name=f"batch-{n}") for n in range(threads)]
        for thread in self._threads:
            thread.start()

    def submit(
        self, image: Image, cell_line: str | None = None, unwanted: threading.Event | None = None
    ) -> Future[Instances]:
        """The cells of an image, later; UnwantedError once the event is set."""
        job = QueuedImage(image, cell_line, unwanted or threading.Event())
        with self._changed:
            if self._closed:
                raise UnwantedError
            self._jobs.append(job)
            self._changed.notify()
        return job.done

    def close(self, seconds: float) -> bool:
        """Finish what waits and end; whether that was done within so many seconds."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        end = time.monotonic() + seconds
        for thread in self._threads:
            thread.join(max(0.0, end - time.monotonic()))
        return not any(thread.is_alive() for thread in self._threads)

    def _work(self) -> None:
        while jobs := self._next():
            self._run(jobs)

    def _next(self) -> list[QueuedImage]:
        """The longest waiting images of one cell line; none once it is closed and all is done."""
        with self._changed:
            jobs: list[QueuedImage] = []
            while not jobs:
                while not self._jobs:
                    if self._closed:
                        return []
                    self._changed.wait()
                room = self._pixels
                while self._jobs and len(jobs) < self._size:
                    job = self._jobs[0]
                    if jobs and (job.cell_line != jobs[0].cell_line or job.image.size > room):
                        break
                    self._jobs.popleft()
                    if job.unwanted.is_set():
                        job.done.cancel()
                    elif job.done.set_running_or_notify_cancel():
                        jobs.append(job)
                        room -= job.image.size
            return jobs

    def _run(self, jobs: Sequence[QueuedImage]) -> None:
        def check() -> None:
            if all(job.unwanted.is_set() for job in jobs):
                raise UnwantedError

        started = time.perf_counter()
        try:
            check()
            found = self._segment([job.image for job in jobs], jobs[0].cell_line, check)
        except Exception as error:
            if len(jobs) == 1 or isinstance(error, UnwantedError):
                for job in jobs:
                    job.done.set_exception(error)
                return
            for job in jobs:  # one image may have spoilt it for all
                self._run([job])
            return
        self._seen(len(jobs), sum(job.image.size for job in jobs), time.perf_counter() - started)
        for job, instances in zip(jobs, found, strict=True):
            job.done.set_result(instances)
