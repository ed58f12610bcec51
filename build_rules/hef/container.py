"""The outer layer of a HEF file: where its sections lie, what was added to it, and whether it is undamaged.

After the header come, in this order and as far as the version has them: the protobuf message, padding, the CCWs (the
configuration data the message points into, by offsets from the start of that section) and additional information. A ZIP
may have been added in two ways: appended behind everything, or sealed in, so that the header counts it (`embed.py`).
All sizes and offsets are bytes.

Source of the format: HailoRT 4.17-5.2, open source (`hef_internal.hpp`, `hef.cpp`), and real files of versions 0, 1, 3.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, BinaryIO, Literal

from build_rules.errors import InputError
from build_rules.hef.directory import find_zip
from build_rules.hef.header import HEADER_BYTES, LAYOUTS, Header, Layout, decode_header
from build_rules.protobuf import field_prefix
from build_rules.regular_file import open_regular

__all__ = [
    "CHUNK",
    "SEAL_FIELD",
    "V3_ALIGNMENT",
    "Container",
    "Embedding",
    "Section",
    "build_container",
    "check_message",
    "chunks",
    "damaged",
    "locate_container",
    "open_hef",
    "scan_container",
    "views",
]

CHUNK = 1 << 20
VIEW = 1 << 18
V3_ALIGNMENT = 4096
SEAL_FIELD = 0x5A50
"""The number of the unknown field in the message of a version 0 file that a sealed ZIP is ("ZP")."""
ZIP_BEGINNING = b"PK\x03\x04"

Embedding = Literal["none", "append", "sealed", "unknown"]
"""How something was added: not at all, a ZIP behind the end, a ZIP that the header counts, or what is no ZIP."""


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
    """A HEF file: its header as it stands, the sections the compiler wrote, and what was added to them.

    `length` is that of the file the compiler wrote, which `added` follows; `added` is empty when `embedding` is `none`.
    """

    header: Header
    proto: Section
    padding: Section
    ccws: Section
    additional_info: Section
    added: Section
    embedding: Embedding

    @property
    def length(self) -> int:
        """Bytes of the file the compiler wrote, counted from its beginning."""
        return self.added.offset

    @property
    def is_sealed(self) -> bool:
        """Whether the header counts more than the compiler wrote."""
        return self.header.length > self.length

    @property
    def original_header(self) -> Header:
        """The header the compiler wrote, but for the checksum of a sealed file."""
        return replace(
            self.header,
            proto_size=self.proto.length,
            ccws_size=self.ccws.length,
            additional_info_size=self.additional_info.length,
        )


def open_hef(path: Path) -> BinaryIO:
    """Open `path` for reading. Raises `InputError` when there is no such file or it cannot be read."""
    try:
        return os.fdopen(open_regular(path), "rb")
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror or error}); give the path of a HEF file.") from error


def chunks(stream: BinaryIO, section: Section) -> Iterator[bytes]:
    """Yield the bytes of `section` in pieces of at most `CHUNK`; fewer when the file is shorter."""
    stream.seek(section.offset)
    left = section.length
    while left > 0 and (piece := stream.read(min(CHUNK, left))):
        left -= len(piece)
        yield piece


def views(stream: BinaryIO, section: Section) -> Iterator[memoryview]:
    """As `chunks`, with less work: every piece is valid until the next one is asked for."""
    # Unbuffered, because a copy of every piece would take as long as its checksum.
    raw: Any = getattr(stream, "raw", stream)
    raw.seek(section.offset)
    buffer = memoryview(bytearray(VIEW))
    left = section.length
    while left > 0 and (length := raw.readinto(buffer[: min(VIEW, left)])):
        left -= length
        yield buffer[:length]


def scan_container(stream: BinaryIO, where: str) -> Container:
    """Check an open HEF file and say where its sections lie. Reads it once, in pieces; `where` names it in errors.

    Raises `InputError` when it is not a HEF file, is damaged or cut off.
    """
    container = locate_container(stream, where)
    _check_sums(stream, container, where)
    return container


def locate_container(stream: BinaryIO, where: str) -> Container:
    """As `scan_container`, without its checksums: only the header and the end of the file are read."""
    size = _size(stream, where)
    stream.seek(0)
    header = decode_header(stream.read(HEADER_BYTES), where)
    if size < header.length:
        raise InputError(
            f"{where}: is cut off: its header announces {header.length} bytes, the file has {size}; "
            "copy or compile it again."
        )
    sealed = _sealed_length(stream, header)
    if sealed is not None:
        return _place(header, sealed, size, "sealed" if size == header.length else "unknown")
    return _place(header, header.length, size, _embedding(stream, header.length, size))


def _size(stream: BinaryIO, where: str) -> int:
    try:
        return stream.seek(0, os.SEEK_END)
    except OSError as error:
        raise InputError(f"{where}: is not a regular file; give the path of a HEF file.") from error


def _place(header: Header, length: int, size: int, embedding: Embedding) -> Container:
    """Lay the sections out; in a sealed file only the last section the version has is longer than the compiler's."""
    proto = Section(header.layout.size, min(header.proto_size, length - header.layout.size))
    padding = Section(proto.end, header.padding_size)
    ccws = Section(padding.end, min(header.ccws_size, length - padding.end))
    additional_info = Section(ccws.end, length - ccws.end)
    return Container(header, proto, padding, ccws, additional_info, Section(length, size - length), embedding)


