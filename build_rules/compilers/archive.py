"""The members of a tar archive of unknown origin, in memory: bounded whatever its headers say.

A name, an extended header or a sparse map of a tar may itself be of any length, and compressed it costs nothing; so
the bytes that are unpacked are counted, those of headers too, and not only the sizes that headers announce.
"""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import os
import tarfile
import tempfile
import zlib
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import IO, BinaryIO

from build_rules.errors import InputError
from build_rules.regular_file import open_regular

__all__ = ["MAX_BYTES", "open_member", "read_members"]

MAX_MEMBERS = 256
"""Entries of any kind; a HAR has about ten."""
MAX_BYTES = 2 << 30
PLAIN_BYTES = 32 << 20
MAX_RATIO = 100
"""What is larger than `PLAIN_BYTES` unpacks to at most so many times its packed size; weights shrink by half."""
HEADER_BYTES = 64 << 10
"""Bytes of one member's headers: a long name, extended attributes."""

_Stream = BinaryIO | gzip.GzipFile | bz2.BZ2File | lzma.LZMAFile


class _TooMuchError(Exception):
    """More is to be unpacked than was allowed."""


def unpacked_limit(packed: int) -> int:
    """Return to how many bytes a file of `packed` bytes may unpack."""
    return min(MAX_BYTES, PLAIN_BYTES + MAX_RATIO * packed)


def read_members(path: Path, wanted: Sequence[str] = ("",)) -> tuple[dict[str, bytes], dict[str, int]]:
    """Return files of a tar (plain, gzip, bzip2 or xz) and the bytes of all by name, without a leading `./`.

    Only those that end with one of `wanted` are kept, by default all. Raises `InputError` when it is none, is damaged,
    has more than `MAX_MEMBERS` entries, headers of more than `HEADER_BYTES`, or more bytes than `unpacked_limit`.
    """
    members: dict[str, bytes] = {}
    sizes: dict[str, int] = {}
    with _opened(path) as (stream, limit):
        for archive, info in _entries(stream, limit, path):
            name = info.name.removeprefix("./")
            if info.isfile():
                sizes[name] = info.size
            if info.isfile() and name.endswith(tuple(wanted)):
                members[name] = _content(archive, info, path)
    return members, sizes


@contextmanager
def open_member(path: Path, suffix: str) -> Iterator[BinaryIO | None]:
    """Open the first file of a tar whose name ends with `suffix`, None when there is none; it is not held in memory.

    Where the tar is compressed, it lies in a nameless file while it is open. Raises `InputError` as `read_members`.
    """
    with ExitStack() as held:
        yield _open_member(path, suffix, held)


def _open_member(path: Path, suffix: str, held: ExitStack) -> BinaryIO | None:
    stream, limit = held.enter_context(_opened(path))
    for archive, info in _entries(stream, limit, path):
        if not info.isfile() or not info.name.endswith(suffix):
            continue
        source = _source(archive, info, path)
        if (place := stream.place) is not None:
            return io.BufferedReader(_Part(place, info.offset_data, info.size))
        copy: BinaryIO = held.enter_context(tempfile.TemporaryFile())  # noqa: SIM115
        while part := source.read(1 << 20):
            copy.write(part)
        copy.seek(0)
        return copy
    return None


class _Part(io.RawIOBase):
    """Some bytes of an open file, as a file of their own."""

    def __init__(self, descriptor: int, begin: int, size: int) -> None:
        self._descriptor, self._begin, self._size = descriptor, begin, size
        self._at = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def readinto(self, buffer: bytearray | memoryview) -> int:  # type: ignore[override]
        wanted = max(0, min(len(buffer), self._size - self._at))
        data = os.pread(self._descriptor, wanted, self._begin + self._at)
        buffer[: len(data)] = data
        self._at += len(data)
        return len(data)

    def seek(self, place: int, whence: int = io.SEEK_SET) -> int:
        start = {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._size}[whence]
        if start + place < 0:
            raise OSError("before the beginning")
        self._at = start + place
        return self._at


