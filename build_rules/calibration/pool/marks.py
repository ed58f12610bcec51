"""Whether an image is still the file that it was: what the file system says of it, and its digest.

What is remembered of an image is remembered by its content, so what was read must be what was hashed, although a file
is opened more than once, and by whoever else at the same time.
"""

from __future__ import annotations

import hashlib
import time
from pathlib import Path
from typing import NamedTuple

from build_rules.errors import InputError

__all__ = ["FileMarks", "check_unchanged", "digest_of", "file_marks", "is_settled"]

CHUNK = 1 << 20
SETTLED_NS = 300_000_000_000
"""What the machine's clock may be ahead of a file server's; images that are younger are hashed twice."""
SECOND_NS = 1_000_000_000
"""Times of whole seconds are those of image file systems and network mounts, where other content may have the same."""


class FileMarks(NamedTuple):
    """Device, inode, size in bytes, mtime and ctime in ns."""

    device: int
    inode: int
    size: int
    mtime_ns: int
    ctime_ns: int


def file_marks(path: Path) -> FileMarks:
    """Return what the file system says of a regular file. Raises `InputError` when there is none."""
    try:
        found = path.stat()
    except OSError as error:
        raise InputError(f"{path}: cannot be found ({error.strerror}); run doit again.") from error
    if not path.is_file():
        raise InputError(f"{path}: not a regular file; remove it from the images.")
    return FileMarks(found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns)


def is_settled(marks: FileMarks) -> bool:
    """Say whether whatever is written from now on shows in the marks: not in those of a file written just now."""
    return marks.ctime_ns % SECOND_NS != 0 and time.time_ns() - marks.ctime_ns > SETTLED_NS


def digest_of(path: Path) -> str:
    """Return the SHA-256 of a file. Raises `InputError` when it cannot be read."""
    sha = hashlib.sha256()
    try:
        with path.open("rb") as stream:
            while chunk := stream.read(CHUNK):
                sha.update(chunk)
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror}); check its permissions.") from error
    return sha.hexdigest()


def check_unchanged(path: Path, marks: FileMarks, sha256: str) -> None:
    """Raise `InputError` unless the file still is what had these marks and this digest, before it was read again."""
    if file_marks(path) != marks or (not is_settled(marks) and digest_of(path) != sha256):
        raise InputError(f"{path}: changed while it was read; leave the images alone, and run doit again.")
