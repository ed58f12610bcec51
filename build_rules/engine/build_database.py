"""`build/.records.db`: one sqlite file for what is recorded of steps and what is remembered of former runs.

A process has one connection to it, which its threads share: where a file system has no locks, a second one would not
notice what the first one writes.
"""

from __future__ import annotations

import os
import sqlite3
import threading
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path
from typing import Any

from build_rules.engine.database import NO_LOCKS, WAYS, connect, first_way, is_other_way_worth_it, open_to_read
from build_rules.engine.ownership import is_writable
from build_rules.engine.places import make_folder
from build_rules.engine.slower import tell_slower

__all__ = ["BuildDatabase", "database_at"]

Row = tuple[Any, ...]


class BuildDatabase:
    """A file and the connection to it, opened by the first statement, in the first way that its file system allows.

    Where this user cannot write it is opened to be read. Methods raise `sqlite3.Error`, `OSError`, and `InputError` for
    a place that is not ours.
    """

    def __init__(self, path: str) -> None:
        self.path = path
        self.read_only = False
        self._connection: sqlite3.Connection | None = None
        self._way = 0
        self._guard = threading.RLock()

    def execute(self, statement: str, values: Sequence[Any] = ()) -> list[Row]:
        """Execute a statement; return all that it yields."""
        with self._guard:
            while True:
                try:
                    return self._connect().execute(statement, values).fetchall()
                except sqlite3.Error as error:
                    if self._way + 1 == len(WAYS) or not is_other_way_worth_it(error):
                        raise
                    self._disconnect()
                    self._way += 1

    def execute_all(self, *changes: tuple[str, Iterable[Row]]) -> None:
        """Execute statements, each for all of its rows, as one transaction."""
        with self._guard:
            self.execute("begin")
            try:
                for statement, rows in changes:
                    self._connect().executemany(statement, rows)
                self.execute("commit")
            except BaseException:
                with suppress(sqlite3.Error):
                    self._connect().execute("rollback")
                raise

    @contextmanager
    def lent(self) -> Iterator[BuildDatabase]:
        """Leave the file as open as it was found."""
        was_closed = self._connection is None
        try:
            yield self
        finally:
            if was_closed:
                self.close()

    def close(self) -> None:
        """Close the file; the next statement opens it anew."""
        with self._guard:
            self._disconnect()
            self._way = 0

    def _connect(self) -> sqlite3.Connection:
        if self._connection is not None:
            return self._connection
        self.read_only = not is_writable(Path(self.path))
        if self.read_only:
            self._connection = open_to_read(self.path)
            return self._connection
        make_folder(os.path.dirname(self.path))
        begin = first_way(self.path)
        self._way = max(self._way, begin)
        self._connection = connect(self.path, self._way)
        if self._way > begin or begin >= NO_LOCKS:
            tell_slower(WAYS[self._way].lacks)
        self._connection.execute("create table if not exists records (task text primary key, record text not null)")
        return self._connection

    def _disconnect(self) -> None:
        if self._connection is not None:
            with suppress(sqlite3.Error):
                self._connection.close()
            self._connection = None


def database_at(path: str) -> BuildDatabase:
    """Return the one object of this process for a file."""
    return _database_at(os.path.abspath(path), path)


@cache
def _database_at(absolute: str, path: str) -> BuildDatabase:
    return BuildDatabase(path)
