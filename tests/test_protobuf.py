from __future__ import annotations

import math
import struct
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from build_rules.errors import InputError
from build_rules.protobuf import (
    MAX_ALL_DOUBLES,
    MAX_DEPTH,
    MAX_FIELDS,
    MAX_TEXT,
    Message,
    TooLargeError,
    write_bytes,
    write_doubles,
    write_float,
    write_string,
    write_uint,
)

numbers = st.integers(1, (1 << 29) - 1)


def parse(data: bytes) -> Message:
    return Message(data, "test.hef")


@given(numbers, st.integers(0, (1 << 64) - 1))
def test_uint(number: int, value: int) -> None:
    assert parse(write_uint(number, value)).uint64(number) == value


@given(numbers, st.text())
def test_string(number: int, value: str) -> None:
    assert parse(write_string(number, value)).strings(number) == (value,)


@given(numbers, st.floats(width=32, allow_nan=False))
def test_float(number: int, value: float) -> None:
    read = parse(write_float(number, value)).float32(number)
    assert (read, math.copysign(1, read)) == (value, math.copysign(1, value))


@given(numbers, st.lists(st.floats(allow_nan=False)))
def test_doubles_packed_and_not(number: int, values: list[float]) -> None:
    packed = write_doubles(number, values)
    key = write_bytes(number, b"")[:-1]
    key = bytes([key[0] - 2 + 1]) + key[1:]
    single = b"".join(key + struct.pack("<d", value) for value in values)
    assert parse(packed).doubles(number) == parse(single).doubles(number) == tuple(values)


def test_missing_fields_are_zero_or_empty() -> None:
    message = parse(b"")
    assert (message.uint32(1), message.float32(1), message.float64(1), message.string(1)) == (0, 0.0, 0.0, "")
    assert (message.strings(1), message.doubles(1), list(message.messages(1)), message.has(1)) == ((), (), [], False)
    assert message.message(1).uint32(1) == 0


def test_the_last_of_a_scalar_counts_and_parts_of_a_message_are_one() -> None:
    message = parse(
        write_uint(1, 5) + write_uint(1, 6) + write_bytes(2, write_uint(1, 7)) + write_bytes(2, write_uint(2, 8))
    )
    assert message.uint32(1) == 6
    assert (message.message(2).uint32(1), message.message(2).uint32(2)) == (7, 8)
    assert len(list(message.messages(2))) == 2


@pytest.mark.parametrize(
    ("data", "what"),
    [
        (b"\x08", "cut off"),
        (b"\x08" + b"\xff" * 10, "longer than ten bytes"),
        (b"\x0a\x05abc", "claims 5 bytes where 3 are left"),
        (b"\x0a\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", "where 0 are left"),
        (b"\x0d\0\0", "claims 4 bytes"),
        (b"\x00\x01", "0 is not a field number"),
        (b"\x0b", "wire type 3"),
        (b"\x0f", "wire type 7"),
    ],
)
def test_malformed(data: bytes, what: str) -> None:
    with pytest.raises(InputError, match=what) as caught:
        parse(data)
    assert str(caught.value).startswith("test.hef: its protobuf message is malformed")


def test_wrong_types() -> None:
    message = parse(write_uint(1, 1 << 40) + write_bytes(2, b"\xff") + write_float(3, 1.0))
    with pytest.raises(InputError, match="more than 32 bits"):
        message.uint32(1)
    with pytest.raises(InputError, match="field 1 is a varint, expected a length and bytes"):
        message.message(1)
    with pytest.raises(InputError, match="not UTF-8"):
        message.string(2)
    with pytest.raises(InputError, match="not a list of doubles"):
        message.doubles(2)
    with pytest.raises(InputError, match="not a list of doubles"):
        message.doubles(3)
    with pytest.raises(InputError, match="field 3 is four bytes, expected a varint"):
        message.uint32(3)


def test_nesting_is_bounded() -> None:
    data = b""
    for _ in range(MAX_DEPTH + 5):
        data = write_bytes(1, data)
    message = parse(data)
    for _ in range(MAX_DEPTH):
        message = message.message(1)
    with pytest.raises(InputError, match="nested deeper"):
        message.message(1)


def test_the_number_of_fields_is_bounded_over_all_levels() -> None:
    inner = write_bytes(1, b"\x08\x01" * (MAX_FIELDS // 2))
    message = parse(inner * 2)
    with pytest.raises(InputError, match="more than"):
        list(message.messages(1))


def test_what_is_asked_for_is_bounded_over_all_levels() -> None:
    """Messages count as fields do, also empty ones; strings and doubles by their size, as often as they are read."""
    message = parse(write_bytes(1, write_string(1, "n" * 1000) + write_doubles(2, [1.0] * 1000)))
    inner = message.message(1)
    with pytest.raises(TooLargeError, match="strings"):
        [inner.string(1) for _ in range(MAX_TEXT // 1000 + 1)]
    with pytest.raises(TooLargeError, match="doubles"):
        [inner.doubles(2) for _ in range(MAX_ALL_DOUBLES // 1000 + 1)]
    with pytest.raises(TooLargeError, match="fields"):
        [message.message(9) for _ in range(MAX_FIELDS)]


@given(st.binary(max_size=300))
def test_any_bytes_parse_or_are_an_input_error(data: bytes) -> None:
    try:
        message = parse(data)
    except InputError:
        return
    for number in range(1, 8):
        for method in (
            message.uint32,
            message.float32,
            message.float64,
            message.doubles,
            message.string,
            message.message,
        ):
            with suppress(InputError):
                method(number)


fields = st.one_of(
    st.builds(write_uint, numbers, st.integers(1, (1 << 64) - 1)),
    st.builds(write_bytes, numbers, st.binary(max_size=200)),
    st.builds(write_float, numbers, st.floats(width=32)),
)


@given(st.lists(fields, max_size=8).map(b"".join))
def test_agrees_with_the_protobuf_package(valid: bytes) -> None:
    unknown_fields = pytest.importorskip("google.protobuf.unknown_fields")
    empty = pytest.importorskip("google.protobuf.empty_pb2").Empty()
    empty.ParseFromString(valid)
    ours = parse(valid)
    theirs: dict[int, list[object]] = {}
    for entry in unknown_fields.UnknownFieldSet(empty):
        theirs.setdefault(entry.field_number, []).append(entry.data)
    assert {number: [value for _, value in values] for number, values in ours._fields.items()} == theirs
