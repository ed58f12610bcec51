"""The cache on an HTTP server, when all is well and when nothing is."""

from __future__ import annotations

import os
import shutil
import socket
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from build_rules.engine.cache.action import CachedAction, CachedOutput
from build_rules.engine.cache.http import HttpStore, Patience
from build_rules.engine.cache.location import parse_location
from build_rules.engine.cache.shared import SharedCache
from build_rules.engine.cache.store import ACTION, BLOB, UnreachableError
from tests.engine.cache.results import KEY, cache_of, digest, offered, outputs_in, result, stored, told
from tests.engine.cache.server import CacheServer, serve

HASTE = Patience(connect=1, answer=0.6, silence=0.6, stored=1, rate=1 << 20)


@pytest.fixture
def server() -> Iterator[CacheServer]:
    with serve() as running:
        yield running


@pytest.fixture
def draft(tmp_path: Path) -> Path:
    folder = tmp_path / "draft"
    folder.mkdir()
    return folder


def hasty(url: str) -> SharedCache:
    return cache_of(url, store=HttpStore(parse_location(url), HASTE))


def test_one_connection_serves_many_requests(server: CacheServer, tmp_path: Path, draft: Path) -> None:
    action = stored(server.url, tmp_path / "built", model_hef=os.urandom(700_000), split_json=b"{}")
    server.connections.clear()
    cache = cache_of(server.url)
    for number in range(20):
        assert cache.find(digest(bytes([number]))) is None
        assert cache.holds(KEY)
    assert cache.restore(action, draft)
    # The server closes it after each 404; what is found does not cost a new one.
    assert len(server.connections) <= 21
    server.connections.clear()
    for _ in range(20):
        assert cache.find(KEY) == action
    assert len(server.connections) == 1


def test_a_connection_that_the_server_closed_meanwhile_is_no_trouble(server: CacheServer, tmp_path: Path) -> None:
    action = stored(server.url, tmp_path / "built", model_hef=b"x")
    cache = cache_of(server.url)
    for _ in range(3):
        assert cache.find(KEY) == action
        server.close_idle()
        assert cache.holds(KEY)
        server.close_idle()
    assert told(cache) == []


def test_a_prefix_is_kept(server: CacheServer, tmp_path: Path, draft: Path) -> None:
    server.prefix = "/team/models"
    action = stored(server.url, tmp_path / "built", model_hef=b"x")
    assert server.paths("PUT")[-1] == f"/team/models/ac/{KEY}"
    assert cache_of(server.url + "/").restore(action, draft)


def test_uploads_carry_their_length_and_nothing_is_chunked(tmp_path: Path) -> None:
    listener = socket.create_server(("127.0.0.1", 0))
    got = bytearray()

    def accept() -> None:
        client, _ = listener.accept()
        with client:
            while not got.endswith(b"content"):
                got.extend(client.recv(65536))
            client.sendall(b"HTTP/1.1 201 Created\r\nContent-Length: 0\r\n\r\n")

    thread = threading.Thread(target=accept)
    thread.start()
    location = parse_location(f"http://127.0.0.1:{listener.getsockname()[1]}/p")
    HttpStore(location).put(BLOB, digest(b"content"), 7, lambda: iter([b"con", b"tent"]))
    thread.join()
    listener.close()
    head, _, body = bytes(got).partition(b"\r\n\r\n")
    assert body == b"content"
    assert head.startswith(f"PUT /p/cas/{digest(b'content')} HTTP/1.1\r\n".encode())
    assert b"Content-Length: 7" in head
    assert b"Transfer-Encoding" not in head


def closed_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
    return port


DEAD = ("hang", "reset", "garbage", "trickle")


@pytest.mark.parametrize("mode", DEAD)
def test_a_dead_server_costs_seconds_once(mode: str, server: CacheServer, tmp_path: Path, draft: Path) -> None:
    action = stored(server.url, tmp_path / "built", model_hef=b"x")
    server.mode = mode
    cache = cache_of(server.url)
    started = time.monotonic()
    for number in range(50):
        assert cache.find(digest(bytes([number]))) is None
        assert not cache.holds(KEY)
    assert not cache.restore(action, draft)
    offered(cache, *result(tmp_path / "again", model_hef=b"y"))
    assert time.monotonic() - started < 15
    assert len(told(cache)) == 1
    assert told(cache)[0].endswith("not used for the rest of this run")
    assert outputs_in(draft) == {}


def test_a_server_that_is_not_there(tmp_path: Path) -> None:
    cache = cache_of(f"http://127.0.0.1:{closed_port()}")
    started = time.monotonic()
    assert [cache.find(KEY) for _ in range(50)] == [None] * 50
    assert time.monotonic() - started < 5
    assert len(told(cache)) == 1
    assert "Connection refused; not used for the rest" in told(cache)[0]


def test_a_name_that_nobody_has() -> None:
    cache = cache_of("http://no-such-host.invalid")
    assert [cache.find(KEY) for _ in range(3)] == [None] * 3
    assert len(told(cache)) == 1


