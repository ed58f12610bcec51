"""The file of what is fresh: written and read back, damaged, and compared with what lies on the disk."""

from __future__ import annotations

import os
import tracemalloc
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from build_rules.engine.freshness.fingerprint import marks_of
from build_rules.engine.freshness.index import (
    ABSENT,
    UNTRUSTED,
    Marks,
    Snapshot,
    find_changed,
    read_snapshot,
    write_snapshot,
)
from build_rules.engine.places import MAX_STATE

NUMBER = st.integers(-2, (1 << 63) - 1)
NAMES = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), min_size=1, max_size=30)
OWNERS = st.lists(NAMES, min_size=1, max_size=3, unique=True).map(tuple)
MARKS = st.builds(Marks, NUMBER, NUMBER, NUMBER, NUMBER)
SNAPSHOTS = st.builds(
    Snapshot,
    st.dictionaries(NAMES, st.one_of(st.none(), st.integers(), NAMES), max_size=3),
    st.dictionaries(NAMES, st.integers(-1, 100), max_size=4),
    st.dictionaries(OWNERS, st.dictionaries(NAMES, MARKS, min_size=1, max_size=4), max_size=4),
    st.dictionaries(NAMES, st.lists(NAMES, max_size=3), max_size=4),
)
here = settings(max_examples=120, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@here
@given(snapshot=SNAPSHOTS)
def test_what_is_written_is_read(tmp_path: Path, snapshot: Snapshot) -> None:
    path = str(tmp_path / "s")
    write_snapshot(path, snapshot)
    found = read_snapshot(path)
    assert found is not None
    assert (found.context, found.tasks, found.ends) == (snapshot.context, snapshot.tasks, snapshot.ends)
    assert {o: dict(f) for o, f in found.files.items()} == {
        o: {p: tuple(m) for p, m in f.items()} for o, f in snapshot.files.items()
    }
    assert os.listdir(tmp_path) == ["s"]  # noqa: PTH208


@here
@given(snapshot=SNAPSHOTS, data=st.data())
def test_what_is_damaged_is_not_read_or_says_the_same(tmp_path: Path, snapshot: Snapshot, data: st.DataObject) -> None:
    path = tmp_path / "s"
    write_snapshot(str(path), snapshot)
    whole = read_snapshot(str(path))
    damaged = bytearray(path.read_bytes())
    body = damaged.index(b"\n") + 1
    if len(damaged) > body:
        damaged[data.draw(st.integers(body, len(damaged) - 1))] ^= data.draw(st.integers(1, 255))
        path.write_bytes(damaged)
        assert read_snapshot(str(path)) is None
    path.write_bytes(damaged[: data.draw(st.integers(0, max(0, len(damaged) - 1)))])
    assert read_snapshot(str(path)) in (None, whole)


@pytest.mark.parametrize("content", [b"", b"\n", b"[]\n", b"{}\n", b'{"format": 1}\n', b'{"format": 2}\n', b"\xff\n"])
def test_what_is_no_snapshot(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "s").write_bytes(content)
    assert read_snapshot(str(tmp_path / "s")) is None
    assert read_snapshot(str(tmp_path / "none")) is None


def test_owners_of_changed_files(tmp_path: Path) -> None:
    paths = {name: tmp_path / name for name in "abc"}
    for path in paths.values():
        path.write_text("x")

    def now(name: str) -> dict[str, Marks]:
        return {str(paths[name]): marks_of(paths[name].stat())}

    none = str(tmp_path / "none")
    files = {("one",): now("a"), ("one", "two"): now("b"), ("three",): now("c"), ("four",): {none: ABSENT}}
    snapshot = Snapshot({}, {}, files, {})
    assert find_changed(snapshot) == set()
    paths["b"].write_text("y")
    assert find_changed(snapshot) == {"one", "two"}
    paths["c"].unlink()
    Path(none).touch()
    assert find_changed(snapshot) == {"one", "two", "three", "four"}
    assert find_changed(Snapshot({}, {}, {("five",): {str(paths["a"]): UNTRUSTED}}, {})) == {"five"}


def test_no_more_is_read_of_it_than_it_may_hold(tmp_path: Path) -> None:
    path = tmp_path / "fresh"
    with path.open("wb") as file:
        file.truncate(1 << 40)  # its zeros take no room on the disk
    tracemalloc.start()
    try:
        assert read_snapshot(str(path)) is None
        assert tracemalloc.get_traced_memory()[1] < 3 * MAX_STATE
    finally:
        tracemalloc.stop()
