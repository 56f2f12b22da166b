"""Work spread over processes; what it gives comes in the order of what it was given."""

from __future__ import annotations

import multiprocessing
import signal
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Executor, Future, ProcessPoolExecutor, ThreadPoolExecutor
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
        yield from _in_order(pool, work, items, 2 * workers)


def apart(work: Callable[[Item], Given], items: Iterable[Item]) -> Iterator[Given]:
    """work(item) of each item in turn, each in a process that begins with it; `work` must be importable."""
    for item in items:
        with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
            yield from _in_order(pool, work, [item], 0)


def prefetch(work: Callable[[Item], Given], items: Iterable[Item], count: int = 2) -> Iterator[Given]:
    """work(item) of each item in order, computed on a thread up to `count` items before it is asked for."""
    with ThreadPoolExecutor(1) as pool:
        yield from _in_order(pool, work, items, count)


def _in_order(pool: Executor, work: Callable[[Item], Given], items: Iterable[Item], count: int) -> Iterator[Given]:
    pending = deque[Future[Given]]()
    for item in items:
        # workers that begin here inherit what is blocked: Ctrl-C ends this process alone
        before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
        try:
            pending.append(pool.submit(work, item))
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)
        if len(pending) > count:
            yield pending.popleft().result()
    while pending:
        yield pending.popleft().result()
