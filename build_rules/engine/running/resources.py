"""Which steps may run at the same time: each says what it needs, and waits until that is free.

`doit -n N` starts up to N steps. A step that needs all cores, a few GB, or one of two licences, waits in its own thread
until those before it have given back what it lacks. What a step has once found lacking is kept for it: whoever came
later and needs some of that waits behind it, so that a large one is not overtaken for ever; whoever needs none of it
goes first. A compile of hours that has the one licence holds up those that need a licence, and nobody else.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress

__all__ = ["CORES", "MEMORY", "Resources", "machine_resources"]

CORES, MEMORY = "cores", "memory_mb"


def machine_resources() -> dict[str, int]:
    """Return what this machine has: the cores this process may use, and its memory in MiB."""
    capacity = {CORES: len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1}
    with suppress(ValueError, OSError):
        capacity[MEMORY] = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") >> 20
    return capacity


class _Waiting:
    """A step that waits: what it needs, and what of that it has found lacking so far."""

    def __init__(self, share: Mapping[str, int]) -> None:
        self.share = share
        self.lacked: set[str] = set()


class Resources:
    """What there is, and what is taken; settings add to what there is before the first step.

    A need for more than there is takes all there is; one that is unknown, none.
    """

    def __init__(self, capacity: dict[str, int]) -> None:
        self.capacity = capacity
        self._taken: dict[str, int] = {}
        self._queue: list[_Waiting] = []
        self._changed = threading.Condition()

    @contextmanager
    def take(self, needs: Mapping[str, int], tell: Callable[[str], None] = lambda reason: None) -> Iterator[None]:
        """Wait for `needs`, keep them while the block runs, give them back. Whoever has to wait is told for what."""
        share = {name: min(amount, self.capacity[name]) for name, amount in needs.items() if name in self.capacity}
        step = _Waiting(share)
        with self._changed:
            self._queue.append(step)
            lacking = self._lacking(step)
        if lacking:
            tell(f"waits for {' and '.join(lacking)}")
        with self._changed:
            self._changed.wait_for(lambda: not self._lacking(step))
            self._queue.remove(step)
            self._add(share, 1)
        try:
            yield
        finally:
            with self._changed:
                self._add(share, -1)

    def _lacking(self, step: _Waiting) -> list[str]:
        """Return what a step in the queue has to wait for, in words; nothing when it may begin."""
        kept: set[str] = set()
        for earlier in self._queue:
            short = [name for name, amount in earlier.share.items() if not self._is_free(name, amount)]
            earlier.lacked.update(short)
            if earlier is step:
                return [self._in_words(name) for name in earlier.share if name in kept or name in short]
            kept |= earlier.lacked
        return []

    def _is_free(self, name: str, amount: int) -> bool:
        return self._taken.get(name, 0) + amount <= self.capacity[name]

    def _in_words(self, name: str) -> str:
        unit = " MB" if name == MEMORY else ""
        taken = f"{self._taken.get(name, 0)} of {self.capacity[name]}{unit} taken"
        return f"{'memory' if name == MEMORY else name} ({taken})"

    def _add(self, share: Mapping[str, int], sign: int) -> None:
        for name, amount in share.items():
            self._taken[name] = self._taken.get(name, 0) + sign * amount
        self._changed.notify_all()
