"""The cache in a folder, on this machine or shared over a network file system.

`ac/xx/<key>` and `cas/xx/<SHA-256>`, xx being the first two digits: the layout of Bazel's disk cache. A file appears
under its name whole or not at all, so nothing is locked; two writers of one name write the same. The time of a file's
last change is that of its last use; the least recently used go first when there is a limit.
"""

from __future__ import annotations

import errno
import os
import stat
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

from build_rules.atomic_file import replacing
from build_rules.engine.cache.folder_layout import place
from build_rules.engine.cache.store import (
    CHUNK_BYTES,
    FailedError,
    Kind,
    RefusedError,
    StoreError,
    UnreachableError,
    UnwantedError,
)
from build_rules.engine.slower import UNSUPPORTED

__all__ = ["FolderStore"]

ROOM = 0.9
"""The part of the limit that is left in use when room is made, so that it is not made again for every file."""

_NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_FORBIDDEN = (errno.EACCES, errno.EPERM, errno.EROFS, errno.ELOOP)
# Another machine removed or replaced the file while this one had it open over NFS.
_GONE = (errno.ENOENT, errno.ESTALE)


class FolderStore:
    """A `Store` in a folder, of at most `limit` bytes when that is not None. The folder is made when first written."""

    def __init__(self, folder: Path, limit: int | None = None) -> None:
        self.folder = folder
        self.limit = limit
        self._used: int | None = None
        self._room = threading.Lock()

    def get(self, kind: Kind, name: str, most: int, sink: Callable[[bytes], None]) -> bool:
        """Read a file."""
        path = place(self.folder, kind, name)
        try:
            # Who may write to the folder may put a pipe there, which would be waited for, or a link to any file.
            descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOFOLLOW)
        except OSError as error:
            return self._missing(error)
        try:
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                raise FailedError("it holds something that is no regular file")
            _touch(path)
            while chunk := self._read(descriptor):
                sink(chunk)
        finally:
            os.close(descriptor)
        return True

    def _read(self, descriptor: int) -> bytes:
        try:
            return os.read(descriptor, CHUNK_BYTES)
        except OSError as error:
            self._missing(error)
            raise FailedError("a file went away while it was read") from error

    def _missing(self, error: OSError) -> bool:
        """Return False for a file that is not there; raise for one that cannot be read."""
        if error.errno in _GONE:
            return False
        if error.errno in _FORBIDDEN:
            raise FailedError(f"a file cannot be read ({error.strerror})") from error
        raise UnreachableError(f"it cannot be read ({error.strerror})") from error

    def has(self, kind: Kind, name: str, size: int | None = None) -> bool:
        """Look at a file's size; one that is there counts as used."""
        path = place(self.folder, kind, name)
        try:
            stored = os.stat(path).st_size
        except OSError as error:
            return self._missing(error)
        if size is not None and size != stored:
            return False
        _touch(path)
        return True

    def put(self, kind: Kind, name: str, size: int, chunks: Callable[[], Iterator[bytes]]) -> None:
        """Write a file. One that alone is over the limit is not kept."""
        if self.limit is not None and size > self.limit * ROOM:
            raise UnwantedError(f"{size} bytes are more than its limit has room for")
        path = place(self.folder, kind, name)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with replacing(path) as stream:
                stream.writelines(chunks())
                stream.flush()
                _flush(stream.fileno())
        except OSError as error:  # never one of `chunks`
            raise _unwritable(error) from error
        self._make_room(size)

    def _make_room(self, added: int) -> None:
        """Keep to the limit. What others write meanwhile is seen when the folder is measured again."""
        if self.limit is None:
            return
        from build_rules.engine.cache.upkeep import measure, prune

        with self._room:
            try:
                self._used = measure(self.folder).bytes if self._used is None else self._used + added
                if self._used > self.limit:
                    self._used = prune(self.folder, int(self.limit * ROOM)).bytes
            except OSError as error:
                raise RefusedError(f"its limit cannot be kept ({error.strerror})") from error


def _unwritable(error: OSError) -> StoreError:
    if error.errno in _NO_ROOM:
        return RefusedError("it has no room left")
    if error.errno in _FORBIDDEN:
        return RefusedError(f"it cannot be written ({error.strerror})")
    return UnreachableError(f"it cannot be written ({error.strerror})")


def _flush(descriptor: int) -> None:
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in UNSUPPORTED:  # what is damaged by a power failure is noticed by its digest
            raise


def _touch(path: Path) -> None:
    # Somebody else's file, or one on a read-only mount: it then counts by the time it was written.
    with suppress(OSError):
        os.utime(path)
