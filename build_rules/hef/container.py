"""The outer layer of a HEF file: a small header, then sections, with one checksum over all of them.

Every version begins with `magic "\\x01HEF" | version u32 | proto_size u32`, big-endian, and goes on as its row of
`LAYOUTS` says. After the header come, in this order and as far as the version has them: the protobuf message, padding,
the CCWs (the configuration data the message points into, by offsets from the start of that section) and additional
information. All sizes and offsets are bytes. Reserved words are kept as they are.

Source of the format: HailoRT 4.17-5.2, open source (`hef_internal.hpp`, `hef.cpp`), and real files of versions 0, 1, 3.
"""

from __future__ import annotations

import hashlib
import os
import struct
import zlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Protocol

from build_rules.errors import InputError

__all__ = [
    "CHUNK",
    "LAYOUTS",
    "MAGIC",
    "Container",
    "Header",
    "Layout",
    "Section",
    "build_container",
    "chunks",
    "decode_header",
    "open_hef",
    "read_container",
    "scan_container",
]

MAGIC = b"\x01HEF"
CHUNK = 1 << 20
ZIP_BEGINNINGS = (b"PK\x03\x04", b"PK\x05\x06")
V3_ALIGNMENT = 4096
_COMMON = struct.Struct(">4sII")


class _Digest(Protocol):
    def update(self, data: bytes, /) -> None: ...

    def digest(self) -> bytes: ...


class _Crc32:
    """`zlib.crc32` in the shape of the `hashlib` objects."""

    def __init__(self) -> None:
        self._value = 0

    def update(self, data: bytes) -> None:
        """Add `data`."""
        self._value = zlib.crc32(data, self._value)

    def digest(self) -> bytes:
        """Return the checksum, big-endian."""
        return self._value.to_bytes(4, "big")


def _xxh3() -> _Digest:
    import xxhash  # only versions 2 and 3 need it

    digest: _Digest = xxhash.xxh3_64(seed=0)
    return digest


def _md5() -> _Digest:
    return hashlib.md5(usedforsecurity=False)


@dataclass(frozen=True)
class Layout:
    """What one header version looks like: the fields after the common twelve bytes, and the checksum.

    `fields` holds (name, `struct` code) pairs; checksums and reserved words stay bytes.
    """

    version: int
    fields: tuple[tuple[str, str], ...]
    digest: Callable[[], _Digest]

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


@dataclass(frozen=True)
class Section:
    """A run of bytes in the file."""

    offset: int
    length: int

    @property
    def end(self) -> int:
        """Offset of the first byte after it."""
        return self.offset + self.length


@dataclass(frozen=True)
class Container:
    """A checked HEF file: its header, where its sections lie, and what was appended to it.

    `trailer` begins where the file the compiler wrote ends; its length is zero unless a ZIP was appended.
    """

    header: Header
    proto: Section
    padding: Section
    ccws: Section
    additional_info: Section
    trailer: Section

    @property
    def length(self) -> int:
        """Bytes of the file the compiler wrote."""
        return self.trailer.offset


def open_hef(path: Path) -> BinaryIO:
    """Open `path` for reading. Raises `InputError` when there is no such file or it cannot be read."""
    try:
        return path.open("rb")
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror or error}); give the path of a HEF file.") from error


def chunks(stream: BinaryIO, section: Section) -> Iterator[bytes]:
    """Yield the bytes of `section` in pieces of at most `CHUNK`; fewer when the file is shorter."""
    stream.seek(section.offset)
    left = section.length
    while left > 0 and (piece := stream.read(min(CHUNK, left))):
        left -= len(piece)
        yield piece


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


def read_container(path: Path) -> Container:
    """Check the HEF file at `path` and say where its sections lie. Reads it once, in pieces.

    Raises `InputError` when it is not a HEF file, is damaged or cut off, or something other than a ZIP follows its end.
    """
    with open_hef(path) as stream:
        return scan_container(stream, str(path))


