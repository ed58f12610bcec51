"""E14: records that are cut off, overwritten, of another version or of another program: everything is built again."""

from __future__ import annotations

import json
import random
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from tests.engine.experiments.workspace import Workspace
from tests.profiles import EXPERIMENTS

PAGE = 4096


def check_rebuilt(ws: Workspace) -> None:
    """The next run builds what it has to and succeeds; after it all is in order."""
    run = ws.check_sound()
    assert "Traceback" not in run.err


@pytest.mark.parametrize(
    "place",
    [
        "header",
        "pages",
        "last byte",
    ],
)
def test_cut_off_records(ws: Workspace, place: str) -> None:
    """E14: nothing left, not even a header, whole pages, all but a byte: after two more builds it is over."""
    ws.run()
    whole = ws.records.read_bytes()
    sizes = {"header": (0, 1, 15, 16, 99, 100, 1000), "pages": range(PAGE, len(whole), PAGE), "last byte": (-1,)}
    for size in sizes[place]:
        ws.records.write_bytes(whole[:size])
        # Models that are fresh are passed over by the first of them; the records that it sets aside are theirs, too.
        for run in (ws.run(), ws.run()):
            assert (run.code, "Traceback" in run.err) == (0, False), (size, run.err)
        assert ws.run().executed == [], size
    check_rebuilt(ws)


PAGES: dict[str, Callable[[bytes, int], bytes]] = {
    "garbage": lambda whole, page: random.Random(page).randbytes(PAGE),
    "zeros": lambda whole, page: bytes(PAGE),
    "the next page": lambda whole, page: (whole[PAGE * (page + 1) :] + whole)[:PAGE],
}


@pytest.mark.parametrize("kind", PAGES)
def test_overwritten_pages(ws: Workspace, kind: str) -> None:
    """E14: each page in turn is another one; an input has changed as well, so that records are written."""
    ws.run()
    whole = ws.records.read_bytes()
    pages = len(whole) // PAGE
    assert pages >= 3, "the file has a schema, a table and its index"
    failed = []
    for page in range(pages):
        ws.records.write_bytes(whole[: PAGE * page] + PAGES[kind](whole, page) + whole[PAGE * (page + 1) :])
        ws.source("b").write_text(f"text {page}\n")
        run = ws.run()
        if run.code or "Traceback" in run.err or ws.run().executed:
            failed.append((page, run.code, run.err[-200:]))
        for path in ws.build.glob(".records.db*"):
            path.unlink()
    assert failed == []
    check_rebuilt(ws)


def test_single_bytes(ws: Workspace) -> None:
    """E14: one byte is another, at twenty (or two hundred) places; wrong records may cost work, and nothing else."""
    ws.run()
    whole = ws.records.read_bytes()
    before = ws.outputs()
    dice = random.Random(15)
    for place in dice.sample(range(len(whole)), 200 if EXPERIMENTS else 20):
        damaged = bytearray(whole)
        damaged[place] ^= 1 << dice.randrange(8)
        ws.records.write_bytes(damaged)
        (ws.build / ".fresh").unlink(missing_ok=True)  # or else they are not even read
        run = ws.run()
        assert (run.code, "Traceback" in run.err) == (0, False), (place, run.err)
        assert ws.outputs() == before, place
    check_rebuilt(ws)


def other_table(path: Path) -> None:
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("create table doit (task_id text primary key, task_data text)")


def other_columns(path: Path) -> None:
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("create table records (name text primary key, value blob, version integer)")
        connection.execute("insert into records values ('upper:a', 'x', 2)")


def more_columns(path: Path) -> None:
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("create table records (task text primary key, record text not null, version integer)")
        connection.execute("insert into records values ('upper:a', '{}', 2)")


def view(path: Path) -> None:
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("create view records as select 'upper:a' as task, '{}' as record")


def folder(path: Path) -> None:
    path.mkdir()


