"""A table beside the records. Losing it costs what is remembered, so whatever is wrong with it is passed over."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterable, Sequence
from contextlib import suppress
from typing import Any, NamedTuple

from build_rules.engine.build_database import database_at
from build_rules.engine.places import RECORDS
from build_rules.errors import InputError

__all__ = ["Table"]

PASSED_OVER = (sqlite3.Error, OSError, InputError)


class Table(NamedTuple):
    """A table of the file of records; `definition` is its name and, in parentheses, its columns."""

    definition: str

    def select(self, query: str, values: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        """Return the rows of a query; none when there is no such table."""
        if os.path.exists(RECORDS):
            with suppress(*PASSED_OVER), database_at(RECORDS).lent() as database:
                return database.execute(query, values)
        return []

    def change(self, *changes: tuple[str, Iterable[tuple[Any, ...]]]) -> None:
        """Execute statements, each for all of its rows, together or not at all."""
        with suppress(*PASSED_OVER), database_at(RECORDS).lent() as database:
            database.execute(f"create table if not exists {self.definition}")
            database.execute_all(*changes)
