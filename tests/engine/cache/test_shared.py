"""What the engine sees of the cache, over a folder and over a server: verified, harmless, never in the way."""

from __future__ import annotations

import os
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from build_rules.engine.cache.action import CachedAction, CachedOutput, encode_action
from build_rules.engine.cache.folder import FolderStore
from build_rules.engine.cache.folder_layout import place
from build_rules.engine.cache.store import ACTION, BLOB, FailedError, Kind
from build_rules.errors import InputError
from tests.engine.cache.remote_execution import ActionResult
from tests.engine.cache.results import KEY, cache_of, digest, offered, outputs_in, result, stored, told
from tests.engine.cache.server import CacheServer, serve

Put = Callable[[str, bytes], None]


@pytest.fixture
def server() -> Iterator[CacheServer]:
    with serve() as running:
        yield running


@pytest.fixture(params=["folder", "server"])
def cached(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[str, Put]]:
    """A place, and a way to put anything into it under `ac/...` or `cas/...`."""
    if request.param == "server":
        with serve() as running:

            def plant(path: str, body: bytes) -> None:
                running.validates = False
                running.stored[f"/{path}"] = body

            yield running.url, plant
        return

    def put(path: str, body: bytes) -> None:
        kind, name = path.split("/")
        file = tmp_path / "cache" / kind / name[:2] / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(body)

    yield str(tmp_path / "cache"), put


@pytest.fixture
def draft(tmp_path: Path) -> Path:
    folder = tmp_path / "draft"
    folder.mkdir()
    return folder


def test_what_one_machine_offers_another_restores(cached: tuple[str, Put], tmp_path: Path, draft: Path) -> None:
    contents: dict[str, Any] = {"model_hef": os.urandom(1_000_000), "edgefirst_json": b"{}", "empty": b""}
    action = stored(cached[0], tmp_path / "built", **contents)
    cache = cache_of(cached[0], "read-only")
    assert cache.holds(KEY)
    found = cache.find(KEY, ["model.hef", "edgefirst.json", "empty"])
    assert found == action
    assert cache.restore(found, draft)
    assert outputs_in(draft) == {name.replace("_", "."): content for name, content in contents.items()}
    cache.close(1)
    stats = cache.stats
    assert (stats.hits, stats.bytes, stats.uploaded) == (1, 1_000_002, 0)
    assert told(cache) == []


def test_what_nobody_offered_is_a_miss(cached: tuple[str, Put]) -> None:
    cache = cache_of(cached[0])
    assert (cache.find(KEY), cache.holds(KEY)) == (None, False)
    assert (cache.stats.hits, told(cache)) == (0, [])


@pytest.mark.parametrize("key", ["", "abc", "AB" * 32, "../" * 21 + "a", "ab" * 32 + "/", "ab" * 32 + "\n"])
def test_a_key_that_is_none_is_the_callers_mistake(key: str, tmp_path: Path) -> None:
    cache = cache_of(tmp_path)
    for call in (cache.find, cache.holds, lambda key: cache.offer(key, CachedAction(()), {})):
        with pytest.raises(ValueError, match="is no key"):
            call(key)


def test_a_read_only_cache_is_not_written(cached: tuple[str, Put], tmp_path: Path) -> None:
    cache = cache_of(cached[0], "read-only")
    offered(cache, *result(tmp_path / "built", model_hef=b"x"))
    assert (cache.stats.uploaded, told(cache), cache_of(cached[0]).holds(KEY)) == (0, [], False)


def test_what_the_store_has_is_not_uploaded_again(server: CacheServer, tmp_path: Path) -> None:
    stored(server.url, tmp_path / "a", model_hef=b"the same", split_json=b"first")
    stored(server.url, tmp_path / "b", "cd" * 32, model_hef=b"the same", split_json=b"second")
    puts = [path for path in server.paths("PUT") if path.startswith("/cas/")]
    assert sorted(puts) == sorted(f"/cas/{digest(one)}" for one in (b"the same", b"first", b"second"))
    # An entry comes after its blobs.
    assert server.paths("PUT")[2] == f"/ac/{KEY}"


