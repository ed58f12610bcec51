"""Digests of files: read when they have to be, and not when what is recorded can only be of the same content."""

from __future__ import annotations

import hashlib
import os
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from build_rules.engine.freshness import fingerprint as room
from build_rules.engine.freshness.clock import FileClock
from build_rules.engine.freshness.fingerprint import (
    Fingerprint,
    fingerprint,
    installed_marks,
    is_unchanged,
    marks_of,
    trusted_marks,
)
from build_rules.engine.freshness.index import UNTRUSTED
from build_rules.engine.freshness.records import ContentChecker

SETTLED = 0.05
"""Seconds after which a file is old enough for its marks to be trusted."""
OTHER = hashlib.sha256(b"what no file here holds").hexdigest()
CLAMPED = 1_700_000_000 * 10**9


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A workspace; nothing that was told of the time before is known."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(room, "file_clock", FileClock())
    return tmp_path


def recorded(path: Path, settled: bool) -> Fingerprint:
    return Fingerprint(*marks_of(path.stat()), OTHER, settled)


def clamp(
    monkeypatch: pytest.MonkeyPatch,
    path: Path,
    ctime_ns: int = CLAMPED,
    mtime_ns: int = CLAMPED,
    inode: int = 2,
    device: int | None = None,
) -> None:
    """Let a file have times and an inode as an image with clamped times gives them, whatever is done to it."""
    real = os.stat

    class Clamped:
        def __init__(self, found: os.stat_result) -> None:
            self.st_size, self.st_mode, self.st_ino = found.st_size, found.st_mode, inode
            self.st_dev = found.st_dev if device is None else device
            self.st_mtime_ns, self.st_ctime_ns = mtime_ns, ctime_ns

    def stat(name: str | os.PathLike[str], **options: bool) -> object:
        found = real(name, **options)
        return Clamped(found) if os.fspath(name) == os.fspath(path) else found

    monkeypatch.setattr(os, "stat", stat)


def test_settled_marks_of_a_record_are_believed(here: Path) -> None:
    path = here / "large"
    path.write_bytes(b"content")
    time.sleep(SETTLED)
    assert is_unchanged(path, recorded(path, settled=True))
    assert not is_unchanged(path, recorded(path, settled=False))


def test_what_is_read_by_a_step_is_hashed_whatever_a_record_says(here: Path) -> None:
    path = here / "large"
    path.write_bytes(b"content")
    time.sleep(SETTLED)
    assert is_unchanged(path, recorded(path, settled=True))
    assert fingerprint(path).sha256 == hashlib.sha256(b"content").hexdigest()


@pytest.mark.parametrize(
    ("ctime_ns", "mtime_ns"),
    [(CLAMPED, CLAMPED), (0, 0), (0, CLAMPED), (CLAMPED, CLAMPED + 5), (CLAMPED + 10**9, CLAMPED), (-(10**9), 0)],
    ids=["clamped", "1970", "no ctime", "whole ctime", "coarse clock", "before 1970"],
)
def test_whole_seconds_are_never_settled(
    here: Path, monkeypatch: pytest.MonkeyPatch, ctime_ns: int, mtime_ns: int
) -> None:
    """The image is replaced by one in which a file of the same size has other content."""
    path = here / "input"
    path.write_bytes(b"one")
    clamp(monkeypatch, path, ctime_ns, mtime_ns)
    known = fingerprint(path)
    assert not known.settled
    path.write_bytes(b"two")
    assert fingerprint(path).sha256 == hashlib.sha256(b"two").hexdigest()
    assert not is_unchanged(path, known)
    assert not is_unchanged(path, known._replace(settled=True)), "as an older version recorded it"
    assert ContentChecker().get_state(str(path), list(known._replace(settled=True))) is not None
    assert trusted_marks(path) == UNTRUSTED


