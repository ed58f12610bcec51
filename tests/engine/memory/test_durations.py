"""Durations of former runs: medians, and a file that may be missing, damaged or out of reach."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from build_rules.engine.memory.durations import TASKS, History


def test_the_median_of_the_last_few(tmp_path: Path) -> None:
    path = tmp_path / ".history.json"
    assert History(path).expected("a") is None
    for seconds in (100.0, 1.0, 2.0, 9.0, 3.0, 4.0):
        History(path).save({"a": seconds, "b": 0.12345})
    history = History(path)
    assert (history.expected("a"), history.expected("b"), history.expected("c")) == (3.0, 0.123, None)
    assert json.loads(path.read_text())["seconds"]["a"] == [1.0, 2.0, 9.0, 3.0, 4.0]
    History(path).save({"c": 1.0})
    History(path).save({"c": 2.0})
    assert History(path).expected("c") == 1.5
    assert [file.name for file in tmp_path.iterdir()] == [".history.json"]


def test_it_does_not_grow_for_ever(tmp_path: Path) -> None:
    path = tmp_path / ".history.json"
    History(path).save({f"old:{i}": 1.0 for i in range(TASKS)})
    History(path).save({"old:0": 1.0, "new": 1.0})
    kept = json.loads(path.read_text())["seconds"]
    assert len(kept) == TASKS
    assert {"old:0", "new"} <= kept.keys()
    assert "old:1" not in kept


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"[]",
        b"\xff",
        b"[" * 100_000,
        b'{"version": 2, "seconds": {"a": [1.0]}}',
        b'{"version": 1, "seconds": [1.0]}',
        b'{"version": 1, "seconds": {"a": 1.0}}',
        b'{"version": 1, "seconds": {"a": []}}',
        b'{"version": 1, "seconds": {"a": [-1.0]}}',
        b'{"version": 1, "seconds": {"a": [1e999]}}',
        b'{"version": 1, "seconds": {"a": ["1"]}}',
        b" " * (5 << 20) + b'{"version": 1, "seconds": {"a": [1.0]}}',
    ],
)
def test_a_damaged_file_is_an_empty_one(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / ".history.json"
    path.write_bytes(content)
    history = History(path)
    assert history.expected("a") is None
    history.save({"a": 2.0})
    assert History(path).expected("a") == 2.0


def test_nothing_fails_where_nothing_can_be_written(tmp_path: Path) -> None:
    History(tmp_path / "gone/.history.json").save({"a": 1.0})
    (tmp_path / ".history.json").mkdir()
    History(tmp_path / ".history.json").save({"a": 1.0})
    assert History(tmp_path / ".history.json").expected("a") is None


def test_what_the_steps_of_one_owner_take(tmp_path: Path) -> None:
    history = History(tmp_path / "h.json")
    history.save({"har:team/a:hailo8-fast": 3.0, "split:team/a": 1.0, "har:b:hailo8-fast": 2.0, "odd": 9.0})
    assert History(tmp_path / "h.json").by_owner() == {"team/a": 4.0, "b": 2.0, "": 9.0}
