"""What a file is, by content; the file system's own marks only save the hashing."""

from __future__ import annotations

import hashlib
import os
from typing import NamedTuple

__all__ = ["ContentChecker", "Fingerprint", "fingerprint", "is_unchanged", "marks"]

CHUNK = 1 << 20


class Fingerprint(NamedTuple):
    """Size in bytes, times in ns, inode and SHA-256 of a file at one moment."""

    size: int
    mtime_ns: int
    ctime_ns: int
    inode: int
    sha256: str


# What this process has read already: a file is hashed again only when its marks have changed.
_known: dict[tuple[str, tuple[int, int, int, int]], str] = {}


def marks(mark: os.stat_result) -> tuple[int, int, int, int]:
    """Return what the file system says of a file: size, mtime and ctime in ns, inode."""
    return mark.st_size, mark.st_mtime_ns, mark.st_ctime_ns, mark.st_ino


def _digest(path: str | os.PathLike[str], mark: os.stat_result) -> str:
    key = (os.fspath(path), marks(mark))
    if key not in _known:
        _known[key] = _read_digest(path)
    return _known[key]


def _read_digest(path: str | os.PathLike[str]) -> str:
    sha = hashlib.sha256()
    with open(path, "rb") as stream:
        while chunk := stream.read(CHUNK):
            sha.update(chunk)
    return sha.hexdigest()


def fingerprint(path: str | os.PathLike[str]) -> Fingerprint:
    """Read a file's fingerprint. Raises `OSError`."""
    mark = os.stat(path)
    return Fingerprint(*marks(mark), _digest(path, mark))


def is_unchanged(path: str | os.PathLike[str], known: Fingerprint, mark: os.stat_result | None = None) -> bool:
    """Say whether the file still has the known content; it is read only when its marks differ. Missing = changed."""
    try:
        mark = mark or os.stat(path)
        if mark.st_size != known.size:
            return False
        return marks(mark) == known[:4] or _digest(path, mark) == known.sha256
    except OSError:
        return False


class ContentChecker:
    """doit's `check_file_uptodate` interface: content decides, a new time alone does not."""

    CheckerError = OSError

    def exists(self, file_path: str) -> bool:
        """Say whether a target is there."""
        return os.path.exists(file_path)

    def info(self, file_path: str) -> os.stat_result:
        """Return what `check_modified` gets as `file_stat`."""
        return os.stat(file_path)

    def check_modified(self, file_path: str, file_stat: os.stat_result, state: list[int | str]) -> bool:
        """Say whether the content differs from the state recorded at the last success."""
        return not is_unchanged(file_path, Fingerprint(*state), file_stat)  # type: ignore[arg-type]

    def get_state(self, dep: str, current_state: list[int | str] | None) -> Fingerprint | None:
        """Return the state to record, or None when the recorded one still holds."""
        if current_state is not None:
            known = Fingerprint(*current_state)  # type: ignore[arg-type]
            if marks(os.stat(dep)) == known[:4]:
                return None
        return fingerprint(dep)
