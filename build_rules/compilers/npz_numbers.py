"""Single numbers of an `.npz` of unknown origin, by name; arrays in it are never read, and nothing is unpickled.

Source of the formats: PKWARE's APPNOTE.TXT 6.3 (4.3.16, the end record), NumPy's NEP 1 (`.npy`).
"""

from __future__ import annotations

import math
import struct
import zipfile
import zlib
from collections.abc import Iterable
from io import BytesIO
from typing import BinaryIO

import numpy as np

__all__ = ["read_numbers"]

MAX_DIRECTORY = 8 << 20
"""Bytes of the list of arrays; a network of three hundred layers has one of 700 kB."""
MAX_BYTES = 4096
"""Of one number as a file: a header of 128 bytes and the number."""
_END = struct.Struct("<4s4H2LH")


def read_numbers(stream: BinaryIO, names: Iterable[str]) -> dict[str, float]:
    """Return those of the named arrays that are there and hold one number; none when this is no `.npz`."""
    try:
        if not _has_small_directory(stream):
            return {}
        with zipfile.ZipFile(stream) as archive:
            found = {name: _number(archive, f"{name}.npy") for name in names}
    except (zipfile.BadZipFile, zlib.error, EOFError, OSError, ValueError, NotImplementedError, RuntimeError):
        return {}
    return {name: number for name, number in found.items() if number is not None}


def _has_small_directory(stream: BinaryIO) -> bool:
    stream.seek(-_END.size, 2)
    signature, *_, length, offset, comment = _END.unpack(stream.read(_END.size))
    return bool(signature == b"PK\x05\x06" and comment == 0 and length <= MAX_DIRECTORY and offset < 0xFFFFFFFF)


def _number(archive: zipfile.ZipFile, member: str) -> float | None:
    try:
        with archive.open(member) as stream:
            data = BytesIO(stream.read(MAX_BYTES))
    except KeyError:
        return None
    if np.lib.format.read_magic(data) != (1, 0):
        return None
    shape, _, dtype = np.lib.format.read_array_header_1_0(data)
    content = data.read()
    if dtype.kind not in "iuf" or math.prod(shape) != 1 or len(content) < dtype.itemsize:
        return None
    number = float(np.frombuffer(content, dtype, count=1)[0])
    return number if math.isfinite(number) else None