def scan_container(stream: BinaryIO, where: str) -> Container:
    """As `read_container`, on an open file; `where` names it in errors."""
    size = _size(stream, where)
    stream.seek(0)
    header = decode_header(stream.read(64), where)
    container = _place(header, size, where)
    _check_trailer(stream, container, where)
    _check_sums(stream, container, where)
    return container


def _size(stream: BinaryIO, where: str) -> int:
    try:
        return stream.seek(0, os.SEEK_END)
    except OSError as error:
        raise InputError(f"{where}: is not a regular file; give the path of a HEF file.") from error


def _place(header: Header, size: int, where: str) -> Container:
    if size < header.length:
        raise InputError(
            f"{where}: is cut off: its header announces {header.length} bytes, the file has {size}; "
            "copy or compile it again."
        )
    proto = Section(header.layout.size, header.proto_size)
    padding = Section(proto.end, header.padding_size)
    ccws = Section(padding.end, header.ccws_size)
    additional_info = Section(ccws.end, header.additional_info_size)
    trailer = Section(header.length, size - header.length)
    return Container(header, proto, padding, ccws, additional_info, trailer)


def _check_trailer(stream: BinaryIO, container: Container, where: str) -> None:
    if not container.trailer.length:
        return
    stream.seek(container.trailer.offset)
    if stream.read(4) not in ZIP_BEGINNINGS:
        raise InputError(
            f"{where}: {container.trailer.length} bytes follow the end of the HEF (byte {container.length}) and are "
            "not a ZIP; no reader accepts that. Copy or compile the file again."
        )


def _check_sums(stream: BinaryIO, container: Container, where: str) -> None:
    header = container.header
    body = Section(container.proto.offset, container.length - container.proto.offset)
    if _sum(stream, body, header.layout) != header.checksum:
        raise InputError(f"{where}: its checksum does not match its contents; it is damaged, copy or compile it again.")
    if any(header.proto_checksum) and _sum(stream, container.proto, header.layout) != header.proto_checksum:
        raise InputError(
            f"{where}: the checksum of its message does not match; it is damaged, copy or compile it again."
        )


def _sum(stream: BinaryIO, section: Section, layout: Layout) -> bytes:
    digest = layout.digest()
    for piece in chunks(stream, section):
        digest.update(piece)
    return digest.digest()


def build_container(proto: bytes, ccws: bytes = b"", version: int = 3, additional_info: bytes = b"") -> bytes:
    """Return a whole HEF file around the protobuf message `proto`.

    Version 3 aligns the CCWs to 4096 bytes, as the vendor's compiler does. The bytes depend on the arguments alone.
    Raises `InputError` for an unknown version or a section the version has no place for.
    """
    layout = LAYOUTS.get(version)
    if layout is None:
        raise InputError(f"HEF header version {version} is not known; choose one of {', '.join(map(str, LAYOUTS))}.")
    names = {name for name, _ in layout.fields}
    for name, section in (("ccws_size", ccws), ("additional_info_size", additional_info)):
        if section and name not in names:
            raise InputError(
                f"a HEF of version {version} has no place for {name.removesuffix('_size')}; choose version 3."
            )
    aligned = "padding_size" in names
    padding = bytes(-(layout.size + len(proto)) % V3_ALIGNMENT) if aligned else b""
    body = (proto, padding, ccws, additional_info)
    header = Header(
        version=version,
        proto_size=len(proto),
        checksum=_sum_of(body, layout),
        reserved=bytes(sum(struct.calcsize(code) for name, code in layout.fields if name == "reserved")),
        ccws_size=len(ccws),
        padding_size=len(padding),
        additional_info_size=len(additional_info),
        proto_checksum=_sum_of((proto,), layout) if aligned else b"",
    )
    return b"".join((header.encode(), *body))


def _sum_of(pieces: tuple[bytes, ...], layout: Layout) -> bytes:
    digest = layout.digest()
    for piece in pieces:
        digest.update(piece)
    return digest.digest()
