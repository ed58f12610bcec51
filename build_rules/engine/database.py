"""Opening a sqlite file on whatever file system it lies on, and telling what is wrong with it.

sqlite's log (WAL) needs memory that processes share and locks that many network file systems refuse ("locking
protocol"), its journal needs locks, and both need `fsync`. Each way below needs less than the one before. Without any
lock it is the workspace's own lock that keeps writers apart.

Source: sqlite.org/wal.html ("Use of WAL Without Shared-Memory"), sqlite.org/vfs.html (`unix-none`),
sqlite.org/rescode.html.
"""

from __future__ import annotations

import fcntl
import os
import sqlite3
from contextlib import suppress
from typing import NamedTuple
from urllib.parse import quote

from build_rules.engine.ownership import create_shared
from build_rules.engine.places import BESIDE, LOCK, clear_place, read_regular

__all__ = [
    "NO_LOCKS",
    "WAYS",
    "WITH_JOURNAL",
    "connect",
    "first_way",
    "is_damaged",
    "is_other_way_worth_it",
    "open_to_read",
]

IOERR, CANTOPEN, PROTOCOL, NOLFS = 10, 14, 15, 22
ERROR, CORRUPT, NOTADB = 1, 11, 26
FOREIGN = (
    *("no such table", "no such column", "has no column", "columns but", "because it is a view", "file format"),
    *("malformed", "not a database", "Could not decode"),
)
"""Words of errors in a file that was made by another program or version, or holds what is no text."""
NOT_FITTING = ("locking protocol", "disk I/O error", "unable to open database file", "large file support is disabled")
"""Words of errors that another way may not meet; Python 3.10 tells no codes."""


class _Way(NamedTuple):
    lacks: str
    options: str
    before: tuple[str, ...]


WAYS = (
    _Way("", "", ("pragma journal_mode=wal", "pragma synchronous=normal")),
    _Way("sqlite's log (WAL)", "", ("pragma locking_mode=exclusive", "pragma journal_mode=delete")),
    _Way(
        "sqlite's log and locks",
        "?vfs=unix-none",
        ("pragma locking_mode=exclusive", "pragma journal_mode=delete"),
    ),
    _Way(
        "sqlite's log, locks and flushing",
        "?vfs=unix-none",
        ("pragma locking_mode=exclusive", "pragma synchronous=off", "pragma journal_mode=delete"),
    ),
)
"""Ways to use a file: what the file system lacks, how it is opened, what is said before anything is read."""
WITH_JOURNAL, NO_LOCKS = 1, 2
"""The ways without a log, and without locks as well, which is only for who has the workspace, or reads."""


def first_way(path: str) -> int:
    """Return the way to begin with: without locks, with a journal where the file has one already, or with the log."""
    if not _can_be_locked(path):
        return NO_LOCKS
    with suppress(OSError):
        # File format version numbers: 2 with a log (sqlite.org/fileformat.html, 1.3.3).
        return int(read_regular(path, 20)[18:20] == b"\1\1")
    return 0


def connect(path: str, way: int, timeout: float = 5.0) -> sqlite3.Connection:
    """Open a file in one of the ways, and read from it what tells that it can be. Raises `sqlite3.Error`, `OSError`.

    A file in the place of which something else stands is begun anew. Threads may share the connection, one at a time.
    """
    clear_place(path, BESIDE)
    create_shared(path)
    connection = sqlite3.connect(
        f"file:{quote(os.fsencode(os.path.abspath(path)))}{WAYS[way].options}",
        uri=True,
        timeout=timeout,
        isolation_level=None,
        check_same_thread=False,
    )
    try:
        for statement in WAYS[way].before:
            connection.execute(statement)
        connection.execute("select count(*) from sqlite_master").fetchone()
        if way == WITH_JOURNAL:
            # Others may read between two writes again, once the log is gone.
            connection.execute("pragma locking_mode=normal")
            connection.execute("select count(*) from sqlite_master").fetchone()
    except BaseException:
        with suppress(sqlite3.Error):
            connection.close()
        raise
    return connection


def open_to_read(path: str) -> sqlite3.Connection:
    """Open a file in a place where nothing can be written, not even the files that sqlite locks with.

    While somebody else writes there, what is new is in a file beside it, and seen where that can be read. Raises
    `sqlite3.Error`.
    """
    uri = f"file:{quote(os.fsencode(os.path.abspath(path)))}?mode=ro"
    if os.path.exists(f"{path}-wal"):
        with suppress(sqlite3.OperationalError):
            connection = sqlite3.connect(uri, uri=True, isolation_level=None, check_same_thread=False)
            connection.execute("select count(*) from sqlite_master").fetchone()
            return connection
    return sqlite3.connect(f"{uri}&immutable=1", uri=True, isolation_level=None, check_same_thread=False)


def is_other_way_worth_it(error: sqlite3.Error) -> bool:
    """Say whether an error comes from what a file system cannot do, not from the file or somebody who has it."""
    code = _code(error)
    if code is not None:
        return code in (IOERR, CANTOPEN, PROTOCOL, NOLFS)
    return any(words in str(error) for words in NOT_FITTING)


def is_damaged(error: sqlite3.Error) -> bool:
    """Say whether an error proves that the content of a file is not what it should be.

    Never for what may be otherwise at another time: locks, permissions, a full disk, a disk that fails.
    """
    code = _code(error)
    if code is None:
        return any(words in str(error) for words in FOREIGN)
    return code in (CORRUPT, NOTADB) or (code == ERROR and "no such vfs" not in str(error))


def _code(error: sqlite3.Error) -> int | None:
    """Return the primary result code; None where Python does not tell (3.10)."""
    code = getattr(error, "sqlite_errorcode", None)
    return code & 0xFF if isinstance(code, int) else None


def _can_be_locked(path: str) -> bool:
    """Say whether files beside a database can be locked as sqlite does it; not that one: closing it would unlock it."""
    probe = os.path.join(os.path.dirname(path), os.path.basename(LOCK))
    with suppress(OSError), open(os.open(probe, os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC), "rb") as stream:
        try:
            fcntl.lockf(stream, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        except OSError:
            return False
    return True