@pytest.mark.parametrize("body", [b"", b"garbage", b"<html>log in</html>", b"\x12" * 5000])
def test_garbage_instead_of_an_entry(cached: tuple[str, Put], body: bytes, tmp_path: Path) -> None:
    cached[1](f"ac/{KEY}", body)
    cache = cache_of(cached[0])
    assert [cache.find(KEY) for _ in range(3)] == [None] * 3
    assert len(told(cache)) == 1
    assert f"ac/{KEY} is damaged" in told(cache)[0]
    offered(cache, *result(tmp_path / "built", model_hef=b"x"))
    assert cache_of(cached[0]).find(KEY) is not None


def test_an_entry_without_end(cached: tuple[str, Put]) -> None:
    cached[1](f"ac/{KEY}", encode_action(CachedAction((CachedOutput("a", digest(b""), 0),))) + b"\x12\x00" * (3 << 20))
    cache = cache_of(cached[0])
    assert cache.find(KEY) is None
    assert "is damaged (it is larger than" in told(cache)[0]


@pytest.mark.parametrize("name", ["../escaped", "/escaped", "..", "a/../../escaped", ".hidden"])
def test_names_that_lead_out_of_the_folder(name: str, cached: tuple[str, Put], tmp_path: Path, draft: Path) -> None:
    action = stored(cached[0], tmp_path / "built", model_hef=b"evil")
    message = ActionResult.FromString(encode_action(action))
    message.output_files[0].path = name
    cached[1](f"ac/{KEY}", message.SerializeToString())
    cache = cache_of(cached[0])
    assert cache.find(KEY) is None
    assert "not a plain file name" in told(cache)[0]
    assert not list(tmp_path.rglob("escaped"))


def test_outputs_that_the_step_does_not_write(cached: tuple[str, Put], tmp_path: Path) -> None:
    stored(cached[0], tmp_path / "built", model_hef=b"x", conftest_py=b"import evil")
    cache = cache_of(cached[0])
    assert cache.find(KEY, ["model.hef"]) is None
    assert cache.find(KEY, ["model.hef", "edgefirst.json"]) is None
    assert len(told(cache)) == 1
    assert "conftest.py, which the step does not write" in told(cache)[0]


BAD_BLOBS = {
    "changed": b"Blob",
    "shorter": b"blo",
    "empty": b"",
    "longer": b"blob and more",
    "endless": b"x" * 3_000_000,
}


@pytest.mark.parametrize("body", BAD_BLOBS.values(), ids=BAD_BLOBS)
def test_a_wrong_blob_is_a_miss_and_is_replaced(
    body: bytes, cached: tuple[str, Put], tmp_path: Path, draft: Path
) -> None:
    action = stored(cached[0], tmp_path / "built", split_json=b"{}", model_hef=b"blob")
    cached[1](f"cas/{digest(b'blob')}", body)
    cache = cache_of(cached[0])
    for _ in range(2):
        assert cache.find(KEY) == action
        assert not cache.restore(action, draft)
        assert outputs_in(draft) == {}
    assert len(told(cache)) == 1
    assert f"cas/{digest(b'blob')} is damaged" in told(cache)[0]
    assert cache.stats.hits == 0
    # The step runs then, and what it makes replaces what was wrong.
    offered(cache, *result(tmp_path / "again", split_json=b"{}", model_hef=b"blob"))
    assert cache_of(cached[0]).restore(action, draft)


def test_thousands_of_damaged_entries_are_not_thousands_of_lines(tmp_path: Path) -> None:
    cache = cache_of(tmp_path)
    for number in range(50):
        file = place(tmp_path, ACTION, digest(bytes([number])))
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(b"garbage")
        assert cache.find(file.name) is None
    assert len(told(cache)) == 5
    assert told(cache)[-1].endswith("further ones are not listed")


