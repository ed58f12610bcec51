"""Lists of whole numbers that shape inference would write out, number by number, at two hundred bytes each.

It follows sizes through the operators that compute them, `Range` and `Concat` among them: a few nodes can make a list
of any length.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from math import prod

import onnx
from onnx import numpy_helper

from build_rules.errors import InputError

__all__ = ["check_lists"]

MAX_LENGTH = 1 << 20
"""Numbers of one list; sizes and places are a few, the cells of a grid some thousands."""
CARRIERS = frozenset(
    ("Identity", "Cast", "Unsqueeze", "Squeeze", "Slice", "Gather", "Add", "Sub", "Mul", "Div", "Neg", "Abs", "Mod")
)
"""Operators through which a list of numbers is followed."""
WHOLE = (onnx.TensorProto.INT64, onnx.TensorProto.INT32)


def check_lists(graph: onnx.GraphProto) -> None:
    """Raise `InputError` for a graph in which a list of whole numbers, told by its weights, is longer than that."""
    _check(graph, {}, {})


def _check(graph: onnx.GraphProto, lengths: Mapping[str, int], numbers: Mapping[str, int]) -> None:
    """Look at one graph; what the graphs around it hold is the length and, of a single number, its value, by name."""
    lengths, numbers = dict(lengths), dict(numbers)
    for name, tensor in _stored(graph):
        if tensor.data_type in WHOLE and 0 <= prod(tensor.dims) <= MAX_LENGTH:
            lengths[name] = prod(tensor.dims)
            if lengths[name] == 1 and tensor.data_location != onnx.TensorProto.EXTERNAL:
                numbers[name] = int(numpy_helper.to_array(tensor).item())
    for node in graph.node:
        for attribute in node.attribute:
            for inner in (*attribute.graphs, *([attribute.g] if attribute.HasField("g") else [])):
                _check(inner, lengths, numbers)
        length = _length(node, lengths, numbers)
        if length > MAX_LENGTH:
            raise InputError(
                f"node '{node.name}' ({node.op_type}) makes a list of {length} whole numbers, which no detector needs; "
                "export the model again."
            )
        lengths.update((name, length) for name in node.output if length and name not in lengths)


def _length(node: onnx.NodeProto, lengths: Mapping[str, int], numbers: Mapping[str, int]) -> int:
    if node.op_type == "Range" and all(name in numbers for name in node.input) and len(node.input) == 3:
        start, end, step = (numbers[name] for name in node.input)
        return max(0, -(-(end - start) // step)) if step else 0
    held: Iterable[int] = [lengths.get(name, 0) for name in node.input]
    if node.op_type == "Concat":
        return sum(held)
    return max(held, default=0) if node.op_type in CARRIERS else 0


def _stored(graph: onnx.GraphProto) -> Iterator[tuple[str, onnx.TensorProto]]:
    for tensor in graph.initializer:
        yield tensor.name, tensor
    for node in graph.node:
        if node.op_type == "Constant" and len(node.attribute) == 1 and node.attribute[0].HasField("t"):
            yield from ((name, node.attribute[0].t) for name in node.output)
