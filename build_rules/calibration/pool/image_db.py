"""What is known of images by their content: statistics, and where samples that were made of them lie.

One sqlite file for all models of a repository, so that a pool is decoded once however many models share it, and ten
images added to ten thousand are ten images decoded. It only saves time: whatever is wrong with it, it knows nothing.
Samples are not kept here but found in the snapshots that hold them, and compared with their digest before they are
used.
"""

from __future__ import annotations

import hashlib
import json
import os
import sqlite3
import struct
import threading
import time
import zlib
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import xxhash
from PIL import __version__ as pillow

from build_rules.calibration.pool.select import BINS, ImageStatistics
from build_rules.calibration.pool.suffixes import HEIF_LIBRARY
from build_rules.engine.database import NO_LOCKS, connect, first_way, is_damaged, is_other_way_worth_it
from build_rules.engine.places import BESIDE, make_folder
from build_rules.errors import InputError
from build_rules.versions import library_version

__all__ = ["ImageDb", "Looks", "sample_key"]

FORMAT = 3
CALIBRATION = Path(__file__).resolve().parents[1]


def _made_by(*modules: str) -> str:
    """Return what pixels and numbers follow from besides the image: the decoder, and our own modules."""
    sha = hashlib.sha256()
    for module in modules:
        sha.update((CALIBRATION / module).read_bytes() + b"\0")
    return f"pillow {pillow}, {HEIF_LIBRARY} {library_version(HEIF_LIBRARY)}, {sha.hexdigest()[:16]}"


LOOKED_BY = _made_by("pixels/images.py", "pool/select.py")
FITTED_BY = _made_by("pixels/images.py", "pixels/adaptor.py", "frames.py", "pixels/letterbox.py", "pixels/tiles.py")
PATIENCE = 2.0
"""Seconds that another process may keep the file to itself."""
WRITE_EVERY = 256
WRITE_SECONDS = 2.0
_HEAD = struct.Struct("<II3B3B")
_SCHEMA = (
    "create table if not exists looks (sha256 text, decoder text, content blob, primary key (sha256, decoder))",
    "create table if not exists broken (sha256 text, decoder text, reason text, primary key (sha256, decoder))",
    "create table if not exists samples (key text primary key, file blob, position integer, digest text)",
)


@dataclass(frozen=True)
class Looks:
    """What is kept of one image: height and width in pixels, upright, and its statistics."""

    height: int
    width: int
    statistics: ImageStatistics


