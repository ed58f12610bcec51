"""A ZIP at the end of a HEF: append it, take it off, read it.

The ZIP begins where the file the compiler wrote ends and lasts to the end of the file; its offsets count from the
beginning of the whole file, as `zipfile.ZipFile(path, "a")` writes them. Members lie at its root and are stored, so
that the same members give the same bytes whatever zlib is installed; time and permissions are fixed. The vendor's
runtime loads such a file only when its reader cuts the ZIP off first, and some readers cut at the first local header
they find: so the HEF itself must not contain one.

Source of the format: PKWARE's APPNOTE.TXT 6.3.
"""

from __future__ import annotations

import os
import struct
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from build_rules.errors import InputError
from build_rules.hef.container import Section, chunks, open_hef, scan_container

__all__ = [
    "MAX_MEMBERS",
    "ZIP_SIGNATURE",
    "append_zip",
    "contains_zip_signature",
    "read_members",
    "strip",
]

ZIP_SIGNATURE = b"PK\x03\x04"
MAX_MEMBERS = 64
_MAX_NAME = 255
_MAX_DIRECTORY = MAX_MEMBERS * 1024
_MAX_OFFSET = 0xFFFFFFFE  # beyond it a ZIP needs its 64-bit form, which not every reader of HEF files knows
_TIME = (1980, 1, 1, 0, 0, 0)
_MODE = 0o100644
_END = struct.Struct("<4s4H2LH")
_END_SIGNATURE = b"PK\x05\x06"
_ZIP64_LOCATOR, _ZIP64_LOCATOR_SIZE = b"PK\x06\x07", 20
_ENCRYPTED = 0x1
_ZIP_ERRORS = (
    zipfile.BadZipFile,
    zlib.error,
    EOFError,
    ValueError,
    NotImplementedError,
    RuntimeError,
    struct.error,
    OSError,
)


def append_zip(hef: Path, members: Mapping[str, bytes], output: Path) -> None:
    """Write `output`: the HEF file `hef` with a ZIP of `members`, in their order, instead of the one it may have.

    `output` may be `hef`; it appears whole or not at all. Needs little memory besides the members. Raises `InputError`
    when `hef` is not a sound HEF file or contains a ZIP header in itself, or a member cannot be written.
    """
    _check_members(members)
    with open_hef(hef) as source:
        original = Section(0, scan_container(source, str(hef)).length)
        if original.length + sum(map(len, members.values())) + _MAX_DIRECTORY > _MAX_OFFSET:
            raise InputError(f"{hef}: is too large to carry a ZIP that every reader understands; the limit is 4 GiB.")
        if _has_signature(source, original):
            raise InputError(
                f"{hef}: contains the bytes of a ZIP header ({ZIP_SIGNATURE!r}) before its end, and readers that cut "
                "the file at the first one would damage it. Compile it again: any change of the model moves the bytes."
            )
        with _replacing(output) as target:
            _copy(source, original, target)
            _write_zip(target, members)


def strip(path: Path, output: Path) -> None:
    """Write `output`: the HEF file `path` without its ZIP, byte for byte as the compiler wrote it.

    `output` may be `path`; it appears whole or not at all. Raises `InputError` when `path` is not a sound HEF file.
    """
    with open_hef(path) as source:
        original = Section(0, scan_container(source, str(path)).length)
        with _replacing(output) as target:
            _copy(source, original, target)


def read_members(path: Path, limit: int = 16 << 20) -> dict[str, bytes]:
    """Return the members of the ZIP at the end of the HEF file `path`, by name; none when it has no ZIP.

    Raises `InputError` when the HEF or the ZIP is damaged, the ZIP is one that readers do not accept, has more than
    `MAX_MEMBERS` members, or unpacks to more than `limit` bytes.
    """
    with open_hef(path) as stream:
        trailer = scan_container(stream, str(path)).trailer
        if not trailer.length:
            return {}
        try:
            _check_directory(stream, trailer, str(path))
            with zipfile.ZipFile(stream) as archive:
                return _unpack(archive, trailer, limit, str(path))
        except _ZIP_ERRORS as error:
            raise InputError(f"{path}: the ZIP at its end is damaged ({error}); append it again.") from error


