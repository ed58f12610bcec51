"""What time it is to the file system that keeps the workspace, which need not be what the machine says.

A file server stamps files with a clock of its own. Whether a file is older than now is therefore asked of the file
system, as git does with its index: something is written there, and its time is read.
"""

from __future__ import annotations

import os
import threading
import time
from contextlib import suppress

from build_rules.engine.places import BUILD, CLOCK

__all__ = ["FileClock", "file_clock"]

SKEW_NS = 300_000_000_000
"""What two clocks may differ by (Kerberos allows as much); for file systems on which nothing of ours can be written."""
ASK_AGAIN_NS = 10_000_000
HERE = (BUILD, ".")
"""Where something may be written that has no name and leaves no trace."""


class FileClock:
    """Says what is in the past for sure; asks the file system only about what is younger than its last answer."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._times: dict[int, int] = {}
        self._asked: float = -ASK_AGAIN_NS

    def is_past(self, device: int, at_ns: int) -> bool:
        """Say whether every file that is written from now on gets a later time than `at_ns`."""
        if at_ns < self._times.get(device, 0):
            return True
        with self._lock:
            if time.monotonic_ns() - self._asked >= ASK_AGAIN_NS:
                self._times = _ask()
                self._asked = time.monotonic_ns()
            now_ns = self._times.get(device)
        return at_ns < now_ns if now_ns is not None else at_ns + SKEW_NS < time.time_ns()


def _ask() -> dict[int, int]:
    """Return what time it is, by device, where we may write: to the file system of `build/`, that of the workspace."""
    times: dict[int, int] = {}
    for folder in HERE:
        with suppress(OSError):
            written = _written(os.open(folder, os.O_TMPFILE | os.O_WRONLY | os.O_CLOEXEC, 0o600))
            times[written.st_dev] = written.st_mtime_ns
    if not times and not os.path.islink(os.path.dirname(CLOCK)):
        with suppress(OSError):
            written = _named()
            times[written.st_dev] = written.st_mtime_ns
    return times


def _named() -> os.stat_result:
    with suppress(FileNotFoundError):
        os.unlink(CLOCK)
    try:
        return _written(os.open(CLOCK, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600))
    finally:
        with suppress(FileNotFoundError):
            os.unlink(CLOCK)


def _written(descriptor: int) -> os.stat_result:
    try:
        os.write(descriptor, b"\n")
        return os.fstat(descriptor)
    finally:
        os.close(descriptor)


file_clock = FileClock()
"""That of this process, which stays in its workspace."""