def sample_key(sha256: str, recipe: Mapping[str, object]) -> str:
    """Return the key of a sample: the content of its image and everything that was done with it."""
    text = json.dumps({"image": sha256, "made by": FITTED_BY, **recipe}, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


class ImageDb:
    """The file, for one run; methods may be called from several threads. Without a path it knows nothing.

    Nothing raises for what is wrong with the file. A damaged one is removed, one that is locked is not waited for.
    """

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self._lock = threading.Lock()
        self._connection: sqlite3.Connection | None = None
        self._new: list[tuple[str, str, bytes]] = []
        self._written = time.monotonic()
        self._files: dict[bytes, int] = {}
        if path is not None:
            try:
                self._open(path)
            except (sqlite3.Error, OSError, InputError) as error:
                self._give_up(error)

    def _open(self, path: Path) -> None:
        make_folder(path.parent)
        connection = self._connection = _connected(str(path))
        connection.execute("pragma synchronous=off")
        if connection.execute("pragma user_version").fetchone()[0] != FORMAT:
            for table in ("looks", "broken", "files", "samples"):
                connection.execute(f"drop table if exists {table}")
            connection.execute(f"pragma user_version={FORMAT}")
        for statement in _SCHEMA:
            connection.execute(statement)

    def _give_up(self, error: Exception) -> None:
        """Know nothing from now on; what is damaged is not there for the next run."""
        if self._connection is not None:
            with suppress(sqlite3.Error):
                self._connection.close()
        self._connection = None
        # Locked, no permission, disk full: that says nothing against what it holds.
        if self._path is not None and isinstance(error, sqlite3.Error) and is_damaged(error):
            for suffix in BESIDE:
                with suppress(OSError):
                    Path(f"{self._path}{suffix}").unlink()

    def _all(self, query: str, values: tuple[object, ...]) -> list[tuple[object, ...]]:
        with self._lock:
            if self._connection is None:
                return []
            try:
                return self._connection.execute(query, values).fetchall()
            except sqlite3.Error as error:
                self._give_up(error)
                return []

    def _write(self, statement: str, rows: Iterable[tuple[object, ...]]) -> None:
        if self._connection is None:
            return
        try:
            self._connection.execute("begin immediate")
            self._connection.executemany(statement, rows)
            self._connection.execute("commit")
        except sqlite3.Error as error:
            self._give_up(error)

    def looks(self, sha256: str) -> Looks | None:
        """Return what is known of the image with this content."""
        rows = self._all("select content from looks where sha256 = ? and decoder = ?", (sha256, LOOKED_BY))
        return _decoded(rows[0][0]) if rows else None

    def broken(self, sha256: str) -> str | None:
        """Return why the image with this content cannot be decoded, None when nothing is known of that."""
        rows = self._all("select reason from broken where sha256 = ? and decoder = ?", (sha256, LOOKED_BY))
        return str(rows[0][0]) if rows else None

    def keep_broken(self, sha256: str, reason: str) -> None:
        """Remember an image that cannot be decoded."""
        with self._lock:
            self._write("insert or replace into broken values (?, ?, ?)", [(sha256, LOOKED_BY, reason)])

    def keep_looks(self, sha256: str, looks: Looks) -> None:
        """Remember an image; written in batches, so that a run that is interrupted keeps most of its work."""
        with self._lock:
            self._new.append((sha256, LOOKED_BY, _encoded(looks)))
            if len(self._new) >= WRITE_EVERY or time.monotonic() - self._written > WRITE_SECONDS:
                self._write_new()

    def _write_new(self) -> None:
        self._write("insert or replace into looks values (?, ?, ?)", self._new)
        self._new = []
        self._written = time.monotonic()

    def sample(self, key: str, size: int) -> tuple[bytes, str] | None:
        """Return a sample of `size` bytes, as some snapshot holds it, and its XXH3-128; None when none does."""
        rows = self._all("select file, position, digest from samples where key = ?", (key,))
        if not rows:
            return None
        file, position, digest = rows[0]
        if not isinstance(file, bytes) or not isinstance(position, int):
            return None
        try:
            content = os.pread(self._opened(file), size, position)
        except (OSError, OverflowError, ValueError):
            return None
        now = xxhash.xxh3_128_hexdigest(content)
        return (content, now) if len(content) == size and now == digest else None

    def _opened(self, file: bytes) -> int:
        with self._lock:
            if file not in self._files:
                self._files[file] = os.open(file, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
            return self._files[file]

    def keep_samples(self, file: Path, begin: int, size: int, samples: Iterable[tuple[str, str]]) -> None:
        """Remember that `file` holds samples of `size` bytes from byte `begin` on; of each its key and XXH3-128."""
        rows = [(key, _place(file), begin + index * size, digest) for index, (key, digest) in enumerate(samples)]
        with self._lock:
            self._write("insert or replace into samples values (?, ?, ?, ?)", rows)

    def close(self) -> None:
        """Write what is new, and let go of every file."""
        with self._lock:
            if self._new:
                self._write_new()
            if self._connection is not None:
                with suppress(sqlite3.Error):
                    self._connection.close()
            self._connection = None
            for descriptor in self._files.values():
                os.close(descriptor)
            self._files = {}


def _connected(path: str) -> sqlite3.Connection:
    """Open the file; several steps may do that at once, so not in a way without locks."""
    way = first_way(path)
    if way >= NO_LOCKS:
        raise sqlite3.OperationalError("files cannot be locked here")
    try:
        return connect(path, way, PATIENCE)
    except sqlite3.Error as error:
        if way + 1 == NO_LOCKS or not is_other_way_worth_it(error):
            raise
        return connect(path, way + 1, PATIENCE)


def _place(path: Path) -> bytes:
    # Not as text: names may be no UTF-8.
    return os.fsencode(path.absolute())


def _encoded(looks: Looks) -> bytes:
    statistics = looks.statistics
    head = _HEAD.pack(looks.height, looks.width, *statistics.minimum, *statistics.maximum)
    body = head + statistics.histogram.astype("<u4").tobytes()
    return body + zlib.crc32(body).to_bytes(4, "little")


def _decoded(content: object) -> Looks | None:
    if not isinstance(content, bytes) or len(content) != _HEAD.size + 3 * BINS * 4 + 4:
        return None
    body = content[:-4]
    if zlib.crc32(body) != int.from_bytes(content[-4:], "little"):
        return None
    height, width, *levels = _HEAD.unpack_from(body)
    histogram = np.frombuffer(body, "<u4", offset=_HEAD.size).reshape(3, BINS).astype(np.int64)
    return Looks(height, width, ImageStatistics(tuple(levels[:3]), tuple(levels[3:]), histogram))
