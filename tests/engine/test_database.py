"""Records on file systems that lack what sqlite needs; what proves that a file is damaged, and what does not."""

from __future__ import annotations

import fcntl
import json
import os
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
from doit.exceptions import InvalidTask

from build_rules.calibration.pool import image_db as image_store
from build_rules.engine import build_database as room
from build_rules.engine import database, slower
from build_rules.engine.database import WAYS, connect, first_way, is_damaged, is_other_way_worth_it
from build_rules.engine.freshness.current_run import current_run
from build_rules.engine.freshness.records import RecordsBackend

RECORDS = "build/.records.db"
CODES = {
    "locking protocol": (sqlite3.OperationalError, 15),
    "disk I/O error": (sqlite3.OperationalError, 10 | 22 << 8),
    "unable to open database file": (sqlite3.OperationalError, 14),
    "large file support is disabled": (sqlite3.OperationalError, 22),
    "database is locked": (sqlite3.OperationalError, 5),
    "database table is locked": (sqlite3.OperationalError, 6),
    "attempt to write a readonly database": (sqlite3.OperationalError, 8),
    "database or disk is full": (sqlite3.OperationalError, 13),
    "access permission denied": (sqlite3.OperationalError, 3),
    "interrupted": (sqlite3.OperationalError, 9),
    "out of memory": (sqlite3.OperationalError, 7),
    "no such vfs: unix-none": (sqlite3.OperationalError, 1),
    "no such table: records": (sqlite3.OperationalError, 1),
    "table records has 3 columns but 2 values were supplied": (sqlite3.OperationalError, 1),
    "database disk image is malformed": (sqlite3.DatabaseError, 11),
    "file is not a database": (sqlite3.DatabaseError, 26),
    "Could not decode to UTF-8 column 'record' with text '\ufffd'": (sqlite3.OperationalError, None),
}
OTHER_WAY = ("locking protocol", "disk I/O error", "unable to open", "large file support")
DAMAGED = ("no such table", "table records has", "malformed", "not a database", "Could not decode")


def error(text: str, told: bool = True) -> sqlite3.Error:
    kind, code = CODES[text]
    made = kind(text)
    if told and code is not None:
        made.sqlite_errorcode = code  # type: ignore[attr-defined]  # since Python 3.11
    return made


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    slower.tell_slower.cache_clear()
    (tmp_path / "build").mkdir()
    (tmp_path / "build/.lock").touch()
    return tmp_path


def records() -> RecordsBackend:
    return RecordsBackend(RECORDS, _Json())


class _Json:
    def encode(self, data: object) -> str:
        return json.dumps(data)

    def decode(self, data: str) -> object:
        return json.loads(data)


def save(backend: RecordsBackend, task: str = "step:m") -> None:
    backend.set(task, "_values_:", {"key": {}, "inputs": {}, "outputs": {}})
    backend.set(task, "deps:", [])


@pytest.mark.parametrize("told", [True, False], ids=["with codes", "as Python 3.10"])
@pytest.mark.parametrize("text", CODES)
def test_what_an_error_says_of_the_file(text: str, told: bool) -> None:
    found = error(text, told)
    assert is_damaged(found) == any(words in text for words in DAMAGED)
    assert is_other_way_worth_it(found) == any(words in text for words in OTHER_WAY)