def test_libraries_in_images_are_trusted(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = here / "module.py"
    path.write_bytes(b"one")
    clamp(monkeypatch, path)
    assert installed_marks(path) == (3, CLAMPED, CLAMPED, 2)


@pytest.mark.parametrize(
    ("ctime_ns", "tick"), [(CLAMPED, room.COARSE_TICK_NS), (CLAMPED + 5, room.TICK_NS)], ids=["whole seconds", "finer"]
)
@pytest.mark.parametrize("beyond", [0, 1])
def test_libraries_that_have_just_changed_are_not(
    here: Path, monkeypatch: pytest.MonkeyPatch, ctime_ns: int, tick: int, beyond: int
) -> None:
    path = here / "module.py"
    path.write_bytes(b"one")
    clamp(monkeypatch, path, ctime_ns)
    monkeypatch.setattr(time, "time_ns", lambda: ctime_ns + tick + beyond)
    assert installed_marks(path) == ((3, CLAMPED, ctime_ns, 2) if beyond else UNTRUSTED)


@pytest.mark.parametrize("size", [0, 1, room.CHUNK - 1, room.CHUNK, room.CHUNK + 1, 2 * room.CHUNK + 1])
def test_a_file_is_read_to_its_end(here: Path, size: int) -> None:
    content = os.urandom(size)
    (here / "input").write_bytes(content)
    assert fingerprint(here / "input").sha256 == hashlib.sha256(content).hexdigest()


@pytest.mark.parametrize("other", [{"inode": 3}, {"device": 7}], ids=["inode", "device"])
def test_files_of_the_same_times_are_told_apart(
    here: Path, monkeypatch: pytest.MonkeyPatch, other: dict[str, int]
) -> None:
    """Also when one takes the other's name and no time tells of it."""
    monkeypatch.setattr(FileClock, "is_past", lambda *_: True)
    for content, identity in ((b"one", {"device": 6}), (b"two", {"device": 6, **other})):
        (here / "input").write_bytes(content)
        clamp(monkeypatch, here / "input", CLAMPED + 5, **identity)
        found = fingerprint(here / "input")
        assert (found.settled, found.sha256) == (True, hashlib.sha256(content).hexdigest())


def test_a_file_of_another_size_is_not_read(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (here / "input").write_bytes(b"one")
    known = fingerprint(here / "input")
    (here / "input").write_bytes(b"three")
    monkeypatch.setattr(room, "_read_digest", None)
    assert not is_unchanged(here / "input", known)


def test_marks_are_trusted_while_every_look_found_the_same(here: Path) -> None:
    path = here / "input"
    path.write_bytes(b"one")
    time.sleep(SETTLED)
    known = fingerprint(path)
    assert room.verified[str(path)] == known[:4]
    assert is_unchanged(path, known)
    assert room.verified[str(path)] == known[:4]
    path.touch()
    time.sleep(SETTLED)
    assert is_unchanged(path, known)
    assert room.verified[str(path)] == UNTRUSTED, "two steps have found it with different marks"
    (here / "young").write_bytes(b"one")
    fingerprint(here / "young")
    assert room.verified[str(here / "young")] == UNTRUSTED, "it could be written again without a trace"


def test_a_file_that_cannot_be_settled_is_compared_once_in_a_run(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = here / "input"
    path.write_bytes(b"one")
    clamp(monkeypatch, path, CLAMPED + 7 * 10**9)
    known = fingerprint(path)
    read: list[object] = []
    digest = room._read_digest
    monkeypatch.setattr(room, "_read_digest", lambda name: read.append(name) or digest(name))  # type: ignore[func-returns-value]
    assert all(is_unchanged(path, known) for _ in range(5))
    assert len(read) == 1
    fingerprint(path)
    assert len(read) == 2


@pytest.mark.parametrize("hours", [-1, 1])
def test_the_file_systems_clock_counts(here: Path, monkeypatch: pytest.MonkeyPatch, hours: int) -> None:
    """The machine's clock is an hour off: neither is a young file old, nor stays an old one young."""
    now = time.time_ns
    monkeypatch.setattr(time, "time_ns", lambda: now() + hours * 3600 * 10**9)
    path = here / "input"
    for number in range(20):
        path.write_bytes(b"%04d" % number)
        known = fingerprint(path)
        path.write_bytes(b"%04d" % (number + 5000))
        assert not is_unchanged(path, known), number
    time.sleep(SETTLED)
    assert fingerprint(path).settled


@pytest.fixture
def elsewhere(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder on another file system than the workspace."""
    folder = tmp_path_factory.mktemp("elsewhere")
    if subprocess.run(["mount", "-t", "tmpfs", "tmpfs", folder], capture_output=True).returncode:
        pytest.skip("nothing can be mounted here")
    yield folder
    subprocess.run(["umount", "-l", folder], check=True)


def test_where_the_clock_is_not_known_young_is_a_few_minutes(
    here: Path, elsewhere: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = elsewhere / "input"
    path.write_bytes(b"one")
    time.sleep(SETTLED)
    assert not fingerprint(path).settled
    later = time.time_ns() + 600 * 10**9
    monkeypatch.setattr(time, "time_ns", lambda: later)
    assert fingerprint(path).settled


def test_asking_for_the_time_leaves_nothing_behind(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (here / "build").mkdir()
    before = (here / "build").stat().st_mtime_ns
    (here / "input").write_bytes(b"one")
    fingerprint(here / "input")
    assert ((here / "build").stat().st_mtime_ns, list((here / "build").iterdir())) == (before, [])
    monkeypatch.setattr(os, "O_TMPFILE", os.O_DIRECTORY)  # refused, as by a network file system
    monkeypatch.setattr(room, "file_clock", FileClock())
    time.sleep(SETTLED)
    assert fingerprint(here / "input").settled
    assert list((here / "build").iterdir()) == []


@pytest.mark.parametrize("kind", ["pipe", "device"])
def test_what_is_no_file_is_not_read(here: Path, kind: str) -> None:
    path = here / "input"
    if kind == "pipe":
        os.mkfifo(path)
    else:
        path.symlink_to("/dev/zero")
    with pytest.raises(OSError, match="not a regular file"):
        fingerprint(path)


def test_other_marks_are_another_file(here: Path) -> None:
    path = here / "file"
    path.write_bytes(b"content")
    known = recorded(path, settled=True)
    path.write_bytes(b"otherly")
    assert not is_unchanged(path, known)
    assert fingerprint(path).sha256 == hashlib.sha256(b"otherly").hexdigest()
