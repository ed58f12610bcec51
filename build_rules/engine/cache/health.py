"""Whether the cache is still worth asking, and every trouble with it told once.

A cache only saves time: nothing that is wrong with it may stop a build, and a server that does not answer may cost
its time limit once, not once per step.
"""

from __future__ import annotations

import threading
from collections.abc import Callable

from build_rules.engine.cache.store import FailedError, StoreError, UnwantedError
from build_rules.errors import printable

__all__ = ["Health"]

PATIENCE = 3
"""Troubles in a row, with nothing good in between, after which a cache is left alone."""
SLOW_SECONDS = 2.0
"""A question that takes longer and finds nothing is a trouble of its own."""
TOLD = 5
"""Lines about damaged entries; a folder that lost its disk has thousands."""


class Health:
    """What a run has learnt of one store. Safe to use from several threads, and so must `warn` be."""

    def __init__(self, place: str, writable: bool, warn: Callable[[str], None]) -> None:
        self.readable = True
        self.writable = writable
        self._place = place
        self._warn = warn
        self._lock = threading.Lock()
        self._told: set[str] = set()
        self._damaged: set[str] = set()
        self._troubles = {"read": 0, "write": 0}

    def answered(self, seconds: float = 0.0) -> None:
        """A question was answered with yes, or with no after so many seconds."""
        if seconds > SLOW_SECONDS:
            self._count("read", f"it takes more than {SLOW_SECONDS:g} s to say that it has nothing")
        else:
            self._troubles["read"] = 0

    def stored(self) -> None:
        """Something was uploaded."""
        self._troubles["write"] = 0

    def cannot_read(self, error: StoreError) -> None:
        """A question was not answered. Only a failure may be different next time."""
        if isinstance(error, FailedError):
            self.tell(f"{error}, taken for a miss")
            self._count("read", str(error))
        else:
            self._leave(str(error))

    def cannot_write(self, error: StoreError) -> None:
        """An upload was not taken."""
        if isinstance(error, FailedError | UnwantedError):
            self.tell(f"a result was not uploaded: {error}")
        if isinstance(error, FailedError):
            self._count("write", str(error))
        elif not isinstance(error, UnwantedError):
            # Some servers break off what is too large for them: whether this one is gone, the next question tells.
            self._only_read(str(error))

    def damaged(self, entry: str, why: str) -> None:
        """An entry is not what it should be."""
        with self._lock:
            was_told = entry in self._damaged
            self._damaged.add(entry)
            count = len(self._damaged)
        if not was_told and count <= TOLD:
            more = "; further ones are not listed" if count == TOLD else ""
            self.tell(f"{entry} is damaged ({why}), taken for a miss{more}")

    def unexpected(self, what: str, error: Exception) -> None:
        """Something else failed, such as writing to our own disk; that is no reason to stop a build either."""
        why = error.strerror if isinstance(error, OSError) and error.strerror else f"unexpected {type(error).__name__}"
        self.tell(f"{what}: {why}")

    def _count(self, verb: str, why: str) -> None:
        with self._lock:
            self._troubles[verb] += 1
            often = self._troubles[verb] >= PATIENCE
        if often:
            (self._leave if verb == "read" else self._only_read)(why)

    def _leave(self, why: str) -> None:
        with self._lock:
            was_told = not self.readable
            self.readable = self.writable = False
        if not was_told:
            self.tell(f"{why}; not used for the rest of this run")

    def _only_read(self, why: str) -> None:
        with self._lock:
            was_told = not self.writable
            self.writable = False
        if not was_told:
            self.tell(f"{why}; nothing more is uploaded in this run")

    def tell(self, what: str) -> None:
        """Print one line, the first time only."""
        line = printable(f"cache {self._place}: {what}")
        with self._lock:
            if line in self._told:
                return
            self._told.add(line)
        self._warn(line)
