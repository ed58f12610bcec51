"""Several images at once, a thread each, with what comes of them in their own order."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

__all__ = ["MAX_WORKERS", "in_order", "worker_count"]

MAX_WORKERS = 4

Item = TypeVar("Item")
Result = TypeVar("Result")


def worker_count() -> int:
    """Return how many samples run at once; it never changes a result, only the time and memory taken."""
    return max(1, min(MAX_WORKERS, len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else 2))


def in_order(work: Callable[[Item], Result], items: Iterable[Item], workers: int | None = None) -> Generator[Result]:
    """Yield `work(item)` in the order of the items, computed by a few threads a few items ahead, so memory is bounded.

    When whoever reads stops, or is interrupted, no further item is begun, and those that run are not waited for.
    """
    count = worker_count() if workers is None else workers
    pool, ahead = ThreadPoolExecutor(max_workers=count), deque[Future[Result]]()
    try:
        for item in items:
            ahead.append(pool.submit(work, item))
            if len(ahead) > count:
                yield ahead.popleft().result()
        while ahead:
            yield ahead.popleft().result()
    finally:
        pool.shutdown(wait=False, cancel_futures=True)
