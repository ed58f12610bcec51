"""One doit at a time in a workspace."""

from __future__ import annotations

import fcntl
import os
import sys
from pathlib import Path

__all__ = ["lock_workspace"]


def lock_workspace(path: Path) -> int:
    """Take the workspace's lock, waiting (and saying for whom) when another process has it.

    Returns the open descriptor; the lock ends with the process, however that ends.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        owner = os.pread(descriptor, 20, 0).decode(errors="replace").strip() or "unknown"
        sys.stderr.write(f"waiting for the doit that is building here (process {owner})\n")
        fcntl.flock(descriptor, fcntl.LOCK_EX)
    os.ftruncate(descriptor, 0)
    os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
    return descriptor
