"""Reading and writing the protobuf wire format, by field number, with no schema and no dependency.

A message is a run of fields: a varint `number << 3 | wire type`, then a varint (type 0), eight bytes (1), a varint
length and that many bytes (2), or four bytes (5), little-endian. Only the levels somebody asks for are parsed. Nesting
and the number of fields are bounded, so that no input can exhaust the machine.

Source of the format: protobuf.dev, "Encoding". Read as proto3: a missing field means zero or empty, a repeated scalar
may be packed, and a nested message that occurs twice is one message.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from build_rules.errors import InputError
from build_rules.varint import decode_varint, encode_varint

__all__ = [
    "MAX_ALL_DOUBLES",
    "MAX_DEPTH",
    "MAX_FIELDS",
    "MAX_TEXT",
    "Message",
    "TooLargeError",
    "field_prefix",
    "write_bytes",
    "write_doubles",
    "write_float",
    "write_string",
    "write_uint",
]

MAX_DEPTH = 32
MAX_DOUBLES = 1 << 16
"""Of one list; real files have one for each feature."""
MAX_FIELDS = 100_000
"""Fields that are parsed and messages that are asked for. Real files need three thousand."""
MAX_ALL_DOUBLES = 1 << 19
MAX_TEXT = 16 << 20
"""Bytes of all strings that are asked for."""

_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
_WIRE_NAMES = {_VARINT: "a varint", _FIXED64: "eight bytes", _BYTES: "a length and bytes", _FIXED32: "four bytes"}
_MAX_NUMBER = (1 << 29) - 1
_UINT32, _UINT64 = (1 << 32) - 1, (1 << 64) - 1


class TooLargeError(InputError):
    """The message has more than is read of one."""


@dataclass
class _Budget:
    """What may still be read, shared by a message and everything nested in it."""

    fields: int = MAX_FIELDS
    doubles: int = MAX_ALL_DOUBLES
    text: int = MAX_TEXT


@dataclass
class Message:
    """One protobuf message. Methods take a field number; all raise `InputError` when the bytes do not fit.

    They raise `TooLargeError`, which is one, when more was asked for than any real message has.

    `where` names the file in errors.
    """

    data: bytes | memoryview
    where: str
    depth: int = 0
    budget: _Budget = field(default_factory=_Budget)

    def __post_init__(self) -> None:
        if self.depth > MAX_DEPTH:
            raise self._malformed(f"messages are nested deeper than {MAX_DEPTH}")
        self._spend_field()
        self._fields: dict[int, list[tuple[int, int | memoryview]]] = {}
        for number, wire, value in self._scan(memoryview(self.data)):
            self._fields.setdefault(number, []).append((wire, value))

    @property
    def numbers(self) -> tuple[int, ...]:
        """The numbers of the fields that occur, ascending."""
        return tuple(sorted(self._fields))

    def has(self, number: int) -> bool:
        """Whether the field occurs."""
        return number in self._fields

    def uint32(self, number: int) -> int:
        """An unsigned integer or enumeration of at most 32 bits; 0 when absent."""
        value = self.uint64(number)
        if value > _UINT32:
            raise self._malformed(f"field {number} holds {value}, more than 32 bits")
        return value

    def uint64(self, number: int) -> int:
        """An unsigned integer of at most 64 bits; 0 when absent."""
        return self._last(number, _VARINT, 0)

    def float32(self, number: int) -> float:
        """A `float`; 0.0 when absent."""
        value: float = struct.unpack("<f", struct.pack("<I", self._last(number, _FIXED32, 0)))[0]
        return value

    def float64(self, number: int) -> float:
        """A `double`; 0.0 when absent."""
        value: float = struct.unpack("<d", struct.pack("<Q", self._last(number, _FIXED64, 0)))[0]
        return value

    def doubles(self, number: int) -> tuple[float, ...]:
        """A repeated `double`, packed or not."""
        values: list[float] = []
        for wire, value in self._fields.get(number, ()):
            packed = value if isinstance(value, memoryview) else struct.pack("<Q", value)
            if wire not in (_BYTES, _FIXED64) or len(packed) % 8 or len(packed) + 8 * len(values) > 8 * MAX_DOUBLES:
                raise self._malformed(f"field {number} is not a list of doubles")
            self.budget.doubles -= len(packed) // 8
            if self.budget.doubles < 0:
                raise self._too_large(f"{MAX_ALL_DOUBLES} doubles")
            values.extend(struct.unpack(f"<{len(packed) // 8}d", packed))
        return tuple(values)

    def string(self, number: int) -> str:
        """A string; empty when absent."""
        return (self.strings(number) or ("",))[-1]

    def strings(self, number: int) -> tuple[str, ...]:
        """A repeated string."""
        views = self._views(number)
        self.budget.text -= sum(map(len, views))
        if self.budget.text < 0:
            raise self._too_large(f"{MAX_TEXT} bytes in strings")
        try:
            return tuple(str(view, "utf-8") for view in views)
        except UnicodeDecodeError as error:
            raise self._malformed(f"field {number} is a string that is not UTF-8") from error

    def raw(self, number: int) -> bytes:
        """Bytes; empty when absent."""
        return bytes((self._views(number) or (b"",))[-1])

    def message(self, number: int) -> Message:
        """A nested message; empty when absent. One that occurs in parts is put together, as protobuf demands."""
        views = self._views(number)
        return self._nested(views[0] if len(views) == 1 else b"".join(views))

    def messages(self, number: int) -> Iterator[Message]:
        """A repeated nested message, parsed one after the other."""
        return (self._nested(view) for view in self._views(number))

    def _spend_field(self) -> None:
        self.budget.fields -= 1
        if self.budget.fields < 0:
            raise self._too_large(f"{MAX_FIELDS} fields")

    def _nested(self, data: bytes | memoryview) -> Message:
        return Message(data, self.where, self.depth + 1, self.budget)

    def _views(self, number: int) -> list[memoryview]:
        views = []
        for wire, value in self._fields.get(number, ()):
            if not isinstance(value, memoryview):
                raise self._mismatch(number, wire, _BYTES)
            views.append(value)
        return views

    def _last(self, number: int, expected: int, default: int) -> int:
        if number not in self._fields:
            return default
        wire, value = self._fields[number][-1]
        if wire != expected or not isinstance(value, int):
            raise self._mismatch(number, wire, expected)
        return value

    def _scan(self, data: memoryview) -> Iterator[tuple[int, int, int | memoryview]]:
        position = 0
        while position < len(data):
            self._spend_field()
            key, position = self._varint(data, position)
            number, wire = key >> 3, key & 7
            if not 0 < number <= _MAX_NUMBER:
                raise self._malformed(f"{number} is not a field number")
            if wire == _VARINT:
                value, position = self._varint(data, position)
                yield number, wire, value
                continue
            if wire not in _WIRE_NAMES:
                raise self._malformed(f"field {number} has wire type {wire}, which proto3 does not have")
            length = 8 if wire == _FIXED64 else 4
            if wire == _BYTES:
                length, position = self._varint(data, position)
            if length > len(data) - position:
                raise self._malformed(f"field {number} claims {length} bytes where {len(data) - position} are left")
            view = data[position : position + length]
            position += length
            yield number, wire, view if wire == _BYTES else int.from_bytes(view, "little")

    def _varint(self, data: memoryview, position: int) -> tuple[int, int]:
        try:
            value, position = decode_varint(data, position, len(data))
        except ValueError:
            raise self._malformed("a number is cut off or longer than ten bytes") from None
        return value & _UINT64, position

    def _mismatch(self, number: int, wire: int, expected: int) -> InputError:
        return self._malformed(f"field {number} is {_WIRE_NAMES[wire]}, expected {_WIRE_NAMES[expected]}")

    def _too_large(self, what: str) -> TooLargeError:
        return TooLargeError(f"{self.where}: its protobuf message has more than {what}, which no real one has.")

    def _malformed(self, what: str) -> InputError:
        return InputError(f"{self.where}: its protobuf message is malformed: {what}. Get or make the file again.")


def write_uint(number: int, value: int) -> bytes:
    """Encode an unsigned integer or enumeration. As everywhere in proto3, 0 is written by leaving the field out."""
    return _key(number, _VARINT) + encode_varint(value) if value else b""


def write_float(number: int, value: float) -> bytes:
    """Encode a `float`; 0.0 is left out, -0.0 is not."""
    packed = struct.pack("<f", value)
    return _key(number, _FIXED32) + packed if any(packed) else b""


def write_doubles(number: int, values: Iterable[float]) -> bytes:
    """Encode a repeated `double`, packed."""
    return write_bytes(number, packed) if (packed := b"".join(struct.pack("<d", value) for value in values)) else b""


def write_string(number: int, value: str) -> bytes:
    """Encode a string, also an empty one."""
    return write_bytes(number, value.encode())


def write_bytes(number: int, value: bytes) -> bytes:
    """Encode bytes or a nested message, also an empty one."""
    return field_prefix(number, len(value)) + value


def field_prefix(number: int, length: int) -> bytes:
    """Return what stands before `length` bytes that are a field of their own."""
    return _key(number, _BYTES) + encode_varint(length)


def _key(number: int, wire: int) -> bytes:
    return encode_varint(number << 3 | wire)
