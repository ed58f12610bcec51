"""Uploading in the background, while the build goes on.

Results are uploaded from where they lie, and a later step may replace them meanwhile: every file is hashed as it is
sent, and its last piece is held back until all of it is what was announced.
"""

from __future__ import annotations

import hashlib
import os
import threading
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

from build_rules.engine.cache.action import CachedAction, CachedOutput
from build_rules.engine.cache.store import CHUNK_BYTES

__all__ = ["ChangedError", "Offer", "Uploads", "checked_chunks"]

THREADS = 2


class ChangedError(Exception):
    """A file is no longer what it was when it was offered."""


class StoppedError(Exception):
    """The run is over, and so is what was not uploaded yet."""


class Offer(NamedTuple):
    """What is to be uploaded: an action under its key, and where its outputs lie, by name."""

    key: str
    action: CachedAction
    files: Mapping[str, Path]


class Uploads:
    """A queue of offers and the threads that work on it; `publish` is called with one after the other.

    The threads end with the process, whatever they are doing: a store keeps nothing that is half there.
    """

    def __init__(self, publish: Callable[[Offer, Callable[[], bool]], None]) -> None:
        self._publish = publish
        self._waiting: deque[Offer] = deque()
        self._running: list[Offer] = []
        self._changed = threading.Condition()
        self._threads = 0
        self._stopped = False

    def add(self, offer: Offer) -> None:
        """Queue an offer; returns at once. After `finish` nothing is taken any more."""
        with self._changed:
            if self._stopped:
                return
            self._waiting.append(offer)
            if self._threads < min(THREADS, len(self._waiting) + len(self._running)):
                self._threads += 1
                threading.Thread(target=self._work, name=f"cache-upload-{self._threads}", daemon=True).start()
            self._changed.notify_all()

    def _work(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._waiting or self._stopped)
                if self._stopped:
                    return
                offer = self._waiting.popleft()
                self._running.append(offer)
            try:
                self._publish(offer, lambda: self._stopped)
            finally:
                with self._changed:
                    self._running.remove(offer)
                    self._changed.notify_all()

    def finish(self, seconds: float) -> tuple[Offer, ...]:
        """Wait at most so long for the queue to empty; return what was not finished and is now given up."""
        with self._changed:
            if self._stopped:
                return ()
            self._changed.wait_for(lambda: not self._waiting and not self._running, seconds)
            left = (*self._running, *self._waiting)
            self._stopped = True
            self._waiting.clear()
            self._changed.notify_all()
        return left


def checked_chunks(path: Path, output: CachedOutput, is_stopped: Callable[[], bool]) -> Iterator[bytes]:
    """Yield a file's content. Raises `ChangedError` before the end unless it is that of `output`.

    Raises `StoppedError` when the run is over, and never `OSError`, which senders take for one of theirs.
    """
    sha = hashlib.sha256()
    held = b""
    left = output.size
    try:
        with open(path, "rb", buffering=0) as stream:
            if os.fstat(stream.fileno()).st_size != output.size:
                raise ChangedError
            while left and (chunk := stream.read(min(CHUNK_BYTES, left))):
                if is_stopped():
                    raise StoppedError
                sha.update(chunk)
                left -= len(chunk)
                if held:
                    yield held
                held = chunk
    except OSError as error:
        raise ChangedError from error
    if left or sha.hexdigest() != output.sha256:
        raise ChangedError
    yield held
