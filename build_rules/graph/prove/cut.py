"""The part of a graph between given tensors, as a model of its own.

What comes out depends on the computation alone: names of producers, dates, descriptions and all other metadata of the
source are left out, so that a source which differs only in metadata gives the same bytes. Large weights are still
references to the source.
"""

from __future__ import annotations

from collections.abc import Sequence

import onnx

from build_rules.errors import InputError
from build_rules.graph.load.constants import Array, known_shape
from build_rules.graph.load.graph_view import GraphView
from build_rules.graph.load.node_order import node_inputs
from build_rules.graph.prove.single_image import one_image
from build_rules.onnx_file.weights import is_stored_elsewhere

__all__ = ["cut_graph", "part_of", "tail_of"]

GRAPH_NAME = "split"
MIN_IR_VERSION = 4
"""Since then weights need not be listed as inputs of the graph."""


def cut_graph(view: GraphView, endpoints: Sequence[str]) -> onnx.ModelProto:
    """Return the model from one image to the endpoint tensors, which become its outputs in that order.

    It refers to the same weights as the view's model.
    """
    cut = part_of(view, [view.input.name], endpoints)
    return cut if view.batch == 1 else one_image(view, cut)


def part_of(view: GraphView, inputs: Sequence[str], outputs: Sequence[str]) -> onnx.ModelProto:
    """Return the model that computes `outputs` from `inputs`, with the nodes and weights it needs and no others.

    Raises `InputError` when the outputs depend on the image other than through `inputs`.
    """
    indices, tensors, shapes = _needed(view, inputs, outputs)
    graph = onnx.GraphProto(name=GRAPH_NAME)
    graph.node.extend(_plain_node(view.nodes[index]) for index in indices)
    graph.initializer.extend(_plain_tensor(t) for t in view.model.graph.initializer if t.name in tensors)
    graph.initializer.extend(onnx.numpy_helper.from_array(value, name) for name, value in sorted(shapes.items()))
    graph.sparse_initializer.extend(s for s in view.model.graph.sparse_initializer if s.values.name in tensors)
    graph.input.extend(_value(view, name) for name in inputs)
    graph.output.extend(_value(view, name) for name in outputs)
    ends = {*inputs, *outputs}
    described = (value.name for value in view.model.graph.value_info)
    graph.value_info.extend(_value(view, n) for n in described if n in tensors - ends and n in view.types)
    model = onnx.ModelProto(ir_version=max(view.model.ir_version, MIN_IR_VERSION), graph=graph)
    used = {node.domain or "" for node in _all_nodes(graph)} | {""}
    model.opset_import.extend(
        onnx.OperatorSetIdProto(domain="" if entry.domain == "ai.onnx" else entry.domain, version=entry.version)
        for entry in view.model.opset_import
        if entry.domain in used or entry.domain == "ai.onnx"
    )
    return model


def tail_of(view: GraphView, endpoints: Sequence[str], outputs: Sequence[str]) -> onnx.ModelProto:
    """Return the model that computes `outputs` from those of the endpoint tensors that they need.

    Raises `InputError` when the endpoints do not cover every way from the image to the outputs.
    """
    tail = part_of(view, list(endpoints), outputs)
    used = {name for node in tail.graph.node for name in node.input}
    kept = [value for value in tail.graph.input if value.name in used]
    del tail.graph.input[:]
    tail.graph.input.extend(kept)
    return tail


def _needed(
    view: GraphView, inputs: Sequence[str], outputs: Sequence[str]
) -> tuple[list[int], set[str], dict[str, Array]]:
    """Return the nodes, in order, and the tensors that the outputs hang on, back to the inputs.

    `Shape` nodes become constants, returned last: what a shape is taken of is not needed to know it.
    """
    shapes: dict[str, Array] = {}
    given = set(inputs)
    tensors: set[str] = set()
    indices: set[int] = set()
    waiting = list(outputs)
    while waiting:
        name = waiting.pop()
        if name in tensors:
            continue
        tensors.add(name)
        if name in given:
            continue
        if name == view.input.name:
            raise InputError("the outputs depend on the image other than through the endpoints found")
        index = view.producers.get(name)
        if index is not None and (value := known_shape(view.nodes[index], view.shapes)) is not None:
            shapes[name] = value
        elif index is not None and index not in indices:
            indices.add(index)
            waiting.extend(filter(None, node_inputs(view.nodes[index])))
    return sorted(indices), tensors, shapes


def _plain_node(node: onnx.NodeProto) -> onnx.NodeProto:
    plain = onnx.NodeProto()
    plain.CopyFrom(node)
    if plain.domain == "ai.onnx":
        plain.domain = ""
    graphs: list[onnx.GraphProto] = []
    nodes = [plain]
    while nodes:
        child = nodes.pop()
        child.ClearField("doc_string")
        _clear_metadata(child)
        for attribute in child.attribute:
            attribute.ClearField("doc_string")
            if attribute.HasField("t"):
                attribute.t.ClearField("doc_string")
            graphs = [attribute.g] if attribute.HasField("g") else list(attribute.graphs)
            for graph in graphs:
                _clear_graph(graph)
                nodes.extend(graph.node)
    return plain


def _clear_graph(graph: onnx.GraphProto) -> None:
    graph.ClearField("doc_string")
    _clear_metadata(graph)
    for item in (*graph.initializer, *graph.input, *graph.output, *graph.value_info):
        item.ClearField("doc_string")
        _clear_metadata(item)


def _clear_metadata(message: onnx.NodeProto | onnx.GraphProto | onnx.TensorProto | onnx.ValueInfoProto) -> None:
    if "metadata_props" in message.DESCRIPTOR.fields_by_name:  # since IR version 10
        message.ClearField("metadata_props")


def _plain_tensor(tensor: onnx.TensorProto) -> onnx.TensorProto:
    plain = onnx.TensorProto()
    plain.CopyFrom(tensor)
    plain.ClearField("doc_string")
    if not is_stored_elsewhere(tensor):
        plain.ClearField("data_location")
    _clear_metadata(plain)
    return plain


def _value(view: GraphView, name: str) -> onnx.ValueInfoProto:
    return onnx.helper.make_tensor_value_info(name, view.types[name], view.shapes[name])


def _all_nodes(graph: onnx.GraphProto) -> list[onnx.NodeProto]:
    nodes: list[onnx.NodeProto] = []
    graphs = [graph]
    while graphs:
        for node in graphs.pop().node:
            nodes.append(node)
            graphs += [a.g for a in node.attribute if a.HasField("g")]
            graphs += [g for a in node.attribute for g in a.graphs]
    return nodes
