from __future__ import annotations

import hashlib
import io
import zlib
from dataclasses import replace
from pathlib import Path

import pytest
import xxhash
from hypothesis import given
from hypothesis import strategies as st

from build_rules.errors import InputError
from build_rules.hef import build_container
from build_rules.hef.container import chunks, scan_container
from build_rules.hef.header import LAYOUTS, MAGIC, decode_header
from tests.hef.samples import REAL, container_of
from tests.shared import needs_shared

VERSIONS = tuple(LAYOUTS)
PROTO, CCWS = b"\x0a\x02\x08\x01" * 50, bytes(range(256)) * 8


def build(version: int, info: bytes = b"") -> bytes:
    return build_container(PROTO, CCWS if version else b"", version, info if version == 3 else b"")


def scan(data: bytes) -> object:
    return scan_container(io.BytesIO(data), "test.hef")


def test_header_sizes_are_the_vendors() -> None:
    assert {version: layout.size for version, layout in LAYOUTS.items()} == {0: 32, 1: 28, 2: 44, 3: 56}


@pytest.mark.parametrize("version", VERSIONS)
def test_round_trip(version: int, tmp_path: Path) -> None:
    path = tmp_path / "a.hef"
    path.write_bytes(build(version, info=b"more"))
    container = container_of(path)
    assert container.header.version == version
    assert container.length == path.stat().st_size
    assert container.added.length == 0
    with path.open("rb") as stream:
        assert b"".join(chunks(stream, container.proto)) == PROTO
        assert b"".join(chunks(stream, container.ccws)) == (CCWS if version else b"")
        assert b"".join(chunks(stream, container.additional_info)) == (b"more" if version == 3 else b"")


@pytest.mark.parametrize("version", VERSIONS)
def test_checksum_is_the_vendors(version: int) -> None:
    data = build(version)
    header, body = decode_header(data[:64], "test.hef"), data[LAYOUTS[version].size :]
    expected = {
        0: hashlib.md5(body).digest(),
        1: zlib.crc32(body).to_bytes(4, "big"),
        2: xxhash.xxh3_64_intdigest(body).to_bytes(8, "big"),
        3: xxhash.xxh3_64_intdigest(body).to_bytes(8, "big"),
    }
    assert header.checksum == expected[version]


def test_version_3_aligns_the_ccws() -> None:
    container = scan_container(io.BytesIO(build(3)), "test.hef")
    assert container.ccws.offset == 4096
    assert container.ccws.length == len(CCWS)
    assert container.padding.length == 4096 - 56 - len(PROTO)


@pytest.mark.parametrize("version", VERSIONS)
def test_header_encodes_to_the_bytes_it_came_from(version: int) -> None:
    data = build(version, info=b"more")
    header = decode_header(data[:64], "test.hef")
    assert data.startswith(header.encode())
    with_reserved = replace(header, reserved=b"\x07" * len(header.reserved))
    assert decode_header(with_reserved.encode(), "test.hef") == with_reserved


@pytest.mark.parametrize("version", VERSIONS)
def test_what_follows_the_end_is_told(version: int) -> None:
    data = build(version)
    container = scan_container(io.BytesIO(data + b"PK\x03\x04rest"), "test.hef")
    assert (container.added.offset, container.added.length) == (len(data), 8)
    assert container.embedding == "append"
    assert scan_container(io.BytesIO(data + b"\0\0\0\0"), "test.hef").embedding == "unknown"
    assert scan_container(io.BytesIO(data), "test.hef").embedding == "none"


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "not a HEF"),
        (b"PK\x03\x04", "not a HEF"),
        (MAGIC + b"\0\0", "ends inside the HEF header"),
        (MAGIC + b"\0\0\0\x09" + bytes(60), "version 9"),
        (build(3)[:40], "ends inside the HEF header"),
        (build(1)[:-1], "is cut off"),
        (build(2)[:-1] + b"x", "checksum"),
        (MAGIC + (3).to_bytes(4, "big") + bytes(20) + b"\0\0\0\x01" + bytes(60), "padding"),
    ],
)
def test_errors_say_what_is_wrong(data: bytes, message: str) -> None:
    with pytest.raises(InputError, match=message) as caught:
        scan(data)
    assert str(caught.value).startswith("test.hef: ")


def test_the_messages_own_checksum_is_checked() -> None:
    data = build(3)
    header = decode_header(data[:64], "test.hef")
    wrong = replace(header, proto_checksum=b"\x01" * 8)
    with pytest.raises(InputError, match="checksum of its message"):
        scan(wrong.encode() + data[56:])
    left_out = replace(header, proto_checksum=bytes(8))
    scan(left_out.encode() + data[56:])


def test_a_version_without_the_place_refuses_a_section() -> None:
    with pytest.raises(InputError, match="version 0 has no place for ccws"):
        build_container(PROTO, CCWS, 0)
    with pytest.raises(InputError, match="version 2 has no place for additional_info"):
        build_container(PROTO, CCWS, 2, b"x")
    with pytest.raises(InputError, match="version 4"):
        build_container(PROTO, CCWS, 4)


@pytest.mark.parametrize("name", ["missing.hef", ""])
def test_what_is_not_a_file_is_an_input_error(name: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"cannot be read|is a folder"):
        container_of(tmp_path / name)


@given(version=st.sampled_from(VERSIONS), data=st.data())
def test_no_mutation_goes_unnoticed_or_crashes(version: int, data: st.DataObject) -> None:
    original = build(version)
    mutated = bytearray(original)
    for _ in range(data.draw(st.integers(1, 3))):
        mutated[data.draw(st.integers(0, len(original) - 1))] ^= data.draw(st.integers(1, 255))
    cut = data.draw(st.integers(0, len(original)))
    reserved = {0: range(12, 16), 1: range(24, 28), 2: range(28, 44), 3: range(48, 56)}[version]
    changed = {index for index, (a, b) in enumerate(zip(original, mutated, strict=True)) if a != b}
    if changed and not changed <= set(reserved) and not (version == 3 and changed & set(range(40, 48))):
        with pytest.raises(InputError):
            scan(bytes(mutated))
    if cut < len(original):
        with pytest.raises(InputError):
            scan(original[:cut])


@given(st.binary(max_size=200), st.sampled_from(VERSIONS))
def test_random_bytes_after_a_magic_never_crash(rest: bytes, version: int) -> None:
    with pytest.raises(InputError):
        scan(MAGIC + version.to_bytes(4, "big") + b"\0\0\0\x05" + rest)


@needs_shared
@pytest.mark.parametrize("path", REAL, ids=lambda path: path.stem)
def test_real_files(path: Path) -> None:
    container = container_of(path)
    assert container.header.version == int(path.name[1])
    assert container.length == path.stat().st_size
    assert container.added.length == 0
    with path.open("rb") as stream:
        assert stream.read(container.proto.offset) == container.header.encode()
    if container.header.version == 3:
        assert container.ccws.offset % 4096 == 0
        assert container.additional_info.length == 1680


@needs_shared
@pytest.mark.parametrize("path", REAL[1:3], ids=lambda path: path.stem)
def test_real_files_damaged(path: Path, tmp_path: Path) -> None:
    damaged = tmp_path / "damaged.hef"
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    damaged.write_bytes(data)
    with pytest.raises(InputError, match="checksum"):
        container_of(damaged)
