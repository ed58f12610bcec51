"""The cache on an HTTP server that speaks Bazel's protocol.

That is `GET`, `HEAD` and `PUT` of `/ac/<key>` and `/cas/<SHA-256>`, as bazel-remote serves it, or nginx with WebDAV.
Every request has a time limit of its own, and every thread one connection that it keeps. Source:
https://bazel.build/remote/caching, "HTTP Caching Protocol".
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import urlsplit

from build_rules.engine.cache.connection import Connection
from build_rules.engine.cache.location import Location
from build_rules.engine.cache.store import ACTION, FailedError, Kind, RefusedError, StoreError, UnwantedError

if TYPE_CHECKING:
    from http.client import HTTPResponse

__all__ = ["HttpStore", "Patience"]

_MISSING = (404, 410)
_TOO_LARGE = 413
_REFUSED = {401: "it wants a user and a password, or others", 403: "it does not allow this"}
_NOT_WRITABLE = {**_REFUSED, 405: "it cannot be written", 507: "it has no room left"}


class Patience(NamedTuple):
    """How long to wait, in seconds, and how slow a transfer may be, in bytes a second."""

    connect: float = 3.0
    answer: float = 5.0
    """For an entry, or whether something is there."""
    silence: float = 15.0
    """For the next byte of a blob. A server may have to get it from another one first."""
    stored: float = 60.0
    """For the answer to an upload. A server may pass it on to another one first."""
    rate: float = 64 << 10

    def transfer(self, size: int) -> float:
        """Return the time limit for `size` bytes."""
        return self.stored + size / self.rate


class HttpStore:
    """A `Store` on a server."""

    def __init__(self, location: Location, patience: Patience | None = None) -> None:
        parts = urlsplit(location.text)
        self._secure = parts.scheme == "https"
        self._host, self._port = parts.hostname or "", parts.port
        self._prefix = parts.path
        self._headers = {"User-Agent": "hailo-build-rules"}
        if location.authorization:
            self._headers["Authorization"] = location.authorization
        self._patience = patience or Patience()
        self._kept = threading.local()

    def get(self, kind: Kind, name: str, most: int, sink: Callable[[bytes], None]) -> bool:
        """Download."""
        wait = self._patience
        silence, total = (wait.answer, wait.answer) if kind == ACTION else (wait.silence, wait.transfer(most))
        with self._ask("GET", kind, name, silence, total) as (connection, response):
            if not _is_there(response):
                return False
            while chunk := connection.read(response):
                sink(chunk)
        return True

    def has(self, kind: Kind, name: str, size: int | None = None) -> bool:
        """Ask without downloading."""
        with self._ask("HEAD", kind, name, self._patience.answer, self._patience.answer) as (_, response):
            length = response.getheader("Content-Length") or ""
            return _is_there(response) and (size is None or not length.isdecimal() or int(length) == size)

    def put(self, kind: Kind, name: str, size: int, chunks: Callable[[], Iterator[bytes]]) -> None:
        """Upload."""
        wait = self._patience
        with self._ask("PUT", kind, name, wait.stored, wait.transfer(size), size, chunks) as (_, response):
            if not 200 <= response.status < 300:
                raise _error(response.status, _NOT_WRITABLE)

    @contextmanager
    def _ask(
        self,
        method: str,
        kind: Kind,
        name: str,
        silence: float,
        total: float,
        size: int = 0,
        chunks: Callable[[], Iterator[bytes]] | None = None,
    ) -> Iterator[tuple[Connection, HTTPResponse]]:
        connection = self._connection()
        # A length makes http.client send the pieces as they are, which is what servers of caches expect.
        headers = self._headers if chunks is None else {**self._headers, "Content-Length": str(size)}
        path = f"{self._prefix}/{kind}/{name}"
        response = connection.request(method, path, headers, silence=silence, total=total, chunks=chunks)
        try:
            yield connection, response
        except (FailedError, RefusedError, UnwantedError):
            connection.finish(response)
            raise
        except BaseException:
            connection.close()
            raise
        connection.finish(response)

    def _connection(self) -> Connection:
        kept: Connection | None = getattr(self._kept, "connection", None)
        if kept is None:
            kept = Connection(self._secure, self._host, self._port, self._patience.connect)
            self._kept.connection = kept
        return kept


def _is_there(response: HTTPResponse) -> bool:
    if response.status in _MISSING:
        return False
    if response.status != 200:
        raise _error(response.status, _REFUSED)
    return True


def _error(status: int, refusals: dict[int, str]) -> StoreError:
    if status == _TOO_LARGE:
        return UnwantedError(f"it does not take files of this size (HTTP {status})")
    if status in refusals:
        return RefusedError(f"{refusals[status]} (HTTP {status})")
    return FailedError(f"it answered HTTP {status}")