def _embedding(stream: BinaryIO, length: int, size: int) -> Embedding:
    if size == length:
        return "none"
    stream.seek(length)
    return "append" if stream.read(4) == ZIP_BEGINNING else "unknown"


def _sealed_length(stream: BinaryIO, header: Header) -> int | None:
    """Return the length before the file was sealed; None for a file that is not, whatever its last bytes look like."""
    directory = find_zip(stream, header.length)
    if directory is None or directory.sealed_length is None:
        return None
    length = directory.sealed_length
    last = {0: header.layout.size, 1: header.layout.size + header.proto_size, 2: header.layout.size + header.proto_size}
    earliest = last.get(header.version, header.length - header.additional_info_size)
    if not earliest <= length <= directory.start:
        return None
    stream.seek(length)
    between = stream.read(min(directory.start - length, V3_ALIGNMENT))
    expected = field_prefix(SEAL_FIELD, header.length - directory.start) if header.version == 0 else b""
    zeros = header.version >= 3 and len(between) < V3_ALIGNMENT and not any(between)
    return length if between == expected or zeros else None


def _check_sums(stream: BinaryIO, container: Container, where: str) -> None:
    header = container.header
    body = Section(container.proto.offset, header.length - container.proto.offset)
    if _sum(views(stream, body), header.layout) != header.checksum:
        raise damaged(where)
    check_message(stream, container, where)


def damaged(where: str) -> InputError:
    """Return the error for a file whose checksum is wrong."""
    return InputError(f"{where}: its checksum does not match its contents; it is damaged, copy or compile it again.")


def check_message(stream: BinaryIO, container: Container, where: str) -> None:
    """Raise `InputError` when the message has a checksum of its own that does not match."""
    header = container.header
    if any(header.proto_checksum) and _sum(views(stream, container.proto), header.layout) != header.proto_checksum:
        raise InputError(
            f"{where}: the checksum of its message does not match; it is damaged, copy or compile it again."
        )


def _sum(pieces: Iterable[bytes | memoryview], layout: Layout) -> bytes:
    digest = layout.digest()
    for piece in pieces:
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
        checksum=_sum(body, layout),
        reserved=bytes(sum(struct.calcsize(code) for name, code in layout.fields if name == "reserved")),
        ccws_size=len(ccws),
        padding_size=len(padding),
        additional_info_size=len(additional_info),
        proto_checksum=_sum((proto,), layout) if aligned else b"",
    )
    return b"".join((header.encode(), *body))
