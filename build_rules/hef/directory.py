"""The end of a ZIP, read before anything trusts it: where the ZIP begins, how long the HEF was before it was sealed.

A sealed ZIP notes that length in an extra field of its first member, since nothing else in the file tells it: header ID
`SEAL_ID`, eight bytes, little-endian.

Source of the format: PKWARE's APPNOTE.TXT 6.3 (4.3.7 local header, 4.3.12 central directory, 4.3.16 end record, 4.5
extra fields).
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import BinaryIO

__all__ = ["END", "END_SIGNATURE", "LOCAL_BYTES", "MAX_DIRECTORY", "MAX_MEMBERS", "FoundZip", "find_zip", "seal_note"]

MAX_MEMBERS = 64
MAX_DIRECTORY = MAX_MEMBERS * 1024
END = struct.Struct("<4s4H2LH")
END_SIGNATURE = b"PK\x05\x06"
LOCAL_BYTES = 30
"""Of the shortest local header, which stands before every member."""
SEAL_ID = 0x4548  # "HE"
_ENTRY = struct.Struct("<4s6H3L5H2L")
_ENTRY_SIGNATURE = b"PK\x01\x02"
_NOTE = struct.Struct("<HHQ")


@dataclass(frozen=True)
class FoundZip:
    """A ZIP that ends where the file ends: the offset of its first member, and the note of a sealed file."""

    start: int
    sealed_length: int | None


def seal_note(length: int) -> bytes:
    """Return the extra field that says how long the HEF was before it was sealed."""
    return _NOTE.pack(SEAL_ID, _NOTE.size - 4, length)


def find_zip(stream: BinaryIO, size: int) -> FoundZip | None:
    """Return the ZIP that ends at byte `size`, with offsets from the beginning of the file; None when there is none.

    Its first member lies before its directory, or it is none. Reads at most the end record and `MAX_DIRECTORY` bytes
    before it.
    """
    if size < END.size:
        return None
    stream.seek(size - END.size)
    signature, _, _, _, count, length, offset, comment = END.unpack(stream.read(END.size))
    fits = offset + length + END.size == size and length <= MAX_DIRECTORY
    if signature != END_SIGNATURE or comment or not fits or not 0 < count <= MAX_MEMBERS:
        return None
    stream.seek(offset)
    directory = stream.read(length)
    if len(directory) < _ENTRY.size or not directory.startswith(_ENTRY_SIGNATURE):
        return None
    *_, name, extra, _, _, _, _, start = _ENTRY.unpack_from(directory)
    if start + LOCAL_BYTES > offset:
        return None
    return FoundZip(start, _noted(directory[_ENTRY.size + name :][:extra]))


def _noted(extra: bytes) -> int | None:
    while len(extra) >= 4:
        number, length = struct.unpack_from("<HH", extra)
        if number == SEAL_ID and length == _NOTE.size - 4 and len(extra) >= _NOTE.size:
            return int(_NOTE.unpack_from(extra)[2])
        extra = extra[4 + length :]
    return None
