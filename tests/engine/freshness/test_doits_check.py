"""What doit's own check of files is told: of steps that it has been decided, of other tasks what it always was."""

from __future__ import annotations

import json
import sqlite3
from pathlib import Path
from typing import Any

import pytest
from doit.dependency import Dependency
from doit.task import dict_to_task

from build_rules.engine.freshness.fingerprint import fingerprint
from build_rules.engine.freshness.key import Step
from build_rules.engine.freshness.records import ContentChecker, RecordsBackend, record_of
from build_rules.engine.places import RECORDS
from build_rules.engine.running.rule import Rule

RULE = Rule("copy", "steps:copy", ("errors.py",))


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("a.txt").write_text("a")
    Path("out").write_text("out")


def save(values: dict[str, Any], **task: Any) -> Any:
    """Record a task as doit does when it has succeeded; return it."""
    made = dict_to_task({"name": "copy:x", "actions": None, "file_dep": ["a.txt"], "targets": ["out"], **task})
    made.values = values
    made.result = values
    records = Dependency(RecordsBackend, RECORDS, ContentChecker)
    records.save_success(made)
    records.close()
    return made


def status(task: Any) -> str:
    records = Dependency(RecordsBackend, RECORDS, ContentChecker)
    found: str = records.get_status(task, {}).status
    records.close()
    return found


def row() -> dict[str, Any]:
    connection = sqlite3.connect(RECORDS)
    ((text,),) = connection.execute("select record from records").fetchall()
    connection.close()
    record: dict[str, Any] = json.loads(text)
    return record


def step_record() -> dict[str, Any]:
    step = Step(RULE, {"first": Path("a.txt")}, {"out": Path("out")}, {}, name="copy:x")
    marks = {path: fingerprint(path) for path in (Path("a.txt"), Path("out"))}
    return record_of(step, {Path("a.txt"): marks[Path("a.txt")]}, {Path("out"): marks[Path("out")]}, "because")


def test_a_step_is_recorded_once() -> None:
    record = step_record()
    save(record)
    assert row() == {"_values_:": record, "deps:": []}
    save({**record, "because": "again"})
    assert row() == {"_values_:": {**record, "because": "again"}, "deps:": []}


def test_doit_decides_nothing_of_a_step() -> None:
    task = save(step_record(), uptodate=[True])
    Path("a.txt").write_text("changed, which is_current has told already")
    assert status(task) == "up-to-date"
    records = Dependency(RecordsBackend, RECORDS, ContentChecker)
    assert records.get_result("copy:x") == row()["_values_:"], "for `result_dep` of tasks of users"
    records.close()


@pytest.mark.parametrize("values", [{}, {"answer": 42}, {"key": {"a": 1}, "inputs": 3}, {"key": "k", "outputs": {}}])
def test_tasks_of_users_are_checked_by_content(values: dict[str, Any]) -> None:
    task = save(values)
    assert status(task) == "up-to-date"
    Path("a.txt").write_text("b")
    assert status(task) == "run"
    assert row()["deps:"] == ["a.txt"]


def test_a_step_in_the_place_of_a_users_task_begins_anew() -> None:
    save({"answer": 42})
    save(step_record())
    assert sorted(row()) == ["_values_:", "deps:"]
