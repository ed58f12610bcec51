"""The ZIP in a HEF: what may be in it, its bytes, and reading it with care.

The ZIP ends where the file ends; its offsets count from the beginning of the whole file, as `zipfile.ZipFile(path,
"a")` writes them. Members lie at its root and are stored, so that the same members give the same bytes whatever zlib is
installed; time and permissions are fixed.

Source of the format: PKWARE's APPNOTE.TXT 6.3.
"""

from __future__ import annotations

import io
import struct
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import BinaryIO

from build_rules.errors import InputError
from build_rules.hef.container import Container, Section, open_hef, scan_container
from build_rules.hef.directory import END, END_SIGNATURE, LOCAL_BYTES, MAX_DIRECTORY, MAX_MEMBERS, find_zip, seal_note

__all__ = ["check_members", "members_of", "read_members", "zip_bytes"]

MAX_UNPACKED = 16 << 20
_MAX_NAME = 255
_TIME = (1980, 1, 1, 0, 0, 0)
_MODE = 0o100644
_UNIX = 3
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


def check_members(members: Mapping[str, bytes]) -> None:
    """Raise `InputError` for files that cannot lie in a HEF: too many, or names that are more than a file name."""
    if not 0 < len(members) <= MAX_MEMBERS:
        raise InputError(f"a HEF can carry 1 to {MAX_MEMBERS} files, not {len(members)}.")
    for name in members:
        if not is_plain_name(name):
            raise InputError(
                f"{name!r} cannot be the name of a file in a HEF: it must be a plain file name, no folders."
            )


def is_plain_name(name: str) -> bool:
    """Whether a member's name is the name of a file that can be written into any folder, and nothing else."""
    encodable = name.isprintable() and 0 < len(name.encode(errors="replace")) <= _MAX_NAME
    return encodable and name not in (".", "..") and not any(mark in name for mark in "/\\:")


def zip_bytes(members: Mapping[str, bytes], offset: int, sealed_length: int | None = None) -> bytes:
    """Return a ZIP of `members`, in their order, as it has to stand at `offset` of a file.

    `sealed_length` is noted in it when the HEF is to be sealed. The same arguments give the same bytes.
    """
    target = _Shifted(offset)
    with zipfile.ZipFile(target, "w", zipfile.ZIP_STORED) as archive:
        for number, (name, data) in enumerate(members.items()):
            info = zipfile.ZipInfo(name, _TIME)
            info.create_system = _UNIX  # whatever machine this is: the permissions below are Unix's
            info.external_attr = _MODE << 16
            if sealed_length is not None and number == 0:
                info.extra = seal_note(sealed_length)
            archive.writestr(info, data)
    return target.getvalue()


class _Shifted(io.BytesIO):
    """A buffer that says its bytes stand further down in a file."""

    def __init__(self, offset: int) -> None:
        super().__init__()
        self._offset = offset

    def tell(self) -> int:
        """Return the position in the file."""
        return super().tell() + self._offset

    def seek(self, position: int, whence: int = io.SEEK_SET) -> int:
        """Go to a position in the file."""
        return super().seek(position - self._offset if whence == io.SEEK_SET else position, whence) + self._offset


def read_members(path: Path, limit: int = MAX_UNPACKED) -> dict[str, bytes]:
    """Return the members of the ZIP in the HEF file `path`, by name; none when it has no ZIP.

    Raises `InputError` when the HEF or the ZIP is damaged, the ZIP is one that readers do not accept, has more than
    `MAX_MEMBERS` members, or unpacks to more than `limit` bytes.
    """
    with open_hef(path) as stream:
        return members_of(stream, scan_container(stream, str(path)), str(path), limit)


def members_of(stream: BinaryIO, container: Container, where: str, limit: int = MAX_UNPACKED) -> dict[str, bytes]:
    """As `read_members`, on an open file that has been located; `where` names it in errors."""
    added = container.added
    if container.embedding == "none":
        return {}
    if container.embedding == "unknown":
        raise InputError(
            f"{where}: {added.length} bytes follow the end of the HEF (byte {added.offset}) and are not a ZIP; no "
            "reader accepts that. Take them off (doit strip), or copy or compile the file again."
        )
    try:
        _check_directory(stream, added, where)
        start = added.offset
        if container.embedding == "sealed" and (found := find_zip(stream, added.end)):
            start = found.start
        with zipfile.ZipFile(stream) as archive:
            return _unpack(archive, start, limit, where)
    except _ZIP_ERRORS as error:
        raise InputError(f"{where}: the ZIP at its end is damaged ({error}); append it again.") from error


def _check_directory(stream: BinaryIO, added: Section, where: str) -> None:
    """Check the ZIP's last record, before `zipfile` reads as much as it announces."""
    if added.length < END.size:
        raise zipfile.BadZipFile("it is cut off")
    stream.seek(added.end - END.size)
    signature, disk, first_disk, here, count, size, offset, comment = END.unpack(stream.read(END.size))
    stream.seek(max(added.offset, added.end - END.size - _ZIP64_LOCATOR_SIZE))
    if stream.read(4) == _ZIP64_LOCATOR:
        raise InputError(f"{where}: the ZIP at its end is a 64-bit one, which not every reader knows; append it again.")
    if signature != END_SIGNATURE or comment:
        raise InputError(
            f"{where}: something follows the ZIP at its end, which readers do not accept; append it again."
        )
    if disk or first_disk or here != count:
        raise zipfile.BadZipFile("it is one of several parts")
    if count > MAX_MEMBERS or size > MAX_DIRECTORY:
        raise InputError(f"{where}: the ZIP at its end has {count} members; at most {MAX_MEMBERS} are read.")
    if offset + size + END.size != added.end:
        raise InputError(
            f"{where}: the offsets of the ZIP at its end do not count from the beginning of the file, as readers "
            "expect; append it again, not with `cat`."
        )


def _unpack(archive: zipfile.ZipFile, start: int, limit: int, where: str) -> dict[str, bytes]:
    members: dict[str, bytes] = {}
    left = limit
    for info in archive.infolist():
        end = info.header_offset + LOCAL_BYTES + info.compress_size
        if info.header_offset < start or end > archive.start_dir or info.filename in members:
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