def test_threads_that_wait_at_once_wait_together(server: CacheServer) -> None:
    server.mode = "hang"
    cache = hasty(server.url)
    started = time.monotonic()
    threads = [threading.Thread(target=cache.find, args=(KEY,)) for _ in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert time.monotonic() - started < 10
    assert len(told(cache)) == 1


def test_a_slow_server_is_left_alone_after_a_while(
    server: CacheServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("build_rules.engine.cache.health.SLOW_SECONDS", 0.1)
    action = stored(server.url, tmp_path / "built", model_hef=b"x")
    server.delay = 0.2
    cache = cache_of(server.url)
    # What it has is worth waiting for.
    assert [cache.find(KEY) for _ in range(5)] == [action] * 5
    started = time.monotonic()
    for number in range(50):
        assert cache.find(digest(bytes([number]))) is None
    assert time.monotonic() - started < 5
    assert len(told(cache)) == 1
    assert "to say that it has nothing; not used" in told(cache)[0]


@pytest.mark.parametrize("mode", ["wrong", "longer", "truncated", "hang", "reset", "trickle", "500", "404"])
def test_blobs_that_do_not_arrive_are_a_miss(mode: str, server: CacheServer, tmp_path: Path, draft: Path) -> None:
    action = stored(server.url, tmp_path / "built", split_json=b"{}", model_hef=os.urandom(600_000))
    cache = hasty(server.url)
    assert cache.find(KEY) == action
    server.mode = mode
    started = time.monotonic()
    assert not cache.restore(action, draft)
    assert time.monotonic() - started < 10
    assert outputs_in(draft) == {}
    assert len(told(cache)) == (0 if mode == "404" else 1)
    assert cache.stats.hits == 0
    assert not cache_of(server.url).find(digest(b"another"))


def test_an_entry_that_breaks_off(server: CacheServer, tmp_path: Path) -> None:
    stored(server.url, tmp_path / "built", model_hef=b"x")
    server.mode = "truncated"
    cache = cache_of(server.url)
    assert cache.find(KEY) is None
    assert "it broke off in the middle of an answer" in told(cache)[0]


@pytest.mark.parametrize(("mode", "asked"), [("401", 1), ("403", 1), ("500", 3), ("503", 3), ("302", 3)])
def test_answers_that_are_errors(mode: str, asked: int, server: CacheServer) -> None:
    server.mode = mode
    cache = cache_of(server.url)
    assert [cache.find(KEY) for _ in range(20)] == [None] * 20
    assert len(server.requests) == asked
    assert f"HTTP {mode}" in told(cache)[-1]
    assert told(cache)[-1].endswith("not used for the rest of this run")
    assert len(told(cache)) <= 2


@pytest.mark.parametrize("status", ["401", "403", "405", "507"])
def test_a_server_that_takes_nothing_is_still_read(
    status: str, server: CacheServer, tmp_path: Path, draft: Path
) -> None:
    action = stored(server.url, tmp_path / "built", model_hef=b"x")
    server.mode = f"PUT {status}"
    cache = cache_of(server.url)
    # Two uploads run at once, so two may be refused; none is tried after that.
    for number in range(20):
        cache.offer(digest(bytes([number])), *result(tmp_path / str(number), model_hef=os.urandom(3_000_000)))
    cache.close(60)
    assert 1 <= len(server.paths("PUT")) - 2 <= 2
    (line,) = told(cache)
    assert f"HTTP {status}" in line
    assert line.endswith("nothing more is uploaded in this run")
    assert cache.find(KEY) == action
    assert cache.restore(action, draft)


def test_files_that_are_too_large_for_a_server(server: CacheServer, tmp_path: Path) -> None:
    server.mode = "PUT 413"
    cache = cache_of(server.url)
    for number in range(6):
        cache.offer(digest(bytes([number])), *result(tmp_path / str(number), model_hef=bytes([number])))
    cache.close(30)
    assert len(server.paths("PUT")) == 6
    (line,) = told(cache)
    assert line.endswith("a result was not uploaded: it does not take files of this size (HTTP 413)")


def test_a_server_that_never_answers_an_upload(server: CacheServer, tmp_path: Path) -> None:
    cache = hasty(server.url)
    assert cache.find(KEY) is None
    server.mode = "hang"
    for number in range(20):
        cache.offer(digest(bytes([number])), *result(tmp_path / str(number), model_hef=bytes([number])))
    started = time.monotonic()
    cache.close(20)
    assert time.monotonic() - started < 10
    assert len(told(cache)) == 1


SECRET = "p%40ss:w%2Frd"


@pytest.mark.parametrize("mode", ["normal", "401", "500", "hang", "reset", "garbage", "PUT 403", "PUT 500", "wrong"])
def test_credentials_are_sent_and_never_told(mode: str, server: CacheServer, tmp_path: Path, draft: Path) -> None:
    server.password = "ci:p@ss:w/rd"
    url = server.url.replace("http://", f"http://ci:{SECRET}@")
    action = stored(url, tmp_path / "built", model_hef=b"x")
    assert (len(server.stored), len(told(cache_of(server.url)))) == (2, 0)
    server.mode = mode
    cache = hasty(url)
    cache.find(KEY)
    cache.restore(action, draft)
    offered(cache, *result(tmp_path / "again", model_hef=b"y"), key="cd" * 32)
    said = "\n".join(told(cache)) + repr(parse_location(url)) + repr(server.requests)
    assert not [part for part in ("ci:", "p@ss", SECRET, "w/rd", "Basic") if part in said]
    assert (mode == "normal") == (told(cache) == [])
    refused = cache_of(server.url)
    assert refused.find(KEY) is None


def test_without_credentials_the_server_refuses_and_says_so(server: CacheServer) -> None:
    server.password = "ci:geheim"
    cache = cache_of(server.url)
    assert cache.find(KEY) is None
    assert "it wants a user and a password, or others (HTTP 401); not used" in told(cache)[0]


def test_sizes_are_compared_when_a_server_tells_them(server: CacheServer) -> None:
    server.stored[f"/cas/{KEY}"] = b"12345"
    store = HttpStore(parse_location(server.url))
    assert [store.has(BLOB, KEY, size) for size in (None, 5, 6)] == [True, True, False]


def test_the_sinks_errors_are_its_own(server: CacheServer) -> None:
    server.stored[f"/cas/{KEY}"] = b"12345"
    store = HttpStore(parse_location(server.url))

    def sink(_: bytes) -> None:
        raise OSError(28, "our disk is full")

    with pytest.raises(OSError, match="our disk is full"):
        store.get(BLOB, KEY, 5, sink)
    parts: list[bytes] = []
    assert store.get(BLOB, KEY, 5, parts.append)
    assert parts == [b"12345"]


@pytest.fixture
def secure(server: CacheServer, tmp_path: Path) -> tuple[str, Path]:
    """The server behind TLS with a certificate that only its own authority vouches for."""
    certificate, key = tmp_path / "certificate.pem", tmp_path / "key.pem"
    names = ["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"]
    made = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-keyout", str(key)]
    subprocess.run([*made, "-out", str(certificate), *names], check=True, capture_output=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    return f"https://localhost:{server.server_address[1]}", certificate


needs_openssl = pytest.mark.skipif(shutil.which("openssl") is None, reason="the program openssl is missing")


@needs_openssl
def test_tls(secure: tuple[str, Path], tmp_path: Path, draft: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    url, certificate = secure
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    content = os.urandom(600_000)
    action = stored(url, tmp_path / "built", model_hef=content)
    cache = cache_of(url)
    assert cache.find(KEY) == action
    assert cache.restore(action, draft)
    assert (outputs_in(draft), told(cache)) == ({"model.hef": content}, [])


@needs_openssl
def test_a_certificate_that_nobody_vouches_for(secure: tuple[str, Path]) -> None:
    cache = cache_of(secure[0])
    assert [cache.find(KEY) for _ in range(3)] == [None] * 3
    (line,) = told(cache)
    assert "certificate verify failed" in line


@needs_openssl
def test_a_hanging_server_behind_tls(secure: tuple[str, Path], server: CacheServer, monkeypatch: Any) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(secure[1]))
    for mode in ("hang", "trickle"):
        server.mode = mode
        cache = hasty(secure[0])
        started = time.monotonic()
        assert [cache.find(KEY) for _ in range(50)] == [None] * 50
        assert time.monotonic() - started < 10
        assert len(told(cache)) == 1


def test_a_server_without_tls_where_it_is_asked_for(server: CacheServer) -> None:
    store = HttpStore(parse_location(server.url.replace("http:", "https:")), HASTE)
    with pytest.raises(UnreachableError):
        store.has(ACTION, KEY)


def test_nothing_of_the_network_is_imported_before_somebody_is_asked() -> None:
    program = (
        "import sys\n"
        "from build_rules.engine.cache.location import parse_location\n"
        "from build_rules.engine.cache.shared import SharedCache\n"
        "SharedCache(parse_location('http://127.0.0.1:9'), 'read-write', None, print).close(1)\n"
        "print(*sys.modules)"
    )
    loaded = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True).stdout.split()
    heavy = ("http.client", "ssl", "email", "obstore", "concurrent.futures", "asyncio", "build_rules.hef", "numpy")
    assert [name for name in heavy if name in loaded] == []


def test_an_empty_blob_needs_no_server(server: CacheServer, tmp_path: Path, draft: Path) -> None:
    server.mode = "500"
    action = CachedAction((CachedOutput("labels.txt", digest(b""), 0),))
    assert cache_of(server.url).restore(action, draft)
    assert outputs_in(draft) == {"labels.txt": b""}
