"""Whether the vendor's parser takes the whole message, also where nobody here looks into it.

Its protobuf library parses everything before the runtime looks at anything: one string that is not UTF-8, one nested
message that is cut off, anywhere in it, and the file is refused. This walks over every field as that does, without
keeping any; what a field is, `_MESSAGES` says. One that is not in it, or of another wire type, is skipped, as there.

Source of the table: `hef.proto` of HailoRT 4.18 to 4.21, open source; a message is named as there, without `ProtoHEF`.
"""

from __future__ import annotations

import codecs
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from build_rules.varint import MAX_VARINT, decode_varint

__all__ = ["MAX_FIELDS", "NOT_LOOKED_AT", "Walk", "walk_message"]

MAX_FIELDS = 300_000
"""Fields that are looked at. Real files of some megabytes have five thousand."""
NOT_LOOKED_AT = "more fields than any real file has; what the others say was not looked at"
_MAX_DEPTH = 100  # of the vendor's parser
_PIECE = 1 << 16
_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5

# What a field with a length can be, beside a message.
_TEXT, _VARINTS, _DOUBLES, _FLOATS = "text", "varints", "doubles", "floats"
_LEAF: Mapping[int, str] = MappingProxyType({})
_NAMED = {2: _TEXT}
_GROUP = {1: "NetworkGroupMetadata", 2: "PreliminaryConfig", 3: "Context", 4: _TEXT, 5: "FusedLayersMetadata", 6: _TEXT}

_MESSAGES: Mapping[str, Mapping[int, str]] = {
    "Hef": {1: "Header", 2: "NetworkGroup", 4: "Leaf", 5: "Extension", 6: "Extension", 7: "ExternalResource"},
    "Leaf": _LEAF,
    "Header": {3: _TEXT},
    "Extension": _NAMED,
    "ExternalResource": {3: _TEXT},
    "NetworkGroup": {**_GROUP, 7: "PartialNetworkGroup", 8: "Op", 9: "Leaf", 10: _TEXT},
    "CoreOp": {**_GROUP, 7: "PartialCoreOp"},
    "PartialNetworkGroup": {1: "NetworkGroup", 2: "Leaf"},
    "PartialCoreOp": {1: "CoreOp", 2: "Leaf"},
    "NetworkGroupMetadata": {1: _TEXT, 7: "Leaf"},
    "PreliminaryConfig": {1: "Operation"},
    "FusedLayersMetadata": {2: _TEXT, 3: "EdgeLayerFused"},
    "EdgeLayerFused": {1: "EdgeLayerInfo", 2: _TEXT, 3: "NmsInfo"},
    "Context": {2: "Operation", 3: "ContextMetadata"},
    "Operation": {1: "Trigger", 2: "Action"},
    "Trigger": dict.fromkeys(range(2, 8), "Leaf"),
    "Action": {**dict.fromkeys(range(2, 17), "Leaf"), 5: "EnableSequencer", 12: "Debug"},
    "EnableSequencer": {11: "Leaf"},
    "Debug": {2: "Leaf", 3: "Leaf"},
    "ContextMetadata": {
        **{1: _TEXT, 2: "EdgeLayer", 3: "ClusterEndGuarantee", 4: "OrderedTrigger", 5: _TEXT, 6: "Leaf", 7: "Leaf"}
    },
    "ClusterEndGuarantee": {2: "Trigger"},
    "OrderedTrigger": {1: "Trigger"},
    "EdgeLayer": {3: "EdgeLayerInfo", 4: "EdgeLayerMux", 5: "ContextSwitchInformation", 8: "EdgeLayerPlanes"},
    "ContextSwitchInformation": {2: _TEXT, 5: _TEXT, 8: "ConnectedContextInfo"},
    "ConnectedContextInfo": _NAMED,
    "EdgeLayerInfo": {1: _TEXT, 2: "EdgeLayerBase", 3: "EdgeLayerNumericInfo", 4: _TEXT, 5: _TEXT},
    "EdgeLayerMux": {1: _TEXT, 2: "EdgeLayerBase", 3: "EdgeLayerMuxData", 4: _TEXT, 5: "Edge", 6: _TEXT},
    "EdgeLayerMuxData": {4: _VARINTS},
    "Edge": {1: "EdgeLayerInfo", 2: "EdgeLayerMux", 3: "EdgeLayerPlanes"},
    "EdgeLayerPlanes": {1: _TEXT, 3: "Edge"},
    "EdgeLayerBase": {11: "AdditionalInfo", 13: "Leaf"},
    "AdditionalInfo": {1: "NmsInfo"},
    "NmsInfo": {6: "NmsDefuseInfo"},
    "NmsDefuseInfo": {3: _TEXT},
    "EdgeLayerNumericInfo": {5: _DOUBLES, 6: _DOUBLES},
    "Op": {1: _TEXT, 2: "Pad", 3: "Pad", 4: "CoreOp", 5: "NmsOp", 6: "Leaf"},
    "Pad": {2: _TEXT, 5: "EdgeLayerNumericInfo", 6: "Leaf", 7: "Leaf"},
    "NmsOp": {7: "YoloNmsOp", 8: "YoloxNmsOp", 9: "SSDNmsOp", 10: "Leaf", 11: "YoloSegNmsOp", 12: "Yolov8NmsOp"},
    "YoloNmsOp": {4: "YoloBboxDecoder"},
    "YoloBboxDecoder": {2: _VARINTS, 3: _VARINTS},
    "YoloxNmsOp": {3: "Leaf"},
    "SSDNmsOp": {9: "SSDBboxDecoder"},
    "SSDBboxDecoder": {1: _FLOATS, 2: _FLOATS},
    "YoloSegNmsOp": {3: "YoloBboxDecoder", 4: "YoloSegProtoInfo"},
    "YoloSegProtoInfo": {3: _TEXT},
    "Yolov8NmsOp": {4: "Leaf"},
}


