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
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import NamedTuple

from build_rules.engine.freshness.clock import file_clock
from build_rules.engine.freshness.index import UNTRUSTED, Marks

__all__ = [
    "Fingerprint",
    "as_fingerprint",
    "fingerprint",
    "first_marks",
    "installed_marks",
    "is_unchanged",
    "is_vague",
    "marks_of",
    "renaming",
    "still_has",
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

_noting = threading.Lock()

# What this process has read already, by device and marks: a file is hashed again only when its marks have changed. No
# two files of a device share an inode, so these tell files apart as well, and one file is one under all of its names.
_known: dict[tuple[int, Marks], str] = {}

# The same of files whose marks are never settled: many steps ask whether one is what it was. What a step reads, and
# what is recorded, is hashed each time.
_seen: dict[tuple[int, Marks], str] = {}

_names = threading.RLock()

# Marks that a file got when this process gave it a name or took one away, and those it had before.
_renamed: dict[Marks, Marks] = {}


def marks_of(found: os.stat_result) -> Marks:
    """Return the marks among what `os.stat` tells."""
    return Marks(found.st_size, found.st_mtime_ns, found.st_ctime_ns, found.st_ino)


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
    """Say whether whatever is written from now on gets other marks; also false when the clock has been set back.

    Where it was only the names of the file that changed, its mtime is old, and a write shows in that.
    """
    return not is_vague(marks) and (marks in _renamed or file_clock.is_past(device, marks.ctime_ns + TICK_NS))


@contextmanager
def renaming(*paths: str | os.PathLike[str]) -> Iterator[None]:
    """Give files names or take names away in here: what is known of their content still holds afterwards.

    The number of its names belongs to the inode of a file, so that its ctime changes with them, as if it had been
    written to. Other steps of this run may be reading it; they are told by `still_has` and `first_marks`.
    """
    with _names, ExitStack() as stack:
        files = [os.open(path, os.O_PATH) for path in paths]
        for file in files:
            stack.callback(os.close, file)
        before = [marks_of(os.fstat(file)) for file in files]
        yield
        for file, marks in zip(files, before, strict=True):
            found = os.fstat(file)
            _follow(found.st_dev, marks, marks_of(found))


def _follow(device: int, before: Marks, after: Marks) -> None:
    same = (before.size, before.mtime_ns) == (after.size, after.mtime_ns)
    if same and after.ctime_ns > before.ctime_ns and _is_settled(device, before):
        _renamed[after] = before
        if (device, before) in _known:
            _known[device, after] = _known[device, before]


def still_has(marks: Marks, known: Fingerprint) -> bool:
    """Say whether a file with these marks had the known ones, and nothing but its names has changed since."""
    with _names:
        while marks != known[:4] and marks in _renamed:
            marks = _renamed[marks]
    return marks == known[:4]


def first_marks(marks: Marks) -> Marks:
    """Return the marks that a file had before this process changed its names."""
    with _names:
        while marks in _renamed:
            marks = _renamed[marks]
    return marks


def trusted_marks(path: str | os.PathLike[str]) -> Marks:
    """Return the marks of a file or folder that is about to be read; `UNTRUSTED` when they could miss a change."""
    try:
        found = os.stat(path)
    except OSError:
        return UNTRUSTED
    marks = marks_of(found)
    return marks if _is_settled(found.st_dev, marks) else UNTRUSTED


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


def _digest(path: str | os.PathLike[str], found: os.stat_result, settled: bool) -> str:
    if not settled:
        return _read_digest(path)
    key = (found.st_dev, marks_of(found))
    if key not in _known:
        _known[key] = _read_digest(path)
    return _known[key]


def _digest_to_compare(path: str | os.PathLike[str], found: os.stat_result, settled: bool) -> str:
    marks = marks_of(found)
    if not is_vague(marks):
        return _digest(path, found, settled)
    key = (found.st_dev, marks)
    if key not in _seen:
        _seen[key] = _read_digest(path)
    return _seen[key]


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
    found = os.stat(path)
    marks = marks_of(found)
    settled = _is_settled(found.st_dev, marks)
    read = Fingerprint(*marks, _digest(path, found, settled), settled)
    _note(path, marks, settled)
    return read


def is_unchanged(path: str | os.PathLike[str], known: Fingerprint, found: os.stat_result | None = None) -> bool:
    """Say whether the file still has the known content; it is read unless its marks tell. Missing = changed.

    One whose marks can never tell is read once in a run.
    """
    try:
        found = found or os.stat(path)
        marks = marks_of(found)
        if marks.size != known.size:
            return False
        same = known.settled and marks == known[:4] and not is_vague(marks)
        settled = same or _is_settled(found.st_dev, marks)
        if not same and _digest_to_compare(path, found, settled) != known.sha256:
            return False
    except OSError:
        return False
    _note(path, marks, settled)
    return True
