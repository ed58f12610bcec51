"""Half precision becomes float: exports in FLOAT16 or BFLOAT16, whole or in parts, mean the float network.

Every half is a float, so weights keep their values; what is computed with them is rounded less often than in the file.
Large weights stay where they are: their references say in which type they are stored (`weights.py`), and whoever reads
them gets floats.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

import onnx
from onnx.numpy_helper import from_array

from build_rules.graph.load.node_order import node_inputs
from build_rules.graph.load.shapes import element_types
from build_rules.onnx_file.weights import HALVES, all_tensors, as_floats, is_stored_elsewhere, refer_as_floats

__all__ = ["widen_halves"]

FLOAT = onnx.TensorProto.FLOAT
FLOATS = (FLOAT, *HALVES)
TYPE_ATTRIBUTES = ("to", "dtype", "output_dtype", "output_datatype", "stash_type", "softmax_precision", "precision")
"""Attributes that hold an element type as a number (Cast, RandomNormal, DequantizeLinear, LayerNormalization ...)."""
CASTS = ("Cast", "CastLike")


def widen_halves(model: onnx.ModelProto) -> bool:
    """Turn the halves of a model that passed the checker into floats, in place; say whether there were any.

    Casts that change nothing any more are left out, since compilers would take them for layers.
    """
    tensors = [tensor for tensor in all_tensors(model) if tensor.data_type in HALVES]
    graphs = list(_graphs(model.graph))
    types = [kind for graph in graphs for kind in _types(graph) if kind.elem_type in HALVES]
    attributes = [item for graph in graphs for item in _type_attributes(graph)]
    if not tensors and not types and not attributes:
        return False
    idle = _idle_casts(model)
    for tensor in tensors:
        if is_stored_elsewhere(tensor):
            refer_as_floats(tensor)
        else:
            values = from_array(as_floats(tensor), tensor.name)
            tensor.CopyFrom(values)
    for kind in types:
        kind.elem_type = FLOAT
    for item in attributes:
        item.i = FLOAT
    _leave_out(model.graph, idle)
    return True


def _graphs(graph: onnx.GraphProto) -> Iterator[onnx.GraphProto]:
    """Yield a graph and all graphs inside its nodes."""
    waiting = [graph]
    while waiting:
        current = waiting.pop()
        yield current
        for node in current.node:
            waiting += [item.g for item in node.attribute if item.HasField("g")]
            waiting += [inner for item in node.attribute for inner in item.graphs]


def _types(graph: onnx.GraphProto) -> Iterator[onnx.TypeProto.Tensor]:
    """Yield the declared tensor types of a graph, those inside sequences and optional values too."""
    waiting = [value.type for value in (*graph.input, *graph.output, *graph.value_info)]
    waiting += [item.tp for node in graph.node for item in node.attribute if item.HasField("tp")]
    while waiting:
        kind = waiting.pop()
        if kind.HasField("tensor_type"):
            yield kind.tensor_type
        elif kind.HasField("sequence_type"):
            waiting.append(kind.sequence_type.elem_type)
        elif kind.HasField("optional_type"):
            waiting.append(kind.optional_type.elem_type)


def _type_attributes(graph: onnx.GraphProto) -> Iterator[onnx.AttributeProto]:
    for node in graph.node:
        for item in node.attribute:
            if item.name in TYPE_ATTRIBUTES and item.type == onnx.AttributeProto.INT and item.i in HALVES:
                yield item


def _idle_casts(model: onnx.ModelProto) -> list[onnx.NodeProto]:
    """Return the casts of the main graph that lead from one of the types that become float to another."""
    kinds = element_types(model)
    return [node for node in model.graph.node if node.op_type in CASTS and _is_idle(node, kinds)]


def _is_idle(node: onnx.NodeProto, kinds: Mapping[str, int]) -> bool:
    return kinds.get(node.input[0]) in FLOATS and kinds.get(node.output[0]) in FLOATS


def _leave_out(graph: onnx.GraphProto, idle: Iterable[onnx.NodeProto]) -> None:
    """Let everybody read what the idle casts read. Outputs of the graph, and what branches read, keep their names."""
    kept = {value.name for value in graph.output}
    kept |= {name for node in graph.node for name in node_inputs(node)[len(node.input) :]}
    source: dict[str, str] = {}
    dropped = set()
    for node in idle:
        if node.output[0] in kept:
            plain = onnx.helper.make_node("Identity", [node.input[0]], [node.output[0]], name=node.name)
            node.CopyFrom(plain)
        else:
            dropped.add(node.output[0])
        source[node.output[0]] = source.get(node.input[0], node.input[0])
    for node in graph.node:
        node.input[:] = [source.get(name, name) for name in node.input]
    nodes = [node for node in graph.node if not dropped.intersection(node.output)]
    rest = onnx.GraphProto(node=nodes)
    del graph.node[:]
    graph.node.extend(rest.node)
