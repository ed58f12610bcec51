"""What is remembered of images, and files that cannot remember."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from build_rules.calibration.pool.image_db import WRITE_EVERY, ImageDb, Looks, _decoded, _encoded, sample_key
from build_rules.calibration.pool.select import describe

NAME = "0" * 64


def some_looks(seed: int = 1) -> Looks:
    rng = np.random.default_rng(seed)
    return Looks(480, 640, describe(rng.integers(1, 9, (3, 256))))


def same(first: Looks | None, second: Looks) -> bool:
    return first is not None and _encoded(first) == _encoded(second)


def test_looks_come_back(tmp_path: Path) -> None:
    store = ImageDb(tmp_path / "deep" / "known.db")
    assert store.looks(NAME) is None
    store.keep_looks(NAME, some_looks())
    store.close()
    again = ImageDb(tmp_path / "deep" / "known.db")
    assert same(again.looks(NAME), some_looks())
    assert again.looks("1" * 64) is None
    again.close()


def test_most_of_the_work_of_a_run_that_is_killed_is_kept(tmp_path: Path) -> None:
    store = ImageDb(tmp_path / "known.db")
    for number in range(WRITE_EVERY + 1):
        store.keep_looks(f"{number:064}", some_looks())
    found = ImageDb(tmp_path / "known.db")  # the first is not closed, as after a kill
    assert same(found.looks(f"{WRITE_EVERY - 1:064}"), some_looks())
    assert found.looks(f"{WRITE_EVERY:064}") is None


@given(st.integers(0, 900), st.integers(0, 255))
def test_a_changed_byte_is_noticed(position: int, value: int) -> None:
    content = bytearray(_encoded(some_looks()))
    position %= len(content)
    changed = content[position] != value
    content[position] = value
    assert (_decoded(bytes(content)) is None) == changed


@pytest.mark.parametrize("content", [None, 5, "text", b"", b"x" * 5])
def test_what_is_no_looks(content: object) -> None:
    assert _decoded(content) is None


def of_another_version(path: Path) -> None:
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("create table looks (something text)")
        connection.execute("pragma user_version=99")


@pytest.mark.parametrize("content", [b"", b"no database at all" * 100, bytes(8192), None])
def test_a_file_that_is_damaged_or_of_another_version_is_made_anew(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "known.db"
    of_another_version(path) if content is None else path.write_bytes(content)
    for _ in range(2):
        store = ImageDb(path)
        store.keep_looks(NAME, some_looks())
        store.close()
    store = ImageDb(path)
    assert same(store.looks(NAME), some_looks())
    store.close()


def test_two_at_once(tmp_path: Path) -> None:
    first, second = ImageDb(tmp_path / "known.db"), ImageDb(tmp_path / "known.db")
    first.keep_looks(NAME, some_looks(1))
    second.keep_looks("1" * 64, some_looks(2))
    first.close()
    second.close()
    store = ImageDb(tmp_path / "known.db")
    assert same(store.looks(NAME), some_looks(1))
    assert same(store.looks("1" * 64), some_looks(2))
    store.close()


def test_where_nothing_can_be_kept_nothing_is_known(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for path in (None, tmp_path / "file" / "known.db", tmp_path):
        store = ImageDb(path)
        store.keep_looks(NAME, some_looks())
        store.keep_samples(tmp_path / "x", 0, 1, [("key", "digest")])
        assert (store.looks(NAME), store.sample("key", 1)) == (None, None)
        store.close()
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_a_file_that_somebody_else_has_is_not_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("build_rules.calibration.pool.image_db.PATIENCE", 0.01)
    path = tmp_path / "known.db"
    ImageDb(path).close()
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("begin exclusive")
        store = ImageDb(path)
        store.keep_looks(NAME, some_looks())
        store.close()
        other.execute("rollback")
    assert path.exists()


def test_what_is_broken_is_remembered(tmp_path: Path) -> None:
    store = ImageDb(tmp_path / "known.db")
    assert store.broken(NAME) is None
    store.keep_broken(NAME, "image file is truncated")
    store.close()
    store = ImageDb(tmp_path / "known.db")
    assert store.broken(NAME) == "image file is truncated"
    assert store.broken("1" * 64) is None
    store.close()


def test_a_slow_run_that_is_killed_keeps_what_is_older_than_seconds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("build_rules.calibration.pool.image_db.WRITE_SECONDS", 0.0)
    store = ImageDb(tmp_path / "known.db")
    store.keep_looks(NAME, some_looks())
    assert same(ImageDb(tmp_path / "known.db").looks(NAME), some_looks())


def test_what_our_own_code_found_is_known_to_that_code_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = ImageDb(tmp_path / "known.db")
    store.keep_looks(NAME, some_looks())
    store.keep_broken(NAME, "odd")
    key = sample_key(NAME, {"resize": "stretch"})
    store.close()
    monkeypatch.setattr("build_rules.calibration.pool.image_db.LOOKED_BY", "another version")
    monkeypatch.setattr("build_rules.calibration.pool.image_db.FITTED_BY", "another version")
    store = ImageDb(tmp_path / "known.db")
    assert (store.looks(NAME), store.broken(NAME)) == (None, None)
    assert sample_key(NAME, {"resize": "stretch"}) != key
    store.close()