def test_announced_sizes_are_compared_with_the_disk(tmp_path: Path, draft: Path) -> None:
    action = CachedAction((CachedOutput("model.hef", digest(b"x"), shutil.disk_usage(tmp_path).free + (1 << 30)),))
    cache = cache_of(tmp_path)
    if action.size < 1 << 36:
        assert not cache.restore(action, draft)
        assert "has no room for" in told(cache)[0]


def test_a_disk_that_fills_up_while_restoring(tmp_path: Path, draft: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    action = stored(tmp_path / "cache", tmp_path / "built", split_json=b"{}", model_hef=b"blob")
    cache = cache_of(tmp_path / "cache")

    real = os.open

    def full(path: str | Path, flags: int, *more: int) -> int:
        if Path(path) == draft / "model.hef":
            raise OSError(28, "No space left on device")
        return real(path, flags, *more)

    monkeypatch.setattr(os, "open", full)
    assert not cache.restore(action, draft)
    assert outputs_in(draft) == {}
    assert told(cache)[0].endswith("a result could not be restored: No space left on device")


class Slow(FolderStore):
    """A folder that stores a piece at a time, each when it is allowed to."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.allowed = threading.Semaphore(0)
        self.begun = threading.Event()

    def put(self, kind: Kind, name: str, size: int, chunks: Callable[[], Iterator[bytes]]) -> None:
        self.begun.set()

        def slowly() -> Iterator[bytes]:
            for chunk in chunks():
                self.allowed.acquire(timeout=60)
                yield chunk

        super().put(kind, name, size, slowly)


def test_a_file_replaced_before_its_upload_is_not_published(tmp_path: Path) -> None:
    cache = cache_of(tmp_path / "cache")
    action, files = result(tmp_path / "built", model_hef=b"first")
    files["model.hef"].write_bytes(b"later")
    offered(cache, action, files)
    files["model.hef"].write_bytes(b"longer than before")
    cache = cache_of(tmp_path / "cache")
    offered(cache, action, files)
    files["model.hef"].unlink()
    cache = cache_of(tmp_path / "cache")
    offered(cache, action, files)
    assert (cache.stats.uploaded, told(cache)) == (0, [])
    assert [path for path in (tmp_path / "cache").rglob("*") if path.is_file()] == []


@pytest.mark.parametrize("how", ["replaced", "overwritten", "cut off", "removed"])
def test_a_file_that_changes_during_its_upload(how: str, tmp_path: Path, draft: Path) -> None:
    store = Slow(tmp_path / "cache")
    cache = cache_of("unused", store=store)
    content = os.urandom(2 << 20)
    action, files = result(tmp_path / "built", model_hef=content)
    cache.offer(KEY, action, files)
    store.allowed.release()
    assert store.begun.wait(30)
    path = files["model.hef"]
    if how == "replaced":
        path.with_name("new").write_bytes(b"new" * 700_000)
        path.with_name("new").replace(path)
    elif how == "overwritten":
        with path.open("r+b") as stream:
            stream.seek(-10, os.SEEK_END)
            stream.write(b"otherwise.")
    elif how == "cut off":
        os.truncate(path, 1 << 20)
    else:
        path.unlink()
    for _ in range(20):
        store.allowed.release()
    cache.close(30)
    other = cache_of(tmp_path / "cache")
    # A file with a new name in its place keeps its content for whoever has it open: that is published, and is right.
    if found := other.find(KEY):
        assert how in ("replaced", "removed")
        assert other.restore(found, draft)
        assert outputs_in(draft) == {"model.hef": content}
    blobs = [path for path in (tmp_path / "cache" / "cas").rglob("*") if path.is_file()]
    assert all(digest(blob.read_bytes()) == blob.name for blob in blobs)
    assert told(cache) == []


def test_close_waits_no_longer_than_it_is_told(tmp_path: Path) -> None:
    store = Slow(tmp_path / "cache")
    cache = cache_of("unused", store=store)
    for number in range(7):
        action, files = result(tmp_path / str(number), model_hef=bytes([number]) * 1_000_000)
        started = time.monotonic()
        cache.offer(digest(bytes([number])), action, files)
        assert time.monotonic() - started < 1
    started = time.monotonic()
    cache.close(0.5)
    assert 0.4 < time.monotonic() - started < 3
    assert told(cache) == ["cache unused: 7 results (7.0 MB) not uploaded: 0.5 s were not enough"]
    cache.offer(KEY, action, files)
    cache.close(5)
    assert (len(told(cache)), cache.stats.uploaded) == (1, 0)
    for _ in range(20):
        store.allowed.release()


def test_close_without_uploads_costs_nothing(tmp_path: Path) -> None:
    before = set(threading.enumerate())
    cache = cache_of(tmp_path)
    started = time.monotonic()
    cache.close(60)
    cache.close(60)
    assert time.monotonic() - started < 1
    assert set(threading.enumerate()) <= before


def test_many_uploads_and_restores_at_once(cached: tuple[str, Put], tmp_path: Path) -> None:
    cache = cache_of(cached[0])
    contents = [os.urandom(50_000 + number) for number in range(30)]
    for number, content in enumerate(contents):
        cache.offer(digest(content), *result(tmp_path / f"built{number}", model_hef=content))
    cache.close(60)
    assert (cache.stats.uploaded, told(cache)) == (30, [])
    restored: list[bool] = []

    def restore(number: int) -> None:
        folder = tmp_path / f"draft{number}"
        folder.mkdir()
        action = cache.find(digest(contents[number]))
        restored.append(action is not None and cache.restore(action, folder))

    threads = [threading.Thread(target=restore, args=(number,)) for number in range(30)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert restored == [True] * 30
    assert cache.stats.hits == 30


class Broken(FolderStore):
    """A folder whose every verb raises."""

    error: Exception = RuntimeError("secret: hunter2")

    def get(self, *_: Any) -> bool:
        raise self.error

    def has(self, *_: Any) -> bool:
        raise self.error

    def put(self, *_: Any) -> None:
        raise self.error


def test_no_defect_of_a_store_reaches_the_build(tmp_path: Path, draft: Path) -> None:
    cache = cache_of("unused", store=Broken(tmp_path))
    action, files = result(tmp_path / "built", model_hef=b"x")
    assert (cache.find(KEY), cache.holds(KEY), cache.restore(action, draft)) == (None, False, False)
    offered(cache, action, files)
    assert outputs_in(draft) == {}
    assert len(told(cache)) == 3
    assert not any("hunter2" in line for line in told(cache))


def test_three_failures_in_a_row_are_enough(tmp_path: Path) -> None:
    store = Broken(tmp_path)
    store.error = FailedError("it answered HTTP 500")
    cache = cache_of("unused", store=store)
    for _ in range(10):
        assert cache.find(KEY) is None
    assert told(cache) == [
        "cache unused: it answered HTTP 500, taken for a miss",
        "cache unused: it answered HTTP 500; not used for the rest of this run",
    ]


def test_what_the_store_says_cannot_steer_the_terminal(tmp_path: Path) -> None:
    stored(tmp_path, tmp_path / "built", model_hef=b"x")
    action = CachedAction((CachedOutput("evil", digest(b"x"), 1),))
    message = ActionResult.FromString(encode_action(action))
    message.output_files[0].path = "\x1b[31mred\n"
    place(tmp_path, ACTION, KEY).write_bytes(message.SerializeToString())
    cache = cache_of(tmp_path)
    assert cache.find(KEY) is None
    assert told(cache)[0].isprintable()


def test_places_that_cannot_work(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match="this is a file, expected a folder"):
        cache_of(tmp_path / "file")
    with pytest.raises(InputError, match="cache_limit is for a folder"):
        cache_of("http://127.0.0.1:9", limit=1)


def test_blobs_are_stored_under_their_digest(tmp_path: Path) -> None:
    stored(tmp_path, tmp_path / "built", model_hef=b"x")
    assert place(tmp_path, BLOB, digest(b"x")).read_bytes() == b"x"
