"""Looking after a cache folder: how much is in it, removing what was not used for longest, finding what is damaged.

All of it may run while others read and write the folder: whatever is removed is only a miss to them.
"""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from build_rules.atomic_file import PARTIAL
from build_rules.engine.cache.action import CachedAction, DamagedError, decode_action, is_digest
from build_rules.engine.cache.folder_layout import place
from build_rules.engine.cache.store import ACTION, BLOB, CHUNK_BYTES, Kind

__all__ = ["Contents", "Verified", "measure", "prune", "verify"]

ABANDONED_SECONDS = 24 * 3600
"""A file that nobody has written to for a day was left by a writer that was killed."""


@dataclass(frozen=True)
class Contents:
    """What is in a cache folder. Times are those of a file's last use, in seconds since 1970; None when empty."""

    actions: int
    blobs: int
    bytes: int
    oldest: float | None
    newest: float | None


@dataclass(frozen=True)
class Verified:
    """What a check of every file found and removed: damaged ones, and entries whose blobs are gone."""

    read: int
    bytes: int
    damaged: int
    incomplete: int


@dataclass(frozen=True)
class _File:
    path: Path
    kind: Kind
    size: int
    used: float


def _files(folder: Path) -> Iterator[_File]:
    """Yield every file of the cache; remove abandoned drafts on the way. Other files are somebody else's."""
    for kind in (ACTION, BLOB):
        for entry in _scan(folder / kind):
            for file in _scan(Path(entry.path)) if entry.is_dir(follow_symlinks=False) else ():
                with suppress(FileNotFoundError):
                    if not file.is_file(follow_symlinks=False):
                        continue
                    stat = file.stat(follow_symlinks=False)
                    if is_digest(file.name):
                        yield _File(Path(file.path), kind, stat.st_size, stat.st_mtime)
                    elif file.name.endswith(PARTIAL) and stat.st_mtime < time.time() - ABANDONED_SECONDS:
                        _remove(Path(file.path))


def _scan(folder: Path) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as entries:
            return list(entries)
    except (FileNotFoundError, NotADirectoryError):
        return []


def _remove(path: Path) -> bool:
    """Remove a file; False when somebody else was faster. Raises `OSError` when it must stay."""
    try:
        path.unlink()
    except FileNotFoundError:
        return False
    return True


def measure(folder: Path) -> Contents:
    """Count what is in the folder. Raises `OSError`."""
    return _contents(list(_files(folder)))


def _contents(files: list[_File]) -> Contents:
    actions = sum(file.kind == ACTION for file in files)
    used = [file.used for file in files]
    return Contents(
        actions,
        len(files) - actions,
        sum(file.size for file in files),
        min(used, default=None),
        max(used, default=None),
    )


def prune(folder: Path, limit: int) -> Contents:
    """Remove the least recently used files until at most `limit` bytes are left; return what is left.

    A use touches the entry first and its blobs after it, so entries go before what they need. What has lost a blob all
    the same goes, too. Raises `OSError`.
    """
    files = sorted(_files(folder), key=lambda file: file.used)
    left = sum(file.size for file in files)
    kept = len(files)
    for file in files:
        if left <= limit:
            break
        _remove(file.path)
        left -= file.size
        kept -= 1
    remaining = files[len(files) - kept :]
    if kept == len(files):
        return _contents(remaining)
    incomplete = {file.path for file in remaining if file.kind == ACTION and not _is_complete(folder, file.path)}
    for path in incomplete:
        _remove(path)
    return _contents([file for file in remaining if file.path not in incomplete])


def _read_action(path: Path) -> CachedAction | None:
    """Return the action of an entry, None when it is gone. Raises `DamagedError`."""
    try:
        return decode_action(path.read_bytes())
    except FileNotFoundError:
        return None


def _has_blobs(folder: Path, action: CachedAction) -> bool:
    return all(output.size == 0 or place(folder, BLOB, output.sha256).exists() for output in action.outputs)


def _is_complete(folder: Path, path: Path) -> bool:
    try:
        action = _read_action(path)
    except DamagedError:
        return False
    return action is None or _has_blobs(folder, action)


def verify(folder: Path, tell: Callable[[str], None]) -> Verified:
    """Read every file, remove what is damaged (and tell each) and entries that lack a blob. Raises `OSError`."""
    read = damaged = incomplete = size = 0
    # Blobs first: an entry of a damaged one then lacks it.
    files = sorted(_files(folder), key=lambda file: (file.kind != BLOB, file.path))
    for file in files:
        read += 1
        size += file.size
        try:
            if file.kind == BLOB:
                _check_blob(file.path)
            elif (action := _read_action(file.path)) is not None and not _has_blobs(folder, action):
                incomplete += _remove(file.path)
        except DamagedError as fault:
            tell(f"{file.path}: {fault}; removed")
            _remove(file.path)
            damaged += 1
    return Verified(read, size, damaged, incomplete)


def _check_blob(path: Path) -> None:
    sha = hashlib.sha256()
    with suppress(FileNotFoundError), open(path, "rb", buffering=0) as stream:
        while chunk := stream.read(CHUNK_BYTES):
            sha.update(chunk)
        if sha.hexdigest() != path.name:
            raise DamagedError("its content is not what its name says")
