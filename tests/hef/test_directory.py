"""The end of a ZIP is believed only where everything in it fits: limits at their last number, and one beyond."""

from __future__ import annotations

import io
import struct
import zipfile

import pytest

from build_rules.hef.directory import (
    END,
    END_SIGNATURE,
    LOCAL_BYTES,
    MAX_DIRECTORY,
    MAX_MEMBERS,
    FoundZip,
    find_zip,
    seal_note,
)
from build_rules.hef.members import zip_bytes

HEAD = b"h" * 50
ENTRY = struct.Struct("<4s6H3L5H2L")


def found(content: bytes) -> FoundZip | None:
    return find_zip(io.BytesIO(content), len(content))


def made(count: int = 1, sealed: int | None = None) -> bytes:
    return HEAD + zip_bytes({f"{number}": b"x" for number in range(count)}, len(HEAD), sealed)


def ended(directory: bytes, count: int = 1, comment: int = 0, signature: bytes = END_SIGNATURE) -> bytes:
    """A file that is nothing but a head, a member as short as one can be, a directory and its end."""
    start = HEAD + bytes(LOCAL_BYTES)
    return start + directory + END.pack(signature, 0, 0, count, count, len(directory), len(start), comment)


def entry(start: int = len(HEAD), extra: bytes = b"", signature: bytes = b"PK\x01\x02") -> bytes:
    return ENTRY.pack(signature, *(0,) * 6, 0, 1, 1, 0, len(extra), *(0,) * 4, start) + extra


@pytest.mark.parametrize("count", [1, MAX_MEMBERS])
def test_as_many_members_as_may_be(count: int) -> None:
    assert found(made(count)) == FoundZip(len(HEAD), None)


def test_one_member_too_many_or_none() -> None:
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        for number in range(MAX_MEMBERS + 1):
            archive.writestr(f"{number}", b"")
    assert found(content.getvalue()) is None
    assert found(ended(entry(), count=0)) is None


@pytest.mark.parametrize(("size", "is_found"), [(MAX_DIRECTORY, True), (MAX_DIRECTORY + 1, False)])
def test_as_long_a_directory_as_may_be(size: int, is_found: bool) -> None:
    assert (found(ended(entry().ljust(size, b"\0"))) is not None) == is_found


@pytest.mark.parametrize(("start", "is_found"), [(len(HEAD), True), (len(HEAD) + 1, False), (0, True)])
def test_the_first_member_lies_whole_before_the_directory(start: int, is_found: bool) -> None:
    assert found(ended(entry(start))) == (FoundZip(start, None) if is_found else None)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        made()[:-1],
        made() + b"\0",
        made()[1:],
        ended(entry(), comment=1),
        ended(entry(), signature=b"PK\x05\x07"),
        ended(entry(signature=b"PK\x01\x03")),
        ended(entry()[:-1]),
        END.pack(END_SIGNATURE, 0, 0, 0, 0, 0, 0, 0)[1:],
        END.pack(END_SIGNATURE, 0, 0, 1, 1, 0, 0, 0),
    ],
)
def test_what_is_no_zip_that_ends_the_file(content: bytes) -> None:
    assert found(content) is None


@pytest.mark.parametrize("length", [0, 12345, (1 << 64) - 1])
def test_the_note_of_a_sealed_file(length: int) -> None:
    assert found(made(2, length)) == FoundZip(len(HEAD), length)
    assert found(ended(entry(extra=seal_note(length)))) == FoundZip(len(HEAD), length)


NOTE = seal_note(7)


@pytest.mark.parametrize(
    ("extra", "length"),
    [
        (struct.pack("<HH3s", 1, 3, b"abc") + NOTE, 7),  # behind another's field
        (NOTE + struct.pack("<HH", 1, 0), 7),
        (NOTE[:-1], None),
        (NOTE[:2] + struct.pack("<H", 7) + NOTE[4:], None),
        (struct.pack("<HHQ", 0x4549, 8, 7), None),
        (struct.pack("<HH", 1, 0xFFFF) + NOTE, None),
        (b"\0\0\0", None),
    ],
)
def test_fields_beside_the_note(extra: bytes, length: int | None) -> None:
    assert found(ended(entry(extra=extra))) == FoundZip(len(HEAD), length)
