"""Ending a process with all that it has started, also what has left its group for a session of its own.

Compilers start helpers that do so, and daemons let their parent end. Where there is `/proc` (Linux) they are found by
who started whom; elsewhere the group alone is killed.

Source: proc(5) (`/proc/PID/stat`: state and parent follow the name in parentheses), prctl(2)
(`PR_SET_CHILD_SUBREAPER`).
"""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import suppress

__all__ = ["adopt_orphans", "kill_tree"]

PR_SET_CHILD_SUBREAPER = 36
ROUNDS = 20
"""What is started while others are killed is found the next time."""
GONE = (ProcessLookupError, PermissionError)


def adopt_orphans() -> None:
    """From now on be the parent of whatever this process's children leave behind, so that `kill_tree` finds it."""
    import ctypes  # where a step runs, never before

    with suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def kill_tree(leader: int) -> None:
    """Kill a process that leads a group, the group, and what any of them has started. It may be this process."""
    if leader != os.getpid():
        with suppress(*GONE):
            os.kill(leader, signal.SIGSTOP)  # it starts nothing more
    for _ in range(ROUNDS):
        if not (below := _below(leader)):
            break
        for process in below:
            with suppress(*GONE):
                os.kill(process, signal.SIGKILL)
    with suppress(*GONE):
        os.killpg(leader, signal.SIGKILL)


def _below(leader: int) -> set[int]:
    """Return the processes that a process has started, and that these have started, as far as they live."""
    children: dict[int, list[int]] = {}
    for process, parent in _parents():
        children.setdefault(parent, []).append(process)
    found: set[int] = set()
    pending = [leader]
    while pending:
        further = [process for process in children.get(pending.pop(), ()) if process not in found]
        found.update(further)
        pending += further
    return found


def _parents() -> Iterator[tuple[int, int]]:
    """Yield every process that has not ended, with its parent."""
    with suppress(OSError):
        for name in os.listdir("/proc"):
            if name.isdecimal():
                with suppress(OSError, ValueError, IndexError), open(f"/proc/{name}/stat", "rb") as stream:
                    state, parent = stream.read().rpartition(b")")[2].split()[:2]
                    if state not in (b"Z", b"X"):
                        yield int(name), int(parent)