@pytest.mark.parametrize("text", [text for text in CODES if not any(words in text for words in DAMAGED)])
def test_sound_records_are_never_set_aside(here: Path, monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    """However a file system refuses: told in one line, and everything is there when it no longer does."""
    monkeypatch.setattr(current_run, "building", True)
    backend = records()
    save(backend)
    backend.dump()

    def refuse(*arguments: object) -> sqlite3.Connection:
        raise error(text)

    with monkeypatch.context() as patched:
        patched.setattr(room, "connect", refuse)
        with pytest.raises(InvalidTask, match="what was built before cannot be read"):
            records().in_("step:m")
        for ask in (RecordsBackend.tasks, RecordsBackend.rows, lambda backend: save(backend, "step:n")):
            with pytest.raises(InvalidTask):
                ask(records())
    assert records().in_("step:m")
    assert not (here / f"{RECORDS}.damaged").exists()


@pytest.mark.parametrize("lacking", range(1, len(WAYS)))
@pytest.mark.parametrize("text", [text for text in CODES if any(words in text for words in OTHER_WAY)])
def test_another_way_is_taken_and_said_once(
    here: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], lacking: int, text: str
) -> None:
    before = records()
    save(before)
    before.dump()

    def some(path: str, way: int, timeout: float = 5.0) -> sqlite3.Connection:
        if way < lacking:
            raise error(text)
        return connect(path, way, timeout)

    with monkeypatch.context() as patched:
        patched.setattr(room, "connect", some)
        for task in ("step:n", "step:o"):
            backend = records()
            assert records().tasks()[0] == records().rows()[0][0] == "step:m"
            assert backend.in_("step:m")
            save(backend, task)
            backend.dump()
    assert capfd.readouterr().err == f"the file system of build/ lacks {WAYS[lacking].lacks}; a slower way is taken\n"
    assert all(records().in_(task) for task in ("step:m", "step:n", "step:o"))


def test_a_file_with_a_journal_is_gone_on_with(here: Path) -> None:
    """It was made where no log is possible; to find that out again may take sqlite ten seconds."""
    with closing(connect(RECORDS, 1)) as made:
        made.execute("create table records (task text primary key, record text not null)")
    assert first_way(RECORDS) == 1
    save(records())
    assert records().in_("step:m")
    assert not (here / f"{RECORDS}-wal").exists()


def test_a_journal_lets_others_read(here: Path) -> None:
    with closing(connect(RECORDS, 1)) as one:
        one.execute("create table t (a)")
        with closing(connect(RECORDS, 1, 0.1)) as other:
            assert other.execute("select * from t").fetchall() == []


@pytest.mark.parametrize("number", [37, 38, 95])
def test_without_locks(here: Path, monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    def refuse(*arguments: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(fcntl, "lockf", refuse)
    assert first_way(RECORDS) == database.NO_LOCKS
    save(records())
    assert records().in_("step:m")
    known = image_store.ImageDb(Path("build/.images.db"))  # several steps at once may write it
    assert known.looks("0" * 64) is None
    known.close()
    assert not (here / "build/.images.db").exists()


DAMAGE: dict[str, Callable[[bytes], bytes]] = {
    "no database": lambda whole: b"garbage" * 1000,
    "a page": lambda whole: whole[:4096] + bytes(len(whole) - 4096),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_damage_is_set_aside_by_a_build_and_by_nobody_else(
    here: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], damage: str
) -> None:
    backend = records()
    for number in range(50):
        save(backend, f"step:{number}")
    backend.dump()
    path = here / RECORDS
    path.write_bytes(DAMAGE[damage](path.read_bytes()))
    damaged = path.read_bytes()
    looking = records()
    assert not looking.in_("step:1")
    assert looking.tasks() == []
    assert capfd.readouterr().err.count("\n") == 1
    with pytest.raises(InvalidTask, match="damaged"):
        records().rows()
    assert path.read_bytes() == damaged
    monkeypatch.setattr(current_run, "building", True)
    assert not records().in_("step:1")
    assert (here / f"{RECORDS}.damaged").read_bytes() == damaged


@pytest.mark.parametrize("text", CODES)
def test_what_is_known_of_images_is_removed_only_when_damaged(
    here: Path, monkeypatch: pytest.MonkeyPatch, text: str
) -> None:
    path = Path("build/.images.db")
    known = image_store.ImageDb(path)
    known.keep_broken("0" * 64, "truncated")
    known.close()

    def refuse(*arguments: object) -> sqlite3.Connection:
        raise error(text)

    with monkeypatch.context() as patched:
        patched.setattr(image_store, "connect", refuse)
        image_store.ImageDb(path).close()
    assert path.exists() == (not any(words in text for words in DAMAGED))
