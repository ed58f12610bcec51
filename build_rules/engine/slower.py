"""What a file system cannot do is done in a slower way, and said once in a run, in one line."""

from __future__ import annotations

import errno
import os
import sys
from contextlib import suppress
from functools import cache
from pathlib import Path

__all__ = ["UNSUPPORTED", "flush", "flush_descriptor", "tell_slower"]

UNSUPPORTED = (errno.EINVAL, errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP, errno.EPERM, errno.ENOLCK, errno.EROFS, 524)
"""How file systems say that they know no such thing; 524 is Linux's own ENOTSUPP, which some of them let out."""


@cache
def tell_slower(what: str) -> None:
    """Say on standard error, once, what does not work here and is therefore done otherwise."""
    with suppress(OSError, ValueError):
        print(f"the file system of build/ lacks {what}; a slower way is taken", file=sys.__stderr__, flush=True)


def flush(path: Path) -> None:
    """Have a file or folder written to the disk, where the file system can do that. Raises `OSError` when it fails."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        flush_descriptor(descriptor)
    finally:
        os.close(descriptor)


def flush_descriptor(descriptor: int) -> None:
    """Have what was written to an open file written to the disk, as `flush` does."""
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in UNSUPPORTED:
            raise
        tell_slower("the flushing of files (fsync)")
