"""Integers as protobuf writes them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from build_rules.varint import decode_varint, encode_varint

UINT64 = st.integers(0, (1 << 64) - 1)


@given(UINT64, st.binary(max_size=3), st.binary(max_size=3))
def test_what_is_written_is_read(value: int, before: bytes, after: bytes) -> None:
    data = before + encode_varint(value) + after
    end = len(data) - len(after)
    assert decode_varint(data, len(before), len(data)) == decode_varint(memoryview(data), len(before), end)
    assert decode_varint(data, len(before), end) == (value, end)


@given(UINT64)
def test_what_is_cut_off_is_refused(value: int) -> None:
    data = encode_varint(value)
    with pytest.raises(ValueError, match="cut off or longer than 10 bytes"):
        decode_varint(data, 0, len(data) - 1)


def test_ten_bytes_are_the_most() -> None:
    assert decode_varint(b"\x80" * 9 + b"\x01", 0, 20) == (1 << 63, 10)
    with pytest.raises(ValueError, match="longer"):
        decode_varint(b"\x80" * 10 + b"\x01", 0, 11)


@pytest.mark.parametrize("value", [-1, 1 << 64])
def test_more_than_64_bits_are_not_written(value: int) -> None:
    with pytest.raises(ValueError, match="64 bits"):
        encode_varint(value)
