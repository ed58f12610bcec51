"""The cache in a folder: several writers, killed writers, limits, files that lie."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from build_rules.engine.cache.folder import FolderStore
from build_rules.engine.cache.folder_layout import place
from build_rules.engine.cache.store import ACTION, BLOB, RefusedError, UnreachableError, UnwantedError
from build_rules.engine.cache.upkeep import measure, prune, verify
from tests.doit_runs import wait_until
from tests.engine.cache.results import KEY, cache_of, digest, offered, outputs_in, result, stored, told

ROOT = os.geteuid() == 0


def read(store: FolderStore, name: str, kind: str = BLOB) -> bytes | None:
    parts: list[bytes] = []
    found = store.get(kind, name, 1 << 30, parts.append)  # type: ignore[arg-type]
    return b"".join(parts) if found else None


def write(store: FolderStore, content: bytes, used: float | None = None) -> Path:
    name = digest(content)
    store.put(BLOB, name, len(content), lambda: iter([content[:3], content[3:]]))
    path = place(store.folder, BLOB, name)
    if used is not None:
        os.utime(path, (used, used))
    return path


def test_layout_and_verbs(tmp_path: Path) -> None:
    store = FolderStore(tmp_path / "not there yet")
    name = digest(b"content")
    assert (read(store, name), store.has(BLOB, name)) == (None, False)
    path = write(store, b"content")
    assert path == tmp_path / "not there yet" / "cas" / name[:2] / name
    assert read(store, name) == b"content"
    assert (store.has(BLOB, name), store.has(BLOB, name, 7), store.has(BLOB, name, 8)) == (True, True, False)
    assert [entry.name for entry in path.parent.iterdir()] == [name]


def test_a_use_counts_even_where_the_time_cannot_be_set(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = FolderStore(tmp_path)
    path = write(store, b"content", used=1000)
    read(store, path.name)
    assert path.stat().st_mtime > time.time() - 60

    def refuse(*_: object) -> None:
        raise PermissionError

    monkeypatch.setattr(os, "utime", refuse)
    assert read(store, path.name) == b"content"


def test_an_iterator_that_fails_stores_nothing(tmp_path: Path) -> None:
    class Trouble(Exception):
        pass

    def broken() -> Iterator[bytes]:
        yield b"some"
        raise Trouble

    store = FolderStore(tmp_path)
    with pytest.raises(Trouble):
        store.put(BLOB, KEY, 8, broken)
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


def test_pipes_and_links_are_not_followed(tmp_path: Path) -> None:
    store = FolderStore(tmp_path)
    pipe, link = place(tmp_path, ACTION, KEY), place(tmp_path, ACTION, "cd" * 32)
    pipe.parent.mkdir(parents=True)
    os.mkfifo(pipe)
    link.parent.mkdir()
    link.symlink_to("/etc/passwd")
    cache = cache_of(tmp_path)
    assert (cache.find(KEY), cache.find("cd" * 32)) == (None, None)
    assert len(told(cache)) == 2
    assert read(store, digest(b"")) is None
    assert (measure(tmp_path).actions, verify(tmp_path, print).read) == (0, 0)


def test_a_file_where_the_folder_should_be(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.touch()
    store = FolderStore(file)
    with pytest.raises(UnreachableError, match="cannot be read"):
        store.has(BLOB, KEY)
    with pytest.raises(UnreachableError, match="cannot be written"):
        write(store, b"x")


@pytest.mark.skipif(ROOT, reason="root may write everywhere")
def test_a_folder_that_cannot_be_written(tmp_path: Path) -> None:
    tmp_path.chmod(0o555)
    with pytest.raises(RefusedError, match="cannot be written"):
        write(FolderStore(tmp_path), b"x")


@pytest.mark.parametrize(("number", "what"), [("ENOSPC", "no room left"), ("EROFS", "cannot be written")])
def test_a_full_or_read_only_disk_ends_uploads_not_reading(
    number: str, what: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import errno

    action = stored(tmp_path / "cache", tmp_path / "a", model_hef=b"old")
    files = result(tmp_path / "b", model_hef=b"new")
    cache = cache_of(tmp_path / "cache")

    def full(*_: object) -> None:
        raise OSError(getattr(errno, number), "as the system says")

    monkeypatch.setattr(Path, "replace", full)
    offered(cache, *files, key="cd" * 32)
    monkeypatch.undo()
    assert len(told(cache)) == 1
    assert what in told(cache)[0]
    assert told(cache)[0].endswith("nothing more is uploaded in this run")
    assert cache.find(KEY) == action
    assert list((tmp_path / "cache").rglob("*.partial")) == []


WRITER = """
import sys
from pathlib import Path
from build_rules.engine.cache.folder import FolderStore
content = bytes(range(256)) * 1200
for _ in range(40):
    FolderStore(Path(sys.argv[1])).put("cas", sys.argv[2], len(content), lambda: iter([content[:999], content[999:]]))
"""


def test_two_processes_write_one_name_while_a_third_reads(tmp_path: Path) -> None:
    content = bytes(range(256)) * 1200
    command = [sys.executable, "-c", WRITER, str(tmp_path), digest(content)]
    writers = [subprocess.Popen(command) for _ in range(2)]
    store, seen = FolderStore(tmp_path), 0
    while any(writer.poll() is None for writer in writers):
        found = read(store, digest(content))
        assert found in (None, content)
        seen += found is not None
    assert [writer.returncode for writer in writers] == [0, 0]
    assert seen > 0
    assert [path.name for path in tmp_path.rglob("*") if path.is_file()] == [digest(content)]


SLOW_WRITER = """
import sys, time
from pathlib import Path
from build_rules.engine.cache.folder import FolderStore
def chunks():
    for i in range(1000):
        yield b"x" * 1000
        time.sleep(0.01)