FOREIGN: dict[str, Callable[[Path], object]] = {
    "doit's json": lambda path: path.write_text(json.dumps({"upper:a": {"deps:": ["in/a.txt"]}})),
    "text": lambda path: path.write_text("not a database\n" * 1000),
    "zeros": lambda path: path.write_bytes(bytes(100_000)),
    "random": lambda path: path.write_bytes(random.Random(1).randbytes(100_000)),
    "another table": other_table,
    "other columns": other_columns,
    "more columns": more_columns,
    "a view": view,
}


@pytest.mark.parametrize("built", [False, True], ids=["first", "again"])
@pytest.mark.parametrize("what", FOREIGN)
def test_records_of_another_version_or_program(ws: Workspace, what: str, built: bool) -> None:
    """E14: a file that was never ours is set aside, or used for what it is worth."""
    ws.build.mkdir()
    if built:
        ws.run()
        ws.records.unlink()
    FOREIGN[what](ws.records)
    check_rebuilt(ws)


RECORDS: dict[str, object] = {
    "a list": [],
    "a word": "word",
    "null": None,
    "nothing": {},
    "values that are a list": {"_values_:": [1, 2], "deps:": [], "checker:": "ContentChecker"},
    "no fingerprints": {"_values_:": {"key": "KEY", "inputs": {}, "outputs": {}}},
    "short fingerprints": {
        "_values_:": {"key": "KEY", "inputs": {"in/a.txt": [1, 2]}, "outputs": {"build/a/upper": []}}
    },
    "odd fingerprints": {"_values_:": {"key": "KEY", "inputs": {"in/a.txt": "x"}, "outputs": {"build/a/upper": None}}},
    "lists for fingerprints": {"_values_:": {"key": "KEY", "inputs": ["in/a.txt"], "outputs": ["build/a/upper"]}},
    "odd states": {"_values_:": "OLD", "deps:": ["in/a.txt"], "checker:": "ContentChecker", "in/a.txt": [1, 2]},
    "odd dependencies": {"_values_:": "OLD", "deps:": 7, "checker:": "ContentChecker"},
}


@pytest.mark.parametrize("what", RECORDS)
def test_records_of_another_shape(ws: Workspace, what: str) -> None:
    """E14: sound JSON in a sound database, but not what this version writes."""
    ws.run()
    with closing(sqlite3.connect(ws.records)) as connection, connection:
        (text,) = connection.execute("select record from records where task = 'upper:a'").fetchone()
        old = json.loads(text)["_values_:"]
        record = json.dumps(RECORDS[what])
        record = record.replace('"KEY"', json.dumps(old["key"])).replace('"OLD"', json.dumps(old))
        connection.execute("update records set record = ? where task = 'upper:a'", (record,))
    check_rebuilt(ws)


@pytest.mark.parametrize("what", [b"", b"garbage" * 1000, bytes(40_000)], ids=["empty", "garbage", "zeros"])
@pytest.mark.parametrize("suffix", ["-wal", "-shm", "-journal"])
def test_files_beside_the_records(ws: Workspace, suffix: str, what: bytes) -> None:
    """E14: what a kill leaves beside the database is damaged, too; then it lies beside no database at all."""
    ws.run()
    beside = Path(f"{ws.records}{suffix}")
    beside.write_bytes(what)
    run = ws.run()
    assert (run.code, run.executed) == (0, [])
    ws.records.unlink()
    beside.write_bytes(what)
    check_rebuilt(ws)


def test_a_log_without_its_database(ws: Workspace) -> None:
    """E14: killed, so that the records are still in the log; then the database alone is lost, or the log alone."""
    for suffix in ("", "-wal", "-shm"):
        process = ws.start_until("mixed:b", "half")
        process.kill()
        process.wait()
        ws.release("mixed:b", "half")
        Path(f"{ws.records}{suffix}").unlink()
        check_rebuilt(ws)
        ws.source("b").write_text(f"another text {suffix}\n")


def test_lost_records_never_mean_lost_outputs(ws: Workspace) -> None:
    """E14: a run killed on its way to build everything again leaves every old output where it was."""
    ws.run()
    before = ws.outputs()
    ws.records.write_bytes(b"garbage" * 1000)
    ws.kill_at("mixed:b", "half")
    assert ws.outputs() == before
    check_rebuilt(ws)
