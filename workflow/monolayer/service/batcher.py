"""Images of many requests through one network: whatever waits goes in one batch, nobody waits for a batch to fill."""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from monolayer.coco.instances import Instances

logger = logging.getLogger(__name__)
Image = NDArray[np.uint8]
Segment = Callable[[Sequence[Image], str | None], list[Instances]]


@dataclass
class QueuedImage:
    image: Image
    cell_line: str | None
    done: Future[Instances] = field(default_factory=Future)


class Batcher:
    """Runs `segment` on threads of its own, on up to `size` waiting images of one cell line at a time.

    While the network is busy, images gather, so that batches grow with the load and a lone image goes at once. Two
    threads: while one does the masks of its batch, the other one's network runs.
    """

    def __init__(
        self, segment: Segment, size: int, threads: int = 2, seen: Callable[[int], None] | None = None
    ) -> None:
        self._segment, self._size, self._seen = segment, size, seen or (lambda count: None)
        self._jobs: deque[QueuedImage] = deque()
        self._changed = threading.Condition()
        self._closed = False
        self._threads = [threading.Thread(target=self._work, daemon=True, name=f"batch-{n}") for n in range(threads)]
        for thread in self._threads:
            thread.start()

    def __len__(self) -> int:
        """Images that wait."""
        return len(self._jobs)

    def submit(self, image: Image, cell_line: str | None = None) -> Future[Instances]:
        """The cells of an image, later; cancelled while it waits, it is never segmented."""
        job = QueuedImage(image, cell_line)
        with self._changed:
            if self._closed:
                raise RuntimeError("the batcher is closed")
            self._jobs.append(job)
            self._changed.notify()
        return job.done

    def close(self) -> None:
        """Finish what waits, then end."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        for thread in self._threads:
            thread.join()

    def _work(self) -> None:
        while jobs := self._next():
            self._seen(len(jobs))
            self._run(jobs)

    def _next(self) -> list[QueuedImage]:
        """The longest waiting images of one cell line; none once it is closed and all is done."""
        with self._changed:
            while True:
                while self._jobs and not self._jobs[0].done.set_running_or_notify_cancel():
                    self._jobs.popleft()
                if self._jobs:
                    break
                if self._closed:
                    return []
                self._changed.wait()
            jobs = [self._jobs.popleft()]
            while self._jobs and len(jobs) < self._size and self._jobs[0].cell_line == jobs[0].cell_line:
                job = self._jobs.popleft()
                if job.done.set_running_or_notify_cancel():
                    jobs.append(job)
            return jobs

    def _run(self, jobs: Sequence[QueuedImage]) -> None:
        try:
            found = self._segment([job.image for job in jobs], jobs[0].cell_line)
        except Exception as error:
            if len(jobs) == 1:
                jobs[0].done.set_exception(error)
                return
            for job in jobs:  # one image may have spoilt it for all
                self._run([job])
            return
        for job, instances in zip(jobs, found, strict=True):
            job.done.set_result(instances)