@dataclass(frozen=True)
class Walk:
    """What a walk over a message found.

    `fault` is why the vendor's parser refuses it, None when it does not; `complete` is false when the walk ended after
    `MAX_FIELDS` fields. `actions` are the kinds of the actions in it, by field number of `ProtoHEFAction`.
    """

    fault: str | None
    complete: bool
    actions: frozenset[int]


def walk_message(data: memoryview) -> Walk:
    """Walk over the message of a HEF. Takes about half a microsecond for each field and no memory."""
    walker = _Walker(data)
    fault, complete = None, True
    try:
        walker.walk(0, len(data), "Hef", 0)
    except _FaultError as error:
        fault = str(error)
    except _EnoughError:
        complete = False
    return Walk(fault, complete, frozenset(walker.actions))


class _FaultError(Exception):
    """The parser refuses the message."""


class _EnoughError(Exception):
    """The message has more fields than are looked at."""


class _Walker:
    def __init__(self, data: memoryview) -> None:
        self.data = data
        self.fields = 0
        self.actions: set[int] = set()

    def walk(self, position: int, end: int, kind: str, depth: int) -> None:
        if depth > _MAX_DEPTH:
            raise _FaultError(f"messages are nested deeper than {_MAX_DEPTH}")
        data, inside = self.data, _MESSAGES[kind]
        while position < end:
            self.count()
            key = data[position]  # nearly all numbers are of one byte, and a call takes longer than all the rest
            if key < 0x80:
                position += 1
            else:
                key, position = self.varint(position, end, kind)
            if key < 8:
                raise _FaultError(f"a {kind} has a field with the number 0")
            wire = key & 7
            if wire == _VARINT:
                if position < end and data[position] < 0x80:
                    position += 1
                else:
                    _, position = self.varint(position, end, kind)
                continue
            if wire == _BYTES:
                if position < end and data[position] < 0x80:
                    length = data[position]
                    position += 1
                else:
                    length, position = self.varint(position, end, kind)
            elif wire in (_FIXED64, _FIXED32):
                length = 8 if wire == _FIXED64 else 4
            else:
                raise _FaultError(f"field {key >> 3} of a {kind} has wire type {wire}")
            if length > end - position:
                raise _FaultError(f"field {key >> 3} of a {kind} claims {length} bytes, {end - position} are left")
            if wire == _BYTES and (inner := inside.get(key >> 3)) is not None:
                if kind == "Action":
                    self.actions.add(key >> 3)
                if inner in _MESSAGES:
                    self.walk(position, position + length, inner, depth + 1)
                else:
                    self.look_into(position, position + length, inner, f"field {key >> 3} of a {kind}")
            position += length

    def count(self) -> None:
        self.fields += 1
        if self.fields > MAX_FIELDS:
            raise _EnoughError

    def look_into(self, start: int, end: int, inner: str, where: str) -> None:
        if inner == _TEXT:
            decoder = codecs.getincrementaldecoder("utf-8")()
            try:
                for place in range(start, end, _PIECE):
                    decoder.decode(self.data[place : min(end, place + _PIECE)])
                decoder.decode(b"", final=True)
            except UnicodeDecodeError:
                raise _FaultError(f"{where} is a string that is not UTF-8") from None
        elif inner == _VARINTS:
            while start < end:
                self.count()
                _, start = self.varint(start, end, where)
        elif (end - start) % (8 if inner == _DOUBLES else 4):
            raise _FaultError(f"{where} is a list of numbers that is cut off")

    def varint(self, position: int, end: int, where: str) -> tuple[int, int]:
        try:
            return decode_varint(self.data, position, end)
        except ValueError:
            raise _FaultError(f"a number in a {where} is cut off or longer than {MAX_VARINT} bytes") from None
