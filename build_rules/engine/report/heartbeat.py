"""Where there is no live view: a line a minute of every step that runs, so that nobody takes an hour for a standstill.

CI ends jobs that print nothing, and a log that is looked at later tells how long each part took.
"""

from __future__ import annotations

import threading
from collections.abc import Callable

__all__ = ["Heartbeat"]

PERIOD = 1.0
PATIENCE = 0.5
"""Seconds that the end waits for a line that is being printed to somebody who does not read."""


class Heartbeat:
    """A thread that calls `beat` every second until it is stopped, at most until the process ends."""

    def __init__(self, beat: Callable[[], None], period: float = PERIOD) -> None:
        self._beat = beat
        self._period = period
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._run, name="heartbeat", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        while not self._end.wait(self._period):
            self._beat()

    def stop(self) -> None:
        """Call it no more. Safe in a signal handler, and in the thread itself."""
        self._end.set()
        if self._thread is not threading.current_thread():
            self._thread.join(PATIENCE)
