"""The cache in a bucket of an object store (S3, Google Cloud Storage, Azure), through the package obstore.

Names are those of the HTTP cache below the prefix: `ac/<key>`, `cas/<SHA-256>`. Credentials, region and endpoint come
from the environment, by the names that each vendor's own tools use (`AWS_ACCESS_KEY_ID`, `AWS_ENDPOINT_URL`, ...).
obstore before 0.9.3 forgets the prefix of an Azure container; before 0.7 an upload in several parts may wait for ever.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Iterator
from datetime import timedelta
from functools import cached_property
from typing import Any

from build_rules.engine.cache.location import Location
from build_rules.engine.cache.store import ACTION, FailedError, Kind, RefusedError, UnreachableError
from build_rules.errors import InputError

__all__ = ["BucketStore"]

PART_BYTES = 8 << 20
"""What is moved by one request: memory and time limits are for such a part, whatever the size of a blob."""
PARTS_AT_ONCE = 2
CONNECT_SECONDS = 3
ANSWER_SECONDS = 5
PART_SECONDS = 60


class BucketStore:
    """A `Store` in a bucket. Raises `InputError` when obstore is not installed."""

    def __init__(self, location: Location) -> None:
        if importlib.util.find_spec("obstore") is None:
            raise InputError(
                f'cache = "{location}" needs a package that is not installed here: pip install "obstore>=0.9.3".'
            )
        self._location = location

    @cached_property
    def _quick(self) -> Any:
        """For entries and questions: whoever does not answer these in seconds is not there."""
        return self._open(ANSWER_SECONDS)

    @cached_property
    def _patient(self) -> Any:
        """For parts of blobs."""
        return self._open(PART_SECONDS)

    def _open(self, seconds: int) -> Any:
        from obstore.store import from_url

        limits = {
            "connect_timeout": timedelta(seconds=CONNECT_SECONDS),
            "timeout": timedelta(seconds=seconds),
            # Only where the environment says so: no vendor's own address begins with http://, a MinIO at hand may.
            "allow_http": True,
        }
        retries = {"max_retries": 2, "retry_timeout": timedelta(seconds=ANSWER_SECONDS)}
        return self._call(from_url, self._location.text, client_options=limits, retry_config=retries)

    def get(self, kind: Kind, name: str, most: int, sink: Callable[[bytes], None]) -> bool:
        """Download, a blob part by part."""
        import obstore

        path = f"{kind}/{name}"
        try:
            if kind == ACTION:
                answer = self._call(obstore.get, self._quick, path)
                if answer.meta["size"] > most:
                    raise FailedError(f"it holds an entry of {answer.meta['size']} bytes")
                sink(bytes(self._call(answer.bytes)))
                return True
            for start in range(0, most, PART_BYTES):
                length = min(PART_BYTES, most - start)
                part = bytes(self._call(obstore.get_range, self._patient, path, start=start, length=length))
                sink(part)
                if len(part) < length:
                    break
        except _AbsentError:
            return False
        return True

    def has(self, kind: Kind, name: str, size: int | None = None) -> bool:
        """Ask without downloading."""
        import obstore

        try:
            head = self._call(obstore.head, self._quick, f"{kind}/{name}")
        except _AbsentError:
            return False
        return size is None or head["size"] == size

    def put(self, kind: Kind, name: str, size: int, chunks: Callable[[], Iterator[bytes]]) -> None:
        """Upload. A store shows an object only when all parts are there."""
        import obstore

        path = f"{kind}/{name}"
        if size <= PART_BYTES:
            self._call(obstore.put, self._patient, path, b"".join(chunks()), use_multipart=False)
        else:
            limits = {"chunk_size": PART_BYTES, "max_concurrency": PARTS_AT_ONCE}
            self._call(obstore.put, self._patient, path, chunks(), use_multipart=True, **limits)

    def _call(self, function: Callable[..., Any], *arguments: Any, **options: Any) -> Any:
        """Call obstore. The text of its errors is never told: it may quote addresses with signatures in them."""
        from obstore import exceptions

        try:
            return function(*arguments, **options)
        except FileNotFoundError as error:
            raise _AbsentError from error
        except (exceptions.PermissionDeniedError, exceptions.UnauthenticatedError) as error:
            raise RefusedError("it does not allow this with the credentials of the environment") from error
        except (exceptions.BaseError, OSError, ValueError) as error:
            raise UnreachableError(f"it cannot be used ({type(error).__name__})") from error
        except BaseException as error:
            # A defect of obstore; Rust's panics are no `Exception` in Python.
            if type(error).__name__ != "PanicException":
                raise
            raise UnreachableError("obstore failed") from error


class _AbsentError(Exception):
    """There is no such object."""
