"""What a place must be able to do to hold the cache: three verbs over two kinds of names, and how it may fail.

Kinds and names are those of Bazel's HTTP cache: `ac/<key of an action>` and `cas/<SHA-256 of a blob>`
(https://bazel.build/remote/caching, "HTTP Caching Protocol"). What is read is verified by the caller, not here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Literal, Protocol

__all__ = [
    "ACTION",
    "BLOB",
    "CHUNK_BYTES",
    "FailedError",
    "Kind",
    "RefusedError",
    "Store",
    "StoreError",
    "UnreachableError",
    "UnwantedError",
]

Kind = Literal["ac", "cas"]
ACTION: Kind = "ac"
BLOB: Kind = "cas"

CHUNK_BYTES = 256 << 10
"""Read and sent at once; short enough that a slow line moves one within the time limit of a single call."""


class StoreError(Exception):
    """The store did not do what it should; the text says why, without credentials."""


class UnreachableError(StoreError):
    """Nobody answers, or not in time: asking again would cost as much again."""


class RefusedError(StoreError):
    """It answers that we may not, or that it has no room."""


class FailedError(StoreError):
    """It answers that it could not this time."""


class UnwantedError(StoreError):
    """It does not take this blob; it may well take others."""


class Store(Protocol):
    """One place. Methods are called from several threads at once; all raise `StoreError`."""

    def get(self, kind: Kind, name: str, most: int, sink: Callable[[bytes], None]) -> bool:
        """Give the content to `sink`, piece by piece; False when there is none.

        More than `most` bytes are not wanted: a store that finds it has more may end early, or leave it to `sink`.
        Whatever `sink` raises ends the transfer and is passed on.
        """

    def has(self, kind: Kind, name: str, size: int | None = None) -> bool:
        """Say, without reading it, whether it is there; of `size` bytes, where the store can tell."""

    def put(self, kind: Kind, name: str, size: int, chunks: Callable[[], Iterator[bytes]]) -> None:
        """Store `size` bytes, whole or not at all, over what is there.

        `chunks` may be called again for a second attempt. Whatever its iterator raises ends the transfer, nothing is
        stored, and it is passed on.
        """
