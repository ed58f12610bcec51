"""One doit at a time in a workspace."""

from __future__ import annotations

import errno
import fcntl
import os
import stat
import sys
from contextlib import suppress
from pathlib import Path
from typing import NoReturn

from doit.exceptions import InvalidCommand

from build_rules.engine import places
from build_rules.engine.doit_names import started_in
from build_rules.engine.ownership import FORBIDDEN, NEW_FILE, explain_unwritable, is_writable
from build_rules.engine.places import clear_place, make_folder
from build_rules.engine.standard_streams import say
from build_rules.errors import InputError

__all__ = ["LOCK", "REFUSED", "UnwritableError", "check_writable", "lock_workspace"]

LOCK = Path(places.LOCK)
TAKEN = (errno.EWOULDBLOCK, errno.EACCES)
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
    anew, because what it had read of the workspace is as old as the wait was long. On a file system without locks a
    file that is there for as long stands for it (`lock_file.py`). Raises `UnwritableError`, and `InvalidCommand` for a
    place that is not ours.
    """
    try:
        make_folder(path.parent)
        clear_place(path)
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK, NEW_FILE)
    except InputError as error:
        raise InvalidCommand(str(error)) from error
    except OSError as error:
        kind = UnwritableError if error.errno in FORBIDDEN else InvalidCommand
        raise kind(f"{REFUSED}{explain_unwritable(path, error)}") from error
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno in TAKEN:
            _tell_wait(os.pread(descriptor, 20, 0).decode(errors="replace").strip() or "unknown")
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            _start_over()
        _lock_by_a_file()
    # Only to tell others whom they wait for; a full disk is no reason not to build. What has other names as well is
    # not written to: they may be anybody's.
    status = os.fstat(descriptor)
    if stat.S_ISREG(status.st_mode) and status.st_nlink == 1:
        with suppress(OSError):
            os.ftruncate(descriptor, 0)
            os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
    return descriptor


def _lock_by_a_file() -> None:
    """Take a lock that needs nothing of the file system but that it makes a file once."""
    from build_rules.engine.lock_file import LockFile
    from build_rules.engine.slower import tell_slower

    tell_slower("locks (flock)")
    lock = LockFile(Path(places.HELD))
    try:
        if (owner := lock.take()) is not None:
            _tell_wait(owner)
            lock.wait()
            _start_over()
    except OSError as error:
        raise UnwritableError(f"{REFUSED}{explain_unwritable(lock.path, error)}") from error


def _tell_wait(owner: str) -> None:
    # Not what doit has put in the place of standard error while a clean action runs.
    say(sys.__stderr__, f"waiting for the doit that is building here (process {owner})\n")


def _start_over() -> NoReturn:
    # doit has gone to the folder of dodo.py; its own arguments count from where it was started.
    os.chdir(started_in())
    os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])
