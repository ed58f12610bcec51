"""The shared cache as the engine sees it: look up, restore, offer, close. It may save time; it cannot break a build.

Everything that is read is verified here, whatever place it comes from: an entry's form, names, sizes and digests.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import threading
import time
from collections.abc import Callable, Collection, Mapping
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import NamedTuple

from build_rules.engine.cache.action import (
    MAX_ENTRY_BYTES,
    CachedAction,
    CachedOutput,
    DamagedError,
    check_names,
    decode_action,
    encode_action,
    is_digest,
)
from build_rules.engine.cache.health import Health
from build_rules.engine.cache.location import Location, Mode
from build_rules.engine.cache.store import ACTION, BLOB, Store, StoreError
from build_rules.engine.cache.uploads import ChangedError, Offer, StoppedError, Uploads, checked_chunks
from build_rules.errors import InputError

__all__ = ["CacheStats", "SharedCache"]


class CacheStats(NamedTuple):
    """What a run had of the cache: steps and bytes restored, steps uploaded."""

    hits: int = 0
    bytes: int = 0
    uploaded: int = 0

    def __str__(self) -> str:
        """Return what the end of a run says of it; nothing when it was of no use."""
        if not self.hits and not self.uploaded:
            return ""
        return f"cache: {self.hits} restored ({self.bytes >> 20} MiB), {self.uploaded} uploaded"


def open_store(location: Location, limit: int | None) -> Store:
    """Return the store of a location; nothing is connected yet. Raises `InputError` for one that cannot work."""
    if location.kind == "folder":
        folder = Path(location.text)
        if folder.exists() and not folder.is_dir():
            raise InputError(f'cache = "{location}" is not possible: this is a file, expected a folder.')
        from build_rules.engine.cache.folder import FolderStore

        return FolderStore(folder, limit)
    if limit is not None:
        raise InputError(f'cache_limit is for a folder; the limit of cache = "{location}" is set where it is kept.')
    if location.kind == "http":
        from build_rules.engine.cache.http import HttpStore

        return HttpStore(location)
    from build_rules.engine.cache.bucket import BucketStore

    return BucketStore(location)


class SharedCache:
    """One cache for one run. Methods may be called from several threads at once.

    `limit` is in bytes and for folders only. `warn` gets every trouble as one line, once; it is called from any
    thread. Raises `InputError` for a location that cannot work, before anything is tried. No other method raises for
    what is wrong with the cache, only `ValueError` for a key that is no SHA-256 in lower-case hex.
    """

    def __init__(
        self,
        location: Location,
        mode: Mode,
        limit: int | None,
        warn: Callable[[str], None],
        *,
        store: Store | None = None,
    ) -> None:
        self._store = store or open_store(location, limit)
        self._health = Health(str(location), mode == "read-write", warn)
        self._uploads = Uploads(self._publish)
        self._lock = threading.Lock()
        self._counts = dict.fromkeys(CacheStats._fields, 0)
        # Blobs that are there and wrong; what is uploaded for them must not be taken for known.
        self._wrong: set[str] = set()

    @property
    def stats(self) -> CacheStats:
        """What the run had of the cache so far."""
        with self._lock:
            return CacheStats(**self._counts)

    def find(self, key: str, outputs: Collection[str] | None = None) -> CachedAction | None:
        """Return what is known of the action with this key, None when that is nothing or cannot be read.

        `outputs` are the names that the step declares: an entry that lacks one, or has one that does not extend any
        (as `split.onnx.data` extends `split.onnx`), is damaged. Without them only the form of names is checked.
        """
        _check_key(key)
        return self._look_up(key, outputs) if self._health.readable else None

    def _look_up(self, key: str, outputs: Collection[str] | None) -> CachedAction | None:
        data = bytearray()

        def collect(chunk: bytes) -> None:
            data.extend(chunk)
            if len(data) > MAX_ENTRY_BYTES:
                raise DamagedError(f"it is larger than {MAX_ENTRY_BYTES} bytes")

        started = time.monotonic()
        try:
            if not self._store.get(ACTION, key, MAX_ENTRY_BYTES, collect):
                self._health.answered(time.monotonic() - started)
                return None
            action = decode_action(bytes(data))
            if outputs is not None:
                check_names(action, outputs)
        except DamagedError as fault:
            self._health.damaged(f"{ACTION}/{key}", str(fault))
            return None
        except Exception as error:
            self._trouble("a look-up failed", error)
            return None
        self._health.answered()
        return action

    def _trouble(self, what: str, error: Exception) -> None:
        if isinstance(error, StoreError):
            self._health.cannot_read(error)
        else:
            self._health.unexpected(what, error)

    def holds(self, key: str) -> bool:
        """Say whether there is an entry for this key, without reading it: what `find` makes of it may be a miss."""
        _check_key(key)
        if not self._health.readable:
            return False
        started = time.monotonic()
        try:
            is_there = self._store.has(ACTION, key)
        except Exception as error:
            self._trouble("a look-up failed", error)
            return False
        self._health.answered(0.0 if is_there else time.monotonic() - started)
        return is_there

    def holds_all(self, action: CachedAction) -> bool:
        """Say whether every output of an entry is there, without reading any."""
        try:
            return self._health.readable and all(
                self._store.has(BLOB, output.sha256, output.size) for output in action.outputs
            )
        except Exception as error:
            self._trouble("a look-up failed", error)
            return False

    def restore(self, action: CachedAction, folder: Path) -> bool:
        """Write every output of an action that `find` returned into `folder`, verified; it exists and is empty.

        False is a miss: a blob is gone, damaged or cannot be had, or the disk has no room for it; nothing is left in
        the folder then.
        """
        done = False
        try:
            done = self._health.readable and self._restore(action, folder)
        except Exception as error:
            self._trouble("a result could not be restored", error)
        finally:
            if not done:
                for output in action.outputs:
                    with suppress(OSError):
                        (folder / output.name).unlink(missing_ok=True)
        if done:
            self._add(hits=1, bytes=action.size)
        return done

    def _restore(self, action: CachedAction, folder: Path) -> bool:
        if shutil.disk_usage(folder).free < action.size:
            self._health.tell(f"the disk of {folder} has no room for {action.size} bytes, taken for a miss")
            return False
        for output in action.outputs:
            try:
                if not self._fetch(output, folder / output.name):
                    return False
            except DamagedError as fault:
                with self._lock:
                    self._wrong.add(output.sha256)
                self._health.damaged(f"{BLOB}/{output.sha256}", str(fault))
                return False
        return True

    def _fetch(self, output: CachedOutput, draft: Path) -> bool:
        sha = hashlib.sha256()
        size = 0
        descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW, 0o666)
        with open(descriptor, "wb", buffering=0) as stream:

            def write(chunk: bytes) -> None:
                nonlocal size
                size += len(chunk)
                if size > output.size:
                    raise DamagedError(f"it is larger than the {output.size} bytes announced")
                sha.update(chunk)
                # Not buffered, so it may take only a part.
                rest = memoryview(chunk)
                while rest:
                    rest = rest[stream.write(rest) :]

            # Nobody needs to store nothing.
            if output.size and not self._store.get(BLOB, output.sha256, output.size, write):
                return False
        if size != output.size or sha.hexdigest() != output.sha256:
            raise DamagedError("its content is not what its name says")
        self._health.answered()
        return True

    def offer(self, key: str, action: CachedAction, files: Mapping[str, Path]) -> None:
        """Upload a step's outputs in the background; `files` are where they lie, by name. Returns at once.

        A file that is replaced before it was uploaded is noticed, and the step is then not published.
        """
        _check_key(key)
        if self._health.writable:
            self._uploads.add(Offer(key, action, dict(files)))

    def _publish(self, offer: Offer, is_stopped: Callable[[], bool]) -> None:
        try:
            self._upload(offer, is_stopped)
        except (ChangedError, StoppedError):
            return
        except Exception as error:
            # After the end nobody listens, and what was cut off then is no trouble.
            if is_stopped():
                return
            if isinstance(error, StoreError):
                self._health.cannot_write(error)
            else:
                self._health.unexpected("a result could not be uploaded", error)
        else:
            self._add(uploaded=1)

    def _upload(self, offer: Offer, is_stopped: Callable[[], bool]) -> None:
        entry = encode_action(offer.action)
        for output in offer.action.outputs:
            if not self._health.writable:
                raise StoppedError
            if output.size == 0 or (output.sha256 not in self._wrong and self._has(output)):
                continue
            chunks = partial(checked_chunks, offer.files[output.name], output, is_stopped)
            self._store.put(BLOB, output.sha256, output.size, chunks)
            self._wrong.discard(output.sha256)
        # Last, so that nobody finds an entry whose blobs are still on their way.
        self._store.put(ACTION, offer.key, len(entry), lambda: iter([entry]))
        self._health.stored()

    def _has(self, output: CachedOutput) -> bool:
        return self._store.has(BLOB, output.sha256, output.size)

    def close(self, seconds: float) -> None:
        """Wait at most so long for uploads; what is not done then is given up, and said in one line."""
        left = self._uploads.finish(seconds)
        if left:
            size = sum(offer.action.size for offer in left)
            results = "1 result" if len(left) == 1 else f"{len(left)} results"
            self._health.tell(f"{results} ({size / 1e6:.1f} MB) not uploaded: {seconds:g} s were not enough")

    def _add(self, **counts: int) -> None:
        with self._lock:
            for name, count in counts.items():
                self._counts[name] += count


def _check_key(key: str) -> None:
    if not is_digest(key):
        raise ValueError(f"{key!r} is no key of the cache; expected a SHA-256 in lower-case hex")
