"""Ctrl-C and SIGTERM end a run at once, whatever its threads are doing, and leave no draft behind."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, suppress
from pathlib import Path
from types import FrameType

from build_rules.engine.places import remove_tree
from build_rules.engine.process_tree import kill_tree
from build_rules.engine.standard_streams import say
from build_rules.exit_codes import INTERRUPTED

__all__ = ["end_on_interrupt", "leave_on_stop", "on_interrupt"]

PATIENCE = 0.3
"""Seconds in which Python gets to its signal handler unless it is inside a library, and what is printed is printed."""


class OnInterrupt:
    """What is to be undone when this process is interrupted.

    There is one per process, as a process has one handler for a signal: whoever begins something that must not
    outlive the process enters it here, and takes it out when it has ended.

    `drafts` are the folders that running steps write into; they are removed. `groups` are the process groups of steps
    that run in processes of their own; they are killed, with all that they have started. `calls` come before anything
    is printed: a terminal is to be put back as it was.
    """

    def __init__(self) -> None:
        self.drafts: set[Path] = set()
        self.groups: set[int] = set()
        self.calls: list[Callable[[], None]] = []
        self.begun = threading.Event()
        self.cleared = threading.Event()


on_interrupt = OnInterrupt()
"""That of this process."""


def _end(signum: int = 0, frame: FrameType | None = None) -> None:
    on_interrupt.begun.set()
    # Worker threads of a parallel run cannot be interrupted, and waiting for them could take hours. Every finished
    # step is recorded already, and nothing unfinished stands under its name, so there is nothing to wait for.
    try:
        for group in list(on_interrupt.groups):
            kill_tree(group)
        for folder in list(on_interrupt.drafts):
            remove_tree(folder)
    finally:
        on_interrupt.cleared.set()
    # What is printed may have no reader (`doit | less`); `_watch` waits no longer than it has patience.
    for call in tuple(on_interrupt.calls):
        with suppress(Exception):
            call()
    # What is raised in here comes out of whatever was interrupted: a stream that was being written to refuses more.
    with suppress(Exception):
        say(sys.stdout, "")
    with suppress(Exception):
        say(sys.stderr, "interrupted; what was finished is kept, run doit again to go on\n")
    os._exit(INTERRUPTED)


def end_on_interrupt() -> None:
    """From now on end this process on SIGINT (Ctrl-C) and SIGTERM (a cancelled job, a stopped container)."""
    signal.signal(signal.SIGINT, _end)
    signal.signal(signal.SIGTERM, _end)
    # Python runs its handlers between two of its own lines, and one call of a library can take minutes. The byte in
    # this pipe comes at once, for a thread that then does what the handler would have done.
    woken, wake = os.pipe()
    os.set_blocking(wake, False)
    signal.set_wakeup_fd(wake, warn_on_full_buffer=False)
    threading.Thread(target=_watch, args=(woken,), daemon=True).start()


def _watch(woken: int) -> None:
    ends = bytes((signal.SIGINT, signal.SIGTERM))
    while True:
        if any(number in ends for number in os.read(woken, 64)):
            if not on_interrupt.begun.wait(PATIENCE):
                threading.Thread(target=_end, daemon=True).start()
            on_interrupt.cleared.wait()
            time.sleep(PATIENCE)
            os._exit(INTERRUPTED)


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
