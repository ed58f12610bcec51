"""Durations of former runs: medians, and a table that may be missing, damaged or out of reach."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from build_rules.engine.memory.durations import TASKS, History
from build_rules.engine.places import RECORDS
from tests.engine.memory.sql import change, select


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_the_median_of_the_last_few(here: Path) -> None:
    assert History().expected("a") is None
    assert not (here / "build").exists(), "to ask makes nothing"
    for seconds in (100.0, 1.0, 2.0, 9.0, 3.0, 4.0):
        History().save({"a": seconds, "b": 0.12345})
    history = History()
    assert (history.expected("a"), history.expected("b"), history.expected("c")) == (3.0, 0.123, None)
    assert select("select seconds from durations where task = 'a'") == [("[1.0, 2.0, 9.0, 3.0, 4.0]",)]
    History().save({"c": 1.0})
    History().save({"c": 2.0})
    assert History().expected("c") == 1.5
    assert [file.name for file in (here / "build").iterdir()] == [".records.db"]


def test_it_does_not_grow_for_ever() -> None:
    History().save({f"old:{i}": 1.0 for i in range(TASKS)})
    History().save({"old:0": 1.0, "new": 1.0})
    kept = {task for (task,) in select("select task from durations")}
    assert len(kept) == TASKS
    assert {"old:0", "new"} <= kept
    assert "old:1" not in kept


@pytest.mark.parametrize("text", ["", "{", "1.0", "[]", "[-1.0]", "[1e999]", '["1"]', "[" * 100_000, None, b"\xff", 7])
def test_a_damaged_row_is_none(text: object) -> None:
    History().save({"b": 1.0})
    change("drop table durations")
    change("create table durations (task, seconds)")
    change("insert into durations values ('a', ?), ('b', '[2.0]')", text)
    history = History()
    assert (history.expected("a"), history.expected("b")) == (None, 2.0)
    history.save({"c": 2.0})
    assert History().expected("c") == 2.0


def test_a_table_of_another_kind_costs_what_is_remembered_and_no_more() -> None:
    History().save({"a": 1.0})
    change("drop table durations")
    change("create view durations as select 1 as other")
    History().save({"a": 2.0})
    assert History().expected("a") is None


def test_nothing_fails_where_nothing_can_be_written(here: Path) -> None:
    (here / RECORDS).mkdir(parents=True)
    History().save({"a": 1.0})
    assert History().expected("a") is None
    (here / RECORDS).rmdir()
    (here / RECORDS).write_bytes(b"garbage" * 100)
    History().save({"a": 1.0})
    assert History().expected("a") is None
    assert (here / RECORDS).read_bytes() == b"garbage" * 100, "that is for a build to set aside"


def test_somebody_else_reads_and_writes_meanwhile(here: Path) -> None:
    """As `doit status` does while another doit builds."""
    History().save({"a": 1.0})
    with closing(sqlite3.connect(here / RECORDS)) as other:
        assert other.execute("select count(*) from durations").fetchall() == [(1,)]
        History().save({"b": 1.0})
        assert other.execute("select count(*) from durations").fetchall() == [(2,)]


def test_what_the_steps_of_one_owner_take() -> None:
    History().save({"har:team/a:hailo8-fast": 3.0, "split:team/a": 1.0, "har:b:hailo8-fast": 2.0, "odd": 9.0})
    assert History().by_owner() == {"team/a": 4.0, "b": 2.0, "": 9.0}
