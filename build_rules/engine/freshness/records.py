"""doit's records, written the moment a task succeeds.

doit's own backends write at the end of a run, so a kill loses everything. This one is a sqlite file in WAL mode with
one row per task, committed as soon as the task's record is whole; in a slower way where the file system does not allow
that. A file that is proven to be damaged is set aside, not an error: records can always be made again.

Of a step the row holds what `record_of` returns, once, as doit's `_values_:`, and nothing else of doit's::

    {"key": {"rule": "meta", ...},
     "inputs": {"onnx": {"models/net/net.onnx": [size, mtime_ns, ctime_ns, inode, "SHA-256", settled]}, "labels": {}},
     "outputs": {"build/net/hailo8l-fast/edgefirst.json": [...], ...}, "because": "it has never been built"}

`inputs` are by role, in the order in which the function gets them; what a step read besides is under the role
`discovered`. A step with a record of another form (former versions) counts as never built. Whether a step is up to date
is decided in `decide.py`; doit, which would compare the files once more, is told that this has been done (`DECIDED`).
Tasks of users are recorded and checked as doit does it.
"""

from __future__ import annotations

import os
import sqlite3
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Protocol

from doit.exceptions import InvalidTask

from build_rules.engine.build_database import database_at
from build_rules.engine.database import is_damaged
from build_rules.engine.doit_names import IGNORED, LAST_KEY, VALUES
from build_rules.engine.freshness.current_run import current_run, forget_snapshot
from build_rules.engine.freshness.fingerprint import (
    Fingerprint,
    as_fingerprint,
    fingerprint,
    is_unchanged,
    is_vague,
    marks_of,
)
from build_rules.engine.freshness.key import DISCOVERED, Step
from build_rules.engine.ownership import explain_unreadable, explain_unwritable, is_writable
from build_rules.engine.places import BESIDE, DAMAGED
from build_rules.engine.standard_streams import say
from build_rules.errors import InputError

__all__ = ["ContentChecker", "Mark", "RecordsBackend", "digests_of", "files_of", "is_step_record", "record_of"]

Mark = Sequence[Any]
"""A fingerprint as a record holds it."""
DECIDED = "decided"
"""What doit gets as the recorded state of a file that a step reads."""
RESULT = "result:"
SELECT = "select task, record from records"
INSERT = "insert or replace into records values (?, ?)"
FEW = 200
"""Records that are read one by one before all are read at once."""


class _Codec(Protocol):
    def encode(self, data: Any) -> str: ...

    def decode(self, data: str) -> Any: ...


