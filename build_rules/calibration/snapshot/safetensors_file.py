"""The safetensors container: eight bytes of header length, a JSON header, then the tensors' bytes without gaps.

Format: https://huggingface.co/docs/safetensors (section "Format"). The length is an unsigned little-endian 64-bit
integer; the header is a JSON object whose members are tensors, `{"dtype": "U8", "shape": [...], "data_offsets": [begin,
end]}` with offsets counted from the end of the header, and the optional `__metadata__`, a map from string to string.
Spaces may follow the JSON; we pad to a multiple of eight.

The `safetensors` package reads the same files, but hides where the bytes lie and takes whole arrays to write; a
snapshot of a thousand images is written sample by sample and read through a memory map.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from build_rules.errors import InputError
from build_rules.regular_file import open_regular

__all__ = ["ITEM_SIZES", "Entry", "SafetensorsHeader", "encode_header", "read_header", "shortened"]

ITEM_SIZES = {"U8": 1, "F32": 4}
"""Bytes per element of the element types that a calibration snapshot may hold."""

# The reference implementation stops at 100 MB; the largest honest header here is a few thousand image ids.
MAX_HEADER_BYTES = 16 * 1024 * 1024
# No file is larger, and more dimensions than anybody has would take long to multiply.
MAX_NUMBER = 1 << 62
MAX_RANK = 32
MAX_TOLD = 300
"""Characters of what a file says that are repeated in an error."""


@dataclass(frozen=True)
class Entry:
    """One tensor: element type as safetensors writes it (`U8`), shape, and absolute position in the file in bytes."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    begin: int
    end: int


@dataclass(frozen=True)
class SafetensorsHeader:
    """The checked header of a file: tensors in file order, and the string map."""

    entries: tuple[Entry, ...]
    metadata: Mapping[str, str]


def read_header(path: Path) -> SafetensorsHeader:
    """Read and check the header of `path`; no tensor byte is read.

    Raises `InputError` when the file cannot be read, is truncated, or is no well-formed safetensors file of
    `ITEM_SIZES` types.
    """
    try:
        with os.fdopen(open_regular(path), "rb") as file:
            size = file.seek(0, 2)
            file.seek(0)
            length = int.from_bytes(file.read(8), "little")
            if size < 8 or length > min(size - 8, MAX_HEADER_BYTES):
                raise _broken(path, f"its header would take {length} bytes in a file of {size}")
            text = file.read(length)
    except OSError as error:
        raise InputError(
            f"{path}: cannot be read ({error.strerror or error}); check the path and its permissions."
        ) from error
    return _parse_header(path, text, begin=8 + length, size=size)


def _parse_header(path: Path, text: bytes, begin: int, size: int) -> SafetensorsHeader:
    try:
        header = json.loads(text.decode("utf-8"), object_pairs_hook=_unique)
    except (ValueError, RecursionError) as error:
        raise _broken(path, f"its header is not JSON ({error})") from error
    if not isinstance(header, dict):
        raise _broken(path, "its header is not a JSON object")
    metadata = header.pop("__metadata__", {})
    if not isinstance(metadata, dict) or not all(isinstance(value, str) for value in metadata.values()):
        raise _broken(path, "its __metadata__ is not a map from string to string")
    entries = sorted(
        (_entry(path, name, value, begin) for name, value in header.items()),
        key=lambda entry: (entry.begin, entry.end),
    )
    position = begin
    for entry in entries:
        if entry.begin != position:
            raise _broken(path, f"tensor {entry.name!r} starts at byte {entry.begin} where {position} is expected")
        position = entry.end
    if position != size:
        raise _broken(path, f"its tensors end at byte {position} but the file has {size}")
    return SafetensorsHeader(tuple(entries), metadata)


def _entry(path: Path, name: str, value: object, begin: int) -> Entry:
    if not isinstance(value, dict) or not {"dtype", "shape", "data_offsets"} <= value.keys():
        raise _broken(path, f"tensor {name!r} lacks dtype, shape or data_offsets")
    dtype, shape, offsets = value["dtype"], value["shape"], value["data_offsets"]
    if not isinstance(dtype, str) or dtype not in ITEM_SIZES:
        raise _broken(path, f"tensor {name!r} has dtype {dtype!r} (expected {' or '.join(ITEM_SIZES)})")
    if not _naturals(shape) or len(shape) > MAX_RANK or not _naturals(offsets) or len(offsets) != 2:
        raise _broken(path, f"tensor {name!r} has shape {shape!r} and data_offsets {offsets!r}")
    if offsets[1] - offsets[0] != math.prod(shape) * ITEM_SIZES[dtype]:
        raise _broken(path, f"tensor {name!r} of shape {shape} and dtype {dtype} cannot take the bytes {offsets}")
    return Entry(name, dtype, tuple(shape), begin + offsets[0], begin + offsets[1])


def _naturals(value: object) -> bool:
    return isinstance(value, list) and all(type(item) is int and 0 <= item < MAX_NUMBER for item in value)


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    # Readers disagree on which of two equal keys wins, so a file that has them means different things to different
    # programs.
    result = dict(pairs)
    if len(result) != len(pairs):
        raise ValueError("a key occurs twice")
    return result


def _broken(path: Path, what: str) -> InputError:
    return InputError(f"{path}: not a whole safetensors file: {shortened(what)}; download or build it again.")


def shortened(text: str) -> str:
    """Return text for an error: what a file says about itself may be as long as the file."""
    return text if len(text) <= MAX_TOLD else text[:MAX_TOLD] + "..."


def encode_header(name: str, dtype: str, shape: Sequence[int], metadata: Mapping[str, str]) -> bytes:
    """Return the length and header of a file that holds one tensor; equal arguments give equal bytes."""
    size = math.prod(shape) * ITEM_SIZES[dtype]
    header = {
        "__metadata__": dict(sorted(metadata.items())),
        name: {"dtype": dtype, "shape": list(shape), "data_offsets": [0, size]},
    }
    text = json.dumps(header, separators=(",", ":")).encode("utf-8")
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text
