"""Unsigned integers as protobuf writes them: seven bits to a byte, lowest first (protobuf.dev, "Encoding")."""

from __future__ import annotations

__all__ = ["MAX_VARINT", "decode_varint", "encode_varint"]

MAX_VARINT = 10
"""Bytes of the longest; a tenth one holds one bit."""


def decode_varint(data: bytes | memoryview, position: int, end: int) -> tuple[int, int]:
    """Return the integer at `position` and where it ends, which is at `end` at the latest.

    Raises `ValueError` for one that is cut off or longer than `MAX_VARINT` bytes.
    """
    if position < end and data[position] < 0x80:  # as nearly all are
        return data[position], position + 1
    value = shift = 0
    for place in range(position, min(end, position + MAX_VARINT)):
        byte = data[place]
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, place + 1
        shift += 7
    raise ValueError(f"a number is cut off or longer than {MAX_VARINT} bytes")


def encode_varint(value: int) -> bytes:
    """Return an integer of at most 64 bits. Raises `ValueError` for any other."""
    if not 0 <= value < 1 << 64:
        raise ValueError(f"{value} does not fit into 64 bits")
    encoded = bytearray()
    while value > 0x7F:
        encoded.append(value & 0x7F | 0x80)
        value >>= 7
    encoded.append(value)
    return bytes(encoded)
