"""HailoRT's own checks of a file, written again from its sources (`hef.cpp` of 4.23 and 5.2) with nothing of ours.

The runtime cannot be installed here; this says what it would say about length and checksum, and parses the message with
Google's protobuf package, which skips unknown fields as the runtime does.
"""

from __future__ import annotations

import hashlib
import struct
import zlib

import xxhash

__all__ = ["refusal"]


def refusal(data: bytes, line: int = 4) -> str | None:
    """Return the error with which HailoRT 4.x or 5.x refuses the file, None when it goes on to the message."""
    magic, version, proto_size = struct.unpack_from(">4sII", data)
    if magic != b"\x01HEF":
        return "magic"
    checksum: bytes | int
    found: bytes | int
    if version == 0:
        header, rest, checksum = 32, proto_size, data[16:32]
        found = hashlib.md5(data[header:]).digest()
    elif version == 1:
        crc, ccws = struct.unpack_from(">IQ", data, 12)
        header, rest, checksum = 28, proto_size + ccws, crc
        found = zlib.crc32(data[header:])
    elif version == 2:
        xxh3, ccws = struct.unpack_from(">QQ", data, 12)
        header, rest, checksum = 44, proto_size + ccws, xxh3
        found = xxhash.xxh3_64_intdigest(data[header:])
    elif version == 3:
        xxh3, ccws, _, additional, proto_xxh3 = struct.unpack_from(">QQIQQ", data, 12)
        header, rest, checksum = 56, proto_size + ccws + additional, xxh3
        if line == 5 and proto_xxh3:
            return None if xxhash.xxh3_64_intdigest(data[header : header + proto_size]) == proto_xxh3 else "checksum"
        found = xxhash.xxh3_64_intdigest(data[header:])
    else:
        return "version"
    if len(data) - header != rest:
        return "length"
    return None if found == checksum else "checksum"
