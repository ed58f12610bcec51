"""One HTTP connection that is kept from request to request, and that cannot hold anybody up.

Two limits work together: the socket's own, for a server that says nothing, and one for the whole request, for a server
that says a byte now and then.
"""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from typing import TYPE_CHECKING

from build_rules.engine.cache.store import CHUNK_BYTES, UnreachableError

if TYPE_CHECKING:
    from http.client import HTTPConnection, HTTPResponse

__all__ = ["Connection"]

_DRAINED_BYTES = 64 << 10
"""The text that comes with a 404 is read, so that the connection can be used again; a longer one is not worth it."""


class Connection:
    """A connection to one server, for one thread. All methods raise `UnreachableError` for whatever goes wrong."""

    def __init__(self, secure: bool, host: str, port: int | None, connect_seconds: float) -> None:
        # Imported here: it takes longer than all of the cache, and is needed only once somebody is asked.
        from http.client import HTTPConnection, HTTPException, HTTPSConnection

        kind: type[HTTPConnection] = HTTPSConnection if secure else HTTPConnection
        self._http = kind(host, port, timeout=connect_seconds)
        self._limit: _Limit | None = None
        self._reusable = True
        # What http.client raises for answers that are no HTTP, and for a connection cut off under it.
        self._troubles = (OSError, HTTPException, ValueError)

    def request(
        self,
        method: str,
        path: str,
        headers: Mapping[str, str],
        *,
        silence: float,
        total: float,
        chunks: Callable[[], Iterator[bytes]] | None = None,
    ) -> HTTPResponse:
        """Send a request and return the answer, whose body is still to be read.

        At most `silence` seconds may pass without a byte, at most `total` until `finish`. What `chunks` raises is
        passed on; it must be no `OSError` or `ValueError`.
        """
        while True:
            kept = self._http.sock is not None
            try:
                response = self._attempt(method, path, headers, silence, total, chunks)
                if self._is_late():
                    # Cut off in the middle of the headers, which http.client takes for their end.
                    raise TimeoutError
                return response
            except self._troubles as error:
                late = self._is_late(error)
                self.close()
                # The server may have closed a connection that nobody used for a while: a new one tells.
                if late or not kept:
                    raise UnreachableError(_reason(error, late)) from error
            except BaseException:
                self.close()
                raise

    def _attempt(
        self,
        method: str,
        path: str,
        headers: Mapping[str, str],
        silence: float,
        total: float,
        chunks: Callable[[], Iterator[bytes]] | None,
    ) -> HTTPResponse:
        if self._http.sock is None:
            self._http.connect()
        sock: socket.socket = self._http.sock
        sock.settimeout(silence)
        self._limit = _Limit(sock, total)
        self._reusable = True
        try:
            self._http.request(method, path, body=None if chunks is None else chunks(), headers=dict(headers))
        except (BrokenPipeError, ConnectionResetError):
            # A server that does not want a body answers, and closes, before it has read all of it.
            if chunks is None:
                raise
            self._reusable = False
        return self._http.getresponse()

    def read(self, response: HTTPResponse) -> bytes:
        """Return the next piece of an answer, empty at its end."""
        try:
            chunk = response.read(CHUNK_BYTES)
        except self._troubles as error:
            late = self._is_late(error)
            self.close()
            raise UnreachableError(_reason(error, late)) from error
        # http.client takes an early end for the end when it is asked for pieces.
        if not chunk and response.length:
            self.close()
            raise UnreachableError("it broke off in the middle of an answer")
        return chunk

    def _is_late(self, error: Exception | None = None) -> bool:
        return isinstance(error, TimeoutError) or (self._limit is not None and self._limit.passed)

    def finish(self, response: HTTPResponse) -> None:
        """End a request; the connection is kept when the server lets us and the whole answer was read."""
        drained = 0
        with suppress(UnreachableError):
            while drained < _DRAINED_BYTES and (chunk := self.read(response)):
                drained += len(chunk)
        if self._limit is not None:
            self._limit.end()
        if not (self._reusable and response.isclosed()):
            self.close()

    def close(self) -> None:
        """Close the connection; the next request opens another."""
        if self._limit is not None:
            self._limit.end()
        self._http.close()


class _Limit:
    """Cuts a socket off when a time is over; whoever waits for it then gets an error."""

    def __init__(self, sock: socket.socket, seconds: float) -> None:
        self.passed = False
        self._sock = sock
        self._timer = threading.Timer(seconds, self._cut)
        self._timer.daemon = True
        self._timer.start()

    def _cut(self) -> None:
        self.passed = True
        with suppress(OSError):
            # Of the plain socket, also under TLS, whose own shutdown would take part in the conversation.
            socket.socket.shutdown(self._sock, socket.SHUT_RDWR)

    def end(self) -> None:
        self._timer.cancel()


def _reason(error: Exception, late: bool) -> str:
    if late:
        return "it did not answer in time"
    # Only what the system says: the text of other errors may quote what a server sent.
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return f"it answered no HTTP ({type(error).__name__})"
