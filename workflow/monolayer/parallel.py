"""Work spread over processes; what it gives comes in the order of what it was given."""

from __future__ import annotations

import multiprocessing
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from typing import TypeVar

Item = TypeVar("Item")
Given = TypeVar("Given")


def each(work: Callable[[Item], Given], items: Iterable[Item], workers: int) -> Iterator[Given]:
    """work(item) of each item, in order, on so many processes; `work` must be importable (no lambda).

    At most two items a process are under way or wait to be taken: memory does not grow with their number.
    """
    if workers == 1:
        yield from map(work, items)
        return
    # a killed worker is an error here, where multiprocessing.Pool would wait for ever
    with ProcessPoolExecutor(workers, multiprocessing.get_context("spawn")) as pool:
        pending = deque[Future[Given]]()
        for item in items:
            pending.append(pool.submit(work, item))
            if len(pending) > 2 * workers:
                yield pending.popleft().result()
        while pending:
            yield pending.popleft().result()
