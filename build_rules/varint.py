"""Unsigned integers as protobuf writes them: seven bits to a byte, lowest first (protobuf.dev, "Encoding")."""

from __future__ import annotations

__all__ = ["encode_varint"]


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
