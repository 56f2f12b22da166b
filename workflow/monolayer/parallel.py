"""Work spread over processes; what it gives comes in the order of what it was given."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from typing import TypeVar

Item = TypeVar("Item")
Given = TypeVar("Given")


def each(work: Callable[[Item], Given], items: Sequence[Item], workers: int) -> Iterator[Given]:
    """work(item) of each item, in order, on so many processes; `work` must be importable (no lambda)."""
    if workers == 1 or len(items) < 2:
        yield from map(work, items)
        return
    # a killed worker is an error here, where multiprocessing.Pool would wait for ever
    with ProcessPoolExecutor(min(workers, len(items)), multiprocessing.get_context("spawn")) as pool:
        yield from pool.map(work, items)
