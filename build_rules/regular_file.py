"""Files that somebody named: regular ones alone, no more of a small one than it may hold, and no stand-ins.

To open a pipe waits for whoever writes into it, a device never ends, and what the kernel makes up below /proc and /sys
says that it is empty and then holds memory or the environment of this process. A clone made without Git LFS holds a
few lines of text in place of every large file.

Source of the pointer: https://github.com/git-lfs/git-lfs/blob/main/docs/spec.md. Imports nothing heavy: every run of
doit reads small files.
"""

from __future__ import annotations

import os
import stat
from functools import cache
from pathlib import Path

from build_rules.errors import InputError

__all__ = [
    "LABELS_BYTES",
    "LIST_BYTES",
    "SCRIPT_BYTES",
    "TOML_BYTES",
    "find_fault",
    "kind_fault",
    "open_regular",
    "read_small",
    "unwatched",
]

TOML_BYTES = 1 << 20
"""A `model.toml` with a hundred endpoints by hand has ten thousand bytes."""
LABELS_BYTES = 1 << 20
"""What readers of a HEF take of its labels; the largest sets of classes have a quarter of it."""
SCRIPT_BYTES = 4 << 20
"""A model script of a large network has ten thousand bytes."""
LIST_BYTES = 64 << 20
"""Half a million lines of a hundred characters each."""

READING = os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY
_KINDS = {
    stat.S_IFDIR: "a folder",
    stat.S_IFIFO: "a pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}
_POINTERS = (b"version https://git-lfs.github.com/spec/", b"version https://hawser.github.com/spec/")
_KERNEL = ("/proc", "/sys")


def unwatched(path: Path) -> None:
    """Nobody wants to know which files and folders are read."""


def find_fault(path: str | os.PathLike[str]) -> str | None:
    """Return why there is no regular file at `path`, such as "is a pipe", None when there is one; nothing is opened."""
    try:
        return kind_fault(os.stat(path))  # noqa: PTH116
    except FileNotFoundError:
        return "is a link to a file that is gone" if os.path.islink(path) else "does not exist"  # noqa: PTH114
    except (OSError, ValueError) as error:
        return f"cannot be found ({getattr(error, 'strerror', None) or error})"


def _fault_of(descriptor: int) -> str | None:
    """Return why an open file is not to be read, such as "is a pipe", None when it is a regular one with its content.

    Raises `OSError`.
    """
    status = os.fstat(descriptor)
    if (fault := kind_fault(status)) is not None:
        return fault
    head = os.pread(descriptor, max(map(len, _POINTERS)), 0)
    if head.startswith(_POINTERS):
        return (
            "is a Git LFS pointer: the file itself was not downloaded with the clone; run `git lfs pull`, "
            "once `git lfs install` has been run"
        )
    if head and status.st_size == 0 and os.fstat(descriptor).st_size == 0:
        return "says that it is empty and is not, as files do that the kernel makes up"
    return None


def kind_fault(status: os.stat_result) -> str | None:
    """Return why what `os.stat` returned is no regular file of somebody's, such as "is a pipe", None when it is one."""
    kind = stat.S_IFMT(status.st_mode)
    if kind != stat.S_IFREG:
        return f"is {_KINDS.get(kind, 'something else')} and not a regular file"
    if status.st_dev in _kernel_devices():
        return "is made up by the kernel and not a file of yours"
    return None


@cache
def _kernel_devices() -> frozenset[int]:
    return frozenset(os.stat(place).st_dev for place in _KERNEL if os.path.ismount(place))  # noqa: PTH116


def open_regular(path: str | os.PathLike[str], called: str | None = None) -> int:
    """Return a descriptor from which a regular file can be read.

    Raises `InputError`, naming the file or what it is `called`, when it is something else, and `OSError` when it cannot
    be opened.
    """
    place = called or f"{os.fspath(path)}:"
    # To open some devices is to start them; what opens is asked again, since it may have been replaced meanwhile.
    if (fault := kind_fault(os.stat(path))) is not None:  # noqa: PTH116
        raise InputError(f"{place} {fault}.")
    descriptor = os.open(path, READING)
    try:
        fault = _fault_of(descriptor)
    except BaseException:
        os.close(descriptor)
        raise
    if fault is not None:
        os.close(descriptor)
        raise InputError(f"{place} {fault}.")
    return descriptor


def read_small(path: str | os.PathLike[str], limit: int, what: str) -> bytes:
    """Return the whole of a regular file of at most `limit` bytes; `what` is what it should be, as in "a list".

    Raises `InputError`, naming the file, when it is something else or larger, and `OSError` when it cannot be read.
    """
    descriptor = open_regular(path)
    try:
        parts, left = [], limit + 1
        while left and (part := os.read(descriptor, min(left, 1 << 20))):
            parts.append(part)
            left -= len(part)
    finally:
        os.close(descriptor)
    if not left:
        raise InputError(f"{os.fspath(path)}: has more than {_size(limit)}, which is too much for {what}.")
    return b"".join(parts)


def _size(count: int) -> str:
    return f"{count >> 20} MiB" if count >= 1 << 20 else f"{count} bytes"
