"""What a file is, by content; the file system's own marks only save the hashing."""

from __future__ import annotations

import hashlib
import os
from typing import NamedTuple

__all__ = ["ContentChecker", "Fingerprint", "fingerprint", "is_unchanged"]

CHUNK = 1 << 20


class Fingerprint(NamedTuple):
    """Size in bytes, times in ns, inode and SHA-256 of a file at one moment."""

    size: int
    mtime_ns: int
    ctime_ns: int
    inode: int
    sha256: str


def _digest(path: str | os.PathLike[str]) -> str:
    sha = hashlib.sha256()
    with open(path, "rb") as stream:
        while chunk := stream.read(CHUNK):
            sha.update(chunk)
    return sha.hexdigest()


def fingerprint(path: str | os.PathLike[str]) -> Fingerprint:
    """Read a file's fingerprint. Raises `OSError`."""
    mark = os.stat(path)
    return Fingerprint(mark.st_size, mark.st_mtime_ns, mark.st_ctime_ns, mark.st_ino, _digest(path))


def is_unchanged(path: str | os.PathLike[str], known: Fingerprint, mark: os.stat_result | None = None) -> bool:
    """Say whether the file still has the known content; it is read only when its marks differ. Missing = changed."""
    try:
        mark = mark or os.stat(path)
        if mark.st_size != known.size:
            return False
        if (mark.st_mtime_ns, mark.st_ctime_ns, mark.st_ino) == known[1:4]:
            return True
        return _digest(path) == known.sha256
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
            mark = os.stat(dep)
            if (mark.st_size, mark.st_mtime_ns, mark.st_ctime_ns, mark.st_ino) == known[:4]:
                return None
        return fingerprint(dep)