def contains_zip_signature(path: Path) -> bool:
    """Whether the HEF in `path`, without a ZIP at its end, contains the bytes of a ZIP header.

    Raises `InputError` when `path` is not a sound HEF file.
    """
    with open_hef(path) as stream:
        return _has_signature(stream, Section(0, scan_container(stream, str(path)).length))


def _has_signature(stream: BinaryIO, section: Section) -> bool:
    tail = b""
    for piece in chunks(stream, section):
        if ZIP_SIGNATURE in tail + piece:
            return True
        tail = piece[-(len(ZIP_SIGNATURE) - 1) :]
    return False


def _check_members(members: Mapping[str, bytes]) -> None:
    if not 0 < len(members) <= MAX_MEMBERS:
        raise InputError(f"a HEF can carry 1 to {MAX_MEMBERS} files, not {len(members)}.")
    for name in members:
        encodable = name.isprintable() and 0 < len(name.encode(errors="replace")) <= _MAX_NAME
        if not encodable or name in (".", "..") or any(mark in name for mark in "/\\:"):
            raise InputError(
                f"{name!r} cannot be the name of a file in a HEF: it must be a plain file name, no folders."
            )


def _write_zip(target: BinaryIO, members: Mapping[str, bytes]) -> None:
    with zipfile.ZipFile(target, "w", zipfile.ZIP_STORED) as archive:
        for name, data in members.items():
            info = zipfile.ZipInfo(name, _TIME)
            info.create_system = 3  # Unix, whatever machine this is: the permissions below are Unix's
            info.external_attr = _MODE << 16
            archive.writestr(info, data)


def _copy(source: BinaryIO, section: Section, target: BinaryIO) -> None:
    source.seek(section.offset)
    for piece in chunks(source, section):
        target.write(piece)


@contextmanager
def _replacing(output: Path) -> Iterator[BinaryIO]:
    """Open a file that becomes `output` when the block succeeds, and vanishes when it does not."""
    partial = output.with_name(f".{output.name}.{os.getpid()}.partial")
    try:
        with partial.open("wb") as stream:
            yield stream
        partial.replace(output)
    except OSError as error:
        raise InputError(f"{output}: cannot be written ({error.strerror or error}).") from error
    finally:
        partial.unlink(missing_ok=True)


def _check_directory(stream: BinaryIO, trailer: Section, where: str) -> None:
    """Check the ZIP's last record, before `zipfile` reads as much as it announces."""
    if trailer.length < _END.size:
        raise zipfile.BadZipFile("it is cut off")
    stream.seek(trailer.end - _END.size)
    signature, disk, first_disk, here, count, size, offset, comment = _END.unpack(stream.read(_END.size))
    stream.seek(max(trailer.offset, trailer.end - _END.size - _ZIP64_LOCATOR_SIZE))
    if stream.read(4) == _ZIP64_LOCATOR:
        raise InputError(f"{where}: the ZIP at its end is a 64-bit one, which not every reader knows; append it again.")
    if signature != _END_SIGNATURE or comment:
        raise InputError(
            f"{where}: something follows the ZIP at its end, which readers do not accept; append it again."
        )
    if disk or first_disk or here != count:
        raise zipfile.BadZipFile("it is one of several parts")
    if count > MAX_MEMBERS or size > _MAX_DIRECTORY:
        raise InputError(f"{where}: the ZIP at its end has {count} members; at most {MAX_MEMBERS} are read.")
    if offset + size + _END.size != trailer.end:
        raise InputError(
            f"{where}: the offsets of the ZIP at its end do not count from the beginning of the file, as readers "
            "expect; append it again, not with `cat`."
        )


def _unpack(archive: zipfile.ZipFile, trailer: Section, limit: int, where: str) -> dict[str, bytes]:
    members: dict[str, bytes] = {}
    left = limit
    for info in archive.infolist():
        if info.header_offset < trailer.offset or info.filename in members:
            raise zipfile.BadZipFile(f"member {info.filename!r} is listed twice or lies outside")
        if info.flag_bits & _ENCRYPTED or info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            raise InputError(
                f"{where}: member {info.filename!r} is encrypted or packed in a way readers do not accept."
            )
        with archive.open(info) as member:
            data = member.read(left + 1)
        if len(data) > left:
            raise InputError(f"{where}: the ZIP at its end unpacks to more than {limit} bytes; it is not read.")
        left -= len(data)
        members[info.filename] = data
    return members
