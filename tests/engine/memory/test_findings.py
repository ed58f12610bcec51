"""What was found out about environments: kept, replaced, and never in the way when it is damaged."""

from __future__ import annotations

from pathlib import Path

import pytest

from build_rules.engine.memory import findings
from build_rules.engine.memory.findings import MAX_KEPT, keep, recall
from build_rules.engine.places import RECORDS
from tests.engine.memory.sql import change, select

FACTS = {"dfc": "3.33.0", "digest": "ab" * 32}
FILES = {"/opt/dfc/bin/python": (5, 1 << 60, 2, 3), "/opt/dfc/lib/\udcff": (-1, 0, 0, 0)}


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_what_was_found_out_is_recalled(here: Path) -> None:
    assert recall("dfc") is None
    assert not (here / "build").exists(), "to ask makes nothing"
    keep("dfc", FACTS, FILES)
    assert recall("dfc") == (FACTS, FILES)
    assert recall("other") is None


def test_the_last_word_counts() -> None:
    keep("dfc", FACTS, FILES)
    keep("other", {}, {})
    keep("dfc", {"dfc": "3.34.0"}, {})
    assert recall("dfc") == ({"dfc": "3.34.0"}, {})
    assert recall("other") == ({}, {})


def test_it_does_not_grow_for_ever() -> None:
    keep("first", FACTS, FILES)
    keep("second", FACTS, FILES)
    keep("first", FACTS, FILES)
    for number in range(MAX_KEPT - 1):
        keep(str(number), {}, {})
    assert select("select count(*) from findings") == [(MAX_KEPT,)]
    assert recall("second") is None
    assert recall("first") == (FACTS, FILES), "it was found out again, later"


@pytest.mark.parametrize(
    ("facts", "files"),
    [
        ("", "{}"),
        ("{}", "{"),
        ("[]", "{}"),
        ("{}", "7"),
        ('{"a": 1}', "{}"),
        ("{}", '{"a": 1}'),
        ("{}", '{"a": [1.5]}'),
        ("{}", '{"a": [true]}'),
        ("[" * 100_000, "{}"),
        (None, "{}"),
        (b"\xff", "{}"),
        (7, 7),
    ],
)
def test_a_damaged_row_is_none(facts: object, files: object) -> None:
    keep("whole", FACTS, FILES)
    change("drop table findings")
    change("create table findings (key primary key, facts, files)")
    change("insert into findings values ('dfc', ?, ?)", facts, files)
    assert recall("dfc") is None
    keep("dfc", FACTS, FILES)
    assert recall("dfc") == (FACTS, FILES)


def test_a_row_of_any_size_is_not_read(monkeypatch: pytest.MonkeyPatch) -> None:
    keep("dfc", FACTS, FILES)
    monkeypatch.setattr(findings, "MAX_TEXT", 50)
    assert recall("dfc") is None


def test_nothing_fails_where_nothing_can_be_written(here: Path) -> None:
    (here / RECORDS).mkdir(parents=True)
    keep("dfc", FACTS, FILES)
    assert recall("dfc") is None
    (here / RECORDS).rmdir()
    (here / RECORDS).write_bytes(b"garbage" * 100)
    keep("dfc", FACTS, FILES)
    assert recall("dfc") is None
    assert (here / RECORDS).read_bytes() == b"garbage" * 100, "that is for a build to set aside"
