"""The cache in a bucket, through obstore: its own stores, and S3's protocol against a server of ours."""

from __future__ import annotations

import importlib.util
import json
import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from build_rules.engine.cache.bucket import PART_BYTES, BucketStore
from build_rules.engine.cache.location import parse_location
from build_rules.engine.cache.store import ACTION, BLOB, FailedError
from build_rules.errors import InputError
from tests.engine.cache.results import KEY, cache_of, digest, offered, outputs_in, result, told
from tests.engine.cache.server import CacheServer, serve

needs_obstore = pytest.mark.skipif(
    importlib.util.find_spec("obstore") is None, reason="obstore is not installed (the extra `cloud`)"
)
LOCATION = parse_location("s3://bucket/team/models")


def test_without_the_package_it_is_told_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    with pytest.raises(InputError, match=r'cache = "gs://bucket" needs a package .* pip install "obstore>=0\.9\.3"'):
        cache_of("gs://bucket")


@pytest.fixture(params=["memory", "local"])
def store(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> BucketStore:
    """A store that keeps everything in memory, or in files."""
    from obstore.store import LocalStore, MemoryStore

    (tmp_path / "bucket").mkdir()
    inner = MemoryStore() if request.param == "memory" else LocalStore(tmp_path / "bucket")
    monkeypatch.setattr(BucketStore, "_open", lambda *_: inner)
    return BucketStore(LOCATION)


@needs_obstore
@pytest.mark.parametrize("size", [1, 1000, PART_BYTES - 1, PART_BYTES, PART_BYTES + 1, 2 * PART_BYTES + 5])
def test_what_is_put_is_there(size: int, store: BucketStore) -> None:
    content = os.urandom(size)
    name = digest(content)
    parts: list[bytes] = []
    assert (store.get(BLOB, name, size, parts.append), store.has(BLOB, name)) == (False, False)
    pieces = [content[start : start + (256 << 10)] for start in range(0, size, 256 << 10)]
    store.put(BLOB, name, size, lambda: iter(pieces))
    assert store.get(BLOB, name, size, parts.append)
    assert b"".join(parts) == content
    assert [store.has(BLOB, name, one) for one in (None, size, size + 1)] == [True, True, False]


@needs_obstore
@pytest.mark.parametrize("size", [10, 2 * PART_BYTES + 5])
def test_an_iterator_that_fails_stores_nothing(size: int, store: BucketStore) -> None:
    class Trouble(Exception):
        pass

    def broken() -> Iterator[bytes]:
        for _ in range(size // (256 << 10)):
            yield bytes(256 << 10)
        raise Trouble

    with pytest.raises(Trouble):
        store.put(BLOB, KEY, size, broken)
    assert not store.has(BLOB, KEY)


@needs_obstore
def test_an_entry_without_end_is_not_read(store: BucketStore) -> None:
    store.put(ACTION, KEY, 100, lambda: iter([bytes(100)]))
    got: list[bytes] = []
    with pytest.raises(FailedError, match="an entry of 100 bytes"):
        store.get(ACTION, KEY, 99, got.append)
    assert got == []


@needs_obstore
def test_what_one_machine_offers_another_restores(store: BucketStore, tmp_path: Path) -> None:
    content = os.urandom(PART_BYTES + 1)
    action, files = result(tmp_path / "built", model_hef=content, empty=b"")
    cache = cache_of(LOCATION, store=store)
    offered(cache, action, files)
    (tmp_path / "draft").mkdir()
    other = cache_of(LOCATION, store=store)
    assert other.holds(KEY)
    assert other.find(KEY) == action
    assert other.restore(action, tmp_path / "draft")
    assert outputs_in(tmp_path / "draft") == {"model.hef": content, "empty": b""}
    store.put(BLOB, digest(content), 10, lambda: iter([b"0123456789"]))
    (tmp_path / "second").mkdir()
    assert not other.restore(action, tmp_path / "second")
    assert (told(cache), len(told(other))) == ([], 1)


@needs_obstore
def test_a_panic_of_the_library_is_a_miss(store: BucketStore, monkeypatch: pytest.MonkeyPatch) -> None:
    import obstore

    class PanicException(BaseException):
        pass

    def panic(*_: object) -> None:
        raise PanicException("geheim")

    monkeypatch.setattr(obstore, "get", panic)
    cache = cache_of(LOCATION, store=store)
    assert cache.find(KEY) is None
    assert told(cache) == [f"cache {LOCATION}: obstore failed; not used for the rest of this run"]


@pytest.fixture
def s3(monkeypatch: pytest.MonkeyPatch) -> Iterator[CacheServer]:
    with serve() as server:
        server.prefix = "/bucket/team/models"
        for name, value in {
            "AWS_ENDPOINT_URL": server.url.removesuffix(server.prefix),
            "AWS_ACCESS_KEY_ID": "AKIDEXAMPLE",
            "AWS_SECRET_ACCESS_KEY": "geheimnis",
            "AWS_REGION": "eu-central-1",
        }.items():
            monkeypatch.setenv(name, value)
        yield server


@needs_obstore
def test_azure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with serve() as server:
        monkeypatch.setenv("AZURE_STORAGE_ACCOUNT_NAME", "account")
        monkeypatch.setenv("AZURE_STORAGE_ACCOUNT_KEY", "Z2VoZWlt")
        monkeypatch.setenv("AZURE_ENDPOINT", server.url)
        server.prefix = "/container/models"
        share_over(server, "az://container/models", tmp_path)


@needs_obstore
def test_google(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with serve() as server:
        account = {"gcs_base_url": server.url, "disable_oauth": True}
        account |= dict.fromkeys(("client_email", "private_key", "private_key_id"), "")
        (tmp_path / "account.json").write_text(json.dumps(account))
        monkeypatch.setenv("GOOGLE_SERVICE_ACCOUNT", str(tmp_path / "account.json"))
        server.prefix = "/bucket/models"
        share_over(server, "gs://bucket/models", tmp_path)


@needs_obstore
def test_s3(s3: CacheServer, tmp_path: Path) -> None:
    share_over(s3, str(LOCATION), tmp_path)


def share_over(server: CacheServer, place: str, tmp_path: Path) -> None:
    """One machine offers, another one restores."""
    action, files = result(tmp_path / "built", model_hef=os.urandom(700_000), split_json=b"{}")
    cache = cache_of(place)
    assert cache.find(KEY) is None
    offered(cache, action, files)
    assert sorted(server.stored) == sorted([f"/ac/{KEY}", *(f"/cas/{output.sha256}" for output in action.outputs)])
    other = cache_of(place, "read-only")
    assert other.holds(KEY)
    assert other.find(KEY, ["model.hef", "split.json"]) == action
    (tmp_path / "draft").mkdir()
    assert other.restore(action, tmp_path / "draft")
    assert (told(cache), told(other)) == ([], [])


@needs_obstore
@pytest.mark.parametrize("mode", ["hang", "reset", "garbage", "500", "401", "403"])
def test_s3_that_does_not_work(mode: str, s3: CacheServer, tmp_path: Path) -> None:
    s3.mode = mode
    cache = cache_of(LOCATION)
    started = time.monotonic()
    assert [cache.find(KEY) for _ in range(50)] == [None] * 50
    offered(cache, *result(tmp_path / "built", model_hef=b"x"))
    assert time.monotonic() - started < 20
    (line,) = told(cache)
    assert line.endswith("not used for the rest of this run")
    assert not [secret for secret in ("AKID", "geheim", "127.0.0.1") if secret in line]


@needs_obstore
def test_s3_that_may_only_be_read(s3: CacheServer, tmp_path: Path) -> None:
    cache = cache_of(LOCATION)
    action, files = result(tmp_path / "built", model_hef=b"x")
    offered(cache, action, files)
    s3.mode = "PUT 403"
    cache = cache_of(LOCATION)
    offered(cache, *result(tmp_path / "other", model_hef=b"y"), key="cd" * 32)
    (line,) = told(cache)
    assert line.endswith("with the credentials of the environment; nothing more is uploaded in this run")
    assert cache.find(KEY) == action


@needs_obstore
def test_without_credentials_nothing_stops(s3: CacheServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    # Nobody answers where machines in the cloud ask for theirs.
    monkeypatch.setenv("AWS_METADATA_ENDPOINT", "http://127.0.0.1:9")
    cache = cache_of(LOCATION)
    started = time.monotonic()
    assert [cache.find(KEY) for _ in range(3)] == [None] * 3
    assert time.monotonic() - started < 20
    assert (len(told(cache)), s3.requests) == (1, [])
