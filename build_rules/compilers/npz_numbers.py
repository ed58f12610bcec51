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

__all__ = ["NPZ_ERRORS", "open_npz", "read_numbers"]

MAX_DIRECTORY = 8 << 20
"""Bytes of the list of arrays; a network of three hundred layers has one of 700 kB."""
MAX_BYTES = 4096
"""Of one number as a file: a header of 128 bytes and the number."""
_END = struct.Struct("<4s4H2LH")
_LOCATOR, _LOCATOR_BYTES = b"PK\x06\x07", 20
"""Stands before the end record of a ZIP64, whose other end record may say anything once more."""
NPZ_ERRORS = (
    *(zipfile.BadZipFile, zlib.error, EOFError, OSError, ValueError, NotImplementedError, RuntimeError),
    *(struct.error, MemoryError),
)
"""What is raised for an `.npz` that is none, or is damaged."""


def open_npz(stream: BinaryIO) -> zipfile.ZipFile:
    """Open an `.npz` of which only its list of arrays is read. Raises one of `NPZ_ERRORS` where that is too long."""
    if not _has_small_directory(stream):
        raise ValueError("no .npz of few arrays")
    return zipfile.ZipFile(stream)


def read_numbers(stream: BinaryIO, names: Iterable[str]) -> dict[str, float]:
    """Return those of the named arrays that are there and hold one number; none when this is no `.npz`."""
    try:
        with open_npz(stream) as archive:
            found = {name: _number(archive, f"{name}.npy") for name in names}
    except NPZ_ERRORS:
        return {}
    return {name: number for name, number in found.items() if number is not None}


def _has_small_directory(stream: BinaryIO) -> bool:
    stream.seek(max(0, stream.seek(0, 2) - _LOCATOR_BYTES - _END.size))
    tail = stream.read()
    signature, *_, length, offset, comment = _END.unpack(tail[-_END.size :])
    is_plain = not tail.startswith(_LOCATOR) and offset < 0xFFFFFFFF
    return bool(signature == b"PK\x05\x06" and comment == 0 and length <= MAX_DIRECTORY and is_plain)


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
