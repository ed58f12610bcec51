"""Names for what the emulator adds to a network: none that the network itself uses already.

What is added carries the name of a layer (`net/conv1/kernel`) or of a tensor with one of `SUFFIXES` (see `qdq.py`).
Exporters give tensors any names, so those of the network that are spelled the same are changed, inside the emulator.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import onnx

__all__ = ["SUFFIXES", "rename", "reserved"]

SUFFIXES = ("/rounded", "/quantized", "/quantized/scale", "/quantized/zero")
"""What is added to a tensor's name for its rounded values, its quantized ones, and their grid."""


def reserved(graph: onnx.GraphProto, net_name: str) -> dict[str, str]:
    """Return those tensors of a graph that are called as something of the network `net_name` will be, and new names."""
    names = dict.fromkeys(_names(graph))
    taken = set(names)
    others = {}
    for name in names:
        derived = any(name.endswith(end) and name.removesuffix(end) in names for end in SUFFIXES)
        if derived or name.startswith(f"{net_name}/"):
            others[name] = _free(f"_{name}_", taken)
            taken.add(others[name])
    return others


def _free(name: str, taken: set[str]) -> str:
    while name in taken:
        name += "_"
    return name


def rename(graph: onnx.GraphProto, others: Mapping[str, str]) -> None:
    """Give tensors other names, in place, wherever they are made or read."""
    if not others:
        return
    for value in (*graph.input, *graph.output, *graph.value_info, *graph.initializer):
        value.name = others.get(value.name, value.name)
    for node in graph.node:
        node.input[:] = [others.get(name, name) for name in node.input]
        node.output[:] = [others.get(name, name) for name in node.output]
        for inner in _inner(node):
            rename(inner, others)


def _names(graph: onnx.GraphProto) -> Iterator[str]:
    yield from (value.name for value in (*graph.input, *graph.initializer))
    for node in graph.node:
        yield from filter(None, node.output)
        for inner in _inner(node):
            yield from _names(inner)


def _inner(node: onnx.NodeProto) -> Iterator[onnx.GraphProto]:
    for item in node.attribute:
        yield from item.graphs
        if item.HasField("g"):
            yield item.g
