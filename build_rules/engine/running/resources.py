"""Which steps may run at the same time: each says what it needs, and waits until that is free.

`doit -n N` starts up to N steps. A step that needs all cores, a few GB, or one of two licences, waits in its own thread
until those before it have given back what it lacks. Steps are let in in the order in which they came, so that a large
one is not overtaken for ever.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress

__all__ = ["CORES", "MEMORY", "Resources", "machine_resources"]

CORES, MEMORY = "cores", "memory_mb"


def machine_resources() -> dict[str, int]:
    """Return what this machine has: the cores this process may use, and its memory in MiB."""
    capacity = {CORES: len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1}
    with suppress(ValueError, OSError):
        capacity[MEMORY] = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") >> 20
    return capacity


class Resources:
    """What there is, and what is taken; settings add to what there is before the first step.

    A need for more than there is takes all there is; one that is unknown, none.
    """

    def __init__(self, capacity: dict[str, int]) -> None:
        self.capacity = capacity
        self._taken: dict[str, int] = {}
        self._queue: list[object] = []
        self._changed = threading.Condition()

    @contextmanager
    def take(self, needs: Mapping[str, int]) -> Iterator[None]:
        """Wait for `needs`, keep them while the block runs, give them back."""
        share = {name: min(amount, self.capacity[name]) for name, amount in needs.items() if name in self.capacity}
        ticket = object()
        with self._changed:
            self._queue.append(ticket)
            self._changed.wait_for(lambda: self._queue[0] is ticket and self._fits(share))
            self._queue.remove(ticket)
            self._add(share, 1)
        try:
            yield
        finally:
            with self._changed:
                self._add(share, -1)

    def _fits(self, share: Mapping[str, int]) -> bool:
        return all(self._taken.get(name, 0) + amount <= self.capacity[name] for name, amount in share.items())

    def _add(self, share: Mapping[str, int], sign: int) -> None:
        for name, amount in share.items():
            self._taken[name] = self._taken.get(name, 0) + sign * amount
        self._changed.notify_all()
