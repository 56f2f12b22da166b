"""Work spread over processes; what it gives comes in the order of what it was given."""

from __future__ import annotations

import multiprocessing
import signal
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor, ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any, TypeVar

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
            with _without_interrupt():  # which the processes that begin here inherit: Ctrl-C ends this one alone
                pending.append(pool.submit(work, item))
            if len(pending) > 2 * workers:
                yield pending.popleft().result()
        while pending:
            yield pending.popleft().result()


@contextmanager
def _without_interrupt() -> Iterator[None]:
    """Put off SIGINT."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def prefetch(work: Callable[[Item], Given], items: Iterable[Item], count: int = 2) -> Iterator[Given]:
    """work(item) of each item in order, computed on a thread up to `count` items before it is asked for."""
    with ThreadPoolExecutor(1) as pool:
        pending: deque[Any] = deque()
        for item in items:
            pending.append(pool.submit(work, item))
            if len(pending) > count:
                yield pending.popleft().result()
        while pending:
            yield pending.popleft().result()
