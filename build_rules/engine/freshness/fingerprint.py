"""What a file is, by content; the file system's own marks only save the hashing.

Marks tell of a change only when it happens in another tick of the file system's clock. A file that was written in the
very tick in which it was read could be written again without a trace, so the marks of so young a file are not settled,
and its content is read the next time. A ctime of whole seconds is not of a kernel's clock: it is that of an image with
clamped times, of sshfs, FAT or a network mount, where another file can have the same. Such marks are never settled.
"""

from __future__ import annotations

import errno
import hashlib
import os
import stat
import threading
import time
from collections.abc import Sequence
from typing import NamedTuple

from build_rules.engine.freshness.clock import file_clock
from build_rules.engine.freshness.index import UNTRUSTED, Marks

__all__ = [
    "Fingerprint",
    "as_fingerprint",
    "fingerprint",
    "installed_marks",
    "is_unchanged",
    "is_vague",
    "marks_of",
    "trusted_marks",
    "verified",
]

CHUNK = 1 << 20
TICK_NS = 20_000_000
"""Kernels stamp files with a clock that ticks every 10 ms or faster."""
COARSE_TICK_NS = 2_000_000_000
"""File systems that keep whole seconds (NFS 2 and 3, FAT) keep every other one at worst."""
SECOND_NS = 1_000_000_000


class Fingerprint(NamedTuple):
    """Size in bytes, times in ns, inode and SHA-256 of a file at one moment; whether a later write shows in them."""

    size: int
    mtime_ns: int
    ctime_ns: int
    inode: int
    sha256: str
    settled: bool = False


verified: dict[str, Marks] = {}
"""The marks with which each file was found to be what the records say, in this process; not to be trusted when it was
found with different ones, or when they were not settled."""

_noting = threading.Lock()  # steps run in threads, and note what they found in one place

# What this process has read already, by device and marks: a file is hashed again only when its marks have changed. No
# two files of a device share an inode, so these tell files apart as well, and one file is one under all of its names.
# Files whose marks are never settled are among them for whoever only compares (many steps ask whether one is what it
# was); what a step reads, and what is recorded, is hashed each time.
_digests: dict[tuple[int, Marks], str] = {}


def marks_of(status: os.stat_result) -> Marks:
    """Return the marks among what `os.stat` tells."""
    return Marks(status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino)


def as_fingerprint(recorded: Sequence[int | str | bool]) -> Fingerprint:
    """Return what a record holds; what no file is like when the record is of another form."""
    try:
        return Fingerprint(*recorded)  # type: ignore[arg-type]
    except TypeError:
        return Fingerprint(-1, 0, 0, 0, "")


def is_vague(marks: Sequence[int | str | bool]) -> bool:
    """Say whether the ctime, third of the marks, is one that files of other content may have as well."""
    return not isinstance(marks[2], int) or not marks[2] % SECOND_NS


def _is_settled(device: int, marks: Marks) -> bool:
    """Say whether whatever is written from now on gets other marks; also false when the clock has been set back."""
    return not is_vague(marks) and file_clock.is_past(device, marks.ctime_ns + TICK_NS)


def trusted_marks(path: str | os.PathLike[str]) -> Marks:
    """Return the marks of a file or folder that is about to be read; `UNTRUSTED` when they could miss a change."""
    try:
        status = os.stat(path)
    except OSError:
        return UNTRUSTED
    marks = marks_of(status)
    return marks if _is_settled(status.st_dev, marks) else UNTRUSTED


def installed_marks(path: str | os.PathLike[str]) -> Marks:
    """Return the marks of a module or of a folder of libraries; `UNTRUSTED` when it is changing just now.

    Environments come in images with clamped times, too, and are not edited while a build looks at them: a ctime of
    whole seconds will do.
    """
    try:
        marks = marks_of(os.stat(path))
    except OSError:
        return UNTRUSTED
    tick = COARSE_TICK_NS if is_vague(marks) else TICK_NS
    return marks if time.time_ns() - marks.ctime_ns > tick else UNTRUSTED


def _note(path: str | os.PathLike[str], marks: Marks, settled: bool) -> None:
    name = os.fspath(path)
    with _noting:
        verified[name] = marks if settled and verified.get(name, marks) == marks else UNTRUSTED


def _digest(path: str | os.PathLike[str], status: os.stat_result, reuse: bool) -> str:
    if not reuse:
        return _read_digest(path)
    key = (status.st_dev, marks_of(status))
    if key not in _digests:
        _digests[key] = _read_digest(path)
    return _digests[key]


def _read_digest(path: str | os.PathLike[str]) -> str:
    sha = hashlib.sha256()
    # A pipe in the place of a file would be waited for, and a device may have no end.
    with open(os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK), "rb", buffering=0) as stream:
        if not stat.S_ISREG(os.fstat(stream.fileno()).st_mode):
            raise OSError(errno.EINVAL, "not a regular file", os.fspath(path))
        while chunk := stream.read(CHUNK):
            sha.update(chunk)
    return sha.hexdigest()


def fingerprint(path: str | os.PathLike[str]) -> Fingerprint:
    """Read a file's fingerprint. Raises `OSError`."""
    status = os.stat(path)
    marks = marks_of(status)
    settled = _is_settled(status.st_dev, marks)
    read = Fingerprint(*marks, _digest(path, status, settled), settled)
    _note(path, marks, settled)
    return read


def is_unchanged(path: str | os.PathLike[str], recorded: Fingerprint, status: os.stat_result | None = None) -> bool:
    """Say whether the file still has the recorded content; it is read unless its marks tell. Missing = changed.

    One whose marks can never tell is read once in a run.
    """
    try:
        status = status or os.stat(path)
        marks = marks_of(status)
        if marks.size != recorded.size:
            return False
        same = recorded.settled and marks == recorded[:4] and not is_vague(marks)
        settled = same or _is_settled(status.st_dev, marks)
        if not same and _digest(path, status, settled or is_vague(marks)) != recorded.sha256:
            return False
    except OSError:
        return False
    _note(path, marks, settled)
    return True