@contextmanager
def _opened(path: Path) -> Iterator[tuple[_Counted, int]]:
    """Open a tar, with the number of bytes to which it may unpack."""
    try:
        with os.fdopen(open_regular(path), "rb") as file, _unpacked(file) as stream:
            yield _Counted(stream), unpacked_limit(os.fstat(file.fileno()).st_size)
    except _TooMuchError as error:
        raise InputError(
            f"{path}: a header in it unpacks to more than {HEADER_BYTES >> 10} KiB, or a member to more than it "
            "announces; no HAR."
        ) from error
    except (tarfile.TarError, EOFError, OSError, ValueError, RecursionError, zlib.error, lzma.LZMAError) as error:
        raise InputError(f"{path}: not a readable HAR ({error}); build it again.") from error


def _unpacked(file: BinaryIO) -> _Stream:
    begin = file.read(6)
    file.seek(0)
    if begin.startswith(b"\x1f\x8b"):
        return gzip.GzipFile(fileobj=file)
    if begin.startswith(b"BZh"):
        return bz2.BZ2File(file)
    if begin.startswith((b"\xfd7zXZ\0", b"\x5d\0\0")):
        return lzma.LZMAFile(file)
    return file


class _Counted(io.RawIOBase):
    """What tarfile reads from; no more bytes than were allowed last, whether read or passed over."""

    def __init__(self, stream: _Stream) -> None:
        self._stream = stream
        self._left = HEADER_BYTES

    @property
    def place(self) -> int | None:
        """The descriptor of the file itself where nothing is compressed."""
        packed = isinstance(self._stream, (gzip.GzipFile, bz2.BZ2File, lzma.LZMAFile))
        return None if packed else self._stream.fileno()

    def allow(self, size: int) -> None:
        """Let `size` bytes more be unpacked, beside those of headers."""
        self._left = size + HEADER_BYTES

    def read(self, size: int = -1) -> bytes:
        self._spend(size if size >= 0 else MAX_BYTES)
        return self._stream.read(size)

    def seek(self, place: int, whence: int = io.SEEK_SET) -> int:
        self._spend(max(0, place - self._stream.tell()))
        return self._stream.seek(place, whence)

    def tell(self) -> int:
        return self._stream.tell()

    def _spend(self, size: int) -> None:
        self._left -= size
        if self._left < 0:
            raise _TooMuchError


def _entries(stream: _Counted, limit: int, path: Path) -> Iterator[tuple[tarfile.TarFile, tarfile.TarInfo]]:
    """Go through a tar; an entry may be read while it is looked at."""
    total = count = 0
    with tarfile.open(fileobj=stream, mode="r:") as archive:
        while (info := archive.next()) is not None:
            # Sizes are judged from the header, before a single byte of the member is unpacked.
            total, count = total + max(info.size, 0), count + 1
            if count > MAX_MEMBERS:
                raise InputError(f"{path}: holds more than {MAX_MEMBERS} members; not a HAR.")
            if total > limit:
                raise InputError(
                    f"{path}: unpacks to more than {limit >> 20} MiB, the most that is read from a file of its size; "
                    "not a HAR."
                )
            stream.allow(max(info.size, 0))
            yield archive, info


def _content(archive: tarfile.TarFile, info: tarfile.TarInfo, path: Path) -> bytes:
    data = _source(archive, info, path).read()
    if len(data) != info.size:
        raise InputError(f"{path}: member {info.name} is cut short; build the HAR again.")
    return data


def _source(archive: tarfile.TarFile, info: tarfile.TarInfo, path: Path) -> IO[bytes]:
    if info.issparse():
        raise InputError(f"{path}: member {info.name} is stored with holes, as no compiler does; not a HAR.")
    return archive.extractfile(info) or io.BytesIO()
