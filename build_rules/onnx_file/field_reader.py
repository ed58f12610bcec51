"""Walking the protobuf fields of a file by their lengths, so that a gigabyte that nobody asks for costs one seek.

A message is a run of fields: a varint `number << 3 | wire type`, then a varint (type 0), eight bytes (1), a varint
length and that many bytes (2), or four bytes (5). Source: https://protobuf.dev/programming-guides/encoding.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from typing import NamedTuple

from build_rules.errors import InputError
from build_rules.onnx_file.onnx_files import OnnxFiles
from build_rules.varint import MAX_VARINT, decode_varint, encode_varint

__all__ = ["LENGTH", "Field", "FieldReader", "encode_field"]

VARINT, FIXED64, LENGTH, FIXED32 = 0, 1, 2, 5
MAX_FIELDS = 300_000
"""Fields that one file may be walked over; a large detector has some thousands."""
_FIXED = {FIXED64: 8, FIXED32: 4}
_WINDOW = 1 << 16
_NOT_ONNX = "this is not a complete ONNX file ({}); export or download the model again."


class Field(NamedTuple):
    """Where one field lies in the file: it begins at `start`, its value takes the bytes [value, end)."""

    number: int
    wire: int
    start: int
    value: int
    end: int


class FieldReader:
    """One walk over a model's own file. Every method raises `InputError` where the bytes are no protobuf."""

    def __init__(self, files: OnnxFiles) -> None:
        self._files = files
        self.size = files.stat(files.own).st_size
        self._window = b""
        self._base = 0
        self._left = MAX_FIELDS

    def read(self, start: int, end: int) -> bytes:
        """Return the bytes [start, end) of the file."""
        content = self._files.read(self._files.own, start, end - start)
        if len(content) < end - start:
            raise InputError(_NOT_ONNX.format(f"it ends at byte {start + len(content)}, {end} are announced"))
        return content

    def fields(self, start: int = 0, end: int | None = None) -> Iterator[Field]:
        """Yield the fields of the message in [start, end), by default of the whole file."""
        position, end = start, self.size if end is None else end
        if self.size == 0:
            raise InputError(_NOT_ONNX.format("it is empty"))
        while position < end:
            self._left -= 1
            if self._left < 0:
                raise InputError(_NOT_ONNX.format(f"it has more than {MAX_FIELDS} fields, which no detector needs"))
            field = self._field(position, end)
            yield field
            position = field.end

    def _field(self, start: int, end: int) -> Field:
        tag, value = self._varint(start, end)
        number, wire = tag >> 3, tag & 7
        if number == 0 or wire not in (VARINT, FIXED64, LENGTH, FIXED32):
            raise InputError(_NOT_ONNX.format(f"unexpected data at byte {start}"))
        if wire == VARINT:
            return Field(number, wire, start, value, self._varint(value, end)[1])
        length, value = (_FIXED[wire], value) if wire in _FIXED else self._varint(value, end)
        if value + length > end:
            raise InputError(_NOT_ONNX.format(f"it ends at byte {end}, {value + length} are announced"))
        return Field(number, wire, start, value, value + length)

    def varint(self, field: Field) -> int:
        """Return the value of a field of type varint."""
        return self._varint(field.value, field.end)[0]

    def _varint(self, position: int, end: int) -> tuple[int, int]:
        if not self._base <= position <= self._base + len(self._window) - MAX_VARINT:
            self._window, self._base = self._files.read(self._files.own, position, _WINDOW), position
        base, window = self._base, self._window
        with suppress(ValueError):
            value, after = decode_varint(window, position - base, min(len(window), end - base))
            return value, base + after
        if end - position < MAX_VARINT:
            raise InputError(_NOT_ONNX.format("it ends in the middle of a field"))
        raise InputError(_NOT_ONNX.format("a field number or length is too long"))


def encode_field(number: int, length: int) -> bytes:
    """Return what precedes the value of a field of `length` bytes."""
    return encode_varint(number << 3 | LENGTH) + encode_varint(length)
