"""How much a skeleton holds, told from its bytes: parsed, a message of two bytes becomes an object of two hundred.

The walk knows what holds graphs, nodes, values and tensors (`_INSIDE`), so that a field is counted however deep it
lies. Source of the numbers: onnx.proto3.
"""

from __future__ import annotations

from collections.abc import Mapping

from build_rules.errors import InputError
from build_rules.varint import decode_varint

__all__ = ["check_extent"]

MAX_PARTS = 1_000_000
"""Fields of all kinds in a skeleton; that of a large detector has a tenth."""
MAX_NODES = 100_000
"""Nodes in it, inside branches and functions as well; a large detector has some thousands."""
MAX_ENDS = 10_000
"""Inputs and outputs of all graphs. Each output is walked back: fifty thousand take minutes. Before IR version 4 every
weight is an input."""
MAX_DEPTH = 100
"""Of the parser that reads it."""

_VARINT, _FIXED64, _LENGTH, _FIXED32 = 0, 1, 2, 5
_LEAF: Mapping[int, str] = {}
_INSIDE: Mapping[str, Mapping[int, str]] = {
    "model": {7: "graph", 8: "leaf", 14: "leaf", 20: "training", 25: "function"},
    "training": {1: "graph", 2: "graph", 3: "leaf", 4: "leaf"},
    "graph": {
        **{1: "node", 5: "tensor", 11: "input", 12: "output", 13: "value", 14: "annotation", 15: "sparse", 16: "leaf"}
    },
    "function": {7: "node", 9: "leaf", 11: "attribute", 12: "value", 14: "leaf"},
    "node": {5: "attribute", 9: "leaf", 10: "device"},
    "device": {2: "sharding"},
    "sharding": {3: "leaf", 4: "dimension"},
    "dimension": {2: "leaf"},
    "attribute": {
        5: "tensor",
        6: "graph",
        10: "tensor",
        11: "graph",
        14: "type",
        15: "type",
        22: "sparse",
        23: "sparse",
    },
    "tensor": {13: "leaf", 16: "leaf"},
    "sparse": {1: "tensor", 2: "tensor"},
    "input": {2: "type", 4: "leaf"},
    "output": {2: "type", 4: "leaf"},
    "value": {2: "type", 4: "leaf"},
    "annotation": {2: "leaf"},
    "type": {1: "tensor type", 4: "inner type", 5: "map", 8: "tensor type", 9: "inner type"},
    "tensor type": {2: "shape"},
    "inner type": {1: "type"},
    "map": {2: "type"},
    "shape": {1: "leaf"},
    "leaf": _LEAF,
}
_MANY = {"node": "nodes", "input": "inputs or outputs", "output": "inputs or outputs"}


def check_extent(data: bytes) -> None:
    """Raise `InputError`, a clause, for serialized ONNX that holds more than any detector; what is none is let by."""
    _Walker(data).walk(0, len(data), "model", 0)


class _Walker:
    def __init__(self, data: bytes) -> None:
        self.data = data
        self.parts = 0
        self.left = {"nodes": MAX_NODES, "inputs or outputs": MAX_ENDS}

    def walk(self, position: int, end: int, kind: str, depth: int) -> None:
        if depth > MAX_DEPTH:
            raise InputError(f"its messages are nested deeper than {MAX_DEPTH}, as in no detector")
        data, inside = self.data, _INSIDE[kind]
        try:
            while position < end:
                self.parts += 1
                if self.parts > MAX_PARTS:
                    raise _too_many("parts", MAX_PARTS)
                key, position = decode_varint(data, position, end)
                wire = key & 7
                if wire == _LENGTH:
                    # Nearly all lengths are of one byte, and a call takes longer than all the rest.
                    if position < end and data[position] < 0x80:
                        length = data[position]
                        position += 1
                    else:
                        length, position = decode_varint(data, position, end)
                    inner = inside.get(key >> 3)
                    if inner is not None:
                        if inner in _MANY:
                            self.count(_MANY[inner])
                        self.walk(position, min(end, position + length), inner, depth + 1)
                    position += length
                elif wire == _VARINT:
                    _, position = decode_varint(data, position, end)
                elif wire in (_FIXED64, _FIXED32):
                    position += 8 if wire == _FIXED64 else 4
                else:
                    return  # the parser says that this is no message
        except ValueError:
            return  # nor is this one; what follows it is counted all the same

    def count(self, what: str) -> None:
        self.left[what] -= 1
        if self.left[what] < 0:
            raise _too_many(what, MAX_NODES if what == "nodes" else MAX_ENDS)


def _too_many(what: str, limit: int) -> InputError:
    return InputError(f"this model has over {limit} {what}, which no detector needs")
