"""How far a long command is, and how long it will still take, on standard error."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable

from build_rules.engine.standard_streams import say
from build_rules.errors import printable

__all__ = ["ProgressLine"]

OFTEN, SELDOM = 0.2, 20.0
"""Seconds between two words: on a terminal, where each takes the place of the last, and in a log."""


class ProgressLine:
    """One line that is written over on a terminal, a line now and then elsewhere; `end` leaves nothing behind."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock, self._began = clock, clock()
        self._is_terminal = sys.stderr.isatty()
        self._told = self._began if not self._is_terminal else -SELDOM

    def tell(self, done: int, total: int, what: str) -> None:
        """Say what is done, of how much (0 when nobody knows), and what is done now."""
        now = self._clock()
        if now - self._told < (OFTEN if self._is_terminal else SELDOM):
            return
        self._told = now
        told = printable(f"   {what}{_left(done, total, now - self._began)}")
        say(sys.stderr, f"\r\x1b[K{told[:150]}" if self._is_terminal else f"{told}\n")

    def begin(self) -> None:
        """Count the time that is left from now on."""
        self._began = self._clock()

    def end(self) -> None:
        """Take the line away."""
        if self._is_terminal:
            say(sys.stderr, "\r\x1b[K")


def _left(done: int, total: int, seconds: float) -> str:
    if not total:
        return ""
    share = f", {100 * done // total} %"
    if not done or seconds < 1:
        return share
    left = seconds * (total - done) / done
    return f"{share}, about {left / 60:.0f} min left" if left >= 90 else f"{share}, about {left:.0f} s left"
