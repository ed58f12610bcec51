"""An HTTP server with Bazel's layout that checks entries as bazel-remote does, and that can misbehave in every way.

What it does with `/ac/` bodies is what server/http.go and utils/validate in github.com/buchgr/bazel-remote do: parse
them as `ActionResult`, refuse what is none, add who uploaded it, store what the protobuf library then writes, and
answer only when all blobs are there.
"""

from __future__ import annotations

import base64
import hashlib
import re
import socket
import struct
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import unquote

from tests.engine.cache.remote_execution import ActionResult

__all__ = ["CacheServer", "serve"]

EMPTY = hashlib.sha256().hexdigest()


class CacheServer(ThreadingHTTPServer):
    """`mode` is how it answers from now on; `requests` what it was asked, with the headers."""

    daemon_threads = True
    request_queue_size = 128

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.mode = "normal"
        self.delay = 0.0
        self.stored: dict[str, bytes] = {}
        self.requests: list[tuple[str, str]] = []
        self.connections: set[int] = set()
        self.password = ""
        self.prefix = ""
        self.validates = True
        self.open: set[socket.socket] = set()
        self.released = threading.Event()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}{self.prefix}"

    def paths(self, method: str) -> list[str]:
        return [path for asked, path in self.requests if asked == method]

    def close_idle(self) -> None:
        """Close every connection that a client keeps, as servers do after a while."""
        while self.open:
            with suppress(OSError):
                self.open.pop().shutdown(socket.SHUT_RDWR)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Clients that went away are no news."""


class Handler(BaseHTTPRequestHandler):
    server: CacheServer
    protocol_version = "HTTP/1.1"
    # A header and a short body in two packets would wait for each other.
    disable_nagle_algorithm = True

    def log_message(self, format: str, *args: Any) -> None:
        pass

    def do_GET(self) -> None:
        self.read("GET")

    def do_HEAD(self) -> None:
        self.read("HEAD")

    def misbehaves(self, method: str) -> bool:
        server = self.server
        server.requests.append((method, self.path))
        server.connections.add(self.client_address[1])
        server.open.add(self.connection)
        mode = server.mode
        if server.delay:
            time.sleep(server.delay)
        if server.password:
            expected = "Basic " + base64.b64encode(server.password.encode()).decode()
            if self.headers.get("Authorization") != expected:
                self.answer(401, b"who are you?")
                return True
        if mode == "hang":
            server.released.wait(120)
            self.close_connection = True
        elif mode == "reset":
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.close_connection = True
        elif mode == "garbage":
            self.wfile.write(b"\x00\xffnot http at all\r\n\r\n" * 3)
            self.close_connection = True
        elif mode == "trickle":
            self.trickle()
        elif mode.isdecimal():
            self.answer(int(mode), b"no")
        elif mode.startswith("PUT ") and method == "PUT":
            self.answer(int(mode[4:]), b"no")
        else:
            return False
        return True

    def trickle(self) -> None:
        for byte in b"HTTP/1.1 200 OK\r\nX-Padding: " + b"x" * 10_000:
            if self.server.released.wait(0.2):
                break
            self.wfile.write(bytes([byte]))
        self.close_connection = True

    def answer(self, status: int, body: bytes = b"", length: int | None = None) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(body) if length is None else length))
        # Object stores want these two of everything they list.
        self.send_header("ETag", f'"{len(body)}"')
        self.send_header("Last-Modified", "Wed, 25 Nov 2026 12:00:00 GMT")
        if status >= 400:
            # What was sent and not read would be taken for the next request.
            self.send_header("Connection", "close")
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def body_of(self, path: str) -> bytes | None:
        body = self.server.stored.get(path)
        if body is None or path.startswith("/cas/") or not self.server.validates:
            return body
        message = ActionResult.FromString(body)
        blobs = (f"/cas/{file.digest.hash}" for file in message.output_files if file.digest.hash != EMPTY)
        return body if all(blob in self.server.stored for blob in blobs) else None

    def read(self, method: str) -> None:
        if self.misbehaves(method):
            return
        path = unquote(self.path).removeprefix(self.server.prefix)
        body = self.body_of(path)
        if body is None:
            self.answer(404, b"Not found\n")
        elif self.server.mode == "wrong" and path.startswith("/cas/"):
            self.answer(200, bytes([body[0] ^ 1]) + body[1:])
        elif self.server.mode == "longer" and path.startswith("/cas/"):
            self.endless(body)
        elif self.server.mode == "truncated":
            self.answer(200, body[: len(body) // 2], len(body))
            self.close_connection = True
        elif asked := re.fullmatch(r"bytes=(\d+)-(\d+)", self.headers.get("Range", "")):
            start, end = int(asked[1]), min(int(asked[2]) + 1, len(body))
            self.send_response(206)
            self.send_header("Content-Range", f"bytes {start}-{end - 1}/{len(body)}")
            self.send_header("Content-Length", str(end - start))
            self.send_header("ETag", '"whole"')
            self.send_header("Last-Modified", "Wed, 25 Nov 2026 12:00:00 GMT")
            self.end_headers()
            self.wfile.write(body[start:end])
        else:
            self.answer(200, body)

    def endless(self, body: bytes) -> None:
        self.send_response(200)
        self.send_header("Connection", "close")
        self.end_headers()
        self.close_connection = True
        while not self.server.released.is_set():
            self.wfile.write(body)

    def do_PUT(self) -> None:
        if self.misbehaves("PUT"):
            return
        path = unquote(self.path).removeprefix(self.server.prefix)
        size = int(self.headers["Content-Length"])
        body = self.rfile.read(size)
        if len(body) != size:
            self.close_connection = True
            return
        if path.startswith("/ac/"):
            try:
                body = checked(body, str(self.client_address[0]))
            except ValueError as error:
                self.answer(400, str(error).encode())
                return
        elif hashlib.sha256(body).hexdigest() != path.removeprefix("/cas/"):
            self.answer(400, b"hash mismatch")
            return
        self.server.stored[path] = body
        self.answer(200)


def checked(body: bytes, worker: str) -> bytes:
    """What bazel-remote stores for an entry. Raises `ValueError` for what it refuses."""
    try:
        message = ActionResult.FromString(body)
    except Exception as error:
        raise ValueError("no ActionResult") from error
    for file in message.output_files:
        if not file.path or file.path.startswith("/") or not file.HasField("digest"):
            raise ValueError("bad output file")
        if len(file.digest.hash) != 64 or file.digest.size_bytes < 0:
            raise ValueError("bad digest")
    message.execution_metadata.worker = worker
    stored: bytes = message.SerializeToString()
    return stored


@contextmanager
def serve() -> Iterator[CacheServer]:
    server = CacheServer()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.released.set()
        server.shutdown()
        server.server_close()
