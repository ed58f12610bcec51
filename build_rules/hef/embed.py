"""Add a ZIP to a HEF, in either of two ways, and take it off again.

*Appended*, the ZIP follows the file the compiler wrote. EdgeFirst's readers cut the file at the first local header
before they hand it to the vendor's runtime, so the HEF itself must not contain one; the runtime alone refuses the file,
because its length is not what the header says.

*Sealed*, the header counts the ZIP and the checksum covers it, so that the runtime loads the file as it is: in version
0 the ZIP is an unknown field at the end of the message, in 1 and 2 it belongs to the CCWs (nothing points at it), in 3
to the additional information, with zeros before it that keep an aligned file aligned. A reader that cuts at the ZIP is
left with a header that no longer matches.

Source of the rules: HailoRT 4.17-5.2, open source (`hef.cpp`).
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from itertools import chain
from pathlib import Path
from typing import BinaryIO, Literal

from build_rules.atomic_file import replacing
from build_rules.errors import InputError
from build_rules.hef.container import (
    CHUNK,
    SEAL_FIELD,
    V3_ALIGNMENT,
    Container,
    Section,
    check_message,
    damaged,
    locate_container,
    open_hef,
    scan_container,
    views,
)
from build_rules.hef.header import Digest, Header
from build_rules.hef.members import check_members, members_of, zip_bytes
from build_rules.protobuf import field_prefix

__all__ = ["embed_zip", "holds_zip_signature", "strip", "strip_opened"]

ZIP_SIGNATURE = b"PK\x03\x04"
SIGNATURE = re.compile(re.escape(ZIP_SIGNATURE))  # a quarter faster than `in`
_MAX_OFFSET = 0xFFFFFFFE  # beyond it a ZIP needs its 64-bit form, which not every reader of HEF files knows
_MAX_MESSAGE = 0x7FFFFFFF  # of a protobuf message
_MAX_DIRECTORY = 64 << 10


def embed_zip(
    hef: Path, members: Mapping[str, bytes], output: Path, embedding: Literal["append", "sealed"] = "append"
) -> None:
    """Write `output`: the HEF file `hef` with a ZIP of `members`, in their order, in place of the one it may have.

    `output` may be `hef`; it appears whole or not at all. Needs little memory besides the members. Raises `InputError`
    when `hef` is not a sound HEF file, carries something else than these members, contains a ZIP header in itself, or a
    member cannot be written.
    """
    check_members(members)
    with open_hef(hef) as source:
        container = locate_container(source, str(hef))
        _check_replaceable(source, container, members, hef)
        if container.length + sum(map(len, members.values())) + _MAX_DIRECTORY > _MAX_OFFSET:
            raise InputError(f"{hef}: is too large to carry a ZIP that every reader understands; the limit is 4 GiB.")
        if container.is_sealed:  # whose checksum covers more than what is copied
            scan_container(source, str(hef))
        check_message(source, container, str(hef))
        with _replacing(output) as draft:
            digest = _copy_checked(source, container, draft, str(hef), cutting=embedding == "append")
            _add(draft, container, members, embedding, digest, str(hef))


def strip(path: Path, output: Path) -> None:
    """Write `output`: the HEF file `path` without what was added to it, byte for byte as the compiler wrote it.

    `output` may be `path`; it appears whole or not at all. Raises `InputError` when `path` is not a sound HEF file.
    """
    with open_hef(path) as source:
        strip_opened(source, scan_container(source, str(path)), str(path), output)


def strip_opened(source: BinaryIO, container: Container, where: str, output: Path) -> None:
    """As `strip`, of an open file that has been scanned; `where` names it in errors."""
    with _replacing(output) as draft:
        _copy(source, draft, container.length, where)
        if container.is_sealed:
            digest = container.header.layout.digest()
            for piece in views(source, _body(container)):
                digest.update(piece)
            draft.seek(0)
            draft.write(replace(container.original_header, checksum=digest.digest()).encode())


def holds_zip_signature(stream: BinaryIO, container: Container) -> bool:
    """Whether an open HEF, without a ZIP at its end, contains the bytes of a ZIP header."""
    return any(_find_signature(views(stream, Section(0, container.length))))


def _body(container: Container) -> Section:
    start = container.proto.offset
    return Section(start, container.length - start)


def _check_replaceable(source: BinaryIO, container: Container, members: Mapping[str, bytes], hef: Path) -> None:
    """Refuse to throw away what somebody else has put there."""
    others = sorted(members_of(source, container, str(hef)).keys() - members.keys())
    if others:
        raise InputError(
            f"{hef}: carries a ZIP with other files ({', '.join(map(repr, others))}), which would be lost; take it off "
            "first (doit strip) if it is not needed."
        )


def _copy_checked(source: BinaryIO, container: Container, draft: BinaryIO, where: str, *, cutting: bool) -> Digest:
    """Copy the compiler's file while its bytes are checked; return the digest of what the header covers of it.

    `cutting`: readers will cut the file at the first ZIP header.
    """
    from concurrent.futures import ThreadPoolExecutor

    digest = container.header.layout.digest()
    with ThreadPoolExecutor(1) as pool:
        copying = pool.submit(_copy, source, draft, container.length, where)
        header = views(source, Section(0, container.proto.offset))
        pieces = chain(header, _digested(views(source, _body(container)), digest))
        holds_zip = False
        for holds in _find_signature(pieces) if cutting else (False for _ in pieces):
            holds_zip |= holds
        copying.result()
    if not container.is_sealed and digest.digest() != container.header.checksum:
        raise damaged(where)
    if holds_zip:
        raise _contains_signature(where)
    return digest


def _contains_signature(where: str) -> InputError:
    return InputError(
        f"{where}: contains the bytes of a ZIP header ({ZIP_SIGNATURE!r}) before its end, and readers that cut the "
        "file at the first one would damage it. Compile it again: any change of the model moves the bytes. Or, for "
        'readers that do not cut, write embed = "sealed".'
    )


def _digested(pieces: Iterator[memoryview], digest: Digest) -> Iterator[memoryview]:
    for piece in pieces:
        digest.update(piece)
        yield piece


def _find_signature(pieces: Iterator[memoryview]) -> Iterator[bool]:
    """Say for every piece whether a signature ends in it."""
    tail = b""
    for piece in pieces:
        yield SIGNATURE.search(piece) is not None or ZIP_SIGNATURE in tail + bytes(piece[:3])
        tail = bytes(piece[-3:])


def _copy(source: BinaryIO, draft: BinaryIO, length: int, where: str) -> None:
    """Copy the beginning of an open file, whose position stays: it is read meanwhile."""
    copied = 0
    while copied < length and (piece := os.pread(source.fileno(), min(CHUNK, length - copied), copied)):
        copied += draft.write(piece)
    if copied < length:
        raise damaged(where)


def _add(
    draft: BinaryIO, container: Container, members: Mapping[str, bytes], embedding: str, digest: Digest, where: str
) -> None:
    length, header = container.length, container.original_header
    if embedding == "append":
        added = zip_bytes(members, length)
    else:
        added = _sealed_bytes(header, length, members, where)
        digest.update(added)
        last = "proto_size" if header.version == 0 else "ccws_size" if header.version < 3 else "additional_info_size"
        header = replace(header, **{last: getattr(header, last) + len(added)})
    if container.is_sealed or embedding == "sealed":
        draft.seek(0)
        draft.write(replace(header, checksum=digest.digest()).encode())
    draft.seek(length)
    draft.write(added)


def _sealed_bytes(header: Header, length: int, members: Mapping[str, bytes], where: str) -> bytes:
    """Return what follows the compiler's file when it is sealed: the ZIP, and what has to stand before it."""
    size = len(zip_bytes(members, length, length))
    before = field_prefix(SEAL_FIELD, size) if header.version == 0 else b""
    if header.version == 0 and header.proto_size + len(before) + size > _MAX_MESSAGE:
        raise InputError(f"{where}: is too large to be sealed: a message has at most 2 GiB.")
    if header.version >= 3 and length % V3_ALIGNMENT == 0:
        before = bytes(-size % V3_ALIGNMENT)
    return before + zip_bytes(members, length + len(before), length)


@contextmanager
def _replacing(output: Path) -> Iterator[BinaryIO]:
    """Open a file that becomes `output` when the block succeeds, and vanishes when it does not."""
    try:
        if not output.name or output.is_dir():
            raise InputError(f"{output}: is a folder; give the name of the file to write.")
        with replacing(output) as draft:
            yield draft
    except OSError as error:
        raise InputError(f"{output}: cannot be written ({error.strerror or error}).") from error
