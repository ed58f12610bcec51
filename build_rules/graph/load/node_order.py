"""Nodes in an order in which they can be computed, each with a name of its own.

ONNX demands both (onnx.proto3: topological order, single assignment), exporters and simplifiers do not always comply.
Everything iterates: a graph may be a chain of any length.
"""

from __future__ import annotations

from collections.abc import Sequence
from heapq import heapify, heappop, heappush

import onnx

from build_rules.errors import InputError

__all__ = ["name_nodes", "node_inputs", "sort_nodes", "subgraphs"]


def sort_nodes(graph: onnx.GraphProto) -> None:
    """Sort nodes so that inputs come before their use, keeping the order of the file where it is free.

    Raises `InputError` for a cycle, for two nodes that produce the same tensor, and for inputs that nothing produces.
    """
    nodes = list(graph.node)
    producer = _producers(nodes)
    available = {value.name for value in graph.input} | {tensor.name for tensor in graph.initializer}
    available |= {sparse.values.name for sparse in graph.sparse_initializer} | {""}
    waiting: list[int] = []
    users: dict[int, list[int]] = {}
    for index, node in enumerate(nodes):
        sources = {name for name in node_inputs(node) if name not in available}
        if missing := sorted(name for name in sources if name not in producer):
            raise InputError(f"node '{node.name}' ({node.op_type}) reads '{missing[0]}', which nothing produces.")
        before = {producer[name] for name in sources}
        waiting.append(len(before))
        for other in before:
            users.setdefault(other, []).append(index)
    ready = [index for index, count in enumerate(waiting) if count == 0]
    heapify(ready)
    order: list[int] = []
    while ready:
        index = heappop(ready)
        order.append(index)
        for user in users.get(index, ()):
            waiting[user] -= 1
            if waiting[user] == 0:
                heappush(ready, user)
    if len(order) < len(nodes):
        stuck = sorted(nodes[index].name or nodes[index].op_type for index, count in enumerate(waiting) if count)
        raise InputError(f"the graph has a cycle through {_some(stuck)}; export the model again.")
    if order != list(range(len(nodes))):
        del graph.node[:]
        graph.node.extend(nodes[index] for index in order)


def node_inputs(node: onnx.NodeProto) -> list[str]:
    """Return all tensors a node reads, those that its subgraphs capture from outside included."""
    inner: set[str] = set()
    captured: list[str] = []
    graphs = subgraphs(node)
    while graphs:
        graph = graphs.pop()
        inner |= {value.name for value in graph.input} | {tensor.name for tensor in graph.initializer}
        captured += [value.name for value in graph.output]
        for child in graph.node:
            inner.update(child.output)
            captured += child.input
            graphs += subgraphs(child)
    return [*node.input, *(name for name in captured if name not in inner)]


def subgraphs(node: onnx.NodeProto) -> list[onnx.GraphProto]:
    """Return the graphs that a node holds, such as the branches of an `If`."""
    single = [attribute.g for attribute in node.attribute if attribute.HasField("g")]
    return single + [graph for attribute in node.attribute for graph in attribute.graphs]


def _producers(nodes: Sequence[onnx.NodeProto]) -> dict[str, int]:
    producer: dict[str, int] = {}
    for index, node in enumerate(nodes):
        for name in filter(None, node.output):
            if name in producer:
                raise InputError(f"two nodes produce the tensor '{name}'; export the model again.")
            producer[name] = index
    return producer


def name_nodes(graph: onnx.GraphProto) -> None:
    """Give nameless nodes (and the second of two equal names) a name: compilers address nodes by name."""
    taken = {""}
    clashing = []
    for node in graph.node:
        if node.name in taken:
            clashing.append(node)
        taken.add(node.name)
    for node in clashing:
        name = next(filter(None, node.output), node.op_type)
        while name in taken:
            name += "_node"
        node.name = name
        taken.add(name)


def _some(names: Sequence[str]) -> str:
    return ", ".join(f"'{name}'" for name in names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")