class RecordsBackend:
    """The `DB` interface of doit's dependency manager (doit 0.36 and 0.37: get, set, in_, remove, remove_all, dump)."""

    desc = "one sqlite row per task, written as soon as the task succeeds"

    def __init__(self, name: str, codec: _Codec, *, module_name: str | None = None) -> None:
        self.name = name
        self.codec = codec
        self._database = database_at(name)
        # What was read, as it stands there (None: there is no such row), and what was decoded or changed since.
        self._rows: dict[str, str | None] = {}
        self._changed: dict[str, dict[str, Any] | None] = {}
        self._asked = 0
        self._all_read = False
        # As somebody has found who leaves it as it is.
        self._is_damaged = False
        self._is_looked_at = False

    def _do_surely(self, statement: str, values: tuple[str, ...] = ()) -> list[tuple[str, str]] | None:
        """Execute a statement; None when the file is damaged, which is only believed when it is opened anew."""
        try:
            return self._database.execute(statement, values)
        except sqlite3.Error as error:
            if self._database.read_only and "no such table" in str(error):
                return []
            if self._database.read_only or not is_damaged(error):
                raise
        self._database.close()
        try:
            return self._database.execute(statement, values)
        except sqlite3.Error as error:
            if not is_damaged(error):
                raise
        return None

    def _record(self, task_id: str) -> dict[str, Any] | None:
        """Return the record of one task, None when it has none.

        A run that asks for a few reads these; one that asks for many reads all rows at once, and decodes what it needs.
        """
        if task_id in self._changed:
            return self._changed[task_id]
        if task_id not in self._rows and not self._all_read and self._is_there():
            self._rows.update(self._read(task_id))
        row = self._rows.get(task_id)
        if row is None:
            return None
        self._changed[task_id] = self._decoded(row)
        return self._changed[task_id]

    def _is_there(self) -> bool:
        if os.path.exists(self.name) and os.access(self.name, os.R_OK):
            return True
        if (reason := explain_unreadable(Path(self.name))) is not None:
            raise InvalidTask(f"what was built before is not known: {reason}")
        return False

    def _decoded(self, row: str) -> dict[str, Any] | None:
        """Return what a row holds, None when that is not what this version writes."""
        try:
            record = self.codec.decode(row)
        except ValueError:
            return None
        return record if _is_record(record) else None

    def _read(self, task_id: str) -> dict[str, str | None]:
        self._asked += 1
        self._all_read = self._asked > FEW
        rows = self._select(SELECT) if self._all_read else self._select(f"{SELECT} where task = ?", (task_id,))
        return {task_id: None, **dict(rows)}

    def _select(self, query: str, values: tuple[str, ...] = ()) -> list[tuple[str, str]]:
        """Return rows; none of a file that is damaged, which is set aside. Raises doit's `InvalidTask`."""
        with self._as_invalid_task("what was built before cannot be read"):
            rows = [] if self._is_damaged else self._do_surely(query, values)
            if rows is None:
                self._set_aside()
            return rows or []

    @contextmanager
    def _as_invalid_task(self, what: str) -> Iterator[None]:
        try:
            yield
        except (sqlite3.Error, OSError, InputError) as error:
            words = error.strerror if isinstance(error, OSError) and error.strerror else str(error).rstrip(".")
            raise InvalidTask(f"{self.name}: {what}: {words}.") from error

    def _set_aside(self) -> None:
        """Begin a new file; what was read before the damage was found goes into it.

        Who only looks, while another process may be writing, leaves the file to the next build.
        """
        self._database.close()
        self._rows.clear()
        self._all_read = True  # there is nothing else any more
        if not current_run.building:
            self._is_damaged = True
            say(sys.stderr, f"{self.name} is damaged; the next build sets it aside, and builds everything again\n")
            return
        say(sys.stderr, f"{self.name} is damaged; it is kept as {self.name}{DAMAGED}, and everything is built again\n")
        Path(self.name).replace(self.name + DAMAGED)
        for suffix in BESIDE[1:]:
            with suppress(FileNotFoundError):
                Path(self.name + suffix).unlink()
        for task_id, record in self._changed.items():
            if record is not None and LAST_KEY in record:
                self._database.execute(INSERT, (task_id, self.codec.encode(record)))

    def _write(self, statement: str, values: tuple[str, ...]) -> None:
        if not is_writable(Path(self.name)):
            raise InvalidTask(f"what was done cannot be recorded: {explain_unwritable(Path(self.name))}")
        with self._as_invalid_task("what was done cannot be recorded"):
            self._look_for_damage()
            if self._do_surely(statement, values) is None:
                self._set_aside()
                self._database.execute(statement, values)

    def _look_for_damage(self) -> None:
        """Look at the whole file before a build first writes to it: what is written into damage is lost later.

        30 ms for the 20,000 records of a thousand models; a build that writes nothing does not look.
        """
        if not self._is_looked_at and current_run.building:
            self._is_looked_at = True
            findings = self._do_surely("pragma quick_check(1)")
            if findings is None or [*findings[0]] != ["ok"]:
                self._set_aside()

    def get(self, task_id: str, dependency: str) -> Any:
        """Return one value of a task's record, or None."""
        record = self._record(task_id)
        if record is None:
            return None
        if dependency in record or (dependency.endswith(":") and dependency != RESULT):
            return record.get(dependency)
        if not is_step_record(values := record.get(VALUES, {})):
            return None
        return values if dependency == RESULT else DECIDED

    def set(self, task_id: str, dependency: str, value: Any) -> None:
        """Set one value; the last one of a record writes the whole of it."""
        record = self._record(task_id)
        if record is None or (dependency == VALUES and is_step_record(value)):
            record = self._changed[task_id] = {}
        if dependency in (VALUES, IGNORED) or not is_step_record(record.get(VALUES, {})):
            record[dependency] = value
        elif dependency == LAST_KEY:
            record[dependency] = []  # which files these are stands in its values
        if dependency == IGNORED:
            forget_snapshot()
        if dependency == LAST_KEY and not record.get(VALUES) and not value and not is_writable(Path(self.name)):
            return  # a name for several tasks, which says nothing that could get lost
        if dependency in (LAST_KEY, IGNORED):
            row = (task_id, self.codec.encode(record))
            self._write(INSERT, row)

    def rows(self) -> list[tuple[str, str]]:
        """Return the name of every task that has a record, and the record as it stands there.

        Raises doit's `InvalidTask` when that cannot be read, or is damaged.
        """
        with self._as_invalid_task("cannot be read as the records of steps"):
            rows = self._do_surely(SELECT) if self._is_there() else []
            if rows is None:
                raise InputError("the file is damaged; the next build sets it aside, and builds everything again.")
            return rows

    def tasks(self) -> list[str]:
        """Return the names of all tasks that have a record. Raises doit's `InvalidTask`."""
        return [task for task, _ in self._select("select task, '' from records")] if self._is_there() else []

    def in_(self, task_id: str) -> bool:
        """Say whether the task has a record."""
        return self._record(task_id) is not None

    def remove(self, task_id: str) -> None:
        """Forget one task; not because it failed, since its outputs are still those of its record."""
        if not current_run.building and self._record(task_id) is not None:
            forget_snapshot()
            self._changed[task_id] = None
            self._write("delete from records where task = ?", (task_id,))

    def remove_all(self) -> None:
        """Forget every task."""
        forget_snapshot()
        self._rows, self._changed, self._all_read = {}, {}, True
        if self._is_there():
            self._write("delete from records", ())

    def dump(self) -> None:
        """Close the file; everything is written already, but for better marks of what was found to be as recorded."""
        if current_run.building and current_run.refreshed:
            with suppress(sqlite3.Error, OSError, InputError):
                self._write_refreshed()
        self._database.close()

    def _write_refreshed(self) -> None:
        rows = []
        for task_id in current_run.refreshed:
            record = self._changed.get(task_id)
            if record is not None and LAST_KEY in record:
                rows.append((task_id, self.codec.encode(record)))
        self._database.execute_all((INSERT, rows))


