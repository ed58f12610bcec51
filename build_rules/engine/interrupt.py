"""Ctrl-C and SIGTERM end a run at once, whatever its threads are doing, and leave no draft behind."""

from __future__ import annotations

import os
import shutil
import signal
import sys
from collections.abc import Callable
from contextlib import AbstractContextManager, suppress
from pathlib import Path
from types import FrameType

__all__ = ["INTERRUPTED", "before_end", "drafts", "end_on_interrupt", "groups", "leave_on_stop"]

INTERRUPTED = 130

drafts: set[Path] = set()
"""The folders that running steps write into; removed when the run is interrupted."""

before_end: list[Callable[[], None]] = []
"""What is called before anything else when the run is interrupted: a terminal is to be put back as it was."""

groups: set[int] = set()
"""The process groups of steps that run in processes of their own; killed when the run is interrupted."""


def _end(signum: int, frame: FrameType | None) -> None:
    for call in tuple(before_end):
        with suppress(Exception):
            call()
    # Worker threads of a parallel run cannot be interrupted, and waiting for them could take hours. Every finished
    # step is recorded already, and nothing unfinished stands under its name, so there is nothing to wait for.
    sys.stdout.flush()
    sys.stderr.write("interrupted; what was finished is kept, run doit again to go on\n")
    sys.stderr.flush()
    for group in list(groups):
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(group, signal.SIGKILL)
    for folder in list(drafts):
        shutil.rmtree(folder, ignore_errors=True)
    os._exit(INTERRUPTED)


def end_on_interrupt() -> None:
    """From now on end this process on SIGINT (Ctrl-C) and SIGTERM (a cancelled job, a stopped container)."""
    signal.signal(signal.SIGINT, _end)
    signal.signal(signal.SIGTERM, _end)


def leave_on_stop(left: Callable[[], AbstractContextManager[None]]) -> None:
    """From now on be `left()` while this process is stopped (Ctrl-Z)."""

    def stop(signum: int, frame: FrameType | None) -> None:
        with left():
            signal.signal(signal.SIGTSTP, signal.SIG_DFL)
            os.kill(os.getpid(), signal.SIGTSTP)
            signal.signal(signal.SIGTSTP, stop)

    # A shell without job control ignores the signal, and so do its children.
    if signal.getsignal(signal.SIGTSTP) == signal.SIG_DFL:
        signal.signal(signal.SIGTSTP, stop)
