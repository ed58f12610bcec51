"""`SplitToSequence` whose parts are picked one by one becomes `Split`: exporters write `chunk` either way.

Operators: https://onnx.ai/onnx/operators, SplitToSequence (since opset 11), SequenceAt, Split.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import onnx
from onnx.numpy_helper import from_array, to_array

from build_rules.graph.load.constants import Array
from build_rules.graph.load.node_order import node_inputs
from build_rules.graph.load.shapes import Shapes, infer_once, opset_of
from build_rules.onnx_file.weights import LISTS, is_stored_elsewhere

__all__ = ["sequences_to_splits"]

MAX_PARTS = 4096


def sequences_to_splits(model: onnx.ModelProto) -> None:
    """Rewrite a model that passed the checker, in place; sequences that are used in any other way stay."""
    graph = model.graph
    sources = [node for node in graph.node if node.op_type == "SplitToSequence" and len(node.input) == 2]
    if not sources:
        return
    users = _users(graph)
    stored = _stored(graph)
    shapes = infer_once(model).shapes
    taken = {name for node in graph.node for name in node.output} | stored.keys()
    replaced: dict[str, list[onnx.NodeProto]] = {}
    for node in sources:
        picks = users.get(node.output[0], [])
        sizes = _sizes(node, stored, shapes)
        places = [_place(pick, stored, len(sizes)) for pick in picks]
        constant = [place for place in places if place is not None]
        if picks and len(constant) == len(picks):
            replaced[node.output[0]] = _split(node, sizes, picks, constant, opset_of(model), graph, taken)
    kept = [n for n in graph.node if n.op_type != "SequenceAt" or n.input[0] not in replaced]
    nodes = [new for n in kept for new in replaced.get(n.output[0] if n.output else "", [n])]
    del graph.node[:]
    graph.node.extend(nodes)


def _users(graph: onnx.GraphProto) -> dict[str, list[onnx.NodeProto | onnx.ValueInfoProto]]:
    """Return what reads each tensor: nodes, branches inside nodes included, and the graph's own outputs."""
    users: dict[str, list[onnx.NodeProto | onnx.ValueInfoProto]] = {v.name: [v] for v in graph.output}
    for node in graph.node:
        for name in dict.fromkeys(node_inputs(node)):
            users.setdefault(name, []).append(node)
    return users


def _stored(graph: onnx.GraphProto) -> dict[str, Array]:
    """Return the whole numbers that are written down, as tensors or as attributes."""
    stored = {tensor.name: to_array(tensor) for tensor in graph.initializer if _is_written(tensor)}
    for node in graph.node:
        if node.op_type == "Constant" and len(node.attribute) == 1:
            attribute = node.attribute[0]
            if attribute.name == "value" and _is_written(attribute.t):
                stored[node.output[0]] = to_array(attribute.t)
            elif attribute.name in ("value_int", "value_ints"):
                stored[node.output[0]] = np.array(onnx.helper.get_attribute_value(attribute), dtype=np.int64)
    return stored


def _is_written(tensor: onnx.TensorProto) -> bool:
    return tensor.data_type in LISTS and not is_stored_elsewhere(tensor)


def _sizes(node: onnx.NodeProto, stored: Mapping[str, Array], shapes: Shapes) -> list[int]:
    """Return the sizes of the parts, none when they cannot be told: stored as a list, or as the size of each."""
    if node.input[1] not in stored:
        return []
    value = stored[node.input[1]]
    if value.ndim == 1:
        return [int(size) for size in value][:MAX_PARTS]
    shape, size = shapes.get(node.input[0]), int(value) if value.ndim == 0 else 0
    if shape is None or size < 1 or not -len(shape) <= _axis(node) < len(shape):
        return []
    total = shape[_axis(node)]
    return [min(size, total - start) for start in range(0, min(total, size * MAX_PARTS), size)]


def _axis(node: onnx.NodeProto) -> int:
    return next((int(a.i) for a in node.attribute if a.name == "axis"), 0)


def _place(pick: onnx.NodeProto | onnx.ValueInfoProto, stored: Mapping[str, Array], count: int) -> int | None:
    """Return which part a node picks, None when it does anything else."""
    if isinstance(pick, onnx.ValueInfoProto) or pick.op_type != "SequenceAt" or pick.input[1] not in stored:
        return None
    value = stored[pick.input[1]]
    place = int(value.ravel()[0]) if value.size == 1 else count
    return place % count if -count <= place < count else None


def _split(
    node: onnx.NodeProto,
    sizes: Sequence[int],
    picks: Sequence[onnx.NodeProto],
    places: Sequence[int],
    opset: int,
    graph: onnx.GraphProto,
    taken: set[str],
) -> list[onnx.NodeProto]:
    """Return the split, whose outputs are named as the picks name them; a part picked again gets an `Identity`."""
    names = {place: pick.output[0] for pick, place in reversed(list(zip(picks, places, strict=True)))}
    outputs = [names.get(index) or _free(f"{node.output[0]}_{index}", taken) for index in range(len(sizes))]
    split = onnx.helper.make_node("Split", [node.input[0]], outputs, name=node.name, axis=_axis(node))
    if opset < 13:
        split.attribute.append(onnx.helper.make_attribute("split", list(sizes)))
    else:
        split.input.append(_free(f"{node.output[0]}_sizes", taken))
        graph.initializer.append(from_array(np.array(sizes, dtype=np.int64), split.input[1]))
    again = [(pick, place) for pick, place in zip(picks, places, strict=True) if pick.output[0] != names[place]]
    return [split, *(onnx.helper.make_node("Identity", [names[i]], [p.output[0]], name=p.name) for p, i in again)]


def _free(name: str, taken: set[str]) -> str:
    while name in taken:
        name += "_"
    taken.add(name)
    return name
