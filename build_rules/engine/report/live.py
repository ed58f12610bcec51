"""Rows at the bottom of a terminal that are drawn again several times a second, with lines printed above them.

Everything goes to the terminal in one piece per frame, past Python's buffers: an interrupt may come in the middle of
them. The view appears only after a while, so that quick runs print lines and nothing else.
"""

from __future__ import annotations

import atexit
import os
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TextIO

from build_rules.engine.report.cells import clean
from build_rules.engine.report.frame import LEAVE, draw

__all__ = ["LiveView"]

PERIOD = 0.2
# Whoever holds the lock longer than this waits for a terminal that takes nothing, or was interrupted itself.
PATIENCE = 0.5
NO_SIZE = (80, 24)

Rows = Callable[[int, int], "list[str]"]


class LiveView:
    """The view on one terminal. `rows(columns, lines)` says what it shows; a thread of its own asks and draws."""

    def __init__(self, stream: TextIO, rows: Rows) -> None:
        stream.flush()
        self._terminal = stream.fileno()
        self._encoding = stream.encoding or "ascii"
        self._rows = rows
        self._process = os.getpid()
        self._lock = threading.RLock()
        self._view: list[str] = []
        self._size = (0, 0)
        self._drawn = self._closed = False
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._keep_fresh, name="live view", daemon=True)

    def start(self) -> None:
        """Show the view from the next period on, at most until this process ends."""
        atexit.register(self.close)
        self._thread.start()

    def refresh(self) -> None:
        """Ask for the rows and draw them, even when they are the same: others may have written, and keys echo."""
        size = _size(self._terminal)
        view = self._rows(*size) if _in_foreground(self._terminal) else []
        with self._held():
            if not self._closed:
                self._size = size
                self._draw([], view)

    def print(self, text: str) -> None:
        """Print whole lines above the view."""
        lines = [clean(line) for line in text.removesuffix("\n").split("\n")]
        with self._held():
            # Rows made for another size come back when the thread has made them anew.
            self._draw(lines, self._view if _size(self._terminal) == self._size else [])

    def close(self) -> None:
        """Take the view off the screen, show the cursor, and write nothing more. Safe in a signal handler."""
        if self._closed or os.getpid() != self._process:
            return
        with self._held():
            self._closed = True
            self._leave()
        self._end.set()
        atexit.unregister(self.close)
        if self._thread.is_alive():
            self._thread.join(PATIENCE)

    @contextmanager
    def left(self) -> Iterator[None]:
        """Meanwhile the terminal belongs to somebody else."""
        with self._held():
            self._leave()
            yield

    @contextmanager
    def _held(self) -> Iterator[None]:
        held = self._lock.acquire(timeout=PATIENCE)
        try:
            yield
        finally:
            if held:
                self._lock.release()

    def _keep_fresh(self) -> None:
        while not self._end.wait(PERIOD):
            self.refresh()

    def _leave(self) -> None:
        drawn, self._view, self._drawn = self._drawn, [], False
        if drawn:
            self._write(LEAVE)

    def _draw(self, above: Sequence[str], view: list[str]) -> None:
        drawn, self._view, self._drawn = self._drawn, view, bool(view)
        self._write(draw(above, view, drawn=drawn))

    def _write(self, text: str) -> None:
        data = text.encode(self._encoding, "replace")
        while data:
            try:
                data = data[os.write(self._terminal, data) :]
            except BlockingIOError:
                time.sleep(0.01)
            except OSError:
                # The terminal is gone. That is no reason to stop building.
                return


def _size(terminal: int) -> tuple[int, int]:
    try:
        columns, lines = os.get_terminal_size(terminal)
    except OSError:
        return NO_SIZE
    return (columns, lines) if columns and lines else NO_SIZE


def _in_foreground(terminal: int) -> bool:
    """Say whether this process may draw: a job in the background shares the terminal with a shell."""
    try:
        return os.tcgetpgrp(terminal) == os.getpgrp()
    except OSError:
        return True
