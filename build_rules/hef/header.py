"""The header of a HEF file: which version it is, how long its sections are, and the checksum over them.

Every version begins with `magic "\\x01HEF" | version u32 | proto_size u32`, big-endian, and goes on as its row of
`LAYOUTS` says. Reserved words are kept as they are.

Source of the format: HailoRT 4.17-5.2, open source (`hef_internal.hpp`, `hef.cpp`), and real files of versions 0, 1, 3.
"""

from __future__ import annotations

import hashlib
import struct
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol

from build_rules.errors import InputError

__all__ = ["HEADER_BYTES", "LAYOUTS", "MAGIC", "Digest", "Header", "Layout", "decode_header", "peek_version"]

MAGIC = b"\x01HEF"
HEADER_BYTES = 64
"""Enough for the header of every version."""
_COMMON = struct.Struct(">4sII")


class Digest(Protocol):
    """A checksum in the making, as `hashlib` has them."""

    def update(self, data: bytes | memoryview, /) -> None:
        """Add `data`."""

    def digest(self) -> bytes:
        """Return the checksum of everything added so far."""


class _Crc32:
    """`zlib.crc32` in the shape of the `hashlib` objects."""

    def __init__(self) -> None:
        self._value = 0

    def update(self, data: bytes | memoryview) -> None:
        """Add `data`."""
        self._value = zlib.crc32(data, self._value)

    def digest(self) -> bytes:
        """Return the checksum, big-endian."""
        return self._value.to_bytes(4, "big")


def _xxh3() -> Digest:
    import xxhash  # only versions 2 and 3 need it

    digest: Digest = xxhash.xxh3_64(seed=0)
    return digest


def _md5() -> Digest:
    return hashlib.md5(usedforsecurity=False)


@dataclass(frozen=True)
class Layout:
    """What one header version looks like: the fields after the common twelve bytes, and the checksum.

    `fields` holds (name, `struct` code) pairs; checksums and reserved words stay bytes.
    """

    version: int
    fields: tuple[tuple[str, str], ...]
    digest: Callable[[], Digest]

    @property
    def rest(self) -> struct.Struct:
        """The `struct` of the fields after the common ones."""
        return struct.Struct(">" + "".join(code for _, code in self.fields))

    @property
    def size(self) -> int:
        """Bytes of the whole header."""
        return _COMMON.size + self.rest.size


LAYOUTS: Mapping[int, Layout] = {
    layout.version: layout
    for layout in (
        Layout(0, (("reserved", "4s"), ("checksum", "16s")), _md5),
        Layout(1, (("checksum", "4s"), ("ccws_size", "Q"), ("reserved", "4s")), _Crc32),
        Layout(2, (("checksum", "8s"), ("ccws_size", "Q"), ("reserved", "16s")), _xxh3),
        Layout(
            3,
            (
                ("checksum", "8s"),
                ("ccws_size", "Q"),  # counts the padding too; `Header.ccws_size` does not
                ("padding_size", "I"),
                ("additional_info_size", "Q"),
                ("proto_checksum", "8s"),  # over the message alone; zero when the writer left it out
                ("reserved", "8s"),
            ),
            _xxh3,
        ),
    )
}


@dataclass(frozen=True)
class Header:
    """A decoded header. Sizes are bytes; what a version does not have is zero or empty."""

    version: int
    proto_size: int
    checksum: bytes
    reserved: bytes
    ccws_size: int = 0
    padding_size: int = 0
    additional_info_size: int = 0
    proto_checksum: bytes = b""

    @property
    def layout(self) -> Layout:
        """The row of the table this header follows."""
        return LAYOUTS[self.version]

    @property
    def length(self) -> int:
        """Bytes of the file the compiler wrote: the header and every section."""
        return self.layout.size + self.proto_size + self.padding_size + self.ccws_size + self.additional_info_size

    def encode(self) -> bytes:
        """Return the header's bytes."""
        values = dict(vars(self), ccws_size=self.ccws_size + self.padding_size)
        rest = self.layout.rest.pack(*(values[name] for name, _ in self.layout.fields))
        return _COMMON.pack(MAGIC, self.version, self.proto_size) + rest


def peek_version(data: bytes) -> int | None:
    """Return the header version that a file beginning with `data` claims, known or not; None when it is no HEF."""
    return int(_COMMON.unpack_from(data)[1]) if data[:4] == MAGIC and len(data) >= _COMMON.size else None


def decode_header(data: bytes, where: str) -> Header:
    """Decode the header at the beginning of `data` (64 bytes are enough for every version).

    Raises `InputError`, naming `where`, when it is not a HEF header, is cut off, or contradicts itself.
    """
    if data[:4] != MAGIC:
        raise InputError(f"{where}: is not a HEF file: it begins with {data[:4]!r} instead of {MAGIC!r}.")
    if len(data) < _COMMON.size:
        raise InputError(f"{where}: ends inside the HEF header; copy or compile it again.")
    _, version, proto_size = _COMMON.unpack_from(data)
    layout = LAYOUTS.get(version)
    if layout is None:
        known = ", ".join(str(number) for number in LAYOUTS)
        raise InputError(f"{where}: has HEF header version {version}, which is not known; known are {known}.")
    if len(data) < layout.size:
        raise InputError(f"{where}: ends inside the HEF header; copy or compile it again.")
    values = dict(zip((name for name, _ in layout.fields), layout.rest.unpack_from(data, _COMMON.size), strict=True))
    padding = values.get("padding_size", 0)
    if padding > values.get("ccws_size", 0):
        raise InputError(f"{where}: its header claims {padding} bytes of padding in a smaller section; it is damaged.")
    values["ccws_size"] = values.get("ccws_size", 0) - padding
    return Header(version=version, proto_size=proto_size, **values)
