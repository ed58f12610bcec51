"""What the graphs inside nodes compute: both branches of an `If`, and those in their branches.

Inference tells the sizes there as it does outside; what the file claims of inner tensors is not believed either.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from math import prod

import onnx
from onnx.numpy_helper import from_array

from build_rules.graph.load.constants import Array
from build_rules.graph.load.graph_view import GraphView
from build_rules.graph.load.node_order import node_inputs, subgraphs
from build_rules.graph.load.shapes import Shapes, infer_once

__all__ = ["Branch", "branches_of", "stored_sparsely"]


@dataclass(frozen=True)
class Branch:
    """The nodes of a graph inside a node; what is known of their tensors and of those around them.

    `stored` are the elements of its sparse weights, zeros and all.
    """

    nodes: tuple[onnx.NodeProto, ...]
    shapes: Shapes
    types: Mapping[str, int]
    sizes: Mapping[str, int]
    stored: int = 0


def branches_of(view: GraphView, node: onnx.NodeProto) -> Iterator[Branch]:
    """Yield every graph inside a node, outer ones first.

    Raises `InputError` when the shapes in one contradict each other.
    """
    waiting = []
    if graphs := subgraphs(node):
        read = {name for name in node_inputs(node) if name in view.shapes}
        around = Branch((), {name: view.shapes[name] for name in read}, {name: view.types[name] for name in read}, {})
        constants = {name: value for name in sorted(read) if (value := view.constant(name)) is not None}
        waiting = [(graph, around) for graph in graphs]
    while waiting:
        graph, outer = waiting.pop()
        branch = _branch(view, graph, outer, constants)
        yield branch
        waiting += [(inner, branch) for child in graph.node for inner in subgraphs(child)]


def _branch(view: GraphView, graph: onnx.GraphProto, outer: Branch, constants: Mapping[str, Array]) -> Branch:
    own = {name for node in graph.node for name in node.output} | {t.name for t in graph.initializer}
    captured = {name for node in graph.node for name in node_inputs(node)} - own
    scratch = onnx.ModelProto(ir_version=view.model.ir_version)
    scratch.opset_import.extend(view.model.opset_import)
    scratch.graph.name = graph.name or "branch"
    scratch.graph.node.extend(graph.node)
    scratch.graph.initializer.extend(graph.initializer)
    scratch.graph.sparse_initializer.extend(graph.sparse_initializer)
    scratch.graph.output.extend(onnx.ValueInfoProto(name=value.name) for value in graph.output if value.name in own)
    for name in sorted(captured):
        if name in constants:
            scratch.graph.initializer.append(from_array(constants[name], name))
        elif name in outer.shapes:
            value = onnx.helper.make_tensor_value_info(name, outer.types[name], outer.shapes[name])
            scratch.graph.input.append(value)
    inferred = infer_once(scratch)
    types = {**outer.types, **inferred.types}
    return Branch(tuple(graph.node), outer.shapes | inferred.shapes, types, inferred.sizes, stored_sparsely(graph))


def stored_sparsely(graph: onnx.GraphProto) -> int:
    """Return how many elements the sparse weights of a graph have once they are written out."""
    return sum(prod(sparse.dims) for sparse in graph.sparse_initializer)
