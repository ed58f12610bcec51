"""One doit at a time in a workspace."""

from __future__ import annotations

import fcntl
import os
import sys
from contextlib import suppress
from pathlib import Path

from doit import loader
from doit.exceptions import InvalidCommand

from build_rules.engine.ownership import FORBIDDEN, NEW_FILE, explain_unwritable, is_writable
from build_rules.engine.report.streams import say

__all__ = ["LOCK", "REFUSED", "UnwritableError", "check_writable", "lock_workspace"]

LOCK = Path("build/.lock")
REFUSED = "nothing can be built here: "


class UnwritableError(InvalidCommand):  # type: ignore[misc]  # doit has no type hints
    """This user cannot write in the workspace; looking at it is another matter."""


def check_writable(path: Path) -> None:
    """Raise `UnwritableError` when this user can neither write nor make a file."""
    if not is_writable(path):
        raise UnwritableError(f"{REFUSED}{explain_unwritable(path)}")


def lock_workspace(path: Path) -> int:
    """Take the workspace's lock; when another process has it, wait (saying for whom) and start over.

    Returns the open descriptor; the lock ends with the process, however that ends. After a wait this process begins
    anew, because what it had read of the workspace is as old as the wait was long. Raises `UnwritableError`.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, NEW_FILE)
    except OSError as error:
        kind = UnwritableError if error.errno in FORBIDDEN else InvalidCommand
        raise kind(f"{REFUSED}{explain_unwritable(path, error)}") from error
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        owner = os.pread(descriptor, 20, 0).decode(errors="replace").strip() or "unknown"
        # Not what doit has put in the place of standard error while a clean action runs.
        say(sys.__stderr__, f"waiting for the doit that is building here (process {owner})\n")
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        # doit has gone to the folder of dodo.py; its own arguments count from where it was started.
        os.chdir(loader.initial_workdir or ".")
        os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])
    # Only to tell others whom they wait for; a full disk is no reason not to build.
    with suppress(OSError):
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
    return descriptor
