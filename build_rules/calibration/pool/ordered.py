"""Work for all cores whose results come in order, and how far it is."""

from __future__ import annotations

import os
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

__all__ = ["Progress", "Workers"]

_Item = TypeVar("_Item")
_Result = TypeVar("_Result")

TELL_SECONDS = 0.5


class Workers:
    """Threads, by default one for each processor that this process may use. Left as a context, they have ended."""

    def __init__(self, count: int | None = None) -> None:
        self._count = count or len(os.sched_getaffinity(0))
        self._executor = ThreadPoolExecutor(self._count)

    def __enter__(self) -> Workers:
        return self

    def __exit__(self, *error: object) -> None:
        self._executor.shutdown(wait=True, cancel_futures=True)

    def in_order(self, function: Callable[[_Item], _Result], items: Iterable[_Item]) -> Iterator[_Result]:
        """Like `map`, on all threads, but at most two results per thread ahead, so that memory stays bounded."""
        pending: deque[Future[_Result]] = deque()
        try:
            for item in items:
                pending.append(self._executor.submit(function, item))
                if len(pending) >= 2 * self._count:
                    yield pending.popleft().result()
            while pending:
                yield pending.popleft().result()
        finally:
            for future in pending:
                future.cancel()


class Progress:
    """Says how far a number of equal pieces of work is, twice a second: how many, how fast, how long still."""

    def __init__(
        self, total: int, what: str, tell: Callable[[str], None], clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._total, self._what, self._tell, self._clock = total, what, tell, clock
        self._done = 0
        self._begun = self._told = clock()

    def step(self) -> None:
        """One more is done."""
        self._done += 1
        now = self._clock()
        if now - self._told < TELL_SECONDS:
            return
        self._told = now
        rate = self._done / (now - self._begun)
        left = (self._total - self._done) / rate
        self._tell(f"{self._done:,} of {self._total:,} {self._what}, {rate:,.0f} a second, {_duration(left)} left")


def _duration(seconds: float) -> str:
    whole = round(seconds)
    return f"{whole} s" if whole < 100 else f"{whole // 60} min {whole % 60:02} s"