FolderStore(Path(sys.argv[1])).put("cas", sys.argv[2], 1_000_000, chunks)
"""


def test_a_writer_killed_in_the_middle_leaves_nothing_under_the_name(tmp_path: Path) -> None:
    name = digest(b"x" * 1_000_000)
    process = subprocess.Popen([sys.executable, "-c", SLOW_WRITER, str(tmp_path), name])
    wait_until(lambda: any(path.stat().st_size > 5000 for path in tmp_path.rglob("*.partial")))
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    store = FolderStore(tmp_path)
    assert read(store, name) is None
    assert measure(tmp_path).bytes == 0
    (left,) = tmp_path.rglob("*.partial")
    # It may still be written to, for all that others know; after a day it is not.
    os.utime(left, (time.time() - 90_000,) * 2)
    prune(tmp_path, 1 << 30)
    assert not left.exists()
    store.put(BLOB, name, 1_000_000, lambda: iter([b"x" * 1_000_000]))
    assert read(store, name) == b"x" * 1_000_000


def test_what_was_not_used_for_longest_goes_first(tmp_path: Path) -> None:
    store = FolderStore(tmp_path)
    paths = [write(store, bytes([number]) * 1000, used=1_000_000 + number) for number in range(10)]
    os.utime(paths[0])
    left = prune(tmp_path, 4500)
    assert [path.exists() for path in paths] == [True, *[False] * 6, True, True, True]
    assert (left.blobs, left.bytes, left.oldest) == (4, 4000, 1_000_007.0)
    assert prune(tmp_path, 0).blobs == 0
    assert (measure(tmp_path).oldest, measure(tmp_path).newest) == (None, None)


def test_the_limit_is_kept_while_writing_and_what_is_in_use_stays(tmp_path: Path) -> None:
    limit = 100_000
    action, files = result(tmp_path / "a", model_hef=b"kept" * 1000)
    cache = cache_of(tmp_path / "cache", limit=limit)
    offered(cache, action, files)
    for number in range(60):
        # Steps that are built now and then use their result; the others never come back.
        os.utime(place(tmp_path / "cache", ACTION, KEY))
        os.utime(place(tmp_path / "cache", BLOB, action.outputs[0].sha256))
        one, lying = result(tmp_path / f"step{number}", model_hef=os.urandom(9000))
        offered(cache_of(tmp_path / "cache", limit=limit), one, lying, key=digest(bytes([number])))
        assert measure(tmp_path / "cache").bytes <= limit
    (tmp_path / "draft").mkdir()
    assert cache.restore(cache.find(KEY) or action, tmp_path / "draft")
    assert measure(tmp_path / "cache").bytes > limit / 2


def test_one_file_over_the_limit_is_not_kept(tmp_path: Path) -> None:
    store = FolderStore(tmp_path, 1000)
    small = write(store, b"small")
    with pytest.raises(UnwantedError, match="1001 bytes are more"):
        write(store, b"x" * 1001)
    assert small.exists()
    cache = cache_of(tmp_path, limit=1000)
    for number in range(5):
        action, files = result(tmp_path / f"r{number}", model_hef=bytes([number]) * 2000)
        cache.offer(digest(bytes([number])), action, files)
    action, files = result(tmp_path / "ok", model_hef=b"fits")
    offered(cache, action, files)
    assert cache.stats.uploaded == 1
    assert cache.find(KEY) == action


def test_an_entry_whose_blob_is_gone_is_a_miss_and_goes(tmp_path: Path) -> None:
    action = stored(tmp_path / "cache", tmp_path / "a", model_hef=b"blob", edgefirst_json=b"{}")
    place(tmp_path / "cache", BLOB, action.outputs[0].sha256).unlink()
    cache = cache_of(tmp_path / "cache")
    (tmp_path / "draft").mkdir()
    assert cache.find(KEY) == action
    assert not cache.restore(action, tmp_path / "draft")
    assert outputs_in(tmp_path / "draft") == {}
    assert (told(cache), cache.stats.hits) == ([], 0)
    assert verify(tmp_path / "cache", print).incomplete == 1
    assert not cache_of(tmp_path / "cache").holds(KEY)


def test_verify_finds_and_removes_what_is_damaged(tmp_path: Path) -> None:
    action = stored(tmp_path / "cache", tmp_path / "a", model_hef=b"blob", edgefirst_json=b"{}")
    sound = verify(tmp_path / "cache", pytest.fail)
    assert (sound.read, sound.damaged, sound.incomplete) == (3, 0, 0)
    place(tmp_path / "cache", BLOB, action.outputs[0].sha256).write_bytes(b"blub")
    place(tmp_path / "cache", ACTION, "cd" * 32).parent.mkdir(parents=True)
    place(tmp_path / "cache", ACTION, "cd" * 32).write_bytes(b"garbage")
    lines: list[str] = []
    found = verify(tmp_path / "cache", lines.append)
    assert (found.read, found.damaged, found.incomplete, len(lines)) == (4, 2, 1, 2)
    again = verify(tmp_path / "cache", pytest.fail)
    assert (again.read, again.damaged) == (1, 0)
