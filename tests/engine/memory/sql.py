"""The file of records of a workspace, looked at and changed behind the back of the engine."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

from build_rules.engine.places import RECORDS


def select(query: str, *values: Any, workspace: Path = Path()) -> list[tuple[Any, ...]]:
    with closing(sqlite3.connect(workspace / RECORDS)) as connection:
        return connection.execute(query, values).fetchall()


def change(statement: str, *values: Any, workspace: Path = Path()) -> None:
    with closing(sqlite3.connect(workspace / RECORDS)) as connection, connection:
        connection.execute(statement, values)