def _is_record(record: Any) -> bool:
    """Whether a record has the shape that doit writes."""
    return (
        isinstance(record, dict)
        and isinstance(record.get(VALUES, {}), dict)
        and isinstance(record.get(LAST_KEY, []), list)
    )


def is_step_record(values: Mapping[str, Any]) -> bool:
    """Say whether this is what `record_of` returns; users' tasks have values, too, and former versions had others."""
    inputs = values.get("inputs")
    if not (
        isinstance(inputs, dict) and isinstance(values.get("outputs"), dict) and isinstance(values.get("key"), dict)
    ):
        return False
    return {dict}.issuperset(map(type, inputs.values()))


def record_of(
    step: Step, read: Mapping[Path, Fingerprint], written: Mapping[Path, Fingerprint], because: str
) -> dict[str, Any]:
    """Return what is to be recorded of a step that has run."""
    marks = {str(path): [*mark] for path, mark in read.items()}
    inputs = {role: {path: marks[path] for path in paths} for role, paths in step.roles.items()}
    declared = {path for paths in step.roles.values() for path in paths}
    if discovered := {path: mark for path, mark in marks.items() if path not in declared}:
        inputs[DISCOVERED] = discovered
    outputs = {str(path): [*mark] for path, mark in written.items()}
    return {"key": step.key, "inputs": inputs, "outputs": outputs, "because": because}


def files_of(record: Mapping[str, Any]) -> Iterator[dict[str, Mark]]:
    """Yield the files of a step's record with their marks: the inputs of each role, at last the outputs."""
    yield from record["inputs"].values()
    yield record["outputs"]


def digests_of(files: Mapping[str, Mark]) -> dict[str, str]:
    """Return the SHA-256 of recorded files."""
    return {path: as_fingerprint(mark).sha256 for path, mark in files.items()}


class ContentChecker:
    """doit's `check_file_uptodate` interface: the files of steps are as has been decided, those of other tasks as read.

    Content decides, a new time alone does not.
    """

    CheckerError = OSError

    def exists(self, file_path: str) -> bool:
        """Say whether a target is there."""
        return os.path.exists(file_path)

    def info(self, file_path: str) -> os.stat_result:
        """Return what `check_modified` gets as `file_stat`."""
        return os.stat(file_path)

    def check_modified(self, file_path: str, file_stat: os.stat_result, state: Any) -> bool:
        """Say whether the content differs from the state recorded at the last success."""
        return state != DECIDED and not is_unchanged(file_path, as_fingerprint(state), file_stat)

    def get_state(self, dep: str, current_state: Any) -> Fingerprint | None:
        """Return the state to record, or None when the recorded one still holds."""
        if current_state == DECIDED:
            return None
        if current_state is not None:
            before = as_fingerprint(current_state)
            with suppress(OSError):
                if before.settled and not is_vague(before) and marks_of(os.stat(dep)) == before[:4]:
                    return None
        try:
            return fingerprint(dep)
        except OSError:  # gone since the task read it
            return None
